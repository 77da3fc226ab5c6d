//! For tests: a small world of units, and a driver that only answers.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{broadcast, mpsc};

use crate::lifecycle::action::Outcome;
use crate::lifecycle::event::{Command, ExitStatus, JobId, Pid, RunId};
use crate::lifecycle::state::{Health, Label, LastExit, Phase, UnitView};
use crate::lifecycle::time::Time;
use crate::logs::line::{Line, Stream};
use crate::runtime::handle::{
    ASKS_BACKLOG, Ask, Board, Handle, Info, JobNote, Logs, Program, Reader, SourceText, Sources, Upgrade,
    UpgradeNote, Usage,
};
use crate::runtime::update::Planned;
use crate::units::difference::{Difference, UnitChange};
use crate::units::name::UnitName;
use crate::units::spec::{Argv, UnitSet, UnitSpec};

/// The units `db` (ready), `web` (ready, also known as `django`) and `job` (completed).
pub(crate) struct World {
    pub(crate) board: Arc<Board>,
    pub(crate) handle: Handle,
    asks: Option<mpsc::Receiver<Ask>>,
    pub(crate) lines: broadcast::Sender<Arc<Line>>,
}

pub(crate) fn name(text: &str) -> UnitName {
    UnitName::new(text).unwrap()
}

fn now() -> Time {
    Time::from_millis(61_000)
}

pub(crate) fn world() -> World {
    let units: BTreeMap<_, _> =
        ["db", "web", "job"].map(|unit| (name(unit), Arc::new(spec(unit)))).into_iter().collect();
    let set = UnitSet { units, aliases: BTreeMap::from([(name("django"), name("web"))]) };
    let info = Info {
        started: Time::from_millis(1_000),
        pid: 1,
        unit_paths: vec!["/etc/svinit/units".into()],
        http: Some(([127, 0, 0, 1], 9500).into()),
        tracking: "tag",
        wall_us_at_start: 1_700_000_000_000_000,
        clock: now,
        effective: |spec| format!("description = {:?}\n", spec.description),
        program: Program::default(),
    };
    let views = vec![view("db", Label::Ready), view("web", Label::Ready), view("job", Label::Completed)];
    let board = Board::new(Arc::new(set), views, info);
    board.set_phase(Phase::Running);
    let text = SourceText { path: "/etc/svinit/units/web.toml".into(), text: "command = [\"web\"]\n".into() };
    board.set_sources(Sources::from([(name("web"), vec![text])]));
    let (sender, asks) = mpsc::channel(ASKS_BACKLOG);
    let reader = Reader::new(Arc::clone(&board)).with_usage(sender.clone());
    World { board, handle: Handle::new(reader, sender), asks: Some(asks), lines: broadcast::channel(16).0 }
}

impl World {
    pub(crate) fn reader(&self) -> Reader {
        self.handle.reader().clone()
    }

    /// What the driver would be asked, for who wants to answer by itself.
    pub(crate) fn asks(&mut self) -> mpsc::Receiver<Ask> {
        self.asks.take().unwrap()
    }

    /// Answers everything, at once and well.
    pub(crate) fn drive(mut self) -> Self {
        let mut asks = self.asks();
        let (board, lines) = (Arc::clone(&self.board), self.lines.clone());
        tokio::spawn(async move {
            while let Some(ask) = asks.recv().await {
                answer(&board, &lines, ask);
            }
        });
        self
    }
}

fn answer(board: &Board, lines: &broadcast::Sender<Arc<Line>>, ask: Ask) {
    match ask {
        Ask::Job { command, notes, .. } => {
            for unit in named(command) {
                let view = UnitView { pid: Some(Pid(200)), ..view(unit.as_str(), Label::Ready) };
                let change = board.change(now(), Label::Ready, Health::Unknown, view);
                let outcome = Outcome { unit, ok: true, why: "ready".into(), said: String::new() };
                let _ = notes.send(JobNote::Answer { outcome, view: Some(Arc::clone(&change.view)) });
            }
            let _ = notes.send(JobNote::Done);
        }
        Ask::Logs { follow, reply, .. } => {
            let kept = vec![line("web", "kept")];
            let _ = reply.send(Logs { kept, coming: follow.then(|| lines.subscribe()) });
        }
        Ask::Usage { reply, .. } => {
            let used = Usage { memory: 4096, cpu_us: 1_500_000, tasks: 2, fds: 7 };
            let _ = reply.send(BTreeMap::from([(name("web"), used)]));
        }
        Ask::Environment { reply, .. } => {
            let _ = reply.send(Ok(BTreeMap::from([("DB_PASSWORD".to_owned(), "***".to_owned())])));
        }
        Ask::Update { is_dry, reply, .. } => {
            let change = UnitChange::Changed(Vec::new());
            let difference = Difference(BTreeMap::from([(name("web"), change)]));
            let (notes, answers) = mpsc::unbounded_channel();
            let outcome =
                Outcome { unit: name("web"), ok: true, why: "changed, in force".into(), said: String::new() };
            let _ = notes.send(JobNote::Answer { outcome, view: None });
            let _ = notes.send(JobNote::Done);
            let job = (!is_dry).then_some((JobId(1), answers));
            let _ = reply.send(Ok(Planned { difference, warnings: Vec::new(), job }));
        }
        Ask::Upgrade { notes, .. } => {
            let upgrade = Upgrade { from: "0.1.0".to_owned(), to: "0.2.0".to_owned(), upgrades: 1 };
            let _ = notes.send(UpgradeNote::Fit(upgrade));
        }
        Ask::Shutdown { .. } | Ask::ReopenLogs => {}
    }
}

pub(crate) fn named(command: Command) -> Vec<UnitName> {
    match command {
        Command::Start(units)
        | Command::Stop(units)
        | Command::Reset(units)
        | Command::Pause(units)
        | Command::Resume(units)
        | Command::Restart { units, .. }
        | Command::Reload { units, .. }
        | Command::Signal { units, .. } => units,
    }
}

pub(crate) fn line(unit: &str, text: &str) -> Arc<Line> {
    Arc::new(Line {
        wall_us: 1_700_000_000_000_001,
        unit: unit.into(),
        pid: Some(100),
        stream: Stream::Stdout,
        text: text.into(),
    })
}

pub(crate) fn view(unit: &str, label: Label) -> UnitView {
    let is_running = label == Label::Ready;
    UnitView {
        name: name(unit),
        description: format!("the {unit}"),
        label,
        health: Health::Unknown,
        health_why: String::new(),
        run: is_running.then_some(RunId(1)),
        pid: is_running.then_some(Pid(100)),
        since: Time::from_millis(2_000),
        started: is_running.then_some(Time::from_millis(1_500)),
        restarts: 3,
        last_exit: Some(LastExit {
            status: ExitStatus::Signal { number: 9, core: false },
            oom: true,
            at: Time::from_millis(1_200),
        }),
        why: "ready".into(),
        waits_for: Vec::new(),
        status_text: String::new(),
        retry_at: None,
        held: false,
        paused: false,
        wanted: true,
        start_took: Some(Duration::from_millis(130)),
        stop_took: None,
        beside: Vec::new(),
        schedule: None,
    }
}

fn spec(unit: &str) -> UnitSpec {
    UnitSpec {
        description: format!("the {unit}"),
        aliases: if unit == "web" { vec![name("django")] } else { Vec::new() },
        origin: PathBuf::from(format!("/etc/svinit/units/{unit}.toml")),
        ..UnitSpec::new(name(unit), Argv(vec![unit.to_owned()]))
    }
}
