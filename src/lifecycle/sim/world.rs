//! A small kernel and a small outside: processes, signals, checks, and how late news of them arrives.
//!
//! It does what the actions say and nothing else. Its time is the time in which processes live; when the machine is
//! suspended they do not, so the clock that the supervisor is told runs ahead of it by the length of all suspensions.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::rc::Rc;
use std::time::Duration;

use crate::lifecycle::action::{Action, Purpose};
use crate::lifecycle::event::{Event, ExitStatus, Pid, RunId, Sign, SpawnCause, SpawnFailure, Whom};
use crate::lifecycle::sim::dice::Dice;
use crate::lifecycle::sim::plan::{self, Plan};
use crate::lifecycle::sim::script::{Script, WhenTold};
use crate::lifecycle::time::Time;
use crate::units::name::UnitName;
use crate::units::spec::{Argv, Check, Kind, ReadySign};

/// What svinit has written down of its processes.
pub(super) struct Noted {
    /// Of each run: whose end it is told, whether the end of all of it is awaited, and whether it is being killed.
    runs: BTreeMap<RunId, (Option<ProcId>, bool, bool)>,
    /// Those of which it is on its way that nothing is left.
    gone: BTreeSet<RunId>,
    current: BTreeMap<UnitName, RunId>,
    /// The number of the latest thing that was due then.
    last: u64,
}

/// What happens next.
pub(super) enum Next {
    /// The supervisor is to be told this.
    Tell(Event),
    /// A planned thing: the schedule knows what.
    Planned(usize),
    /// Something happened that nobody is told.
    Nothing,
}

enum Due {
    Tell(Event),
    Planned(usize),
    End(ProcId, ExitStatus, bool),
    Fork(ProcId, Box<Script>),
    Freeze(ProcId),
    Say(RunId, Sign),
    /// It reads its configuration again, as it tells.
    Reload(RunId),
}

type ProcId = u64;

/// Why a process cannot be made, as likely as they stand here.
const FAILURES: [(SpawnCause, &str); 5] = [
    (SpawnCause::NoResources, "cannot fork: no room"),
    (SpawnCause::NoResources, "cannot fork: no room"),
    (SpawnCause::Missing, "cannot execute: not found"),
    (SpawnCause::NotExecutable, "cannot execute: permission denied"),
    (SpawnCause::Context, "cannot change user: not permitted"),
];

struct Proc {
    run: RunId,
    pid: i32,
    script: Script,
    made: Time,
    frozen: bool,
    /// Its end came while it was frozen, or it was told to stop then.
    held_back: Option<(ExitStatus, bool)>,
    told: bool,
}

struct Run {
    unit: UnitName,
    purpose: Purpose,
    /// Whose end the supervisor is told.
    main: Option<ProcId>,
    procs: Vec<ProcId>,
    awaited: bool,
    /// The process that it is to tell something.
    main_pid: Option<i32>,
    /// Everything that it still forks is killed at once.
    killing: bool,
    /// News of one run come in order.
    last_told: Time,
}

/// Processes, and news under way.
pub(super) struct World {
    plan: Rc<Plan>,
    dice: Dice,
    /// In the life of processes.
    pub(super) now: Time,
    queue: BinaryHeap<Reverse<(Time, u64)>>,
    due: BTreeMap<u64, Due>,
    last: u64,
    runs: BTreeMap<RunId, Run>,
    procs: BTreeMap<ProcId, Proc>,
    pids: Vec<bool>,
    last_pid: usize,
    /// By how much the supervisor's clock, which every process can read, is ahead of `now`.
    pub(super) ahead: Duration,
    /// The latest main run of each unit.
    current: BTreeMap<UnitName, RunId>,
    /// Units of which a process could not be killed at once.
    stuck: BTreeSet<UnitName>,
    /// What was cleared away after a crash and could not be killed at once.
    stuck_strays: BTreeSet<RunId>,
    /// Faults have ceased.
    pub(super) calm: bool,
    /// The wish of this number cannot be carried out, whatever else happens; 0 is none.
    pub(super) fails: u64,
    /// Wishes that could have failed so far: processes, checks, pid files. Not counted once faults have ceased.
    pub(super) wishes: u64,
}

impl World {
    pub(super) fn new(plan: Rc<Plan>, seed: u64) -> Self {
        let pids = vec![false; usize::try_from(plan.pids).expect("a small number")];
        Self {
            plan,
            dice: Dice::new(seed ^ 0x00c0_ffee),
            now: Time::ZERO,
            queue: BinaryHeap::new(),
            due: BTreeMap::new(),
            last: 0,
            runs: BTreeMap::new(),
            procs: BTreeMap::new(),
            pids,
            last_pid: 0,
            ahead: Duration::ZERO,
            current: BTreeMap::new(),
            stuck: BTreeSet::new(),
            stuck_strays: BTreeSet::new(),
            calm: false,
            fails: 0,
            wishes: 0,
        }
    }

    /// Something of the schedule's own, known to it by a number.
    pub(super) fn plan_at(&mut self, at: Time, what: usize) {
        self.put(at, Due::Planned(what));
    }

    /// When something happens next.
    pub(super) fn next_at(&self) -> Option<Time> {
        self.queue.peek().map(|Reverse((at, _))| *at)
    }

    /// Goes to the next thing that happens.
    pub(super) fn go_on(&mut self) -> Next {
        let Some(Reverse((at, id))) = self.queue.pop() else { return Next::Nothing };
        self.now = self.now.max(at);
        match self.due.remove(&id).expect("what is queued is due") {
            Due::Tell(event) => return Next::Tell(event),
            Due::Planned(what) => return Next::Planned(what),
            Due::End(proc, status, oom) => self.end(proc, status, oom),
            Due::Fork(proc, script) => self.fork(proc, *script),
            Due::Freeze(proc) => {
                if let Some(proc) = self.procs.get_mut(&proc) {
                    proc.frozen = true;
                }
            }
            Due::Reload(run) => {
                if self.main_of(run).is_some_and(|main| !self.procs[&main].frozen) {
                    self.reload(run);
                }
            }
            Due::Say(run, sign) => {
                if self.main_of(run).is_some_and(|main| !self.procs[&main].frozen) {
                    if sign == Sign::Alive {
                        self.stay_alive(run);
                    }
                    self.tell(run, Event::Signed { run, sign });
                }
            }
        }
        Next::Nothing
    }

    /// Does what was wished for.
    ///
    /// # Errors
    /// When it makes no sense: a run that never was.
    pub(super) fn perform(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Spawn { run, unit, .. } if self.runs.contains_key(run) => {
                return Err(format!("there was a run {run} before the one that {unit} is to have"));
            }
            Action::Spawn { run, unit, purpose, argv, extra_env } => {
                self.spawn(*run, unit, *purpose, argv);
                let about = extra_env.iter().find(|(name, _)| name == "MAINPID");
                if let (Some((_, pid)), Some(entry)) = (about, self.runs.get_mut(run)) {
                    entry.main_pid = pid.parse().ok();
                }
            }
            Action::Signal { run, signal, whom } => {
                for proc in self.meant(*run, *whom)? {
                    self.signal(proc, &signal.0);
                }
            }
            Action::Kill { run, whom } => {
                for proc in self.meant(*run, *whom)? {
                    self.kill(proc);
                }
                if *whom == Whom::Tree {
                    self.runs.get_mut(run).expect("asked for above").killing = true;
                    self.await_tree(*run);
                }
            }
            Action::AwaitTree { run } => {
                self.meant(*run, Whom::Tree)?;
                self.await_tree(*run);
            }
            Action::Probe { run, unit, check } => self.probe(*run, unit, check),
            Action::ReadPidFile { run, .. } => self.read_pid_file(*run)?,
            Action::Measure { run } => {
                let leaks =
                    self.main_of(*run).is_some_and(|main| self.procs[&main].script.leaks && !self.calm);
                let memory = if leaks { 2 << 20 } else { 1 << 10 };
                self.tell(*run, Event::Measured { run: *run, memory });
            }
            Action::CancelProbe { .. }
            | Action::Report(_)
            | Action::Answer { .. }
            | Action::JobDone { .. }
            | Action::Define { .. }
            | Action::Forget { .. }
            | Action::End(_) => {}
        }
        Ok(())
    }

    /// Whether news of this run are on their way.
    pub(super) fn has_news_of(&self, run: Option<RunId>) -> bool {
        let is_of =
            |due: &Due| matches!(due, Due::Tell(event) if event.run().is_some() && event.run() == run);
        self.due.values().any(is_of)
    }

    /// What svinit has written down before it is told `next`.
    pub(super) fn note(&self, next: &Event) -> Noted {
        let is_gone = |event: &Event| match event {
            Event::TreeGone { run } => Some(*run),
            _ => None,
        };
        let on_its_way = |due: &Due| match due {
            Due::Tell(event) => is_gone(event),
            _ => None,
        };
        Noted {
            runs: self.runs.iter().map(|(id, run)| (*id, (run.main, run.awaited, run.killing))).collect(),
            gone: self.due.values().filter_map(on_its_way).chain(is_gone(next)).collect(),
            current: self.current.clone(),
            last: self.last,
        }
    }

    /// svinit has crashed: what it has not written down of its own doing is lost, what happens to processes is not. Comes
    /// back with the runs that have a process.
    pub(super) fn crash(&mut self, noted: &Noted, known: &BTreeSet<RunId>) -> BTreeSet<RunId> {
        self.current.clone_from(&noted.current);
        let is_lost = |id: &u64, due: &Due| match due {
            // Whoever awaits it looks again.
            Due::Tell(Event::TreeGone { .. }) => true,
            Due::Tell(Event::MainFound { .. } | Event::MainNotFound { .. } | Event::Measured { .. }) => {
                *id > noted.last
            }
            Due::Tell(event) => event.run().is_some_and(|run| !known.contains(&run)),
            _ => false,
        };
        let lost: Vec<u64> =
            self.due.iter().filter(|(id, due)| is_lost(id, due)).map(|(id, _)| *id).collect();
        for id in &lost {
            self.due.remove(id);
        }
        self.queue.retain(|Reverse((_, id))| !lost.contains(id));
        self.runs.retain(|id, run| noted.runs.contains_key(id) || !run.procs.is_empty());
        for (id, (main, awaited, killing)) in &noted.runs {
            let lives = main.filter(|main| self.procs.contains_key(main));
            let run = self.runs.get_mut(id).expect("a run that was noted");
            (run.main, run.killing) = (lives, *killing);
            run.awaited = *awaited || noted.gone.contains(id);
            self.tell_if_gone(*id);
        }
        self.runs.iter().filter(|(_, run)| !run.procs.is_empty()).map(|(id, _)| *id).collect()
    }

    /// What was made in the turn of the crash is killed, and awaited; what cannot be killed is not.
    pub(super) fn clear_away(&mut self, strays: &BTreeSet<RunId>) {
        for id in strays {
            let Some(run) = self.runs.get_mut(id) else { continue };
            (run.main, run.killing) = (None, true);
            for proc in run.procs.clone() {
                if self.procs[&proc].script.stuck_for.is_zero() {
                    self.end(proc, ExitStatus::Signal { number: 9, core: false }, false);
                } else {
                    self.stuck_strays.insert(*id);
                    self.kill(proc);
                }
            }
        }
    }

    /// Whether this was cleared away after a crash, and the kernel would not let it go at once.
    pub(super) fn is_stuck_stray(&self, run: RunId) -> bool {
        self.stuck_strays.contains(&run)
    }

    /// It is told once more.
    pub(super) fn tell_again(&mut self, event: Event) {
        self.put(self.now, Due::Tell(event));
    }

    /// Whether any process of this run lives.
    pub(super) fn lives(&self, run: RunId) -> bool {
        self.runs.get(&run).is_some_and(|run| !run.procs.is_empty())
    }

    /// The runs that have a process, with whose they are, what for, and since when the oldest lives.
    pub(super) fn living(&self) -> impl Iterator<Item = (RunId, &UnitName, Purpose)> {
        self.runs
            .iter()
            .filter(|(_, run)| !run.procs.is_empty())
            .map(|(id, run)| (*id, &run.unit, run.purpose))
    }

    /// Whether any process of this unit could not be killed at once, at any time.
    pub(super) fn was_stuck(&self, unit: &UnitName) -> bool {
        self.stuck.contains(unit)
    }

    /// Whether any process at all could not be killed at once, at any time.
    pub(super) fn anything_stuck(&self) -> bool {
        !self.stuck.is_empty()
    }

    /// To be asked once for each wish that can fail: whether this one does.
    fn fails_now(&mut self) -> bool {
        self.wishes += u64::from(!self.calm);
        !self.calm && self.wishes == self.fails
    }

    fn put(&mut self, at: Time, due: Due) {
        self.last += 1;
        self.queue.push(Reverse((at, self.last)));
        self.due.insert(self.last, due);
    }

    fn put_in(&mut self, after: Duration, due: Due) {
        self.put(self.now.after(after), due);
    }

    fn latency(&mut self) -> Duration {
        match self.dice.below(20) {
            0..10 => Duration::ZERO,
            10..19 => self.dice.millis(0, self.plan.latency_max),
            _ => self.dice.millis(0, self.plan.latency_max * 3),
        }
    }

    /// News of a run are under way, and come after all that were sent before.
    fn tell(&mut self, run: RunId, event: Event) {
        let at = self.now.after(self.latency());
        let at = match self.runs.get_mut(&run) {
            Some(run) => {
                run.last_told = run.last_told.max(at);
                run.last_told
            }
            None => at,
        };
        self.put(at, Due::Tell(event));
    }

    fn meant(&self, run: RunId, whom: Whom) -> Result<Vec<ProcId>, String> {
        let Some(found) = self.runs.get(&run) else { return Err(format!("there never was a run {run}")) };
        Ok(match whom {
            Whom::Main => found.main.into_iter().collect(),
            Whom::Tree => found.procs.clone(),
        })
    }

    fn main_of(&self, run: RunId) -> Option<ProcId> {
        self.runs.get(&run)?.main
    }

    fn spawn(&mut self, run: RunId, unit: &UnitName, purpose: Purpose, argv: &Argv) {
        let entry = Run {
            unit: unit.clone(),
            purpose,
            main: None,
            procs: Vec::new(),
            awaited: false,
            main_pid: None,
            killing: false,
            last_told: self.now,
        };
        self.runs.insert(run, entry);
        let plan = Rc::clone(&self.plan);
        let manner = &plan.manners[unit];
        let failure = if self.fails_now() {
            Some(FAILURES[usize::try_from(self.fails).expect("small") % FAILURES.len()])
        } else if !self.calm && self.dice.percent(manner.unmakeable) {
            Some(self.dice.pick(&FAILURES))
        } else if self.pids.iter().all(|taken| *taken) {
            Some((SpawnCause::NoResources, "cannot fork: no process number left"))
        } else {
            None
        };
        if let Some((cause, why)) = failure {
            return self
                .tell(run, Event::SpawnFailed { run, failure: SpawnFailure { cause, why: why.to_owned() } });
        }
        let mut script = Script::draw(&mut self.dice, plan.spec(unit), purpose, manner, self.calm);
        if purpose == Purpose::Main {
            self.current.insert(unit.clone(), run);
        }
        if let (Purpose::Probe, Some((_, status, _))) = (purpose, &mut script.end) {
            *status = if self.answers(unit, &argv.0[0]) { *status } else { ExitStatus::Code(1) };
        }
        let main = self.make(run, script.clone());
        self.runs.get_mut(&run).expect("just made").main = Some(main);
        let pid = Pid(self.procs[&main].pid);
        self.tell(run, Event::Spawned { run, pid });
        if purpose == Purpose::Main {
            self.begin_main(run, unit, script);
        }
    }

    /// One with a watchdog speaks up in time, until it hangs.
    fn stay_alive(&mut self, run: RunId) {
        let plan = Rc::clone(&self.plan);
        let unit = &self.runs[&run].unit;
        if let Some(window) = plan.spec(unit).watchdog
            && (self.calm || !self.dice.percent(8))
        {
            self.put_in(window / 2, Due::Say(run, Sign::Alive));
        }
    }

    /// What only main processes do: say that they are up, and fork the daemon.
    fn begin_main(&mut self, run: RunId, unit: &UnitName, script: Script) {
        let plan = Rc::clone(&self.plan);
        let spec = plan.spec(unit);
        let says = spec.kind == Kind::Notify
            || matches!(
                spec.ready.as_ref().map(|r| &r.sign),
                Some(ReadySign::Notify | ReadySign::Log(_) | ReadySign::Fd(_))
            );
        if let (true, Some(after)) = (says, script.up_after) {
            self.put_in(after, Due::Say(run, Sign::Ready));
        }
        self.stay_alive(run);
        if spec.kind == Kind::Notify {
            self.speak(run, &script);
        }
        if matches!(spec.kind, Kind::Forking { .. }) {
            let parent = self.main_of(run).expect("just made");
            let (after, stays) = (self.dice.millis(0, 30), script.up_after.is_some());
            let mut daemon = script;
            daemon.children.clear();
            let parent_end = if stays {
                ExitStatus::Code(0)
            } else {
                self.dice.pick(&[ExitStatus::Code(0), ExitStatus::Code(1)])
            };
            if stays {
                self.put_in(after / 2, Due::Fork(parent, Box::new(daemon)));
            }
            let fate = self.procs.get_mut(&parent).expect("just made");
            fate.script.end = None;
            self.put_in(after, Due::End(parent, parent_end, false));
        }
    }

    /// It reloads now and then by itself, and may say that it stops before it does, or does not.
    fn speak(&mut self, run: RunId, script: &Script) {
        if self.calm {
            return;
        }
        for _ in 0..self.dice.below(4) {
            let after = self.dice.millis(0, 8_000);
            self.put_in(after, Due::Reload(run));
        }
        let leaves = script.end.map(|(after, ..)| after.saturating_sub(self.dice.millis(0, 500)));
        let lies = self.dice.percent(3).then(|| self.dice.millis(0, 8_000));
        if let Some(after) = lies.or(leaves.filter(|_| self.dice.percent(40))) {
            self.put_in(after, Due::Say(run, Sign::Stopping));
        }
    }

    /// Reads its configuration again, as one that has just begun to tells.
    fn reload(&mut self, run: RunId) {
        let began = self.now.after(self.ahead);
        self.put_in(Duration::ZERO, Due::Say(run, Sign::Reloading(Some(began))));
        let unit = self.runs[&run].unit.clone();
        let plan = Rc::clone(&self.plan);
        if self.calm || !self.dice.percent(plan.manners[&unit].helpers_fail) {
            let after = self.dice.millis(1, 100);
            self.put_in(after, Due::Say(run, Sign::Ready));
        }
    }

    fn make(&mut self, run: RunId, script: Script) -> ProcId {
        let taken = self.pids.len();
        let slot = (1..=taken)
            .map(|step| (self.last_pid + step) % taken)
            .find(|slot| !self.pids[*slot])
            .expect("the caller has seen a free number");
        self.pids[slot] = true;
        self.last_pid = slot;
        self.last += 1;
        let id = self.last;
        if let Some((after, status, oom)) = script.end {
            self.put_in(after, Due::End(id, status, oom));
        }
        if let Some(after) = script.frozen_after {
            self.put_in(after, Due::Freeze(id));
        }
        for (after, child) in &script.children {
            self.put_in(*after, Due::Fork(id, child.clone()));
        }
        let pid = i32::try_from(slot).expect("small") + 2;
        let frozen = false;
        self.procs
            .insert(id, Proc { run, pid, script, made: self.now, frozen, held_back: None, told: false });
        self.runs.get_mut(&run).expect("made before its processes").procs.push(id);
        id
    }

    fn fork(&mut self, parent: ProcId, script: Script) {
        let Some(run) = self.procs.get(&parent).filter(|p| !p.frozen).map(|p| p.run) else { return };
        if self.pids.iter().all(|taken| *taken) || self.runs[&run].killing {
            return;
        }
        self.make(run, script);
    }

    fn end(&mut self, id: ProcId, status: ExitStatus, oom: bool) {
        let Some(proc) = self.procs.get_mut(&id) else { return };
        let is_kill = matches!(status, ExitStatus::Signal { number: 9, .. });
        if proc.frozen && !is_kill {
            proc.held_back = Some((status, oom));
            return;
        }
        let proc = self.procs.remove(&id).expect("looked at above");
        self.pids[usize::try_from(proc.pid - 2).expect("as it was made")] = false;
        let run = self.runs.get_mut(&proc.run).expect("a process has a run");
        run.procs.retain(|other| *other != id);
        let was_main = run.main == Some(id);
        if was_main {
            run.main = None;
        }
        let (purpose, about) = (run.purpose, run.main_pid);
        if was_main {
            let said = if purpose == Purpose::Main { String::new() } else { "its last words".to_owned() };
            self.tell(proc.run, Event::Exited { run: proc.run, status, oom, said });
        }
        let tells = purpose == Purpose::StopCommand && proc.script.effective && status == ExitStatus::Code(0);
        let about = self.procs.iter().find(|(_, other)| Some(other.pid) == about).map(|(id, _)| *id);
        if let Some(main) = about.filter(|_| tells) {
            self.signal(main, "TERM");
        }
        self.tell_if_gone(proc.run);
    }

    fn await_tree(&mut self, run: RunId) {
        self.runs.get_mut(&run).expect("asked for by the caller").awaited = true;
        self.tell_if_gone(run);
    }

    fn tell_if_gone(&mut self, run: RunId) {
        let entry = self.runs.get_mut(&run).expect("a known run");
        if entry.awaited && entry.procs.is_empty() {
            entry.awaited = false;
            self.tell(run, Event::TreeGone { run });
        }
    }

    fn kill(&mut self, proc: ProcId) {
        let Some(found) = self.procs.get(&proc) else { return };
        if !found.script.stuck_for.is_zero() {
            self.stuck.insert(self.runs[&found.run].unit.clone());
        }
        let after = found.script.stuck_for.max(Duration::from_micros(self.dice.below(3_000)));
        self.put_in(after, Due::End(proc, ExitStatus::Signal { number: 9, core: false }, false));
    }

    fn signal(&mut self, proc: ProcId, signal: &str) {
        let Some(found) = self.procs.get_mut(&proc) else { return };
        match signal {
            "KILL" => return self.kill(proc),
            "STOP" => {
                found.frozen = true;
                return;
            }
            "TERM" | "QUIT" | "INT" | "ABRT" => {
                if let (WhenTold::End(after, status), false) = (found.script.when_told, found.told) {
                    found.told = true;
                    self.put_in(after, Due::End(proc, status, false));
                }
            }
            "HUP" => self.on_hangup(proc),
            _ => {}
        }
        self.continue_it(proc);
    }

    /// CONT follows every other signal.
    fn continue_it(&mut self, proc: ProcId) {
        let Some(found) = self.procs.get_mut(&proc) else { return };
        found.frozen = false;
        if let Some((status, oom)) = found.held_back.take() {
            self.put_in(Duration::ZERO, Due::End(proc, status, oom));
        }
    }

    fn on_hangup(&mut self, proc: ProcId) {
        let run = self.procs[&proc].run;
        let unit = self.runs[&run].unit.clone();
        let plan = Rc::clone(&self.plan);
        if plan.spec(&unit).kind != Kind::Notify || self.main_of(run) != Some(proc) {
            return;
        }
        if self.calm || self.dice.percent(70) {
            return self.reload(run);
        }
        // It was just doing so by itself.
        let before = self.dice.millis(1, 50);
        let began = Time(
            self.now.after(self.ahead).0.saturating_sub(u64::try_from(before.as_micros()).expect("short")),
        );
        self.put_in(Duration::ZERO, Due::Say(run, Sign::Reloading(Some(began))));
        self.put_in(Duration::from_millis(1), Due::Say(run, Sign::Ready));
        self.put_in(Duration::from_millis(2), Due::Reload(run));
    }

    fn probe(&mut self, run: RunId, unit: &UnitName, check: &Check) {
        if self.fails_now() {
            let why = "cannot connect: too many open files".to_owned();
            return self.put_in(Duration::ZERO, Due::Tell(Event::NotPassed { run, why }));
        }
        let passes = self.answers(unit, plan::topic(check));
        let hangs = !self.calm && self.dice.percent(4);
        let after = if hangs { Duration::from_secs(30) } else { self.dice.millis(0, 20) };
        let event = if passes && !hangs {
            Event::Passed { run }
        } else {
            Event::NotPassed { run, why: "connection refused".to_owned() }
        };
        self.put_in(after, Due::Tell(event));
    }

    /// Whether a check of this gets the answer that it hopes for, now.
    fn answers(&mut self, unit: &UnitName, topic: &str) -> bool {
        let outside_from = Time::ZERO.after(self.plan.outside_from);
        if topic.starts_with("outside") {
            return self.calm || self.now >= outside_from;
        }
        let Some(main) = self.current.get(unit).and_then(|run| self.main_of(*run)) else { return false };
        let proc = &self.procs[&main];
        if proc.frozen {
            return false;
        }
        let (age, script) = (self.now.since(proc.made), &proc.script);
        let truth = match topic {
            "ready" => script.up_after.is_some_and(|after| age >= after),
            _ => self.calm || script.ill_after.is_none_or(|after| age < after),
        };
        let lies = script.lies;
        if !self.calm && self.dice.percent(lies) { self.dice.percent(50) } else { truth }
    }

    fn read_pid_file(&mut self, run: RunId) -> Result<(), String> {
        self.meant(run, Whom::Tree)?;
        let daemon = self.runs[&run].procs.last().copied().filter(|_| !self.fails_now());
        match daemon {
            Some(daemon) => {
                self.runs.get_mut(&run).expect("known").main = Some(daemon);
                let pid = Pid(self.procs[&daemon].pid);
                self.tell(run, Event::MainFound { run, pid });
            }
            None => self.tell(run, Event::MainNotFound { run, why: "no such file".to_owned() }),
        }
        Ok(())
    }

    /// Faults cease: what is ill, frozen or lying stays so only until it is replaced; stopped processes go on.
    pub(super) fn become_calm(&mut self) {
        self.calm = true;
        self.pids.resize(self.pids.len().max(64), false);
        let all: Vec<ProcId> = self.procs.keys().copied().collect();
        for proc in all {
            self.continue_it(proc);
        }
    }
}
