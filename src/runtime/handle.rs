//! How the servers reach the driver: a [`Handle`] may command, a [`Reader`] may only look.
//!
//! `http` gets a [`Reader`] and therefore cannot change anything. What a `Reader` shows is the state after the last
//! step, kept unit by unit; looking never waits for the machine and never makes it wait.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, mpsc, oneshot};

use crate::lifecycle::action::Outcome;
use crate::lifecycle::event::{Command, JobId};
use crate::lifecycle::state::{Health, Label, Phase, UnitView};
use crate::lifecycle::time::Time;
use crate::logs::line::Line;
use crate::os::binary::Binary;
pub use crate::os::usage::Usage;
use crate::runtime::clients::Clients;
use crate::runtime::update::{Planned, Unplanned};
use crate::units::name::UnitName;
use crate::units::spec::{UnitSet, UnitSpec};

/// Changes that a slow listener may be behind; then it is told how many it missed and skips to the oldest kept.
pub const CHANGES_BACKLOG: usize = 1024;

/// Requests that wait for the driver; then the asking connection waits.
pub const ASKS_BACKLOG: usize = 64;

/// One change of one unit, as it is streamed.
#[derive(Clone, Debug)]
pub struct Change {
    /// Counts up from 1.
    pub id: u64,
    /// When, by the monotonic clock.
    pub at: Time,
    /// What the unit was before.
    pub was: Label,
    /// What its health was before.
    pub health_was: Health,
    /// The unit after it.
    pub view: Arc<UnitView>,
}

/// What does not change while svinit lives.
#[derive(Clone, Debug)]
pub struct Info {
    /// When it was started.
    pub started: Time,
    /// Its own PID.
    pub pid: i32,
    /// Where the units came from.
    pub unit_paths: Vec<std::path::PathBuf>,
    /// Where `/health` is served.
    pub http: Option<std::net::SocketAddr>,
    /// `cgroup` or `tag`.
    pub tracking: &'static str,
    /// What the wall clock showed at `started`: microseconds since 1970, UTC. Shown times count from here, so that two
    /// moments never change their order, whatever is done to the wall clock.
    pub wall_us_at_start: i64,
    /// Tells the time. Servers read no clock themselves.
    pub clock: fn() -> Time,
    /// Every key of a unit with its effective value, as TOML.
    pub effective: fn(&UnitSpec) -> String,
    /// The program that runs.
    pub program: Program,
}

/// The program that runs, and how it came to.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// To be compared with what is on the disk; `None` where that cannot be told.
    pub binary: Option<Arc<Binary>>,
    /// How often svinit has executed itself.
    pub upgrades: u64,
    /// How long nobody listened the last time.
    pub paused: Option<Duration>,
}

impl Info {
    /// The moment `at` on the wall: microseconds since 1970, UTC.
    #[must_use]
    pub fn wall_us(&self, at: Time) -> i64 {
        let later = i64::try_from(at.0.saturating_sub(self.started.0)).unwrap_or(i64::MAX);
        let earlier = i64::try_from(self.started.0.saturating_sub(at.0)).unwrap_or(i64::MAX);
        self.wall_us_at_start.saturating_add(later).saturating_sub(earlier)
    }
}

/// One file that made a unit what it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceText {
    /// Where it was read from.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

/// The files of each unit, in the order in which they were laid over each other.
pub type Sources = BTreeMap<UnitName, Vec<SourceText>>;

/// The state after the last step, unit by unit.
pub struct Board {
    state: Mutex<BoardState>,
    info: Info,
}

struct BoardState {
    units: BTreeMap<UnitName, Arc<UnitView>>,
    set: Arc<UnitSet>,
    sources: Arc<Sources>,
    phase: Phase,
    change_id: u64,
    feed: Feed,
    counters: Counters,
    /// Of units that are run by the clock: microseconds since 1970.
    next_runs: BTreeMap<UnitName, i64>,
}

/// Totals for `/metrics`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Processes that were not of any unit's own making and were reaped.
    pub orphans_reaped: u64,
    /// Processes that were started.
    pub spawned: u64,
    /// Log lines and bytes of all units.
    pub log_lines: u64,
    /// Bytes of those.
    pub log_bytes: u64,
    /// Lines dropped by `drop-oldest` or `rate`.
    pub log_dropped: u64,
}

/// Where changes are told. Its room for [`CHANGES_BACKLOG`] of them is taken when somebody first listens.
enum Feed {
    Unasked,
    Open(broadcast::Sender<Arc<Change>>),
    Closed,
}

impl Board {
    /// A board that shows `views`.
    #[must_use]
    pub fn new(set: Arc<UnitSet>, views: Vec<UnitView>, info: Info) -> Arc<Self> {
        let units = views.into_iter().map(|view| (view.name.clone(), Arc::new(view))).collect();
        let state = BoardState {
            units,
            set,
            sources: Arc::default(),
            phase: Phase::Booting,
            change_id: 0,
            counters: Counters::default(),
            next_runs: BTreeMap::new(),
            feed: Feed::Unasked,
        };
        Arc::new(Self { state: Mutex::new(state), info })
    }

    /// Shows `view` from here on and tells who listens. Called by the driver only.
    pub fn change(&self, at: Time, was: Label, health_was: Health, view: UnitView) -> Arc<Change> {
        let view = Arc::new(view);
        let mut state = self.lock();
        state.units.insert(view.name.clone(), Arc::clone(&view));
        state.change_id += 1;
        let change = Arc::new(Change { id: state.change_id, at, was, health_was, view });
        if let Feed::Open(changes) = &state.feed {
            // No listener is no error.
            let _ = changes.send(Arc::clone(&change));
        }
        change
    }

    /// Shows `view` from here on; it is no change that anybody listens for. Called by the driver only.
    pub fn show(&self, view: UnitView) {
        self.lock().units.insert(view.name.clone(), Arc::new(view));
    }

    /// Nothing will change any more. Called by the driver only.
    pub fn close(&self) {
        self.lock().feed = Feed::Closed;
    }

    /// The next change comes after this one. Called before anybody looks.
    pub fn go_on_from(&self, change_id: u64) {
        self.lock().change_id = change_id;
    }

    /// What does not change.
    #[must_use]
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The number of the latest change.
    #[must_use]
    pub fn change_id(&self) -> u64 {
        self.lock().change_id
    }

    /// Called by the driver only.
    pub fn set_phase(&self, phase: Phase) {
        self.lock().phase = phase;
    }

    /// Shows `sources` as what the units were read from. Called by the driver only.
    pub fn set_sources(&self, sources: Sources) {
        self.lock().sources = Arc::new(sources);
    }

    /// Shows `texts` as what `unit` was read from. Called by the driver only.
    pub fn set_source(&self, unit: &UnitName, texts: Option<Vec<SourceText>>) {
        if let Some(texts) = texts {
            Arc::make_mut(&mut self.lock().sources).insert(unit.clone(), texts);
        }
    }

    /// What is shown as what `unit` was read from.
    #[must_use]
    pub fn source(&self, unit: &UnitName) -> Option<Vec<SourceText>> {
        self.lock().sources.get(unit).cloned()
    }

    /// What is shown as what all units were read from.
    #[must_use]
    pub fn all_sources(&self) -> Arc<Sources> {
        Arc::clone(&self.lock().sources)
    }

    /// Shows `set` as the definitions in force. Called by the driver only.
    pub fn set_definitions(&self, set: Arc<UnitSet>) {
        self.lock().set = set;
    }

    /// Shows `unit` no longer. Called by the driver only.
    pub fn forget(&self, unit: &UnitName, set: Arc<UnitSet>) {
        let mut state = self.lock();
        state.units.remove(unit);
        state.set = set;
        Arc::make_mut(&mut state.sources).remove(unit);
    }

    /// Shows when the next moment of each unit with a schedule comes. Called by the driver only.
    pub fn set_next_runs(&self, next: BTreeMap<UnitName, i64>) {
        self.lock().next_runs = next;
    }

    /// Called by the driver only.
    pub fn set_counters(&self, counters: Counters) {
        self.lock().counters = counters;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BoardState> {
        // Nobody panics while holding it; if that were wrong, what it shows is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// May look.
#[derive(Clone)]
pub struct Reader {
    board: Arc<Board>,
    usage: Option<UsageSource>,
}

/// May ask the driver what units use, and nothing else: the sender inside can be reached by no other way.
#[derive(Clone)]
struct UsageSource(mpsc::Sender<Ask>);

impl Reader {
    /// Looks at `board`.
    #[must_use]
    pub fn new(board: Arc<Board>) -> Self {
        Self { board, usage: None }
    }

    /// The same, and may ask the driver what units use.
    #[must_use]
    pub fn with_usage(self, asks: mpsc::Sender<Ask>) -> Self {
        Self { usage: Some(UsageSource(asks)), ..self }
    }

    /// What all units that run use; `None` when nobody measures, or the driver has more to do than to measure: a look
    /// never waits for room in the driver's queue.
    pub async fn usage(&self) -> Option<BTreeMap<UnitName, Usage>> {
        let (reply, answer) = oneshot::channel();
        self.usage.as_ref()?.0.try_send(Ask::Usage { units: Vec::new(), reply }).ok()?;
        answer.await.ok()
    }

    /// All units, by name.
    #[must_use]
    pub fn units(&self) -> Vec<Arc<UnitView>> {
        self.board.lock().units.values().cloned().collect()
    }

    /// One unit, by its name or an alias.
    #[must_use]
    pub fn unit(&self, name: &str) -> Option<Arc<UnitView>> {
        let state = self.board.lock();
        let own = state.set.find(name).map(|spec| spec.name.clone())?;
        state.units.get(&own).cloned()
    }

    /// The definitions in force.
    #[must_use]
    pub fn set(&self) -> Arc<UnitSet> {
        Arc::clone(&self.board.lock().set)
    }

    /// The files that made a unit, in the order in which they were laid over each other.
    #[must_use]
    pub fn sources(&self, unit: &UnitName) -> Vec<SourceText> {
        let sources = Arc::clone(&self.board.lock().sources);
        sources.get(unit).cloned().unwrap_or_default()
    }

    /// The number of the latest change; 0 before the first.
    #[must_use]
    pub fn change_id(&self) -> u64 {
        self.board.lock().change_id
    }

    /// What svinit as a whole is doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.board.lock().phase
    }

    /// When the next moment of a unit comes that is run by the clock, microseconds since 1970 by the wall clock.
    #[must_use]
    pub fn next_run(&self, unit: &UnitName) -> Option<i64> {
        self.board.lock().next_runs.get(unit).copied()
    }

    /// Totals.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.board.lock().counters
    }

    /// What does not change.
    #[must_use]
    pub fn info(&self) -> &Info {
        &self.board.info
    }

    /// Every change from here on.
    #[must_use]
    pub fn changes(&self) -> broadcast::Receiver<Arc<Change>> {
        let mut state = self.board.lock();
        // After the end: a channel that nobody sends to, which is what is true.
        match &mut state.feed {
            Feed::Open(changes) => changes.subscribe(),
            Feed::Closed => broadcast::channel(1).1,
            feed @ Feed::Unasked => {
                let (changes, coming) = broadcast::channel(CHANGES_BACKLOG);
                *feed = Feed::Open(changes);
                coming
            }
        }
    }
}

/// May look and command.
#[derive(Clone)]
pub struct Handle {
    reader: Reader,
    asks: mpsc::Sender<Ask>,
    jobs: JobNumbers,
    clients: Clients,
}

/// Numbers of commands, each once.
#[derive(Clone, Debug, Default)]
pub struct JobNumbers(Arc<AtomicU64>);

impl JobNumbers {
    /// Those after this one.
    #[must_use]
    pub fn after(last: u64) -> Self {
        Self(Arc::new(AtomicU64::new(last)))
    }

    /// The latest.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// The next.
    pub(super) fn next(&self) -> JobId {
        JobId(self.0.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// One request to the driver.
pub enum Ask {
    /// Do this; answers go to `notes`.
    Job {
        /// Its number, never used again.
        job: JobId,
        /// What.
        command: Command,
        /// Where the answers go. Unbounded in type, bounded by the number of units.
        notes: mpsc::UnboundedSender<JobNote>,
    },
    /// Take over other definitions.
    Update {
        /// Which.
        renewal: Renewal,
        /// Say what would be done, and do nothing.
        is_dry: bool,
        /// Who asked.
        who: String,
        /// What is being done.
        reply: oneshot::Sender<Result<Planned, Unplanned>>,
    },
    /// Stop everything and leave.
    Shutdown {
        /// Who asked.
        why: String,
    },
    /// The lines of some units.
    Logs {
        /// Which; none is all of them and svinit's own.
        units: Vec<UnitName>,
        /// At most so many of each that are kept.
        lines: usize,
        /// And those to come.
        follow: bool,
        /// The answer.
        reply: oneshot::Sender<Logs>,
    },
    /// Memory, CPU and tasks of the trees of these units.
    Usage {
        /// Which; none is all of them.
        units: Vec<UnitName>,
        /// The answer; units that do not run are left out.
        reply: oneshot::Sender<BTreeMap<UnitName, Usage>>,
    },
    /// The environment that the next process of a unit starts with.
    Environment {
        /// Which.
        unit: UnitName,
        /// The answer, by name, each secret as `***`; or why it cannot be told, in words.
        reply: oneshot::Sender<Result<BTreeMap<String, String>, String>>,
    },
    /// Open log files again (`logrotate` moved them).
    ReopenLogs,
    /// Go on as the program that is on the disk by now, or look whether that could be.
    Upgrade {
        /// Who asked.
        by: String,
        /// Which of both.
        extent: Extent,
        /// Where the answers go: two at most.
        notes: mpsc::UnboundedSender<UpgradeNote>,
    },
}

/// Where other definitions are to come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Renewal {
    /// The files, as they are now.
    Files {
        /// Which units; none is all of them.
        units: Vec<String>,
    },
    /// Those that are in force, with other numbers of instances.
    Scale {
        /// By group.
        instances: BTreeMap<String, u32>,
    },
}

/// What becomes of an upgrade that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UpgradeNote {
    /// The program on the disk could take over, and does if that was asked for.
    Fit(Upgrade),
    /// It cannot, in words why; everything goes on as it was.
    Refused(String),
}

/// How far something is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// It is tried, and nothing changes.
    Try,
    /// It is done if it can be.
    Change,
}

/// The program on the disk can take over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upgrade {
    /// The version that runs.
    pub from: String,
    /// The version that takes over.
    pub to: String,
    /// How often svinit will have executed itself by then.
    pub upgrades: u64,
}

/// What a job is answered with.
#[derive(Clone, Debug)]
pub enum JobNote {
    /// One unit of it is decided.
    Answer {
        /// What came of it.
        outcome: Outcome,
        /// The unit at that moment.
        view: Option<Arc<UnitView>>,
    },
    /// All of them are.
    Done,
}

/// Lines that were asked for.
pub struct Logs {
    /// Those that are kept, oldest first.
    pub kept: Vec<Arc<Line>>,
    /// Those to come, when they were asked for.
    pub coming: Option<broadcast::Receiver<Arc<Line>>>,
}

/// The driver is gone: svinit is leaving.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl Handle {
    /// Commands by `asks`, looks by `reader`.
    #[must_use]
    pub fn new(reader: Reader, asks: mpsc::Sender<Ask>) -> Self {
        Self { reader, asks, jobs: JobNumbers::default(), clients: Clients::default() }
    }

    /// The same, for the command after `jobs`, and for connections among `clients`.
    #[must_use]
    pub fn with(self, jobs: JobNumbers, clients: Clients) -> Self {
        Self { jobs, clients, ..self }
    }

    /// The connections of the control socket.
    #[must_use]
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// The looking half.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Starts a job.
    ///
    /// # Errors
    /// When svinit is leaving.
    pub async fn job(&self, command: Command) -> Result<(JobId, mpsc::UnboundedReceiver<JobNote>), Gone> {
        let (notes, answers) = mpsc::unbounded_channel();
        let job = self.jobs.next();
        self.ask(Ask::Job { job, command, notes }).await?;
        Ok((job, answers))
    }

    /// Has other definitions taken over, or only told.
    ///
    /// # Errors
    /// When svinit is leaving.
    pub async fn update(
        &self,
        renewal: Renewal,
        is_dry: bool,
        who: String,
    ) -> Result<Result<Planned, Unplanned>, Gone> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Update { renewal, is_dry, who, reply }).await?;
        answer.await.map_err(|_| Gone)
    }

    /// Asks for the end of everything.
    ///
    /// # Errors
    /// When svinit is leaving already.
    pub async fn shutdown(&self, why: String) -> Result<(), Gone> {
        self.ask(Ask::Shutdown { why }).await
    }

    /// Asks for lines.
    ///
    /// # Errors
    /// When svinit is leaving.
    pub async fn logs(&self, units: Vec<UnitName>, lines: usize, follow: bool) -> Result<Logs, Gone> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Logs { units, lines, follow, reply }).await?;
        answer.await.map_err(|_| Gone)
    }

    /// Asks what units use.
    ///
    /// # Errors
    /// When svinit is leaving.
    pub async fn usage(&self, units: Vec<UnitName>) -> Result<BTreeMap<UnitName, Usage>, Gone> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Usage { units, reply }).await?;
        answer.await.map_err(|_| Gone)
    }

    /// Asks what the next process of `unit` starts with; secrets are `***`.
    ///
    /// # Errors
    /// When svinit is leaving.
    pub async fn environment(
        &self,
        unit: UnitName,
    ) -> Result<Result<BTreeMap<String, String>, String>, Gone> {
        let (reply, answer) = oneshot::channel();
        self.ask(Ask::Environment { unit, reply }).await?;
        answer.await.map_err(|_| Gone)
    }

    /// Has the program on the disk tested, and when it passes and that was asked for, goes on as it. The answer comes
    /// before that happens.
    ///
    /// # Errors
    /// When svinit is leaving.
    pub async fn upgrade(
        &self,
        by: String,
        extent: Extent,
    ) -> Result<mpsc::UnboundedReceiver<UpgradeNote>, Gone> {
        let (notes, answers) = mpsc::unbounded_channel();
        self.ask(Ask::Upgrade { by, extent, notes }).await?;
        Ok(answers)
    }

    /// Has log files opened again.
    ///
    /// # Errors
    /// When svinit is leaving.
    pub async fn reopen_logs(&self) -> Result<(), Gone> {
        self.ask(Ask::ReopenLogs).await
    }

    async fn ask(&self, ask: Ask) -> Result<(), Gone> {
        self.asks.send(ask).await.map_err(|_| Gone)
    }
}
