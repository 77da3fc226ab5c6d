//! What is around the machine: the processes it has asked for, the people who wait, and what may happen next.
//!
//! Nothing here is drawn by lot. [`Kernel::moves`] names every single thing that can happen now, and the walk tries
//! them all. Some cost nothing: what a healthy world does by itself. Others are disturbances, of which a path has a few.

use crate::lifecycle::action::Purpose;
use crate::lifecycle::event::{
    Command, Event, ExitStatus, JobId, Otherwise, Pid, Reach, RunId, Sign, SpawnCause, SpawnFailure,
};
use crate::lifecycle::model::form::Form;
use crate::lifecycle::model::worlds::World;
use crate::lifecycle::state::{Health, Label};
use crate::lifecycle::supervisor::SUSPENDED;
use crate::lifecycle::time::Time;
use crate::units::name::UnitName;
use crate::units::spec::Kind;

/// How long a machine stands still when it is suspended.
pub(super) const SUSPENSION: std::time::Duration = std::time::Duration::from_secs(20);

/// One thing that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// The run with this rank does what is next for a healthy one.
    GoOn(u8),
    /// Or it does not.
    GoWrong(u8, Fault),
    /// Time passes, up to the next deadline. A disturbance while something is under way: all news are late.
    Wait,
    /// The machine stands still beyond the next deadline.
    Suspend,
    /// A person asks.
    Ask(Wish, Of),
    /// TERM.
    Shutdown,
}

/// What can go wrong with one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    NoRoom,
    Missing,
    Code(u8),
    Killed,
    NotPassed,
    NoPidFile,
    Big,
    Reloads,
}

/// What a person can ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Start,
    Stop,
    Restart,
    RestartAll,
    Reload,
    ReloadOrRestart,
    Reset,
    Pause,
    Resume,
}

/// Of which unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    One(u8),
    Both,
}

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Asked for.
    Asked,
    Alive,
    /// A forking unit's parent has ended, its daemon is not known yet.
    Between,
    /// Its first process has ended; others of its tree may be there.
    Ended,
}

/// One run or probe.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) id: RunId,
    pub(super) unit: usize,
    /// `None` is a question over the network.
    pub(super) purpose: Option<Purpose>,
    pub(super) stage: Stage,
    pub(super) asked: Time,
    pub(super) made: Time,
    /// Told to stop then.
    pub(super) told: Option<Time>,
    /// Its first process was killed.
    pub(super) struck: bool,
    /// The end of its tree is awaited, or it was killed as a whole.
    pub(super) awaited: bool,
    /// It has said that it is ready.
    pub(super) signed: bool,
    /// Somebody looks for its pid file, or at its memory.
    pub(super) looked_for: bool,
    pub(super) measured: bool,
    /// The pid file named its daemon.
    pub(super) found: bool,
}

/// One command under way.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: JobId,
    pub(super) wish: Wish,
    pub(super) of: Of,
    /// The last run when it was asked.
    pub(super) after: RunId,
    /// Units that have an answer.
    pub(super) answered: [bool; 2],
}

/// What an observer remembers of one unit.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    pub(super) label: Option<Label>,
    pub(super) health: Health,
    /// A person has stopped it.
    pub(super) held: bool,
    /// A person has paused it and done nothing else to it.
    pub(super) paused: bool,
    /// It has ended unasked since the last command, and its policy does not want it back.
    pub(super) over: bool,
    /// It was restarted by itself since the last command.
    pub(super) restarted: Option<Time>,
    /// It has ended unasked since the last command.
    pub(super) failed: Option<Time>,
    /// `pre_start` hooks that have succeeded since its last main process.
    pub(super) hooks: usize,
    /// The outside has answered.
    pub(super) outside: usize,
    /// The status of its last process.
    pub(super) status: u8,
    /// Its `[ready]` check has passed since its last spawn.
    pub(super) passed: bool,
}

/// Everything that is not the machine.
#[derive(Clone, Debug, Default)]
pub(super) struct Kernel {
    pub(super) now: Time,
    /// By number.
    pub(super) runs: Vec<Run>,
    pub(super) jobs: Vec<Job>,
    pub(super) units: [Memory; 2],
    pub(super) last_job: u64,
    pub(super) last_run: u64,
    /// When the way out began, by whomever.
    pub(super) ending: Option<Time>,
    /// A person asked for the end before the machine had begun it.
    pub(super) asked_to_end: bool,
    pub(super) hurried: bool,
    pub(super) ended: bool,
}

impl Of {
    pub(super) fn concerns(self, unit: usize) -> bool {
        match self {
            Self::One(one) => usize::from(one) == unit,
            Self::Both => true,
        }
    }
}

impl Run {
    fn is_main(&self) -> bool {
        self.purpose == Some(Purpose::Main)
    }

    /// Its first process is there, or will be.
    pub(super) fn is_live(&self) -> bool {
        self.stage != Stage::Ended
    }

    /// What it does next if all goes well; `None` waits for something else.
    fn next(&self, kind: &Kind) -> Option<Event> {
        let run = self.id;
        let exit = |code| Some(exited(run, ExitStatus::Code(code)));
        let signal = |number| Some(exited(run, ExitStatus::Signal { number, core: false }));
        match (self.stage, self.purpose) {
            (Stage::Ended, _) => self.awaited.then_some(Event::TreeGone { run }),
            (_, None) => Some(Event::Passed { run }),
            (Stage::Asked, Some(Purpose::Main)) => Some(Event::Spawned { run, pid: pid(run) }),
            // The parent's end was told; nothing but the end of the tree is to come.
            (Stage::Between, _) if self.awaited => Some(Event::TreeGone { run }),
            _ if self.struck => signal(9),
            (_, Some(Purpose::Main)) if self.told.is_some() && self.stage != Stage::Between => signal(15),
            (Stage::Between, _) => self.looked_for.then(|| Event::MainFound { run, pid: pid(run) }),
            (Stage::Alive, Some(Purpose::Main)) if self.measured => Some(Event::Measured { run, memory: 1 }),
            (Stage::Alive, Some(Purpose::Main)) => match kind {
                Kind::Oneshot => exit(0),
                Kind::Forking { .. } if !self.found => exit(0),
                Kind::Notify if !self.signed => Some(Event::Signed { run, sign: Sign::Ready }),
                Kind::Simple | Kind::Notify | Kind::Forking { .. } => None,
            },
            (Stage::Asked | Stage::Alive, Some(_)) => exit(0),
        }
    }

    fn faults(&self, world: &World, faults: &mut Vec<Fault>) {
        let kind = &world.spec(self.unit).kind;
        match (self.stage, self.purpose) {
            (Stage::Ended, _) => {}
            (_, None) => faults.push(Fault::NotPassed),
            (Stage::Asked, Some(Purpose::Main)) => faults.extend([Fault::NoRoom, Fault::Missing]),
            (Stage::Between, _) if self.looked_for => faults.push(Fault::NoPidFile),
            (Stage::Between, _) => {}
            (_, Some(_)) if self.struck => {}
            (_, Some(Purpose::Main)) if self.told.is_some() => faults.push(Fault::Code(1)),
            (_, Some(Purpose::Main)) => {
                faults.extend([Fault::Code(1), Fault::Code(3), Fault::Killed]);
                if *kind != Kind::Oneshot {
                    faults.push(Fault::Code(0));
                }
                if *kind == Kind::Notify {
                    faults.push(Fault::Reloads);
                }
                if self.measured {
                    faults.push(Fault::Big);
                }
            }
            (_, Some(_)) => faults.extend([Fault::Code(1), Fault::Missing]),
        }
    }
}

fn exited(run: RunId, status: ExitStatus) -> Event {
    Event::Exited { run, status, oom: false, said: String::new() }
}

fn pid(run: RunId) -> Pid {
    Pid(100 + i32::try_from(run.0).unwrap_or(0))
}

impl Kernel {
    pub(super) fn at(now: Time) -> Self {
        Self { now, ..Self::default() }
    }

    pub(super) fn run(&self, id: RunId) -> Option<&Run> {
        self.runs.binary_search_by_key(&id, |run| run.id).ok().map(|at| &self.runs[at])
    }

    pub(super) fn run_mut(&mut self, id: RunId) -> Option<&mut Run> {
        self.runs.binary_search_by_key(&id, |run| run.id).ok().map(|at| &mut self.runs[at])
    }

    pub(super) fn forget(&mut self, id: RunId) {
        self.runs.retain(|run| run.id != id);
    }

    /// The unit's latest main run that is not over.
    pub(super) fn main(&self, unit: usize) -> Option<&Run> {
        self.runs.iter().rev().find(|run| run.unit == unit && run.is_main())
    }

    /// Its main process is there, or will be.
    pub(super) fn has_main(&self, unit: usize) -> bool {
        self.runs.iter().any(|run| run.unit == unit && run.is_main() && run.is_live())
    }

    /// Everything that happens by itself, what is oldest first; time passes when nothing else does.
    pub(super) fn natural(&self, world: &World, due: Option<Time>) -> Vec<Move> {
        if self.ended {
            return Vec::new();
        }
        let goes_on = |(rank, run): (usize, &Run)| {
            run.next(&world.spec(run.unit).kind).map(|_| Move::GoOn(small(rank)))
        };
        let mut moves: Vec<Move> = self.runs.iter().enumerate().filter_map(goes_on).collect();
        if moves.is_empty() && due.is_some() {
            moves.push(Move::Wait);
        }
        moves
    }

    /// Everything that may disturb it.
    pub(super) fn disturbances(&self, world: &World, due: Option<Time>) -> Vec<Move> {
        let mut moves = Vec::new();
        if self.ended {
            return moves;
        }
        let mut faults = Vec::new();
        let mut busy = false;
        for (rank, run) in self.runs.iter().enumerate() {
            busy |= run.next(&world.spec(run.unit).kind).is_some();
            run.faults(world, &mut faults);
            moves.extend(faults.drain(..).map(|fault| Move::GoWrong(small(rank), fault)));
        }
        if due.is_some() && busy {
            moves.push(Move::Wait);
        }
        if due.is_some() && world.suspends {
            moves.push(Move::Suspend);
        }
        for wish in [
            Wish::Start,
            Wish::Stop,
            Wish::Restart,
            Wish::RestartAll,
            Wish::Reload,
            Wish::ReloadOrRestart,
            Wish::Reset,
            Wish::Pause,
            Wish::Resume,
        ] {
            for of in [Of::One(0), Of::One(1), Of::Both] {
                let both = matches!(wish, Wish::Start | Wish::Stop | Wish::Restart);
                if of != Of::Both || both {
                    moves.push(Move::Ask(wish, of));
                }
            }
        }
        moves.push(Move::Shutdown);
        moves
    }

    /// What the machine is told when this happens. Takes down what the kernel itself knows of it.
    pub(super) fn take(&mut self, world: &World, what: Move, due: Option<Time>) -> Event {
        match what {
            Move::Wait => {
                self.now = due.unwrap_or(self.now).max(self.now);
                Event::Tick
            }
            Move::Suspend => {
                self.give_time();
                self.now = due.unwrap_or(self.now).max(self.now).after(SUSPENSION);
                Event::Tick
            }
            Move::Shutdown => {
                self.hurried |= self.ending.is_some();
                self.asked_to_end |= self.ending.is_none();
                Event::ShutdownAsked { why: "SIGTERM".to_owned() }
            }
            Move::Ask(wish, of) => self.ask(world, wish, of),
            Move::GoOn(rank) => {
                let run = &self.runs[usize::from(rank)];
                let event = run.next(&world.spec(run.unit).kind).unwrap_or(Event::Tick);
                self.happened(world, &event);
                event
            }
            Move::GoWrong(rank, fault) => {
                let event = wrong(self.runs[usize::from(rank)].id, fault);
                self.happened(world, &event);
                event
            }
        }
    }

    /// What was under way while the machine stood still has the time that it would have had, and a little more.
    fn give_time(&mut self) {
        if self.ending.is_some() {
            return;
        }
        for run in &mut self.runs {
            let gap = SUSPENSION + SUSPENDED;
            run.asked = run.asked.after(gap);
            run.told = run.told.map(|at| at.after(gap));
        }
    }

    fn ask(&mut self, world: &World, wish: Wish, of: Of) -> Event {
        let units: Vec<UnitName> =
            (0..2).filter(|unit| of.concerns(*unit)).map(|unit| world.names[unit].clone()).collect();
        self.last_job += 1;
        let job = JobId(self.last_job);
        self.jobs.push(Job { id: job, wish, of, after: RunId(self.last_run), answered: [false; 2] });
        for unit in 0..2 {
            let memory = &mut self.units[unit];
            // Whatever it was, a person has had a hand in it from here on.
            (memory.over, memory.failed, memory.restarted) = (false, None, None);
            if of.concerns(unit) {
                memory.paused = wish == Wish::Pause;
            } else if wish != Wish::Pause {
                memory.paused = false;
            }
        }
        if self.ending.is_none() || wish == Wish::Stop {
            self.take_hold(world, wish, of);
        }
        let command = match wish {
            Wish::Start => Command::Start(units),
            Wish::Stop => Command::Stop(units),
            Wish::Restart => Command::Restart { units, reach: Reach::Alone },
            Wish::RestartAll => Command::Restart { units, reach: Reach::WithDependants },
            Wish::Reload => Command::Reload { units, otherwise: Otherwise::Refuse },
            Wish::ReloadOrRestart => Command::Reload { units, otherwise: Otherwise::Restart },
            Wish::Reset => Command::Reset(units),
            Wish::Pause => Command::Pause(units),
            Wish::Resume => Command::Resume(units),
        };
        Event::Asked { job, command }
    }

    /// A stop is remembered until a person wants the unit, or what needs it, up.
    fn take_hold(&mut self, world: &World, wish: Wish, of: Of) {
        let pulls = match wish {
            Wish::Stop => {
                for unit in (0..2).filter(|unit| of.concerns(*unit)) {
                    self.units[unit].held = true;
                }
                false
            }
            Wish::Start | Wish::Restart | Wish::RestartAll => true,
            // A reload that can be done starts nothing; one that cannot may restart, which the views tell.
            Wish::Reload | Wish::ReloadOrRestart | Wish::Reset | Wish::Pause | Wish::Resume => false,
        };
        if !pulls {
            return;
        }
        for unit in (0..2).filter(|unit| of.concerns(*unit)) {
            self.units[unit].held = false;
            for other in &world.spec(unit).requires {
                self.units[world.index(other)].held = false;
            }
        }
    }

    /// A fact about a run.
    fn happened(&mut self, world: &World, event: &Event) {
        let Some(id) = event.run() else { return };
        let now = self.now;
        let Some(run) = self.run_mut(id) else { return };
        let (unit, is_main, purpose) = (run.unit, run.is_main(), run.purpose);
        let asked = run.told.is_some() || run.struck || run.awaited;
        let spec = world.spec(unit);
        let mut failed = None;
        let mut over = false;
        match event {
            Event::Spawned { .. } => (run.stage, run.made) = (Stage::Alive, now),
            Event::SpawnFailed { failure, .. } => {
                over = is_main;
                failed = is_main.then_some(match failure.cause {
                    SpawnCause::Missing => 127,
                    SpawnCause::NotExecutable => 126,
                    SpawnCause::NoResources | SpawnCause::Context => 1,
                });
                // There is no process and there was none: whoever waits for its tree waits no longer.
                self.forget(id);
            }
            Event::Exited { status, .. } => {
                let forks = matches!(spec.kind, Kind::Forking { .. });
                if is_main
                    && forks
                    && !run.found
                    && run.told.is_none()
                    && *status == ExitStatus::Code(0)
                    && !run.struck
                {
                    run.stage = Stage::Between;
                } else {
                    run.stage = Stage::Ended;
                    over = is_main && !world.wants_back(unit, *status);
                    failed = is_main.then(|| status.shell_code());
                }
                if purpose == Some(Purpose::PreStart) && *status == ExitStatus::Code(0) && !asked {
                    self.units[unit].hooks += 1;
                }
            }
            Event::TreeGone { .. } => self.forget(id),
            Event::Passed { .. } => {
                let memory = &mut self.units[unit];
                memory.passed = true;
                memory.outside += 1;
                self.forget(id);
            }
            Event::NotPassed { .. } => self.forget(id),
            Event::MainFound { .. } => (run.stage, run.found, run.looked_for) = (Stage::Alive, true, false),
            Event::MainNotFound { .. } => run.looked_for = false,
            Event::Signed { sign, .. } => run.signed = *sign == Sign::Ready,
            Event::Measured { .. } => run.measured = false,
            Event::Tick | Event::Due { .. } | Event::Asked { .. } | Event::ShutdownAsked { .. } => {}
        }
        if let Some(status) = failed {
            let memory = &mut self.units[unit];
            memory.status = status;
            let was = memory.label;
            let counts = matches!(was, Some(Label::Starting | Label::Ready | Label::Reloading));
            if !asked && counts && self.jobs.is_empty() && spec.part_of.is_empty() {
                memory.over = over && matches!(event, Event::Exited { .. });
                memory.failed = matches!(event, Event::Exited { .. }).then_some(now);
            }
        }
    }

    /// Adds what is around the machine to its fingerprint.
    pub(super) fn add_to(&self, form: &mut Form<'_>, world: &World) {
        form.size(self.runs.len());
        for run in &self.runs {
            let Run {
                id: _,
                unit,
                purpose,
                stage,
                asked,
                made,
                told,
                struck,
                awaited,
                signed,
                looked_for,
                measured,
                found,
            } = run;
            form.size(*unit);
            form.word(purpose.map_or(99, |purpose| purpose as u64));
            form.word(*stage as u64);
            if purpose.is_some() && *purpose != Some(Purpose::Main) {
                form.past(*asked, std::time::Duration::from_secs(40));
            }
            form.past(*made, std::time::Duration::from_secs(5));
            form.maybe(*told, |form, at| form.past(at, world.spec(*unit).stop.timeout));
            let flags = [*struck, *awaited, *signed, *looked_for, *measured, *found];
            form.word(flags.iter().fold(0, |word, flag| word << 1 | u64::from(*flag)));
        }
        form.size(self.jobs.len());
        for Job { id: _, wish, of, after, answered } in &self.jobs {
            form.word(*wish as u64);
            form.word(if let Of::One(one) = of { u64::from(*one) } else { 9 });
            for (unit, answered) in answered.iter().enumerate() {
                form.flag(*answered);
                form.flag(self.main(unit).is_some_and(|run| run.id > *after));
            }
        }
        for Memory { label, health, held, paused, over, restarted, failed, hooks, outside, status, passed } in
            &self.units
        {
            form.maybe(*label, |form, label| form.word(label as u64));
            form.word(*health as u64);
            let flags = [*held, *paused, *over, *passed];
            form.word(flags.iter().fold(0, |word, flag| word << 1 | u64::from(*flag)));
            form.maybe(*restarted, |form, at| form.past(at, world.window()));
            form.maybe(*failed, |form, at| form.past(at, world.window()));
            form.size(*hooks);
            form.size((*outside).min(1));
            form.word(u64::from(*status));
        }
        form.maybe(self.ending, |form, at| form.past(at, std::time::Duration::from_secs(20)));
        form.flag(self.asked_to_end);
        form.flag(self.hurried);
        form.flag(self.ended);
    }
}

fn wrong(run: RunId, fault: Fault) -> Event {
    let failure = |cause, why: &str| SpawnFailure { cause, why: why.to_owned() };
    match fault {
        Fault::NoRoom => Event::SpawnFailed { run, failure: failure(SpawnCause::NoResources, "no room") },
        Fault::Missing => Event::SpawnFailed { run, failure: failure(SpawnCause::Missing, "not found") },
        Fault::Code(code) => exited(run, ExitStatus::Code(code)),
        Fault::Killed => exited(run, ExitStatus::Signal { number: 9, core: false }),
        Fault::NotPassed => Event::NotPassed { run, why: "connection refused".to_owned() },
        Fault::NoPidFile => Event::MainNotFound { run, why: "not there yet".to_owned() },
        Fault::Big => Event::Measured { run, memory: 1 << 40 },
        Fault::Reloads => Event::Signed { run, sign: Sign::Reloading(None) },
    }
}

fn small(rank: usize) -> u8 {
    u8::try_from(rank).expect("few runs at a time")
}
