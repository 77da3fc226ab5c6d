//! What an attentive observer knows: every event that the supervisor was told, every action that it answered with.
//!
//! The book holds facts only. What they mean is for the promises to say.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::lifecycle::action::{Action, End, Outcome, Purpose};
use crate::lifecycle::event::{Command, Event, ExitStatus, JobId, Otherwise, Pid, RunId, Sign, SpawnCause};
use crate::lifecycle::schedule::{CAME, COME};
use crate::lifecycle::sim::plan::{self, Plan};
use crate::lifecycle::state::{Health, Label};
use crate::lifecycle::time::Time;
use crate::units::name::UnitName;
use crate::units::spec::{Check, Kind, Mode, Policy, UnitSet, UnitSpec};

/// The record of one schedule.
#[derive(Clone)]
pub(super) struct Book {
    pub(super) plan: Rc<Plan>,
    /// As the supervisor was told.
    pub(super) now: Time,
    /// In the life of processes: without suspensions.
    pub(super) lived: Time,
    /// How much later than due this tick comes.
    pub(super) late: Duration,
    pub(super) units: BTreeMap<UnitName, UnitBook>,
    pub(super) runs: BTreeMap<RunId, RunBook>,
    pub(super) jobs: BTreeMap<JobId, JobBook>,
    /// Shutdown was asked for at this moment of life.
    pub(super) shutdown: Option<Time>,
    /// The supervisor is on its way out since then, for whatever reason.
    pub(super) ending: Option<Time>,
    /// The same by the supervisor's clock.
    pub(super) ending_told: Option<Time>,
    /// The event just told is about a run that is over.
    pub(super) stale: bool,
    pub(super) second: Option<Time>,
    pub(super) end: Option<End>,
    /// Definitions in force.
    pub(super) defined: BTreeMap<UnitName, Arc<UnitSpec>>,
    /// The last one of each unit that there ever was.
    pub(super) latest: BTreeMap<UnitName, Arc<UnitSpec>>,
    /// Those of the last update, and whether that is being taken over in this very step.
    pub(super) wanted: BTreeMap<UnitName, Arc<UnitSpec>>,
    pub(super) updating: bool,
    pub(super) updated_at: Time,
    /// Units whose next process it is for.
    pub(super) renewed: BTreeSet<UnitName>,
    /// Units that come with it, and units that go.
    pub(super) came: BTreeSet<UnitName>,
    pub(super) went: BTreeSet<UnitName>,
    /// It changes what an earlier update has still to do.
    pub(super) overtakes: bool,
    /// Definitions that were tried or had to wait for their turn and were given up, until another update.
    pub(super) given_up: BTreeMap<UnitName, (Version, GivenUp)>,
    /// What a unit was before it was told to have another definition, in this step.
    pub(super) put_back: BTreeMap<UnitName, Version>,
    /// Whether each unit was to run before it.
    pub(super) goals: BTreeMap<UnitName, bool>,
    /// When faults ceased.
    pub(super) calm_since: Option<Time>,
    /// When svinit was first sent an order to stop, whether it has heard it or not.
    pub(super) ordered: Option<Time>,
}

/// What tells a definition of a unit from all others of it: updates count these up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// Only a new process has another one of these.
    pub(super) process: Option<u32>,
    pub(super) words: usize,
}

impl Version {
    pub(super) fn of(spec: &UnitSpec) -> Self {
        Self { process: spec.context.umask, words: spec.description.len() }
    }
}

/// Why a definition was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GivenUp {
    /// The process that had it did not come up beside the old one.
    DidNotComeUp,
    /// Another instance of its group did not.
    HadNoTurn,
}

/// One unit.
#[derive(Clone)]
pub(super) struct UnitBook {
    pub(super) label: Label,
    pub(super) health: Health,
    /// Its label since, in the life of processes.
    pub(super) since: Time,
    /// And as the supervisor was told.
    pub(super) since_told: Time,
    /// Its main run, as it is or was last shown.
    pub(super) main: Option<RunId>,
    /// A person has stopped it and nobody has asked for it since.
    pub(super) held: bool,
    /// When it was last stopped by a person, and when one last wanted it up.
    pub(super) stopped_at: Time,
    pub(super) wanted_at: Time,
    /// A person has paused it and has not touched it since.
    pub(super) paused: bool,
    /// A person may have done something to it, at the latest then.
    pub(super) touched: Time,
    /// Its main process has ended unasked or could not be made, and nobody had anything to do with it: when and how.
    pub(super) failed: Option<(Time, Fault)>,
    /// How its last main process ended, as told.
    pub(super) last_end: Option<(Time, ExitStatus)>,
    /// When a main process of it that had been up was last told to have ended, in the life of processes.
    pub(super) up_ended: Option<Time>,
    /// When it last became ready (told).
    pub(super) ready_at: Time,
}

/// Why a unit went down without being asked to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Fault {
    Ended(ExitStatus),
    NotMade,
}

/// One process or probe.
#[derive(Clone)]
pub(super) struct RunBook {
    pub(super) unit: UnitName,
    /// `None` is a question over the network.
    pub(super) purpose: Option<Purpose>,
    /// What a probe is about.
    pub(super) topic: String,
    /// The definition that was in force when it was asked for.
    pub(super) version: Version,
    pub(super) asked_lived: Time,
    pub(super) pid: Option<Pid>,
    pub(super) made: Option<Time>,
    /// What a shell would have said, had it not been made.
    pub(super) not_made: Option<u8>,
    pub(super) end: Option<RunEnd>,
    /// When it ended, in the life of processes.
    pub(super) ended_lived: Time,
    /// It was told to stop at this moment (told time), by signal or command.
    pub(super) stop_told: Option<Time>,
    /// Its sign of readiness has come.
    pub(super) signed: bool,
    /// It has said that it stops while it was up, at this moment (told time).
    pub(super) leaves: Option<Time>,
    /// Since when it reloads, as it says, and since when the reload was that it last said to be over.
    pub(super) reloads: Option<Time>,
    pub(super) reloaded: Option<Time>,
    /// When it last said that it is alive, or was last given time to: as told, and in the life of processes.
    pub(super) alive: (Time, Time),
    /// The pid file named its daemon.
    pub(super) found: bool,
    pub(super) gone: bool,
    /// When it said that it stops, whether that was heeded or not.
    pub(super) said_stopping: Option<Time>,
    /// It was killed before it had ended.
    pub(super) killed: bool,
}

/// How a run was seen to end.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum RunEnd {
    Exited(ExitStatus),
    NotMade,
    Passed,
    NotPassed,
    Cancelled,
}

impl RunEnd {
    pub(super) fn is_well(&self) -> bool {
        matches!(self, Self::Exited(ExitStatus::Code(0)) | Self::Passed)
    }
}

/// How a job came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    ByCommand,
    /// Its command stands for the units that are defined otherwise.
    ByUpdate,
}

/// One command, or one update.
#[derive(Clone)]
pub(super) struct JobBook {
    pub(super) command: Command,
    pub(super) asked: Asked,
    /// Units that came with it.
    pub(super) came: BTreeSet<UnitName>,
    pub(super) lived: Time,
    /// As the supervisor was told.
    pub(super) told: Time,
    pub(super) answers: BTreeMap<UnitName, bool>,
    /// Those answered with no since a person had stopped them, or since they were not defined. What becomes of them when
    /// somebody starts them later, or brings them back, is not for this job.
    pub(super) turnless: BTreeSet<UnitName>,
    /// The first of several whose reload did not go well.
    pub(super) failed_reload: Option<UnitName>,
    pub(super) done: bool,
    /// The main runs when it was asked.
    pub(super) mains: BTreeMap<UnitName, Option<RunId>>,
    /// And the labels.
    pub(super) labels: BTreeMap<UnitName, Label>,
    /// The number of the last run when it was asked.
    pub(super) last_run: RunId,
}

impl UnitBook {
    /// Nothing is known of it.
    fn blank() -> Self {
        Self {
            label: Label::Inactive,
            health: Health::Unknown,
            since: Time::ZERO,
            since_told: Time::ZERO,
            main: None,
            held: false,
            stopped_at: Time::ZERO,
            wanted_at: Time::ZERO,
            paused: false,
            touched: Time::ZERO,
            failed: None,
            last_end: None,
            up_ended: None,
            ready_at: Time::ZERO,
        }
    }
}

impl Book {
    pub(super) fn new(plan: Rc<Plan>) -> Self {
        let units = plan.set.units.keys().map(|name| (name.clone(), UnitBook::blank())).collect();
        Self {
            defined: plan.at_boot().units,
            latest: plan.set.units.clone(),
            wanted: plan.at_boot().units,
            updating: false,
            updated_at: Time::ZERO,
            renewed: BTreeSet::new(),
            came: BTreeSet::new(),
            went: BTreeSet::new(),
            overtakes: false,
            given_up: BTreeMap::new(),
            put_back: BTreeMap::new(),
            goals: BTreeMap::new(),
            plan,
            now: Time::ZERO,
            lived: Time::ZERO,
            late: Duration::ZERO,
            units,
            runs: BTreeMap::new(),
            jobs: BTreeMap::new(),
            shutdown: None,
            ending: None,
            ending_told: None,
            stale: false,
            second: None,
            end: None,
            calm_since: None,
            ordered: None,
        }
    }

    /// The definition of a unit.
    pub(super) fn spec(&self, unit: &UnitName) -> &UnitSpec {
        self.plan.spec(unit)
    }

    /// The unit's main process lives, as far as the supervisor can know: it was asked for and its end was not told.
    pub(super) fn has_main(&self, unit: &UnitName) -> bool {
        self.units[unit].main.is_some_and(|run| self.runs[&run].end.is_none())
    }

    /// Whether this spawn of a main process is a restart that nobody asked for, and after what.
    pub(super) fn is_automatic(&self, unit: &UnitName) -> Option<(Time, Fault)> {
        let entry = &self.units[unit];
        entry.failed.filter(|(at, _)| *at > entry.touched)
    }

    /// Everything is killed by now, in no order.
    pub(super) fn is_hurried(&self) -> bool {
        let timeout = self.plan.settings.shutdown_timeout;
        self.second.is_some() || self.ending_told.is_some_and(|at| self.now.since(at) >= timeout)
    }

    /// Something that was asked for before this update is still to be done to the unit, and may have waited for those that
    /// go with it, or for what an earlier update was about to do to others and this one does not.
    pub(super) fn is_awaited(&self, unit: &UnitName) -> bool {
        let concerns = |name: &UnitName| self.plan.around(name).contains(unit);
        let waits = |job: &JobBook| {
            !job.done && job.told < self.updated_at && plan::named(&job.command).iter().any(concerns)
        };
        (!self.went.is_empty() || self.overtakes) && self.jobs.values().any(waits)
    }

    /// Svinit is on its way out.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Takes down an event, after the promises have looked at it.
    pub(super) fn take_event(&mut self, event: &Event) {
        match event {
            Event::Tick | Event::Measured { .. } | Event::MainNotFound { .. } => {}
            Event::Spawned { run, pid } => {
                let (now, pid) = (self.now, *pid);
                self.change(*run, |r| (r.pid, r.made) = (Some(pid), Some(now)));
            }
            Event::SpawnFailed { run, failure } => {
                let status = match failure.cause {
                    SpawnCause::Missing => 127,
                    SpawnCause::NotExecutable => 126,
                    SpawnCause::NoResources | SpawnCause::Context => 1,
                };
                self.change(*run, |r| r.not_made = Some(status));
                self.take_end(*run, RunEnd::NotMade);
            }
            Event::Exited { run, status, .. } => self.take_exit(*run, *status),
            Event::TreeGone { run } => self.change(*run, |r| r.gone = true),
            Event::Passed { run } => self.take_end(*run, RunEnd::Passed),
            Event::NotPassed { run, .. } => self.take_end(*run, RunEnd::NotPassed),
            Event::MainFound { run, pid } => {
                let pid = *pid;
                self.change(*run, |r| (r.found, r.pid, r.end) = (true, Some(pid), None));
            }
            Event::Signed { run, sign } => {
                let moment = (self.now, self.lived);
                match sign {
                    Sign::Ready => self.change(*run, |r| {
                        r.signed = true;
                        r.reloaded = r.reloads.take();
                    }),
                    Sign::Reloading(began) => self.change(*run, |r| r.reloads = *began),
                    Sign::Stopping => {
                        let is_up = self.is_up(*run);
                        self.change(*run, |r| {
                            r.said_stopping = Some(moment.0);
                            r.leaves = r.said_stopping.filter(|_| is_up).or(r.leaves);
                        });
                    }
                    Sign::Alive => self.change(*run, |r| r.alive = moment),
                    _ => {}
                }
            }
            Event::Due { unit, .. } => {
                let now = self.now;
                self.each(&[unit.clone()].into(), |unit| unit.touched = now);
            }
            Event::Asked { job, command } => self.take_command(*job, command),
            Event::ShutdownAsked { .. } => {
                if self.is_ending() {
                    self.second.get_or_insert(self.lived);
                }
                self.shutdown.get_or_insert(self.lived);
            }
        }
    }

    fn is_up(&self, run: RunId) -> bool {
        let owner = self.runs.get(&run).map(|r| &self.units[&r.unit]);
        owner.is_some_and(|u| u.main == Some(run) && matches!(u.label, Label::Ready | Label::Reloading))
    }

    fn change(&mut self, run: RunId, change: impl FnOnce(&mut RunBook)) {
        if let Some(entry) = self.runs.get_mut(&run) {
            change(entry);
        }
    }

    fn take_exit(&mut self, run: RunId, status: ExitStatus) {
        let Some(entry) = self.runs.get(&run).filter(|r| r.end.is_none() || r.found) else { return };
        let unit = entry.unit.clone();
        let is_main = entry.purpose == Some(Purpose::Main);
        // The end of the process that forks a daemon is no end, unless it says so.
        let is_parent = matches!(self.spec(&unit).kind, Kind::Forking { .. })
            && !entry.found
            && status == ExitStatus::Code(0)
            && self.units[&unit].label == Label::Starting;
        self.take_end(run, RunEnd::Exited(status));
        if is_main && self.units[&unit].main == Some(run) && !is_parent {
            let (now, lived, alone) = (self.now, self.lived, self.is_alone(&unit));
            let left = self.runs[&run].leaves.is_some();
            let entry = self.units.get_mut(&unit).expect("known");
            entry.last_end = Some((now, status));
            let leaves = entry.label == Label::Stopping && left;
            let was_up = leaves || matches!(entry.label, Label::Ready | Label::Reloading);
            if was_up {
                entry.up_ended = Some(lived);
            }
            if (was_up || entry.label == Label::Starting) && alone {
                entry.failed = Some((now, Fault::Ended(status)));
            }
        }
    }

    /// Nobody but itself decides about it at this moment: no person is waiting for an answer, and it is part of nothing.
    fn is_alone(&self, unit: &UnitName) -> bool {
        let asked_for = |job: &&JobBook| {
            !job.done && plan::named(&job.command).iter().any(|name| self.plan.around(name).contains(unit))
        };
        self.spec(unit).part_of.is_empty() && self.jobs.values().find(asked_for).is_none()
    }

    fn take_end(&mut self, run: RunId, end: RunEnd) {
        let (now, lived) = (self.now, self.lived);
        let Some(entry) = self.runs.get_mut(&run) else { return };
        if entry.end == Some(RunEnd::Cancelled) {
            return;
        }
        let not_made = end == RunEnd::NotMade;
        entry.end = Some(end);
        entry.ended_lived = lived;
        let unit = entry.unit.clone();
        if not_made && !entry.killed {
            entry.gone = true;
        }
        if not_made && entry.purpose == Some(Purpose::Main) {
            let alone = self.is_alone(&unit);
            let entry = self.units.get_mut(&unit).expect("known");
            if entry.label == Label::Starting && alone {
                entry.failed = Some((now, Fault::NotMade));
            }
        }
    }

    fn take_command(&mut self, job: JobId, command: &Command) {
        self.take_job(job, command, Asked::ByCommand);
        if self.is_ending() {
            return;
        }
        // Of a unit that is not there nothing can be asked, and of one on its way out only that it is stopped.
        let is_for_all = matches!(command, Command::Stop(_) | Command::Signal { .. });
        let is_heard = |name: &&UnitName| {
            self.wanted.contains_key(*name) || (is_for_all && self.defined.contains_key(*name))
        };
        let named: BTreeSet<UnitName> = plan::named(command).iter().filter(is_heard).cloned().collect();
        let plan = Rc::clone(&self.plan);
        let mut touched = BTreeSet::new();
        for name in &named {
            touched.extend(plan.around(name));
        }
        let now = self.now;
        match command {
            Command::Signal { .. } => touched = named.clone(),
            Command::Stop(_) => self.each(&named, |unit| (unit.held, unit.stopped_at) = (true, now)),
            Command::Start(_)
            | Command::Restart { .. }
            | Command::Reload { otherwise: Otherwise::Restart, .. } => {
                let held = |name: &UnitName| self.units[name].held && !named.contains(name);
                let pulled = plan.pulled_by(&named, held);
                self.each(&pulled, |unit| (unit.held, unit.wanted_at) = (false, now));
            }
            Command::Pause(_) => self.each(&named, |unit| unit.paused = true),
            Command::Resume(_) => self.each(&named, |unit| unit.paused = false),
            Command::Reload { .. } | Command::Reset(_) => {}
        }
        if !matches!(command, Command::Pause(_) | Command::Signal { .. }) {
            self.each(&touched, |unit| unit.touched = now);
        }
    }

    fn take_job(&mut self, job: JobId, command: &Command, asked: Asked) {
        let entry = JobBook {
            command: command.clone(),
            asked,
            came: if asked == Asked::ByUpdate { self.came.clone() } else { BTreeSet::new() },
            told: self.now,
            lived: self.lived,
            answers: BTreeMap::new(),
            turnless: BTreeSet::new(),
            failed_reload: None,
            done: false,
            mains: self.units.iter().map(|(name, unit)| (name.clone(), unit.main)).collect(),
            labels: self.units.iter().map(|(name, unit)| (name.clone(), unit.label)).collect(),
            last_run: self.runs.last_key_value().map_or(RunId(0), |(run, _)| *run),
        };
        self.jobs.insert(job, entry);
    }

    /// Takes down that these definitions are wanted from here on, by this job. `then` are those that the machine says it
    /// has or will have.
    pub(super) fn take_update(
        &mut self,
        job: JobId,
        set: &UnitSet,
        then: &BTreeMap<UnitName, Arc<UnitSpec>>,
        goals: BTreeMap<UnitName, bool>,
    ) {
        let is_new = |name: &&UnitName| !then.contains_key(*name);
        let is_gone = |name: &&UnitName| !set.units.contains_key(*name);
        self.came = set.units.keys().filter(is_new).cloned().collect();
        self.went = then.keys().filter(is_gone).cloned().collect();
        let is_changed =
            |(name, spec): &(&UnitName, &Arc<UnitSpec>)| then.get(*name).is_some_and(|then| then != *spec);
        let changed: Vec<UnitName> =
            set.units.iter().filter(is_changed).map(|(name, _)| name.clone()).collect();
        let is_renewed =
            |name: &&UnitName| self.defined[*name].context.umask != set.units[*name].context.umask;
        self.renewed = changed.iter().filter(is_renewed).cloned().collect();
        // On its way out svinit takes over nothing.
        if !self.is_ending() {
            self.wanted.clone_from(&set.units);
            self.latest.extend(set.units.iter().map(|(name, spec)| (name.clone(), Arc::clone(spec))));
        }
        let differ: Vec<UnitName> = changed.iter().chain(&self.came).chain(&self.went).cloned().collect();
        self.given_up.retain(|name, _| !differ.contains(name));
        let is_overtaken = |job: &JobBook| {
            let is_open = |name: &UnitName| differ.contains(name) && !job.answers.contains_key(name);
            !job.done && job.asked == Asked::ByUpdate && plan::named(&job.command).iter().any(is_open)
        };
        self.overtakes = self.jobs.values().any(is_overtaken);
        // Touches what is around them as far as anybody can tell, and waits for an answer for each.
        let touched = differ.iter().flat_map(|name| self.plan.around(name)).collect();
        self.take_job(job, &Command::Reset(differ), Asked::ByUpdate);
        let now = self.now;
        self.each(&touched, |unit| unit.touched = now);
        if !self.is_ending() {
            let plan = Rc::clone(&self.plan);
            let enabled = self.came.iter().filter(|name| plan.spec(name).enabled).cloned();
            // One that is run by the clock is only armed by that.
            let (armed, started): (BTreeSet<_>, BTreeSet<_>) = enabled
                .partition(|name| plan.spec(name).schedule.as_ref().is_some_and(|rule| !rule.at_start));
            let held = |name: &UnitName| self.units[name].held && !started.contains(name);
            let pulled = &plan.pulled_by(&started, held) | &armed;
            self.each(&pulled, |unit| (unit.held, unit.wanted_at) = (false, now));
        }
        (self.goals, self.updating, self.updated_at) = (goals, true, now);
    }

    fn each(&mut self, names: &BTreeSet<UnitName>, change: impl Fn(&mut UnitBook)) {
        for name in names {
            change(self.units.get_mut(name).expect("a known unit"));
        }
    }

    /// Takes down an action, after the promises have looked at it.
    pub(super) fn take_action(&mut self, action: &Action) {
        match action {
            Action::Spawn { run, unit, purpose, argv, extra_env } => {
                self.take_run(*run, unit, Some(*purpose), &argv.0[0]);
                if *purpose == Purpose::Main && !self.may_be_beside(unit) {
                    self.units.get_mut(unit).expect("known").main = Some(*run);
                }
                if *purpose == Purpose::StopCommand {
                    let pid = extra_env.iter().find(|(name, _)| name == "MAINPID").map(|(_, pid)| pid);
                    let told = self.runs.iter().rev().find(|(_, r)| {
                        let is_main = r.unit == *unit && r.purpose == Some(Purpose::Main);
                        is_main && r.pid.map(|pid| pid.to_string()).as_ref() == pid
                    });
                    if let Some(run) = told.map(|(run, _)| *run) {
                        self.told_to_stop(run);
                    }
                }
            }
            Action::Probe { run, unit, check } => {
                let topic = match check {
                    Check::Tcp(_) | Check::Exec(_) | Check::Http(_) | Check::Unix(_) | Check::File(_) => {
                        plan::topic(check).to_owned()
                    }
                };
                self.take_run(*run, unit, None, &topic);
            }
            Action::Signal { run, signal, .. } => {
                let unit = self.runs[run].unit.clone();
                // One that hangs is told by ABRT.
                if *signal == self.spec(&unit).stop.signal || signal.0 == "ABRT" {
                    self.told_to_stop(*run);
                }
            }
            Action::Kill { run, .. } => self.change(*run, |r| r.killed |= r.end.is_none()),
            Action::CancelProbe { run } => self.change(*run, |r| r.end = Some(RunEnd::Cancelled)),
            Action::Report(report) => {
                let (now, lived) = (self.now, self.lived);
                let unit = self.units.get_mut(&report.unit).expect("known");
                if unit.label != report.label {
                    (unit.since, unit.since_told) = (lived, now);
                }
                if report.label == Label::Ready && unit.label == Label::Starting {
                    unit.ready_at = now;
                    if let Some(run) = unit.main.and_then(|run| self.runs.get_mut(&run)) {
                        run.alive = (now, lived);
                    }
                }
                if report.label == Label::Scheduled || [COME, CAME].contains(&report.why.as_str()) {
                    // Its next run is not for the sake of the last one.
                    unit.touched = now;
                }
                (unit.label, unit.health) = (report.label, report.health);
                unit.main = report.run.or(unit.main);
                if report.why.starts_with("not restarted, it goes on as it was: the new one")
                    && let Some(version) = self.put_back.remove(&report.unit)
                {
                    self.given_up.insert(report.unit.clone(), (version, GivenUp::DidNotComeUp));
                }
            }
            Action::Answer { job, outcome } => self.take_answer(*job, outcome),
            Action::JobDone { job } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    job.done = true;
                }
            }
            Action::Define { spec } => {
                if let Some(was) = self.defined.insert(spec.name.clone(), Arc::clone(spec)) {
                    self.put_back.insert(spec.name.clone(), Version::of(&was));
                }
            }
            Action::Forget { unit } => {
                self.defined.remove(unit);
                self.given_up.remove(unit);
                let blank = UnitBook { touched: self.now, ..UnitBook::blank() };
                self.units.insert(unit.clone(), blank);
            }
            Action::End(end) => self.end = Some(end.clone()),
            Action::AwaitTree { .. } | Action::ReadPidFile { .. } | Action::Measure { .. } => {}
        }
    }

    fn take_answer(&mut self, job: JobId, outcome: &Outcome) {
        let unit = &outcome.unit;
        if !outcome.ok && outcome.why.starts_with("not given its new definition") {
            let version = Version::of(&self.latest[unit]);
            self.given_up.insert(unit.clone(), (version, GivenUp::HadNoTurn));
        }
        let is_held = self.units.get(unit).is_some_and(|unit| unit.held);
        let is_turnless = !outcome.ok && (is_held || !self.wanted.contains_key(unit));
        let Some(job) = self.jobs.get_mut(&job) else { return };
        job.answers.insert(unit.clone(), outcome.ok);
        if is_turnless {
            job.turnless.insert(unit.clone());
        }
        if !outcome.ok && outcome.why.starts_with("reload failed") {
            job.failed_reload.get_or_insert(unit.clone());
        }
    }

    fn told_to_stop(&mut self, run: RunId) {
        let now = self.now;
        self.change(run, |r| {
            r.stop_told.get_or_insert(now);
        });
    }

    /// A unit is on its way down.
    pub(super) fn is_something_stopping(&self) -> bool {
        self.units.values().any(|unit| unit.label == Label::Stopping)
    }

    /// Another main process of this unit may come up beside the one it has.
    pub(super) fn may_be_beside(&self, unit: &UnitName) -> bool {
        let is_up = matches!(self.units[unit].label, Label::Ready | Label::Reloading);
        self.spec(unit).restart.mode == Mode::StartFirst && is_up && self.has_main(unit)
    }

    fn take_run(&mut self, run: RunId, unit: &UnitName, purpose: Option<Purpose>, topic: &str) {
        let entry = RunBook {
            unit: unit.clone(),
            purpose,
            topic: topic.to_owned(),
            version: Version::of(&self.defined[unit]),
            asked_lived: self.lived,
            pid: None,
            made: None,
            not_made: None,
            end: None,
            ended_lived: Time::ZERO,
            stop_told: None,
            signed: false,
            leaves: None,
            said_stopping: None,
            reloads: None,
            reloaded: None,
            alive: (self.now, self.lived),
            found: false,
            gone: false,
            killed: false,
        };
        self.runs.insert(run, entry);
    }

    /// A unit that has ended in this way is done: its definition wants no new try.
    pub(super) fn is_final(&self, unit: &UnitName, fault: Fault) -> bool {
        let spec = self.spec(unit);
        let rule = &spec.restart;
        let polite = [1, 2, 13, 15];
        let Fault::Ended(status) = fault else { return rule.policy == Policy::Never };
        let well = match status {
            ExitStatus::Code(code) => rule.success_codes.contains(&code),
            ExitStatus::Signal { number, .. } => spec.kind != Kind::Oneshot && polite.contains(&number),
        };
        let permanent = matches!(status, ExitStatus::Code(code) if rule.permanent_codes.contains(&code));
        (permanent && !well)
            || rule.policy == Policy::Never
            || (well && (spec.kind == Kind::Oneshot || rule.policy == Policy::OnFailure))
    }
}
