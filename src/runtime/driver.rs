//! The one loop. It reads as a list: wait, collect, step, perform, publish.
//!
//! One task owns the machine; there is no lock around it. Nothing wakes it but facts: a signal, a descriptor, a request,
//! the answer of a probe, or the one deadline that the machine names. There is no tick, so an idle svinit sleeps.
//!
//! What is easy to get wrong: the action of a step may produce the next fact at once (a spawn that fails, a tree that is
//! empty already). Such facts go to the end of the queue like any other; nothing here calls the machine from within
//! itself.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;

use crate::lifecycle::action::{Action, End, Report};
use crate::lifecycle::event::{Event, Sign};
use crate::lifecycle::state::{Label, Phase, UnitView};
use crate::lifecycle::supervisor::Supervisor;
use crate::lifecycle::time::Time;
use crate::os::clock;
use crate::os::crash::Fault;
use crate::os::handover::Left;
use crate::os::outer::Outer;
use crate::os::own;
use crate::os::poll;
use crate::os::signals::Signals;
use crate::runtime::arming;
use crate::runtime::clients::{Rejoined, SavedClient};
use crate::runtime::handle::{Ask, Board, Counters, Logs, Reader};
use crate::runtime::hands::Hands;
use crate::runtime::jobs::Jobs;
use crate::runtime::kept::Which;
use crate::runtime::ledger::Ledger;
use crate::runtime::probe::Answer;
use crate::runtime::signals::{Meaning, Role, meaning};
use crate::runtime::upgrade::{Asked, Surroundings};
use crate::runtime::words;
use crate::units::name::UnitName;
use crate::units::signal;
use crate::units::spec::LogLevel;

/// Facts that are told to the machine before it is looked again what else has come.
const FACTS_A_TURN: usize = 512;

/// Times that the poller is asked in one turn; each tells at most `poll::BATCH` descriptors.
const POLLS_A_TURN: usize = 8;

/// Requests that are taken up in one turn besides the one that woke us.
const ASKS_A_TURN: usize = 16;

/// The poller's mark of caught signals; no other source's.
const SIGNALS_TOKEN: u64 = 0;

/// Where facts come from.
pub struct Sources {
    /// Caught signals.
    pub signals: Signals,
    /// Requests of the servers.
    pub asks: mpsc::Receiver<Ask>,
    /// Answers of network checks.
    pub answers: mpsc::UnboundedReceiver<Answer>,
}

/// Owns the machine and all that it moves.
pub struct Driver {
    pub(super) supervisor: Supervisor,
    pub(super) hands: Hands,
    pub(super) jobs: Jobs,
    pub(super) board: Arc<Board>,
    sources: Sources,
    /// A copy of the poller's descriptor, since tokio wants to own what it watches. Signals wake through it as well.
    poller_ready: AsyncFd<OwnedFd>,
    phase: Phase,
    outer: Option<Outer>,
    /// What only the start needs has been given back.
    is_settled: bool,
    counters: Counters,
    pub(super) end: Option<End>,
    /// What svinit needs to know of itself to be replaced.
    pub(super) surroundings: Surroundings,
    /// An upgrade whose test runs.
    pub(super) asked: Option<Asked>,
    /// One whose test has passed.
    pub(super) approved: Option<Asked>,
    /// The state as it was after the last turn, for a crash.
    pub(super) ledger: Option<Ledger>,
    /// Units are read from other texts than the ledger has.
    pub(super) is_renewed: bool,
    /// In this turn the machine was told something, or a descriptor has come or gone that the ledger names: by the number of one
    /// that is gone another file would be left to the next svinit.
    pub(super) has_moved: bool,
    /// This svinit goes on with what another has left.
    is_successor: bool,
}

/// What ended the wait.
enum Wake {
    /// Facts were left over from the last turn.
    More,
    /// Signals, pipes, notify sockets.
    Descriptors,
    Asked(Ask),
    Answered(Answer),
    Due,
}

impl Driver {
    /// To be called on the runtime that will run it.
    ///
    /// # Errors
    /// When the signals or the poller cannot be watched.
    pub(super) fn new(
        supervisor: Supervisor,
        hands: Hands,
        board: Arc<Board>,
        sources: Sources,
        outer: Option<Outer>,
        surroundings: Surroundings,
    ) -> io::Result<Self> {
        hands.poller.add(&sources.signals, SIGNALS_TOKEN)?;
        let poller_ready = watch(hands.poller.as_fd().try_clone_to_owned()?)?;
        Ok(Self {
            supervisor,
            hands,
            jobs: Jobs::default(),
            board,
            sources,
            poller_ready,
            phase: Phase::Booting,
            outer,
            is_settled: false,
            counters: Counters::default(),
            end: None,
            surroundings,
            asked: None,
            approved: None,
            ledger: None,
            is_renewed: false,
            has_moved: false,
            is_successor: false,
        })
    }

    /// It does not begin anew, but goes on where another svinit stopped.
    pub(super) fn succeed(&mut self) {
        self.is_successor = true;
        self.phase = self.supervisor.phase();
        self.board.set_phase(self.phase);
    }

    /// Goes on with the clients of before. Nothing has happened since that they would have to be told.
    pub(super) fn rejoin(&mut self, clients: Vec<SavedClient>, left: &mut Left) -> Vec<Rejoined> {
        let reader = Reader::new(Arc::clone(&self.board));
        let (jobs, pump) = (&mut self.jobs, &mut self.hands.pump);
        let rejoin = |client: SavedClient| {
            client.rejoin(
                left,
                || reader.changes(),
                || pump.follow(),
                |job| {
                    let (notes, answers) = mpsc::unbounded_channel();
                    jobs.open(job, notes);
                    answers
                },
            )
        };
        clients.into_iter().filter_map(rejoin).collect()
    }

    /// Starts what is enabled and keeps it going, until the machine says that everything has ended.
    pub async fn run(mut self) -> (End, Hands) {
        if !self.is_successor {
            self.hands.open_sockets();
            let now = clock::now();
            let actions = self.supervisor.boot(now);
            self.perform(actions, now);
        }
        self.step();
        self.publish();
        // Everything that could be started has been; what each crash will need is opened now.
        self.hands.trees.get_ready();
        self.prepare_for_crash();
        // Written down with the rest.
        self.has_moved = false;
        self.settle().await;
        loop {
            if let Some(end) = self.end.take() {
                self.board.close();
                return (end, self.hands);
            }
            let wake = self.wait().await;
            self.collect(wake);
            self.hear();
            self.step();
            self.publish();
            let is_told = std::mem::take(&mut self.has_moved);
            if is_told {
                Fault::strike();
            }
            if self.hands.take_moved() | is_told {
                self.keep_current();
            }
            self.settle().await;
            self.upgrade().await;
        }
    }

    async fn wait(&mut self) -> Wake {
        if (!self.hands.facts.is_empty() && !self.hands.awaits_strays()) || self.hands.unreaped {
            // The servers must have their turn however much happens to the units.
            tokio::task::yield_now().await;
            return Wake::More;
        }
        let own = earliest(self.hands.again_at(), self.upgrade_due());
        let own = earliest(own, self.hands.strays_until());
        let own = earliest(own, self.hands.arming.due());
        let due = due(earliest(self.supervisor.next_deadline(), own));
        tokio::select! {
            biased;
            _ = self.poller_ready.readable() => Wake::Descriptors,
            Some(answer) = self.sources.answers.recv() => Wake::Answered(answer),
            Some(ask) = self.sources.asks.recv() => Wake::Asked(ask),
            () = due => Wake::Due,
        }
    }

    /// What is about to be told is written down, for a crash that comes of it.
    fn hear(&self) {
        if let Some(ledger) = self.ledger.as_ref().filter(|_| !self.hands.facts.is_empty()) {
            ledger.hear(&self.hands.facts);
        }
    }

    fn collect(&mut self, wake: Wake) {
        match wake {
            Wake::Asked(ask) => self.on_ask(ask),
            Wake::Answered(answer) => self.on_answer(answer),
            Wake::More | Wake::Descriptors | Wake::Due => {}
        }
        self.collect_signals();
        self.collect_descriptors();
        while let Ok(answer) = self.sources.answers.try_recv() {
            self.on_answer(answer);
        }
        self.collect_asks();
        self.look_at_rehearsal();
        self.hands.look_at_calendar();
    }

    pub(super) fn collect_asks(&mut self) {
        for _ in 0..ASKS_A_TURN {
            match self.sources.asks.try_recv() {
                Ok(ask) => self.on_ask(ask),
                Err(_) => break,
            }
        }
    }

    fn collect_signals(&mut self) {
        let caught: Vec<i32> = self.sources.signals.pending().collect();
        for number in caught {
            let name = signal::name(number);
            if meaning(&name, self.hands.setting.role) == Meaning::Upgrade {
                self.on_usr2();
            } else {
                self.hands.on_signal(&name, number);
            }
        }
        self.hands.reap();
        if std::mem::take(&mut self.hands.hung_up) {
            self.update_by_signal();
        }
    }

    fn collect_descriptors(&mut self) {
        let mut ready = Vec::with_capacity(poll::BATCH);
        for _ in 0..POLLS_A_TURN {
            ready.clear();
            if self.hands.poller.wait(&mut ready, 0).is_err() || ready.is_empty() {
                self.wait_for_next_edge();
                return;
            }
            self.hands.on_ready(&ready);
        }
    }

    /// Lets tokio's memory of the poller being readable go. What comes after the poller had nothing to tell raises a new
    /// edge, which tokio sees when this thread next asks the kernel.
    fn wait_for_next_edge(&self) {
        let nothing = || io::Error::from(io::ErrorKind::WouldBlock);
        let _ = self.poller_ready.try_io(Interest::READABLE, |_| Err::<(), _>(nothing()));
    }

    fn on_answer(&mut self, answer: Answer) {
        let fact = self.hands.probes.end(answer);
        self.hands.facts.extend(fact);
    }

    fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Job { job, command, notes } => {
                self.jobs.open(job, notes);
                self.hands.facts.push_back(Event::Asked { job, command });
            }
            Ask::Update { renewal, is_dry, who, reply } => {
                let planned = self.update(&renewal, is_dry, &who);
                let _ = reply.send(planned);
            }
            Ask::Shutdown { why } => self.hands.facts.push_back(Event::ShutdownAsked { why }),
            Ask::Logs { units, lines, follow, reply } => {
                // Subscribed before the kept ones are read: a line may come twice, none goes missing.
                let coming = follow.then(|| self.hands.pump.follow());
                let kept = self.hands.pump.kept(&units, lines);
                let _ = reply.send(Logs { kept, coming });
            }
            Ask::Usage { units, reply } => {
                let _ = reply.send(self.hands.usage(&units));
            }
            Ask::Environment { unit, reply } => {
                let _ = reply.send(self.hands.shown_environment(&unit));
            }
            Ask::ReopenLogs => self.hands.reopen_logs("svctl"),
            Ask::Upgrade { by, extent, notes } => self.on_upgrade_asked(by, extent, Some(notes)),
        }
    }

    /// Tells the machine what has come, does what it wishes, and goes on with what comes of that: the end of a process,
    /// the look at what it left and the start of the next are one turn.
    fn step(&mut self) {
        let mut now = clock::now();
        if self.hands.awaits_strays() {
            self.hands.look_at_trees();
            if self.hands.awaits_strays() {
                return;
            }
        }
        if self.supervisor.next_deadline().is_some_and(|at| at <= now) {
            self.hands.facts.push_back(Event::Tick);
        }
        let mut told = 0;
        loop {
            while told < FACTS_A_TURN
                && let Some(fact) = self.hands.facts.pop_front()
            {
                told += 1;
                self.hands.heeded += 1;
                self.has_moved = true;
                let teller = self.told_by(&fact);
                let actions = self.supervisor.step(fact, now);
                self.perform(actions, now);
                if let Some(view) = teller.and_then(|unit| self.supervisor.view(&unit)) {
                    self.board.show(view);
                }
                if self.end.is_some() {
                    return;
                }
            }
            self.hands.launch();
            self.hands.look_at_trees();
            if told >= FACTS_A_TURN || self.hands.facts.is_empty() {
                return;
            }
            now = clock::now();
        }
    }

    /// The unit that says something about itself which is shown, and is no change of its state.
    fn told_by(&self, fact: &Event) -> Option<UnitName> {
        let Event::Signed { run, sign: Sign::Status(_) | Sign::MainPid(_) } = fact else { return None };
        self.hands.runs.get(*run).map(|run| run.unit.clone())
    }

    pub(super) fn perform(&mut self, actions: Vec<Action>, now: Time) {
        for action in actions {
            self.perform_one(action, now);
        }
    }

    /// Shows and tells the change of one unit, as it is right after the step that changed it.
    pub(super) fn report(&mut self, report: &Report, now: Time) {
        let Some(view) = self.supervisor.view(&report.unit) else { return };
        let (level, text) = words::line(report, &view);
        // The end of a lone command is its own business: its status says it.
        let is_own = self.hands.setting.role == Role::Command && view.last_exit.is_some();
        let level = if is_own { LogLevel::Debug } else { level };
        self.hands.pump.say(Some(&report.unit), level, &text);
        if matches!(view.label, Label::Inactive | Label::Completed | Label::Failed | Label::Scheduled) {
            self.hands.withdraw_group(&report.unit);
            self.hands.signs.let_go(&report.unit, &Which::All);
            if self.supervisor.phase() == Phase::Stopping {
                // Nobody will serve any more: who comes now is to be told so, not to wait.
                self.hands.release_sockets(&report.unit);
            }
        }
        if view.schedule.is_some() {
            self.hands.heed_schedule(&view, self.supervisor.phase());
        }
        let _ = self.board.change(now, report.was, report.health_was, view);
    }

    /// The unit as it is shown.
    pub(super) fn shown(&self, unit: &UnitName) -> Option<Arc<UnitView>> {
        self.supervisor.view(unit).map(Arc::new)
    }

    /// Lets everybody else know: who looks at the board, who reads the log.
    fn publish(&mut self) {
        let phase = self.supervisor.phase();
        if phase != self.phase {
            self.phase = phase;
            self.board.set_phase(phase);
            self.say_phase(phase);
        }
        let counters = self.hands.counters();
        if counters != self.counters {
            self.counters = counters;
            self.board.set_counters(counters);
        }
        self.hands.set_alarm();
        if let Some(next) = self.hands.arming.calendar.take_change(arming::now) {
            self.board.set_next_runs(next);
        }
        self.hands.lift_barriers();
        // At the end there is more to say; then all of it is written together.
        if self.end.is_none() {
            self.hands.pump.wake();
        }
    }

    fn say_phase(&mut self, phase: Phase) {
        let text = match phase {
            Phase::Booting => return,
            Phase::Running => "boot finished",
            Phase::Stopping => "stopping all units",
        };
        self.hands.pump.say(None, LogLevel::Info, text);
        if let Some(outer) = &self.outer {
            let sign = if phase == Phase::Running { "READY=1" } else { "STOPPING=1" };
            outer.say(&format!("{sign}\nSTATUS={text}"));
        }
        self.is_settled |= phase == Phase::Stopping;
    }

    /// Once, when the boot is finished and everybody else has begun to wait as well.
    async fn settle(&mut self) {
        if !self.is_settled && self.phase == Phase::Running {
            self.is_settled = true;
            tokio::task::yield_now().await;
            own::settle();
        }
    }
}

/// Has tokio watch a descriptor of ours.
#[expect(
    deprecated,
    reason = "the other form is unsafe, for what an OwnedFd can promise by its type: to stay open"
)]
fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(fd, Interest::READABLE)
}

/// Comes when `at` has come; never when there is nothing to wait for.
async fn due(at: Option<Time>) {
    match at {
        Some(at) => tokio::time::sleep(at.since(clock::now())).await,
        None => std::future::pending().await,
    }
}

fn earliest(a: Option<Time>, b: Option<Time>) -> Option<Time> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (at, None) | (None, at) => at,
    }
}
