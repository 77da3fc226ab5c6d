//! What the driver moves things with: processes, trees, pipes, probes. Each method is what one action or one kind of
//! fact needs; the machine's reasons for it are not known here.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::lifecycle::action::Purpose;
use crate::lifecycle::event::{Event, Pid, RunId, Sign};
use crate::lifecycle::time::Time;
use crate::logs::pump::{Fact, Pump};
use crate::os::cgroup::{Cgroup, Cgroups};
use crate::os::clock;
use crate::os::credentials::Credentials;
use crate::os::notify::{Message, Rights};
use crate::os::oom::OomWatch;
use crate::os::own::{self, Given};
use crate::os::pidfd::PidFd;
use crate::os::poll::Poller;
use crate::os::spawn::Spawners;
use crate::os::stamps::Stamps;
use crate::os::terminal::Lent;
use crate::os::tree::Trees;
use crate::runtime::arming::{ALARM_TOKEN, Arming};
use crate::runtime::closing::{Closing, Wanted};
use crate::runtime::environment::Inherited;
use crate::runtime::handle::{Counters, Sources};
use crate::runtime::held::Held;
use crate::runtime::kept::{self, Which};
use crate::runtime::load::Paths;
use crate::runtime::probe::Probes;
use crate::runtime::rehearsal::Rehearsal;
use crate::runtime::runs::{Process, Run, Runs};
use crate::runtime::signals::{Meaning, Role, meaning};
use crate::runtime::signs::{Said, Signs};
use crate::runtime::update::Scales;
use crate::units::name::UnitName;
use crate::units::signal;
use crate::units::spec::{Argv, DaemonSpec, LogLevel, SignalName, UnitSet};

/// A process that is to be made, as `Action::Spawn` says it.
pub(super) struct Spawn {
    pub(super) run: RunId,
    pub(super) unit: UnitName,
    pub(super) purpose: Purpose,
    pub(super) argv: Argv,
    pub(super) extra_env: Vec<(String, String)>,
}

/// What svinit found when it was started, and what stays.
pub struct Setting {
    /// The definitions in force.
    pub set: Arc<UnitSet>,
    /// Where they are read from again.
    pub paths: Paths,
    /// What `svinit.toml` said when svinit was started.
    pub daemon: DaemonSpec,
    /// What a signal means.
    pub role: Role,
    /// The unit that has the terminal and gets the signals that are for a foreground command.
    pub foreground: Option<UnitName>,
    /// The environment to pass on.
    pub inherited: Inherited,
    /// For notify sockets and credentials; removed at the end.
    pub dir: PathBuf,
    /// The limits that svinit was given, before it changed its own.
    pub given: Given,
    /// Our own user: processes have it when they do not change.
    pub uid: u32,
}

/// What the hands work with.
pub struct Tools {
    /// Which process belongs to which run.
    pub trees: Trees,
    /// Control groups, where they can be made.
    pub cgroups: Option<Cgroups>,
    /// The container's own counter of kills for want of memory.
    pub oom: OomWatch,
    /// The log.
    pub pump: Pump,
    /// Watches the pipes and sockets of units.
    pub poller: Arc<Poller>,
    /// Network checks.
    pub probes: Probes,
    /// Makes processes.
    pub spawners: Spawners,
}

/// What moves things.
pub struct Hands {
    pub(super) setting: Setting,
    pub(super) facts: VecDeque<Event>,
    pub(super) spawns: Vec<Spawn>,
    pub(super) runs: Runs,
    pub(super) trees: Trees,
    pub(super) closing: Closing,
    /// The trees are to be looked at before the next wait.
    pub(super) look: bool,
    /// Runs of hooks and the like whose process has ended while their pipes are still held by what they left behind.
    pub(super) lingering: BTreeSet<RunId>,
    /// Those whose process lives while nobody holds their pipes.
    pub(super) pipes_closed: BTreeSet<RunId>,
    pub(super) pump: Pump,
    pub(super) poller: Arc<Poller>,
    pub(super) signs: Signs,
    pub(super) probes: Probes,
    pub(super) spawners: Arc<Spawners>,
    /// Who had the terminal, while the foreground unit has it.
    pub(super) terminal: Option<Lent>,
    /// Groups of units in use. Before `cgroups`, so that they go before what they are in.
    pub(super) groups: BTreeMap<UnitName, Group>,
    /// Where groups can be made.
    pub(super) cgroups: Option<Cgroups>,
    /// The container's own counter of kills for want of memory.
    pub(super) oom: OomWatch,
    /// The files of units as they were read last, shown as theirs when what they say is in force.
    pub(super) coming: Sources,
    /// What they say.
    pub(super) planned: UnitSet,
    /// The files before them, of units that they change.
    pub(super) former: Sources,
    /// Numbers of instances that a person has asked for.
    pub(super) scales: Scales,
    /// HUP has come: the files are to be read again.
    pub(super) hung_up: bool,
    /// Sockets, open over everything that becomes of their units.
    pub(super) held: Held,
    /// Of units that have a process.
    pub(super) credentials: BTreeMap<UnitName, Vec<(RunId, Credentials)>>,
    /// What was said about a unit's limits, so that it is said once.
    pub(super) warned: BTreeSet<(UnitName, String)>,
    /// Facts that the machine has been told so far.
    pub(super) heeded: u64,
    /// To be closed when so many have been told: a service waits for that.
    pub(super) barriers: Vec<(u64, OwnedFd)>,
    /// See [`Hands::take_moved`].
    have_moved: bool,
    /// There may be more children to reap than one turn takes.
    pub(super) unreaped: bool,
    /// The test of another svinit, while it runs.
    pub(super) rehearsal: Option<Rehearsal>,
    pub(super) tally: Tally,
    /// Units that are run by the clock.
    pub(super) arming: Arming,
    /// Made in the turn of a crash and being killed. The machine is told nothing until they are gone, or until then.
    pub(super) strays: (BTreeSet<RunId>, Time),
}

/// The control group of a unit.
pub(super) struct Group {
    pub(super) cgroup: Arc<Cgroup>,
    pub(super) oom: OomWatch,
}

/// Counted here because nobody else sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Tally {
    pub(super) orphans: u64,
    pub(super) spawned: u64,
    pub(super) signals_ignored: u64,
}

impl Hands {
    /// Hands that have touched nothing.
    #[must_use]
    pub fn new(setting: Setting, tools: Tools) -> Self {
        let Tools { trees, cgroups, oom, pump, poller, probes, spawners } = tools;
        Self {
            arming: Arming::new(Stamps::new(setting.daemon.state_dir.join("schedule"))),
            signs: Signs::new(setting.dir.clone(), Arc::clone(&poller)),
            setting,
            facts: VecDeque::new(),
            spawns: Vec::new(),
            runs: Runs::default(),
            trees,
            closing: Closing::default(),
            look: false,
            lingering: BTreeSet::new(),
            pipes_closed: BTreeSet::new(),
            pump,
            poller,
            probes,
            spawners: Arc::new(spawners),
            terminal: None,
            cgroups,
            groups: BTreeMap::new(),
            oom,
            coming: Sources::new(),
            planned: UnitSet::default(),
            former: Sources::new(),
            scales: Scales::new(),
            hung_up: false,
            held: Held::default(),
            credentials: BTreeMap::new(),
            warned: BTreeSet::new(),
            heeded: 0,
            barriers: Vec::new(),
            have_moved: false,
            unreaped: false,
            rehearsal: None,
            tally: Tally::default(),
            strays: (BTreeSet::new(), Time::ZERO),
        }
    }

    /// The log, for last words.
    pub fn pump(&mut self) -> &mut Pump {
        &mut self.pump
    }

    pub(super) fn counters(&self) -> Counters {
        let logs = self.pump.counts();
        Counters {
            orphans_reaped: self.tally.orphans,
            spawned: self.tally.spawned,
            log_lines: logs.lines,
            log_bytes: logs.bytes,
            log_dropped: logs.dropped,
        }
    }

    /// A signal has come to svinit.
    pub(super) fn on_signal(&mut self, name: &str, number: i32) {
        match meaning(name, self.setting.role) {
            // Children are looked at after every wake-up; the other is for whoever owns the machine.
            Meaning::Reap | Meaning::Upgrade => {}
            Meaning::Shutdown => self.facts.push_back(Event::ShutdownAsked { why: format!("SIG{name}") }),
            Meaning::Forward => self.forward(name, number),
            Meaning::ReopenLogs => self.reopen_logs("SIGUSR1"),
            Meaning::HangUp => self.hung_up = true,
            Meaning::Unknown => {
                self.tally.signals_ignored += 1;
                self.pump.say(None, LogLevel::Debug, &format!("SIG{name} ignored"));
            }
        }
    }

    fn forward(&mut self, name: &str, number: i32) {
        let run = self.setting.foreground.as_ref().and_then(|unit| self.runs.main_of(unit));
        let main = run.and_then(|run| self.runs.get(run)).and_then(|run| run.main.as_ref());
        match main {
            Some(main) => send(main, number),
            // A lone command that is not there any more, or not yet: an order to stop is for svinit then.
            None if self.setting.role == Role::Command && meaning(name, Role::Units) == Meaning::Shutdown => {
                self.facts.push_back(Event::ShutdownAsked { why: format!("SIG{name}") });
            }
            None => self.tally.signals_ignored += 1,
        }
    }

    pub(super) fn reopen_logs(&mut self, who: &str) {
        self.pump.reopen();
        self.pump.say(None, LogLevel::Info, &format!("log files opened again ({who})"));
    }

    pub(super) fn signal_main(&mut self, run: RunId, signal: &SignalName) {
        let Some(number) = signal::number(&signal.0) else { return };
        let Some(main) = self.runs.get(run).and_then(|run| run.main.as_ref()) else { return };
        send(main, number);
        if needs_cont(number) {
            send(main, libc::SIGCONT);
        }
    }

    pub(super) fn signal_tree(&mut self, run: RunId, signal: &SignalName) {
        let Some(number) = signal::number(&signal.0) else { return };
        self.trees.signal(run, number);
        if needs_cont(number) {
            self.trees.signal(run, libc::SIGCONT);
        }
    }

    pub(super) fn kill_main(&mut self, run: RunId) {
        if let Some(main) = self.runs.get(run).and_then(|run| run.main.as_ref()) {
            send(main, libc::SIGKILL);
        }
    }

    pub(super) fn close_tree(&mut self, run: RunId, wanted: Wanted) {
        self.closing.add(run, wanted);
        self.look = true;
    }

    /// Looks at the trees that somebody waits for, if there was a reason to; kills where that is wanted.
    pub(super) fn look_at_trees(&mut self) {
        let now = clock::now();
        if !self.look && self.closing.again_at().is_none_or(|at| at > now) {
            return;
        }
        self.look = false;
        let (trees, runs) = (&mut self.trees, &self.runs);
        let living = trees.living();
        let gone = self.closing.look(now, |run, wanted| {
            let is_alive = runs.get(run).is_some_and(Run::is_alive);
            let is_left = trees.is_left(run, &living);
            match wanted {
                Wanted::Killed => (is_left && trees.kill(run) > 0) | is_alive,
                Wanted::Gone => is_alive || is_left,
            }
        });
        for run in gone {
            self.strays.0.remove(&run);
            self.forget(run);
            self.facts.push_back(Event::TreeGone { run });
        }
    }

    /// When the trees must be looked at without a cause.
    pub(super) fn again_at(&self) -> Option<Time> {
        self.closing.again_at()
    }

    /// Nothing of the run is left, or nobody cares.
    pub(super) fn forget(&mut self, run: RunId) {
        let unit = self.runs.get(run).map(|run| run.unit.clone());
        self.pump.close(run);
        self.signs.end(run);
        self.trees.forget(run);
        self.runs.forget(run);
        self.lingering.remove(&run);
        self.pipes_closed.remove(&run);
        if let Some(unit) = unit {
            self.withdraw_credentials(&unit, run);
        }
    }

    /// Credentials are there as long as somebody may read them.
    pub(super) fn withdraw_credentials(&mut self, unit: &UnitName, run: RunId) {
        if !self.runs.is_alive(unit) {
            self.credentials.remove(unit);
        } else if let Some(placed) = self.credentials.get_mut(unit) {
            // What runs beside the main process reads the latest.
            let last = placed.len() - 1;
            let mut at = 0;
            placed.retain(|(of, _)| {
                at += 1;
                *of != run || at > last
            });
        }
    }

    /// Descriptors have something to read.
    pub(super) fn on_ready(&mut self, tokens: &[u64]) {
        for &token in tokens {
            if token == ALARM_TOKEN {
                self.arming.heed();
            } else if Pump::owns(token) {
                let facts = self.pump.on_ready(token);
                self.on_log_facts(&facts);
            } else {
                let (runs, trees) = (&self.runs, &self.trees);
                let said = self.signs.on_ready(token, |unit, message| speaks_for(runs, trees, unit, message));
                self.on_said(said);
            }
        }
    }

    /// Reads what processes of `unit` have said by now.
    pub(super) fn hear(&mut self, unit: &UnitName) {
        let (runs, trees) = (&self.runs, &self.trees);
        let said = self.signs.hear(unit, |unit, message| speaks_for(runs, trees, unit, message));
        self.on_said(said);
    }

    fn on_said(&mut self, said: Vec<Said>) {
        for said in said {
            match said {
                Said::Fact(fact) => self.on_sign(fact),
                Said::Rights(unit, rights, fds) => self.on_rights(&unit, rights, fds),
                Said::Ended(run, pid) => self.on_end_seen(run, pid),
            }
        }
    }

    pub(super) fn on_log_facts(&mut self, facts: &[Fact]) {
        for fact in facts {
            match *fact {
                Fact::Matched(run) => self.facts.push_back(Event::Signed { run, sign: Sign::Ready }),
                Fact::Ended(run) if self.lingering.contains(&run) => self.forget(run),
                Fact::Ended(run) => {
                    // Of a hook that still runs; others are closed with their tree.
                    if self.runs.get(run).is_some_and(|run| run.purpose != Purpose::Main) {
                        self.pipes_closed.insert(run);
                    }
                }
            }
        }
    }

    fn on_rights(&mut self, unit: &UnitName, rights: Rights, mut fds: Vec<OwnedFd>) {
        let refused = match rights {
            Rights::Barrier => match (fds.pop(), fds.is_empty()) {
                (Some(fd), true) => {
                    let told = self.heeded + u64::try_from(self.facts.len()).unwrap_or(u64::MAX);
                    self.barriers.push((told, fd));
                    self.have_moved = true;
                    None
                }
                (_, _) => Some("BARRIER=1 comes with one descriptor".to_owned()),
            },
            Rights::Keep { name: None, .. } | Rights::Drop { name: None } => {
                Some("FDNAME is no name of visible letters without \":\"".to_owned())
            }
            Rights::Keep { .. } if fds.is_empty() => Some("FDSTORE=1 came without a descriptor".to_owned()),
            Rights::Keep { name: Some(name), also_dead } => {
                let room = self.setting.set.units.get(unit).map_or(0, |spec| kept::room(spec));
                let kept =
                    fds.into_iter().all(|fd| self.signs.keep(unit, &name, fd, also_dead, room).is_ok());
                (!kept).then(|| format!("at most {room} are kept for it"))
            }
            Rights::Drop { name: Some(name) } => {
                self.signs.let_go(unit, &Which::Named(&name));
                None
            }
            Rights::None => None,
        };
        if let Some(why) = refused {
            self.warn_once(unit, &format!("a descriptor that it sent was not taken: {why}"));
        }
    }

    /// Lets go on who waits until what it has said was heeded, if it was.
    pub(super) fn lift_barriers(&mut self) {
        let (heeded, before) = (self.heeded, self.barriers.len());
        self.barriers.retain(|(told, _)| *told > heeded);
        self.have_moved |= self.barriers.len() != before;
    }

    /// Whether a descriptor has come or gone, since this was asked last, that would be left to the next svinit.
    pub(super) fn take_moved(&mut self) -> bool {
        let moved = [&mut self.have_moved, &mut self.signs.have_moved, self.pump.have_moved()];
        moved.map(std::mem::take).contains(&true)
    }

    /// A process that names another as the main one is believed if that is of the same run.
    pub(super) fn on_sign(&mut self, fact: Event) {
        if let Event::Signed { run, sign: Sign::MainPid(pid) } = fact {
            if self.trees.run_of(pid) != Some(run) {
                return;
            }
            self.take_over(run, pid);
        }
        self.facts.push_back(fact);
    }

    /// From here on `pid`, a process of `run`, is its main process.
    pub(super) fn take_over(&mut self, run: RunId, pid: Pid) {
        self.runs.take_over(run, Process { pid, pidfd: PidFd::open(pid).ok() });
        self.pump.set_pid(run, pid);
        self.watch_end(run, pid);
    }

    /// The end of our own children the reaper sees; that of another's child, only its parent.
    pub(super) fn watch_end(&mut self, run: RunId, pid: Pid) {
        let is_ours = self.trees.is_child(pid);
        self.signs.watch_end(run, (!is_ours).then_some(pid));
    }
}

/// The main run of `unit` that the sender of `message` belongs to. There are two while it is replaced without a gap.
fn speaks_for(runs: &Runs, trees: &Trees, unit: &UnitName, message: &Message) -> Option<RunId> {
    match runs.of_pid(message.pid).or_else(|| trees.run_of(message.pid)) {
        Some(sender) => runs.get(sender).filter(|run| run.is_main_of(unit)).map(|_| sender),
        // Gone already, or its tag cannot be read: its user is all that is known of it, which is of no use where two
        // could have said it.
        None => {
            let (run, only) =
                (runs.main_of(unit)?, runs.mains().filter(|(_, of, _)| *of == unit).count() < 2);
            (only && message.uid == runs.get(run)?.uid).then_some(run)
        }
    }
}

/// A process that has ended meanwhile is no error: its end is on its way to us.
fn send(to: &Process, number: i32) {
    let _ = match &to.pidfd {
        Some(pidfd) => pidfd.signal(number),
        // Not reaped yet, or it would not be in the table: the number is still its own.
        None => own::signal_child(to.pid, number),
    };
}

/// A stopped process acts on no signal but KILL until it is told to go on.
fn needs_cont(number: i32) -> bool {
    ![libc::SIGKILL, libc::SIGSTOP, libc::SIGTSTP, libc::SIGCONT].contains(&number)
}
