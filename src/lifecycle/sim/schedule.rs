//! One schedule from its seed to its end: the world, the supervisor between, and everybody who watches.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use crate::lifecycle::action::Action;
use crate::lifecycle::event::{Command, Event, ExitStatus, JobId, RunId, Sign};
use crate::lifecycle::model::form::Form;
use crate::lifecycle::recovery::{Again, Found};
use crate::lifecycle::saved::Saved;
use crate::lifecycle::sim::book::Book;
use crate::lifecycle::sim::clocked::Due;
use crate::lifecycle::sim::dice::Dice;
use crate::lifecycle::sim::plan::{self, Edit, Plan};
use crate::lifecycle::sim::promise::{Moment, Promise, Seen};
use crate::lifecycle::sim::rest::restless;
use crate::lifecycle::sim::words;
use crate::lifecycle::sim::world::{Next, Noted, World};
use crate::lifecycle::sim::{
    asking, clocked, crashing, replacing, restarting, rolling, roster, starting, stopping, telling, updating,
    watching,
};
use crate::lifecycle::supervisor::Supervisor;
use crate::lifecycle::time::Time;
use crate::units::name::UnitName;
use crate::units::spec::{UnitSet, UnitSpec};

/// A broken promise.
pub(super) struct Failure {
    pub(super) seed: u64,
    pub(super) sentence: &'static str,
    pub(super) what: String,
    /// What happened before, in words.
    pub(super) before: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.before {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "SIM_SEED={}: {}", self.seed, self.what)?;
        write!(f, "the promise: {}", self.sentence)
    }
}

/// What to keep of a schedule while it runs.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Keep {
    /// Nothing: the fastest.
    Nothing,
    /// The hash of all that happened.
    Hash,
    /// The last events in words.
    Words,
}

/// What a schedule came to.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Outcome {
    pub(super) steps: u64,
    pub(super) hash: u64,
    pub(super) was_calm: bool,
    /// Wishes that could have failed before faults ceased.
    pub(super) wishes: u64,
}

/// How many lines of the past a failure shows.
const PAST: usize = 60;

/// More steps than this are a loop: the longest honest schedules have a tenth.
const STEPS_MAX: u64 = 40_000;

/// After faults have ceased, everything rests within this.
const REST_WITHIN: Duration = Duration::from_secs(90);

/// How often it is looked whether everything rests.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A moment of the supervisor's clock at which it is started.
const BOOT: Duration = Duration::from_secs(1000);

/// How often, in a thousand steps, svinit executes itself.
const HAND_OVERS: u64 = 4;

/// How often, in a thousand events, a turn begins with one in which svinit crashes.
const CRASHES: u64 = 8;

/// Events of the turn in which it does, at most.
const TURN_MAX: u64 = 4;

/// A turn is over within this.
const TURN_WITHIN: Duration = Duration::from_millis(3);

/// How often, in a hundred, it has crashed just before, so that what was heard is not told again.
const SECOND_CRASHES: u64 = 25;

const SENSE: &str = "every action makes sense to the kernel";
const LOOP: &str = "a schedule has an end";
const IDENTITY: &str = "what is handed over is what was";
const UNTOUCHED: &str = "a crash of svinit touches no process that it knows";
const UNNOTICED: &str = "after a crash svinit knows what it knew, and what it has heard since";
const LIVENESS: &str = "every unit comes to rest when faults have ceased";

enum Item {
    Ask(Command),
    Update(Vec<(UnitName, Edit)>),
    Due(Due),
    Shutdown,
    Suspend(Duration),
    Quiet,
    Look,
}

/// A turn in which svinit crashes, and what it goes on from.
struct Doomed {
    machine: String,
    set: UnitSet,
    book: Book,
    noted: Noted,
    since: Time,
    /// Events until it crashes.
    left: u64,
    heard: Vec<Event>,
    /// Runs of which it wished to be told something by its own hands.
    asked: BTreeSet<RunId>,
}

/// One schedule under way.
struct Schedule {
    seed: u64,
    plan: Rc<Plan>,
    world: World,
    supervisor: Supervisor,
    book: Book,
    promises: Vec<Promise>,
    dice: Dice,
    items: Vec<Option<Item>>,
    /// By how much the supervisor's clock is ahead of the world's.
    ahead: Duration,
    jobs: u64,
    steps: u64,
    keep: Keep,
    hasher: DefaultHasher,
    past: VecDeque<String>,
    was_calm: bool,
    /// When svinit executes itself. Dice of their own, so that the rest of the schedule is the same without.
    upgrades: Dice,
    /// When it crashes.
    crashes: Dice,
    doomed: Option<Box<Doomed>>,
    /// It has just crashed, and does not do so again.
    is_recovering: bool,
}

/// Runs the schedule of this seed once.
pub(super) fn run_keeping(seed: u64, keep: Keep) -> Result<Outcome, Failure> {
    run_failing(seed, 0, keep)
}

/// The same, and the wish number `fails` that can fail does so, counted from 1; see [`World::fails`].
pub(super) fn run_failing(seed: u64, fails: u64, keep: Keep) -> Result<Outcome, Failure> {
    let mut schedule = Schedule::new(seed, keep);
    schedule.world.fails = fails;
    match schedule.play() {
        Ok(()) => {
            let (hash, wishes) = (schedule.hasher.finish(), schedule.world.wishes);
            Ok(Outcome { steps: schedule.steps, hash, was_calm: schedule.was_calm, wishes })
        }
        Err((sentence, what)) => Err(Failure { seed, sentence, what, before: schedule.past.into() }),
    }
}

type Broken = (&'static str, String);

fn all_promises() -> Vec<Promise> {
    let mut all = clocked::promises();
    all.extend(crashing::promises());
    all.extend(starting::promises());
    all.extend(stopping::promises());
    all.extend(restarting::promises());
    all.extend(replacing::promises());
    all.extend(rolling::promises());
    all.extend(watching::promises());
    all.extend(asking::promises());
    all.extend(telling::promises());
    all.extend(updating::promises());
    all.extend(roster::promises());
    all
}

impl Schedule {
    fn new(seed: u64, keep: Keep) -> Self {
        let plan = Rc::new(Plan::draw(seed));
        let now = Time::ZERO.after(BOOT);
        Self {
            seed,
            world: World::new(Rc::clone(&plan), seed),
            supervisor: Supervisor::new(&plan.at_boot(), plan.settings, now),
            book: Book::new(Rc::clone(&plan)),
            promises: all_promises(),
            dice: Dice::new(seed ^ 0x0bad_cafe),
            items: Vec::new(),
            ahead: BOOT,
            jobs: 0,
            steps: 0,
            keep,
            hasher: DefaultHasher::new(),
            past: VecDeque::new(),
            was_calm: false,
            upgrades: Dice::new(seed ^ 0x0050_fa11),
            crashes: Dice::new(seed ^ 0x000f_a117),
            doomed: None,
            is_recovering: false,
            plan,
        }
    }

    fn put(&mut self, at: Time, item: Item) {
        self.items.push(Some(item));
        self.world.plan_at(at, self.items.len() - 1);
    }

    fn put_all(&mut self) {
        let plan = Rc::clone(&self.plan);
        for (at, command) in &plan.asked {
            self.put(Time::ZERO.after(*at), Item::Ask(command.clone()));
        }
        for (at, changes) in &plan.updates {
            self.put(Time::ZERO.after(*at), Item::Update(changes.clone()));
        }
        for (at, due) in &plan.due {
            self.put(Time::ZERO.after(*at), Item::Due(due.clone()));
        }
        for (at, gap) in &plan.suspensions {
            self.put(Time::ZERO.after(*at), Item::Suspend(*gap));
        }
        if let Some(at) = plan.shutdown {
            self.put(Time::ZERO.after(at), Item::Shutdown);
        }
        self.put(Time::ZERO.after(plan.quiet), Item::Quiet);
    }

    fn play(&mut self) -> Result<(), Broken> {
        self.put_all();
        self.world.ahead = self.ahead;
        self.tell_the_time();
        let actions = self.supervisor.boot(self.book.now);
        self.follow(None, actions)?;
        while self.book.end.is_none() {
            self.turn()?;
        }
        // Whatever still arrives must find nobody at home.
        for event in [Event::Tick, Event::ShutdownAsked { why: "SIGTERM".to_owned() }] {
            self.tell(event)?;
        }
        self.look(Moment::Over)
    }

    /// The next thing that happens, or the next deadline, whichever comes first.
    fn turn(&mut self) -> Result<(), Broken> {
        if let Some(doomed) = &self.doomed
            && self.world.next_at().is_none_or(|at| at.since(doomed.since) > TURN_WITHIN)
        {
            return self.crash();
        }
        let due = self.supervisor.next_deadline();
        let tick = due.map(|due| {
            let late = if self.dice.percent(30) { self.dice.below(2_000) } else { 0 };
            let due = Time(due.0.saturating_sub(u64::try_from(self.ahead.as_micros()).expect("small")));
            due.max(self.world.now).after(Duration::from_micros(late))
        });
        match (tick, self.world.next_at()) {
            (Some(tick), Some(next)) if tick < next || (tick == next && self.dice.percent(50)) => {
                self.tick(tick)
            }
            (Some(tick), None) => self.tick(tick),
            (_, Some(_)) => match self.world.go_on() {
                Next::Tell(event) => self.tell(event),
                Next::Planned(what) => self.on_item(what),
                Next::Nothing => Ok(()),
            },
            (None, None) => {
                Err((LOOP, "nothing will ever happen again, and svinit has not ended".to_owned()))
            }
        }
    }

    fn tick(&mut self, at: Time) -> Result<(), Broken> {
        self.world.now = at;
        let due = self.supervisor.next_deadline().unwrap_or(at);
        self.tell_the_time();
        self.book.late = self.book.now.since(due);
        self.tell(Event::Tick)
    }

    fn on_item(&mut self, what: usize) -> Result<(), Broken> {
        match self.items[what].take() {
            Some(Item::Ask(command)) => self.ask(command),
            Some(Item::Update(changes)) => self.update(&changes),
            Some(Item::Due(Due { unit, is_on_time, missed })) => {
                self.tell(Event::Due { unit, is_on_time, missed })
            }
            Some(Item::Shutdown) => {
                let first = self.book.ordered.is_none();
                self.book.ordered.get_or_insert(self.world.now);
                if let (true, Some(second)) = (first, self.plan.second) {
                    self.put(self.world.now.after(second), Item::Shutdown);
                }
                self.tell(Event::ShutdownAsked { why: "SIGTERM".to_owned() })
            }
            Some(Item::Suspend(gap)) => {
                self.ahead += gap;
                self.world.ahead = self.ahead;
                self.note(|| format!("the machine is suspended for {gap:?}"));
                Ok(())
            }
            Some(Item::Quiet) => {
                self.world.become_calm();
                self.book.calm_since = Some(self.world.now);
                self.note(|| "faults cease".to_owned());
                self.put(self.world.now.after(LOOK_EVERY), Item::Look);
                Ok(())
            }
            Some(Item::Look) => self.look_for_rest(),
            None => Ok(()),
        }
    }

    fn ask(&mut self, command: Command) -> Result<(), Broken> {
        self.jobs += 1;
        self.tell(Event::Asked { job: JobId(self.jobs), command })
    }

    /// Other definitions for these units, none of which differs in what the promises are about, and other units.
    fn update(&mut self, edits: &[(UnitName, Edit)]) -> Result<(), Broken> {
        self.jobs += 1;
        let mut set = UnitSet { units: self.book.wanted.clone(), ..UnitSet::default() };
        for (name, edit) in edits {
            match edit {
                Edit::Goes => roster::take_out(&self.plan, name, &mut set.units),
                Edit::Comes => roster::put_in(&self.plan, name, &self.book.latest, &mut set.units),
                Edit::NextProcess => change(&mut set, name, |spec| {
                    spec.context.umask = Some(spec.context.umask.unwrap_or(0) + 1);
                }),
                Edit::AtOnce => change(&mut set, name, |spec| spec.description.push('x')),
            }
        }
        self.tell_the_time();
        let goals = self.supervisor.views().into_iter().map(|view| (view.name, view.wanted)).collect();
        if edits.is_empty() {
            return Ok(());
        }
        self.note(|| format!("an update: {edits:?}"));
        let now = self.supervisor.definitions().units;
        self.book.take_update(JobId(self.jobs), &set, &now, goals);
        let actions = self.supervisor.adopt(JobId(self.jobs), &set, self.book.now);
        self.follow(None, actions)?;
        self.book.updating = false;
        Ok(())
    }

    /// When everything rests, svinit is asked to shut down; when it never does, a promise is broken.
    fn look_for_rest(&mut self) -> Result<(), Broken> {
        if self.book.is_ending() {
            return Ok(());
        }
        let since = self.book.calm_since.expect("faults have ceased");
        match restless(&self.book, &self.world, &self.supervisor) {
            Some(what) if self.world.now.since(since) > REST_WITHIN => Err((LIVENESS, what)),
            Some(_) => {
                self.put(self.world.now.after(LOOK_EVERY), Item::Look);
                Ok(())
            }
            None => {
                self.was_calm = true;
                self.tell_the_time();
                self.look(Moment::Calm)?;
                self.put(self.world.now, Item::Shutdown);
                Ok(())
            }
        }
    }

    fn tell_the_time(&mut self) {
        self.book.lived = self.world.now;
        self.book.now = self.world.now.after(self.ahead);
        self.book.late = Duration::ZERO;
    }

    /// The supervisor is told, and everybody looks at what follows.
    fn tell(&mut self, event: Event) -> Result<(), Broken> {
        if !matches!(event, Event::Tick) || self.book.end.is_some() {
            self.tell_the_time();
        }
        let may_crash = self.doomed.is_none() && !self.is_recovering && self.book.end.is_none();
        if may_crash && self.crashes.per_mille(CRASHES) {
            self.doom(&event);
        }
        self.look(Moment::Told(&event))?;
        self.book.take_event(&event);
        if let Some(doomed) = &mut self.doomed {
            doomed.heard.push(event.clone());
        }
        let actions = self.supervisor.step(event.clone(), self.book.now);
        self.follow(Some(event), actions)
    }

    fn follow(&mut self, event: Option<Event>, actions: Vec<Action>) -> Result<(), Broken> {
        self.steps += 1;
        self.write_down(event.as_ref(), &actions);
        if self.steps > STEPS_MAX {
            return Err((LOOP, format!("{STEPS_MAX} steps and no end")));
        }
        self.book.put_back.clear();
        for action in &actions {
            self.look(Moment::Wished(action))?;
            self.book.take_action(action);
        }
        if self.supervisor.phase() == crate::lifecycle::state::Phase::Stopping {
            self.book.ending.get_or_insert(self.book.lived);
            self.book.ending_told.get_or_insert(self.book.now);
        }
        self.look(Moment::Settled(event.as_ref(), &actions))?;
        let is_last = self.doomed.as_mut().is_some_and(|doomed| {
            doomed.left -= 1;
            doomed.left == 0 || self.book.end.is_some()
        });
        if let Some(doomed) = &mut self.doomed {
            let asks = |action: &Action| match action {
                Action::ReadPidFile { run, .. } | Action::Measure { run } => Some(*run),
                _ => None,
            };
            doomed.asked.extend(actions.iter().filter_map(asks));
        }
        // It crashes in the middle of what it does.
        let done = if is_last { self.crashes.below(actions.len() as u64 + 1) } else { actions.len() as u64 };
        for action in &actions[..usize::try_from(done).expect("few actions")] {
            self.world.perform(action).map_err(|what| (SENSE, what))?;
            self.perhaps_a_whim(action);
        }
        if is_last {
            return self.crash();
        }
        if self.doomed.is_some() || self.is_recovering {
            return Ok(());
        }
        if self.book.end.is_none() && self.upgrades.per_mille(HAND_OVERS) {
            self.hand_over()?;
        }
        let is_stale = std::mem::take(&mut self.book.stale);
        if !is_stale && self.book.end.is_none() && self.dice.per_mille(self.plan.stale) {
            return self.something_stale();
        }
        Ok(())
    }

    /// svinit executes itself: from here on another machine goes on, which knows what was written down and nothing else.
    fn hand_over(&mut self) -> Result<(), Broken> {
        self.note(|| "svinit executes itself".to_owned());
        let before = self.form();
        let text =
            serde_json::to_string(&self.supervisor.save()).map_err(|why| (IDENTITY, why.to_string()))?;
        let saved: Saved = serde_json::from_str(&text).map_err(|why| (IDENTITY, why.to_string()))?;
        self.supervisor = Supervisor::restore(saved, &self.in_force(), &self.wanted(), self.plan.settings)
            .map_err(|why| (IDENTITY, why))?;
        let (is_same, again) = (self.form() == before, serde_json::to_string(&self.supervisor.save()).ok());
        // In every other schedule it is left to the other promises to see what is missing.
        if self.seed.is_multiple_of(2) && (!is_same || again.as_deref() != Some(&text)) {
            return Err((IDENTITY, "the next svinit knows something else".to_owned()));
        }
        Ok(())
    }

    /// What the units are to be.
    fn wanted(&self) -> UnitSet {
        UnitSet { units: self.book.wanted.clone(), ..UnitSet::default() }
    }

    /// The definitions in force.
    fn in_force(&self) -> UnitSet {
        let one = |name: &UnitName| Some((name.clone(), self.supervisor.spec(name)?));
        UnitSet { units: self.plan.set.units.keys().filter_map(one).collect(), ..UnitSet::default() }
    }

    /// What the machine knows.
    fn form(&self) -> u128 {
        let runs: Vec<RunId> = self.book.runs.keys().copied().collect();
        let mut form = Form::new(self.book.now, &runs);
        form.machine(&self.supervisor);
        form.done()
    }

    /// A turn begins `with` this, in which svinit will crash. What it goes on from was written down now.
    fn doom(&mut self, with: &Event) {
        let doomed = Doomed {
            machine: serde_json::to_string(&self.supervisor.save()).expect("it is words and numbers"),
            set: self.in_force(),
            book: Book { updating: false, stale: false, ..self.book.clone() },
            noted: self.world.note(with),
            since: self.world.now,
            left: self.crashes.number(1, TURN_MAX),
            heard: Vec::new(),
            asked: BTreeSet::new(),
        };
        self.note(|| "a turn begins in which svinit crashes".to_owned());
        self.doomed = Some(Box::new(doomed));
    }

    /// svinit crashes, and goes on from what it has written down, what it has heard since, and what it finds.
    fn crash(&mut self) -> Result<(), Broken> {
        let Some(doomed) = self.doomed.take() else { return Ok(()) };
        let Doomed { machine, set, mut book, noted, mut heard, asked, since, .. } = *doomed;
        let has_made = self.book.runs.len() != book.runs.len();
        let is_at_once = self.world.now == since && !has_made;
        let is_alike = self.seed.is_multiple_of(2) && self.book.end.is_none() && is_at_once;
        let is_alike = is_alike
            && matches!(heard[..], [ref event] if !matches!(event, Event::Tick | Event::Due { .. } | Event::TreeGone { .. } | Event::Passed { .. } | Event::NotPassed { .. }));
        let before = is_alike.then(|| self.form());
        (book.calm_since, book.ordered) = (self.book.calm_since, self.book.ordered);
        self.book = book;
        self.tell_the_time();
        let saved: Saved = serde_json::from_str(&machine).map_err(|why| (UNNOTICED, why.to_string()))?;
        self.supervisor = Supervisor::restore(saved, &set, &self.wanted(), self.plan.settings)
            .map_err(|why| (UNNOTICED, why))?;
        let known: BTreeSet<RunId> = self.book.runs.keys().copied().collect();
        let living = self.world.crash(&noted, &known);
        let again = if self.crashes.percent(SECOND_CRASHES) { Again::Orders } else { Again::Everything };
        // Whoever awaits it looks again, and what was asked for only now is asked for again.
        heard.retain(|event| match event {
            Event::TreeGone { .. } => false,
            Event::MainFound { run, .. } | Event::MainNotFound { run, .. } | Event::Measured { run, .. } => {
                !asked.contains(run)
            }
            _ => true,
        });
        let found_again = self.hear_of_its_own(&known, &heard, again);
        for event in heard.iter().filter(|_| again == Again::Orders) {
            if let Event::Signed { run, .. } = event
                && let Some(run) = self.book.runs.get_mut(run)
            {
                // Its word is lost for svinit; so nobody can say of which reload it tells next.
                run.reloads = None;
            }
        }
        let ended = |event: &Event| match event {
            Event::Exited { run, .. } => known.contains(run).then_some(*run),
            _ => None,
        };
        // Whoever keeps the calendar has not written down that these were told.
        for event in &heard {
            if let Event::Due { unit, is_on_time, missed } = event.clone() {
                self.put(self.world.now, Item::Due(Due { unit, is_on_time, missed }));
            }
        }
        let vanished = heard.iter().filter_map(ended).collect();
        let last = self.supervisor.last_run();
        let found = Found { known: known.clone(), vanished, living, heard, last };
        let follows = found.follows(again);
        self.note(|| format!("svinit has crashed and goes on: {follows:?}"));
        if let Some(run) = follows.strays.intersection(&known).next() {
            return Err((UNTOUCHED, format!("{run} is killed, and was there before")));
        }
        self.world.clear_away(&follows.strays);
        self.supervisor.number_runs_from(follows.last);
        self.is_recovering = true;
        for fact in found_again.into_iter().chain(follows.facts) {
            self.tell(fact)?;
        }
        self.is_recovering = false;
        match before.filter(|_| again == Again::Everything) {
            Some(before) if self.form() != before => {
                Err((UNNOTICED, "svinit knows something else".to_owned()))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// What its own hands had told the machine already and had it written down that they were to find out: they do so
    /// again, at once but for checks. Comes back with what they tell before anything else is.
    fn hear_of_its_own(&mut self, known: &BTreeSet<RunId>, heard: &[Event], again: Again) -> Vec<Event> {
        let is_known = |event: &&Event| event.run().is_some_and(|run| known.contains(&run));
        let mut first = Vec::new();
        for event in heard.iter().filter(is_known) {
            match event {
                Event::Passed { .. } | Event::NotPassed { .. } => self.world.tell_again(event.clone()),
                Event::Spawned { .. }
                | Event::SpawnFailed { .. }
                | Event::MainFound { .. }
                | Event::MainNotFound { .. }
                | Event::Measured { .. } => {
                    first.extend((again == Again::Orders).then(|| event.clone()));
                }
                Event::Tick
                | Event::Due { .. }
                | Event::Exited { .. }
                | Event::TreeGone { .. }
                | Event::Signed { .. }
                | Event::Asked { .. }
                | Event::ShutdownAsked { .. } => {}
            }
        }
        first
    }

    /// Somebody sees a change and acts upon it at once.
    fn perhaps_a_whim(&mut self, action: &Action) {
        let Action::Report(report) = action else { return };
        if report.label == report.was || self.world.calm || !self.dice.per_mille(self.plan.whims) {
            return;
        }
        let mut command = plan::draw_command(&mut self.dice, &self.plan.set);
        if self.dice.percent(50) {
            let one = vec![report.unit.clone()];
            match &mut command {
                Command::Start(units)
                | Command::Stop(units)
                | Command::Restart { units, .. }
                | Command::Reload { units, .. }
                | Command::Signal { units, .. }
                | Command::Reset(units)
                | Command::Pause(units)
                | Command::Resume(units) => *units = one,
            }
        }
        let at = self.world.now.after(self.dice.millis(0, 3));
        self.put(at, Item::Ask(command));
    }

    /// News of a run that is over arrive late, or twice.
    fn something_stale(&mut self) -> Result<(), Broken> {
        let over = |(id, run): (&RunId, &crate::lifecycle::sim::book::RunBook)| {
            let forgotten = run.end.is_some() && (run.gone || run.purpose.is_none());
            forgotten.then_some(*id)
        };
        let candidates: Vec<RunId> = self.book.runs.iter().rev().take(12).filter_map(over).collect();
        if candidates.is_empty() {
            return Ok(());
        }
        let run = self.dice.pick(&candidates);
        let event = match self.dice.below(6) {
            0 | 1 => Event::Exited { run, status: ExitStatus::Code(1), oom: false, said: String::new() },
            2 => Event::Passed { run },
            3 => Event::NotPassed { run, why: "too late".to_owned() },
            4 => Event::Signed { run, sign: Sign::Ready },
            _ => Event::TreeGone { run },
        };
        self.book.stale = true;
        self.tell_the_time();
        self.look(Moment::Told(&Event::Tick))?;
        let actions = self.supervisor.step(event.clone(), self.book.now);
        self.follow(Some(event), actions)
    }

    fn look(&mut self, moment: Moment<'_>) -> Result<(), Broken> {
        if self.doomed.is_some() {
            // Of this nothing stays.
            return Ok(());
        }
        let seen = Seen { book: &self.book, world: &self.world, supervisor: &self.supervisor, moment };
        for promise in &mut self.promises {
            (promise.watch)(&seen).map_err(|what| (promise.sentence, what))?;
        }
        Ok(())
    }

    fn write_down(&mut self, event: Option<&Event>, actions: &[Action]) {
        match self.keep {
            Keep::Nothing => {}
            Keep::Hash => format!("{:?} {event:?} {actions:?}", self.book.now).hash(&mut self.hasher),
            Keep::Words => {
                let what = event.map_or_else(|| "boot".to_owned(), |event| words::event(&self.book, event));
                self.note(|| what);
                for action in actions {
                    let what = words::action(&self.book, action);
                    self.note(|| format!("    {what}"));
                }
            }
        }
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.keep != Keep::Words {
            return;
        }
        let at = self.world.now;
        self.past.push_back(format!("{at} {}", what()));
        if self.past.len() > PAST && std::env::var_os("SIM_ALL").is_none() {
            self.past.pop_front();
        }
    }
}

fn change(set: &mut UnitSet, name: &UnitName, change: impl FnOnce(&mut UnitSpec)) {
    if let Some(spec) = set.units.get_mut(name) {
        change(Arc::make_mut(spec));
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "schedule {}", self.seed)
    }
}
