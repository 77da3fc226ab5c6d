//! What is always true of a small world, step by step. The sentences are the simulator's where it has the same one.
//!
//! Every law sees the machine and the kernel before and after; unlike the simulator's promises they may look inside the
//! machine, because there is no seed to say how it came there, only the path.

use std::time::Duration;

use crate::lifecycle::action::{Action, End, Outcome, Purpose, Report};
use crate::lifecycle::event::{Event, ExitStatus, JobId, RunId, Whom};
use crate::lifecycle::model::kernel::{Job, Kernel, Move, Run, Stage, Wish};
use crate::lifecycle::model::worlds::World;
use crate::lifecycle::state::{Health, Label};
use crate::lifecycle::stop::{After, Cause};
use crate::lifecycle::supervisor::Supervisor;
use crate::lifecycle::time::Time;
use crate::lifecycle::unit::{State, Unit};
use crate::units::spec::{KillMode, Kind, OnFailure, OnLimit, Policy, ReadySign};

/// Longest time that an errand for which nothing else is written may take.
const ERRAND: Duration = Duration::from_secs(30);

/// After the deadline of the shutdown, svinit leaves within this.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A broken law: its sentence, and how it was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) sentence: &'static str,
    pub(super) what: String,
}

type Verdict = Result<(), Broken>;

fn hold(holds: bool, sentence: &'static str, what: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(Broken { sentence, what: what() }) }
}

/// One step, as it is judged.
pub(super) struct Step<'a> {
    pub(super) world: &'a World,
    /// `None` is the boot.
    pub(super) what: Option<Move>,
    pub(super) event: Option<&'a Event>,
    pub(super) before: &'a Supervisor,
    pub(super) after: &'a Supervisor,
}

impl Step<'_> {
    fn unit_before(&self, unit: usize) -> &Unit {
        &self.before.units[&self.world.names[unit]]
    }

    fn unit_after(&self, unit: usize) -> &Unit {
        &self.after.units[&self.world.names[unit]]
    }

    /// Follows the wishes of this step, one after the other, and looks at what has become of it.
    pub(super) fn follow(&self, kernel: &mut Kernel, actions: &[Action]) -> Verdict {
        self.a_reload_may_be_a_restart(kernel);
        for action in actions {
            hold(!kernel.ended, "nothing follows the end", || format!("{action:?}"))?;
            self.take(kernel, action)?;
        }
        if self.after.ending.is_some() {
            kernel.ending.get_or_insert(kernel.now);
        }
        for unit in 0..2 {
            self.shown(kernel, unit)?;
            self.parts_follow(unit)?;
            self.helpers_are_bounded(kernel, unit)?;
            self.the_told_are_killed(kernel, unit)?;
            self.illness_is_answered(unit, actions)?;
        }
        self.tests_count(kernel, actions)?;
        self.nobody_is_punished_for_a_suspension()?;
        self.a_second_request_kills(kernel)?;
        self.leaves_in_time(kernel)?;
        self.timetable()?;
        self.knows_only_what_is(kernel)?;
        self.open_jobs_are_known(kernel)
    }

    /// A reload that was made a restart ends what a stop had begun.
    fn a_reload_may_be_a_restart(&self, kernel: &mut Kernel) {
        if let Some(Move::Ask(Wish::ReloadOrRestart, _)) = self.what {
            for unit in 0..2 {
                kernel.units[unit].held &= self.unit_after(unit).held;
            }
        }
    }

    fn take(&self, kernel: &mut Kernel, action: &Action) -> Verdict {
        match action {
            Action::Spawn { run, unit, purpose, .. } => {
                let unit = self.world.index(unit);
                self.may_spawn(kernel, unit, *purpose)?;
                kernel.last_run = run.0;
                kernel.runs.push(new_run(*run, unit, Some(*purpose), kernel.now));
                self.spawned(kernel, unit, *purpose)
            }
            Action::Probe { run, unit, .. } => {
                kernel.last_run = run.0;
                kernel.runs.push(new_run(*run, self.world.index(unit), None, kernel.now));
                Ok(())
            }
            Action::CancelProbe { run } => {
                kernel.forget(*run);
                Ok(())
            }
            Action::Signal { run, signal, whom: _ } => {
                let now = kernel.now;
                if let Some(run) = kernel.run_mut(*run) {
                    match signal.0.as_str() {
                        "TERM" => run.told = run.told.or(Some(now)),
                        "HUP" => run.signed = false,
                        _ => {}
                    }
                }
                Ok(())
            }
            Action::Kill { run, whom } => {
                self.had_its_time(kernel, *run)?;
                if let Some(run) = kernel.run_mut(*run) {
                    run.struck |= run.stage != Stage::Ended;
                    run.awaited |= *whom == Whom::Tree;
                }
                Ok(())
            }
            Action::AwaitTree { run } => {
                if let Some(run) = kernel.run_mut(*run) {
                    run.awaited = true;
                }
                Ok(())
            }
            Action::ReadPidFile { run, .. } => {
                if let Some(run) = kernel.run_mut(*run) {
                    run.looked_for = true;
                }
                Ok(())
            }
            Action::Measure { run } => {
                if let Some(run) = kernel.run_mut(*run) {
                    run.measured = true;
                }
                Ok(())
            }
            Action::Report(report) => self.reported(kernel, report),
            Action::Answer { job, outcome } => self.answered(kernel, *job, outcome),
            Action::JobDone { job } => done(kernel, *job),
            Action::Define { .. } | Action::Forget { .. } => Err(Broken {
                sentence: "nothing is defined anew",
                what: "nobody has asked for that".to_owned(),
            }),
            Action::End(end) => self.ends(kernel, end),
        }
    }

    fn may_spawn(&self, kernel: &Kernel, unit: usize, purpose: Purpose) -> Verdict {
        let (name, memory, spec) = (&self.world.names[unit], &kernel.units[unit], self.world.spec(unit));
        let begins = match purpose {
            Purpose::Main | Purpose::PreStart => true,
            Purpose::PostStart
            | Purpose::PreStop
            | Purpose::PostStop
            | Purpose::StopCommand
            | Purpose::ReloadCommand
            | Purpose::Test
            | Purpose::Remedy
            | Purpose::Probe => false,
        };
        if !begins {
            return Ok(());
        }
        hold(kernel.ending.is_none(), "nothing is started while svinit is on its way out", || {
            format!("{name}")
        })?;
        hold(!memory.held, "a unit that a person has stopped is not started", || format!("{name}"))?;
        hold(!memory.over, "only what its policy wants back is restarted", || format!("{name}"))?;
        for below in &spec.requires {
            let label = self.unit_after_or_before(below, kernel);
            hold(label.is_up(), "a unit starts only when what it requires is up", || {
                format!("{name}: {purpose:?} while {below} is {}", label.as_str())
            })?;
        }
        let left = kernel.main(unit).is_some();
        hold(!left, "a replacement starts only when nothing of its predecessor is left", || {
            format!("{name}")
        })?;
        let rival = spec.conflicts.iter().find(|other| kernel.main(self.world.index(other)).is_some());
        hold(rival.is_none(), "units that conflict never run at the same time", || format!("{name}"))?;
        let outside = memory.outside > 0 || spec.wait_for.is_none();
        hold(outside, "a unit starts only when the outside things it waits for have answered", || {
            format!("{name}")
        })?;
        if purpose == Purpose::Main {
            let (ran, all) = (memory.hooks, spec.hooks.pre_start.len());
            hold(ran >= all, "the main process starts only when every pre_start hook has succeeded", || {
                format!("{name}: {ran} of {all}")
            })?;
        }
        Ok(())
    }

    /// What was last reported of it: at this very moment the machine may already have gone on.
    fn unit_after_or_before(&self, name: &crate::units::name::UnitName, kernel: &Kernel) -> Label {
        kernel.units[self.world.index(name)].label.unwrap_or(Label::Inactive)
    }

    fn spawned(&self, kernel: &mut Kernel, unit: usize, purpose: Purpose) -> Verdict {
        let now = kernel.now;
        if purpose == Purpose::StopCommand
            && let Some(run) =
                kernel.runs.iter_mut().find(|r| r.unit == unit && r.purpose == Some(Purpose::Main))
        {
            run.told = run.told.or(Some(now));
        }
        if purpose != Purpose::Main {
            return Ok(());
        }
        let rule = &self.world.spec(unit).restart;
        let memory = &mut kernel.units[unit];
        (memory.hooks, memory.passed) = (0, false);
        let Some(failed) = memory.failed.take() else { return Ok(()) };
        let again = memory.restarted.is_some_and(|at| now.since(at) <= rule.window);
        let too_soon = again && rule.limit == 1 && now.since(failed) < rule.max_delay;
        hold(!too_soon, "the limit of restarts within the window is kept", || {
            format!("{} is restarted {:?} after its second end", self.world.names[unit], now.since(failed))
        })?;
        memory.restarted = Some(now);
        Ok(())
    }

    fn had_its_time(&self, kernel: &Kernel, run: RunId) -> Verdict {
        let Some(run) = kernel.run(run) else { return Ok(()) };
        let spec = self.world.spec(run.unit);
        let exempt = self.after.ending.is_some()
            || run.purpose != Some(Purpose::Main)
            || run.stage == Stage::Ended
            || run.struck
            || matches!(spec.kind, Kind::Forking { .. });
        let had = run.told.map_or(Duration::ZERO, |at| kernel.now.since(at));
        hold(
            exempt || had >= spec.stop.timeout,
            "a main process has its stop timeout before it is killed",
            || format!("{} had {had:?}", spec.name),
        )
    }

    fn reported(&self, kernel: &mut Kernel, report: &Report) -> Verdict {
        const TRUE: &str = "every change is reported once, and as it was";
        let unit = self.world.index(&report.unit);
        let memory = &kernel.units[unit];
        let was = memory.label.unwrap_or(Label::Inactive);
        hold(was == report.was && memory.health == report.health_was, TRUE, || {
            format!(
                "{} was {} and is reported to have been {}",
                report.unit,
                was.as_str(),
                report.was.as_str()
            )
        })?;
        if report.was == Label::Starting && matches!(report.label, Label::Ready | Label::Reloading) {
            self.ready_is_true(kernel, unit)?;
        }
        if report.label == Label::Stopping && report.was != Label::Stopping {
            self.stops_in_order(kernel, unit)?;
        }
        if report.label == Label::Failed {
            self.gives_up_in_time(kernel, unit)?;
        }
        if report.was == Label::Waiting && report.label == Label::Starting {
            for other in &self.world.spec(unit).wants {
                let starts = kernel.units[self.world.index(other)].label == Some(Label::Starting);
                hold(!starts, "a unit waits for what it wants while that is starting", || {
                    format!("{}", report.unit)
                })?;
            }
        }
        let leaves = matches!(report.was, Label::Stopping | Label::Backoff);
        if leaves && matches!(report.label, Label::Waiting | Label::Starting) {
            let by_itself = matches!(&self.unit_before(unit).state, State::Backoff { .. })
                || matches!(&self.unit_before(unit).state, State::Stopping(s) if s.after == After::Judge);
            hold(!(kernel.units[unit].paused && by_itself), "a paused unit is not restarted", || {
                format!("{}", report.unit)
            })?;
        }
        let memory = &mut kernel.units[unit];
        (memory.label, memory.health) = (Some(report.label), report.health);
        Ok(())
    }

    fn ready_is_true(&self, kernel: &Kernel, unit: usize) -> Verdict {
        const READY: &str = "a unit is ready only when its sign has come";
        let (name, spec) = (&self.world.names[unit], self.world.spec(unit));
        let Some(run) = kernel.main(unit) else {
            return hold(false, READY, || format!("{name} has no main process"));
        };
        let is_there = run.stage == Stage::Alive;
        let signed = match spec.kind {
            Kind::Simple => true,
            Kind::Notify => run.signed,
            Kind::Forking { .. } => run.found,
            Kind::Oneshot => false,
        };
        let passed = match spec.ready.as_ref().map(|ready| &ready.sign) {
            Some(ReadySign::Check(_)) => kernel.units[unit].passed,
            Some(ReadySign::Delay(delay)) => kernel.now.since(run.made) >= *delay,
            Some(ReadySign::Log(_) | ReadySign::Notify | ReadySign::Fd(_)) => run.signed,
            None => true,
        };
        hold(is_there && signed && passed, READY, || format!("{name}: {run:?}"))
    }

    /// Asked to stop by a person or by the end of svinit, it is the last of those that build on it.
    fn stops_in_order(&self, kernel: &Kernel, unit: usize) -> Verdict {
        let State::Stopping(stopping) = &self.unit_after(unit).state else { return Ok(()) };
        let asked = stopping.cause == Cause::Asked && stopping.after == After::StayDown;
        let is_hurried = self.after.ending.as_ref().is_some_and(|ending| ending.hurried.is_some());
        if !asked || is_hurried || !kernel.has_main(unit) {
            return Ok(());
        }
        let (below, above) = (&self.world.names[unit], 1 - unit);
        let spec = self.world.spec(above);
        let ending = self.after.ending.is_some();
        let builds_on = spec.requires.contains(below)
            || (ending && (spec.wants.contains(below) || spec.after.contains(below)));
        hold(
            !(builds_on && kernel.has_main(above)),
            "what builds on a unit is down before that is stopped",
            || format!("{below} is stopped while {} runs", spec.name),
        )
    }

    fn gives_up_in_time(&self, kernel: &Kernel, unit: usize) -> Verdict {
        let rule = &self.world.spec(unit).restart;
        let is_final = rule.policy == Policy::Never
            || rule.on_limit != OnLimit::RetryLater
            || !rule.permanent_codes.is_empty()
            || self.unit_after(unit).paused;
        hold(is_final, "nobody gives up too early", || {
            format!("{} has failed, status {}", self.world.names[unit], kernel.units[unit].status)
        })
    }

    fn answered(&self, kernel: &mut Kernel, job: JobId, outcome: &Outcome) -> Verdict {
        const ONCE: &str = "every request gets one answer a unit";
        const TRUE: &str = "an answer is true";
        let unit = self.world.index(&outcome.unit);
        let Some(at) = kernel.jobs.iter().position(|entry| entry.id == job) else {
            return hold(false, ONCE, || format!("job {} is answered after its end", job.0));
        };
        let entry = &mut kernel.jobs[at];
        hold(!entry.answered[unit] && entry.of.concerns(unit), ONCE, || {
            format!("job {}, {}", job.0, outcome.unit)
        })?;
        entry.answered[unit] = true;
        let Job { wish, after, .. } = *entry;
        if !outcome.ok {
            return Ok(());
        }
        let label = kernel.units[unit].label.unwrap_or(Label::Inactive);
        let is_newer = kernel.main(unit).is_some_and(|run| run.id > after) || label == Label::Completed;
        let holds = match wish {
            Wish::Start => label.is_up(),
            Wish::Stop => !kernel.has_main(unit) && label != Label::Stopping,
            Wish::Restart | Wish::RestartAll => label.is_up() && is_newer,
            Wish::ReloadOrRestart | Wish::Reload => label.is_up(),
            Wish::Reset | Wish::Pause | Wish::Resume => true,
        };
        hold(holds, TRUE, || {
            format!("{wish:?} of {} is said to be done, it is {}", outcome.unit, label.as_str())
        })
    }

    fn ends(&self, kernel: &mut Kernel, end: &End) -> Verdict {
        const STATUS: &str = "the status at the end is true";
        kernel.ended = true;
        let failed = (0..2).any(|unit| kernel.units[unit].label == Some(Label::Failed));
        let essential = (0..2).any(|unit| self.world.spec(unit).essential);
        if kernel.asked_to_end {
            hold(end.status == 0, STATUS, || format!("a person asked, and it is {}", end.status))?;
        } else if failed && !essential {
            hold(end.status != 0, STATUS, || "a unit has failed, and it is 0".to_owned())?;
        } else if essential {
            let statuses = [kernel.units[0].status, kernel.units[1].status];
            let wanted = statuses.contains(&end.status) || (failed && end.status == 1);
            hold(wanted, STATUS, || format!("{} of {statuses:?}", end.status))?;
        }
        let is_left = |run: &&Run| {
            let on_purpose =
                self.world.spec(run.unit).stop.kill == KillMode::Process && run.stage == Stage::Ended;
            run.purpose.is_some() && !on_purpose
        };
        let is_hurried = self.after.ending.as_ref().is_some_and(|ending| ending.hurried.is_some());
        let left = kernel.runs.iter().find(is_left).filter(|_| !is_hurried);
        hold(left.is_none(), "an orderly end leaves no process behind", || format!("{left:?}"))
    }

    /// What can be asked of it is what was reported, and what people have said.
    fn shown(&self, kernel: &Kernel, unit: usize) -> Verdict {
        const SHOWN: &str = "what is shown of a unit is what was reported";
        let view = self.unit_after(unit).view();
        let memory = &kernel.units[unit];
        hold(
            memory.label.unwrap_or(Label::Inactive) == view.label && memory.health == view.health,
            SHOWN,
            || format!("{} is {} and was reported as {:?}", view.name, view.label.as_str(), memory.label),
        )?;
        hold(memory.held == view.held, SHOWN, || {
            format!("{}: stopped by a person: {}", view.name, memory.held)
        })?;
        let Some(Move::Ask(Wish::Start, of)) = self.what else { return Ok(()) };
        let was_down = self.unit_before(unit).is_down();
        hold(
            !of.concerns(unit) || !was_down || view.restarts == 0 || self.before.ending.is_some(),
            "a start asked for by a person does not count as a restart",
            || format!("{} counts {}", view.name, view.restarts),
        )
    }

    /// When a unit that was up goes, what is part of it goes along.
    fn parts_follow(&self, unit: usize) -> Verdict {
        let (whole, part) = (&self.world.names[unit], 1 - unit);
        if !self.world.spec(part).part_of.contains(whole) {
            return Ok(());
        }
        let went = matches!(self.unit_before(unit).state, State::Ready(_))
            && matches!(self.unit_after(unit).state, State::Stopping(_) | State::Waiting | State::Inactive);
        let stays = matches!(self.unit_after(part).state, State::Ready(_) | State::Starting(_))
            && !self.unit_after(part).is_going();
        let was_there = matches!(self.unit_before(part).state, State::Ready(_) | State::Starting(_));
        hold(
            !(went && stays && was_there),
            "what is part of a unit is stopped and restarted along with it",
            || format!("{} stays up", self.world.names[part]),
        )
    }

    fn due(&self) -> Time {
        self.after.next_deadline().unwrap_or(Time::NEVER)
    }

    /// Whoever is waited for is waited for until a certain moment, and the machine wants to be told of it.
    fn helpers_are_bounded(&self, kernel: &Kernel, unit: usize) -> Verdict {
        let is_waited_for = |run: &&Run| {
            run.unit == unit && run.purpose != Some(Purpose::Main) && run.is_live() && !run.struck
        };
        if kernel.ended {
            return Ok(());
        }
        let late = kernel.runs.iter().filter(is_waited_for).find(|run| self.due() > run.asked.after(ERRAND));
        hold(late.is_none(), "a hook, test or check does not outlive its timeout", || format!("{late:?}"))
    }

    fn the_told_are_killed(&self, kernel: &Kernel, unit: usize) -> Verdict {
        let State::Stopping(stopping) = &self.unit_after(unit).state else { return Ok(()) };
        let Some(run) = stopping.main.and_then(|main| kernel.run(main.run)).filter(|run| !run.struck) else {
            return Ok(());
        };
        let by = run.told.map_or(Time::NEVER, |at| at.after(self.world.spec(unit).stop.timeout));
        hold(kernel.ended || self.due() <= by, "a stop ends within its timeouts", || {
            format!("{} is to be killed by {by}, the next deadline is {}", self.world.names[unit], self.due())
        })
    }

    fn illness_is_answered(&self, unit: usize, actions: &[Action]) -> Verdict {
        let spec = self.world.spec(unit);
        let is_ill = actions.iter().any(
            |action| matches!(action, Action::Report(r) if r.unit == spec.name && r.health == Health::Fail && r.health_was != Health::Fail),
        );
        let stays =
            matches!(self.unit_after(unit).state, State::Ready(_)) && !self.unit_after(unit).is_going();
        let left_alone = match spec.health.as_ref().map(|rule| &rule.on_failure) {
            Some(OnFailure::Restart | OnFailure::Shutdown) => is_ill && stays,
            Some(OnFailure::Exec(_)) => {
                is_ill
                    && stays
                    && matches!(&self.unit_after(unit).state, State::Ready(ready) if !ready.is_busy())
            }
            Some(OnFailure::Reload | OnFailure::Signal(_) | OnFailure::None) | None => false,
        };
        hold(!left_alone, "an ill unit gets its remedy", || format!("{}", spec.name))
    }

    /// A test or a reload command that fails changes nothing, and is not answered as done.
    fn tests_count(&self, kernel: &Kernel, actions: &[Action]) -> Verdict {
        let Some(Event::Exited { run, status, .. }) = self.event else { return Ok(()) };
        let Some(run) = kernel.run(*run).filter(|_| *status != ExitStatus::Code(0)) else { return Ok(()) };
        let (before, after) = (self.unit_before(run.unit), self.unit_after(run.unit));
        match run.purpose {
            Some(Purpose::Test) => hold(
                before.is_going() || !after.is_going(),
                "a restart or reload that went well has passed its test",
                || format!("{}", after.name()),
            ),
            Some(Purpose::ReloadCommand) => {
                let well = actions.iter().any(
                    |action| matches!(action, Action::Answer { outcome, .. } if outcome.ok && outcome.unit == *after.name()),
                );
                hold(!well, "an answer is true", || format!("{} could not be reloaded", after.name()))
            }
            _ => Ok(()),
        }
    }

    fn nobody_is_punished_for_a_suspension(&self) -> Verdict {
        if self.what != Some(Move::Suspend) || self.before.ending.is_some() {
            return Ok(());
        }
        for unit in 0..2 {
            let (before, after) = (self.unit_before(unit), self.unit_after(unit));
            let punished = matches!(&after.state, State::Stopping(s) if matches!(s.cause, Cause::NotReady | Cause::Ill | Cause::Outside))
                && !matches!(before.state, State::Stopping(_));
            let is_ill = after.health() == Health::Fail && before.health() != Health::Fail;
            hold(!punished && !is_ill, "a suspension is held against nobody", || {
                format!("{}", after.name())
            })?;
        }
        Ok(())
    }

    fn a_second_request_kills(&self, kernel: &Kernel) -> Verdict {
        if self.what != Some(Move::Shutdown) || self.before.ending.is_none() || kernel.ended {
            return Ok(());
        }
        let spared =
            kernel.runs.iter().find(|run| run.purpose == Some(Purpose::Main) && run.is_live() && !run.struck);
        hold(spared.is_none(), "a second request to shut down kills at once", || format!("{spared:?}"))
    }

    fn leaves_in_time(&self, kernel: &Kernel) -> Verdict {
        let Some(began) = kernel.ending.filter(|_| !kernel.ended) else { return Ok(()) };
        let by = began.after(self.world.settings.shutdown_timeout).after(LAST_WORDS);
        // News that come all too late are not the machine's fault: it acts as soon as it is told the time.
        hold(
            self.due() <= by.max(kernel.now.after(LAST_WORDS)),
            "the shutdown ends by its deadline, from any state",
            || format!("it began at {began}, and the next deadline is {}", self.due()),
        )
    }

    /// The timetable is what the units wait for, and after a tick nothing of it is past.
    fn timetable(&self) -> Verdict {
        const AHEAD: &str = "after a tick, the next deadline is still to come";
        let machine = self.after;
        let is_tick = matches!(self.event, Some(Event::Tick));
        hold(!is_tick || self.due() > machine.now, AHEAD, || format!("{} at {}", self.due(), machine.now))?;
        for (name, unit) in &machine.units {
            let due = unit.clone().next_deadline();
            hold(machine.booked.get(name).copied() == due, AHEAD, || format!("{name} waits for {due:?}"))?;
        }
        Ok(())
    }

    /// What the machine keeps in mind of runs is what there is: nothing is forgotten too late, nor kept for ever.
    fn knows_only_what_is(&self, kernel: &Kernel) -> Verdict {
        let stray = self.after.runs.owner.keys().find(|run| kernel.run(**run).is_none());
        hold(kernel.ended || stray.is_none(), "what is about a run that is over changes nothing", || {
            format!("{stray:?} is over and still known")
        })
    }

    fn open_jobs_are_known(&self, kernel: &Kernel) -> Verdict {
        let known: Vec<JobId> = kernel.jobs.iter().map(|job| job.id).collect();
        let open: Vec<JobId> = self.after.jobs.open.keys().copied().collect();
        hold(known == open, "every request comes to its end", || format!("asked {known:?}, open {open:?}"))
    }
}

fn done(kernel: &mut Kernel, job: JobId) -> Verdict {
    const ONCE: &str = "every request gets one answer a unit";
    let Some(at) = kernel.jobs.iter().position(|entry| entry.id == job) else {
        return hold(false, ONCE, || format!("job {} ends twice", job.0));
    };
    let entry = kernel.jobs.remove(at);
    let all = (0..2).all(|unit| entry.answered[unit] == entry.of.concerns(unit));
    hold(all, ONCE, || format!("job {} ends and has answers {:?}", job.0, entry.answered))
}

fn new_run(id: RunId, unit: usize, purpose: Option<Purpose>, asked: Time) -> Run {
    Run {
        id,
        unit,
        purpose,
        stage: Stage::Asked,
        asked,
        made: asked,
        told: None,
        struck: false,
        awaited: false,
        signed: false,
        looked_for: false,
        measured: false,
        found: false,
    }
}

/// Nothing more has to happen: each unit is where it may stay, and nobody waits for an answer.
pub(super) fn is_at_rest(world: &World, machine: &Supervisor, kernel: &Kernel) -> bool {
    if kernel.ended {
        return true;
    }
    if machine.ending.is_some() || !kernel.jobs.is_empty() {
        return false;
    }
    (0..2).all(|unit| {
        let view = machine.units[&world.names[unit]].view();
        let waits_rightly = || {
            let spec = world.spec(unit);
            let below = spec.requires.iter().chain(&spec.part_of).map(|other| &machine.units[other]);
            let rivals = spec.conflicts.iter().map(|other| &machine.units[other]);
            below.into_iter().any(|other| !other.is_up() || other.held)
                || rivals.into_iter().any(|other| !other.is_down())
        };
        match view.label {
            Label::Ready | Label::Completed | Label::Scheduled => view.wanted,
            Label::Failed => true,
            Label::Inactive => !view.wanted,
            Label::Waiting => waits_rightly(),
            Label::Backoff => view.paused,
            Label::Starting | Label::Reloading | Label::Stopping => false,
        }
    })
}
