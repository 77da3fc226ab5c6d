//! All units together: routes what has happened to the unit it is about, then lets the others follow.
//!
//! After each event the units whose situation may have changed are looked at again, in name order, from a queue: no
//! recursion, and the same order every time. What one unit means for another is asked of `order`, never stored.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::action::{Action, End};
use crate::lifecycle::backoff::ForkRate;
use crate::lifecycle::chance::Chance;
use crate::lifecycle::event::{Command, Event, JobId, Otherwise, Reach, RunId, Whom};
use crate::lifecycle::job::{self, Expect, Jobs};
use crate::lifecycle::order::{self, Links, Units};
use crate::lifecycle::planted::{Bug, planted};
use crate::lifecycle::roll::{Kind, Rolls};
use crate::lifecycle::running::Wish;
use crate::lifecycle::state::{Aside, Label, Phase, UnitView};
use crate::lifecycle::stop::After;
use crate::lifecycle::succession::Seat;
use crate::lifecycle::time::Time;
use crate::lifecycle::unit::{Cx, Goal, Note, Runs, State, Unit, Who};
use crate::lifecycle::why;
use crate::units::name::UnitName;
use crate::units::spec::{Mode, SignalName, UnitSet, UnitSpec};

/// What the supervisor needs to know besides the units.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// For jitter.
    pub seed: u64,
    /// One deadline for the whole shutdown.
    pub shutdown_timeout: Duration,
    /// Automatic restarts a second, all units together; 0 is no bound.
    pub fork_rate: u32,
    /// `[limits]` are kept by a cgroup; else `memory_max` is watched and kept by a restart.
    pub limits_enforced: bool,
}

/// A tick that comes so much later than it was due means that the machine stood still: suspended, or its container paused.
pub(super) const SUSPENDED: Duration = Duration::from_secs(2);

/// After the shutdown deadline everything was killed; what the kernel has not let go by then is left to it.
const LAST_GRACE: Duration = Duration::from_millis(400);

/// The machine.
#[derive(Clone)]
pub struct Supervisor {
    pub(super) units: Units,
    pub(super) links: Links,
    pub(super) runs: Runs,
    pub(super) jobs: Jobs,
    pub(super) chance: Chance,
    pub(super) fork_rate: ForkRate,
    pub(super) settings: Settings,
    /// When which unit wants to be told the time.
    pub(super) timetable: BTreeSet<(Time, UnitName)>,
    pub(super) booked: BTreeMap<UnitName, Time>,
    /// Units that are defined no longer, until they are down.
    pub(super) leaving: BTreeSet<UnitName>,
    /// Instances that take turns.
    pub(super) rolls: Rolls,
    /// Units that have not settled since boot.
    pub(super) booting: BTreeSet<UnitName>,
    pub(super) ending: Option<Ending>,
    pub(super) now: Time,
    pub(super) out: Vec<Action>,
    pub(super) notes: Vec<(UnitName, Note)>,
    /// Units to be looked at again.
    pub(super) queue: BTreeSet<UnitName>,
    /// A unit has come to rest in this step: perhaps nothing is left to run.
    pub(super) came_to_rest: bool,
    /// Units that may differ from what was saved of them last; see `saved`.
    pub(super) unsaved: Vec<UnitName>,
}

/// The end of svinit has begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Ending {
    pub(super) began: Time,
    pub(super) deadline: Time,
    /// Everything was killed then.
    pub(super) hurried: Option<Time>,
    pub(super) status: u8,
    pub(super) why: String,
    /// Those that had something to stop when it began.
    pub(super) stopping: BTreeSet<UnitName>,
    pub(super) told: bool,
}

/// What others can build on; when it changes, they are looked at again.
#[derive(PartialEq)]
struct Shape {
    label: Label,
    goal: Goal,
    is_going: bool,
    is_down: bool,
    held: bool,
    waits_for: Vec<String>,
    beside: Vec<Aside>,
}

impl Shape {
    fn of(unit: &Unit) -> Self {
        Self {
            label: unit.label(),
            goal: unit.goal,
            is_going: unit.is_going(),
            is_down: unit.is_down(),
            held: unit.held,
            waits_for: unit.waits_for.clone(),
            beside: unit.beside.shown(),
        }
    }
}

impl Supervisor {
    /// A machine at rest: nothing is started before [`Supervisor::boot`].
    #[must_use]
    pub fn new(set: &UnitSet, settings: Settings, now: Time) -> Self {
        let units =
            set.units.iter().map(|(name, spec)| (name.clone(), Unit::new(Arc::clone(spec), now))).collect();
        Self {
            units,
            links: Links::of(set),
            runs: Runs::default(),
            jobs: Jobs::default(),
            chance: Chance::new(settings.seed),
            fork_rate: ForkRate::new(settings.fork_rate),
            settings,
            timetable: BTreeSet::new(),
            booked: BTreeMap::new(),
            leaving: BTreeSet::new(),
            rolls: Rolls::new(),
            booting: BTreeSet::new(),
            ending: None,
            now,
            out: Vec::new(),
            notes: Vec::new(),
            queue: BTreeSet::new(),
            came_to_rest: false,
            unsaved: Vec::new(),
        }
    }

    /// Starts what is enabled, and what that needs.
    #[must_use]
    pub fn boot(&mut self, now: Time) -> Vec<Action> {
        self.now = now;
        let enabled: Vec<_> =
            self.units.values().filter(|unit| unit.spec.enabled).map(|unit| unit.name().clone()).collect();
        for name in &enabled {
            self.start(name, Who::Boot);
        }
        let is_coming_up = |unit: &&Unit| unit.goal == Goal::Up && !unit.is_timed();
        self.booting = self.units.values().filter(is_coming_up).map(|unit| unit.name().clone()).collect();
        self.came_to_rest = true;
        self.settle()
    }

    /// Tells what has happened. The caller carries out what is returned, in order.
    #[must_use]
    pub fn step(&mut self, event: Event, now: Time) -> Vec<Action> {
        if self.has_ended() {
            return Vec::new();
        }
        self.now = self.now.max(now);
        self.notice_suspension();
        match event {
            Event::Tick => self.on_tick(),
            Event::Asked { job, command } => self.on_asked(job, &command),
            Event::ShutdownAsked { why } => self.on_shutdown_asked(why),
            Event::Due { unit, is_on_time, missed } => self.on_due(&unit, is_on_time, missed),
            Event::Spawned { .. }
            | Event::SpawnFailed { .. }
            | Event::Exited { .. }
            | Event::TreeGone { .. }
            | Event::Passed { .. }
            | Event::NotPassed { .. }
            | Event::MainFound { .. }
            | Event::MainNotFound { .. }
            | Event::Signed { .. }
            | Event::Measured { .. } => self.on_run(&event),
        }
        self.settle()
    }

    /// When `step(Event::Tick, now)` is due at the latest; `None` when nothing is waited for but events.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        if self.has_ended() {
            return None;
        }
        let units = self.timetable.first().map(|(at, _)| *at);
        if planted(Bug::DeadlineStays) {
            return units.map(|at| at.min(self.now));
        }
        let ending = self.ending.as_ref().map(Ending::next);
        units.into_iter().chain(ending).min()
    }

    /// What svinit as a whole is doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        if self.ending.is_some() {
            Phase::Stopping
        } else if self.booting.is_empty() {
            Phase::Running
        } else {
            Phase::Booting
        }
    }

    /// One unit as it is seen.
    #[must_use]
    pub fn view(&self, unit: &UnitName) -> Option<UnitView> {
        self.units.get(unit).map(Unit::view)
    }

    /// All units as they are seen, by name.
    #[must_use]
    pub fn views(&self) -> Vec<UnitView> {
        self.units.values().map(Unit::view).collect()
    }

    /// The definition of a unit.
    #[must_use]
    pub fn spec(&self, unit: &UnitName) -> Option<Arc<UnitSpec>> {
        self.units.get(unit).map(|unit| Arc::clone(&unit.spec))
    }

    pub(super) fn has_ended(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.told)
    }

    /// Does something with one unit, and sees to everything that has to follow from any change.
    pub(super) fn with(&mut self, name: &UnitName, act: impl FnOnce(&mut Unit, &mut Cx<'_>)) {
        let Some(unit) = self.units.get_mut(name) else { return };
        let before = Shape::of(unit);
        if !std::mem::replace(&mut unit.is_unsaved, true) {
            self.unsaved.push(name.clone());
        }
        let mut notes = Vec::new();
        let mut cx = Cx {
            now: self.now,
            out: &mut self.out,
            runs: &mut self.runs,
            chance: &mut self.chance,
            fork_rate: &mut self.fork_rate,
            notes: &mut notes,
            limits_enforced: self.settings.limits_enforced,
        };
        act(unit, &mut cx);
        unit.settle_beside(&mut cx);
        unit.take_definition(&mut cx);
        unit.report(&mut cx);
        if planted(Bug::ReportTwice)
            && let Some(Action::Report(report)) = cx.out.last().cloned()
        {
            cx.out.push(Action::Report(report));
        }
        let due = unit.next_deadline();
        if Shape::of(unit) != before {
            self.came_to_rest |= unit.is_down();
            self.queue.extend(self.links.around(&unit.spec));
            self.queue.insert(name.clone());
        }
        self.notes.extend(notes.into_iter().map(|note| (name.clone(), note)));
        self.book(name, due);
    }

    pub(super) fn book(&mut self, name: &UnitName, due: Option<Time>) {
        if self.booked.get(name).copied() == due {
            return;
        }
        if let Some(before) = self.booked.remove(name) {
            self.timetable.remove(&(before, name.clone()));
        }
        if let Some(due) = due {
            self.booked.insert(name.clone(), due);
            self.timetable.insert((due, name.clone()));
        }
    }

    /// While the machine stood still nothing could answer, so no silence of that time is held against anybody.
    fn notice_suspension(&mut self) {
        let Some((due, _)) = self.timetable.first() else { return };
        let late = self.now.since(*due);
        if late <= SUSPENDED || planted(Bug::SuspendFailsHealth) || self.ending.is_some() {
            return;
        }
        let names: Vec<_> = self.booked.keys().cloned().collect();
        for name in names {
            // A little more than the gap: what was asked before it must have a moment to answer after it.
            self.with(&name, |unit, _| unit.shift(late + SUSPENDED));
        }
    }

    fn on_tick(&mut self) {
        let now = self.now;
        let due: Vec<_> =
            self.timetable.iter().take_while(|(at, _)| *at <= now).map(|(_, name)| name.clone()).collect();
        for name in due {
            self.with(&name, |unit, cx| unit.on_event(&Event::Tick, cx));
        }
    }

    fn on_due(&mut self, name: &UnitName, is_on_time: bool, missed: u32) {
        if self.ending.is_none() && !self.leaving.contains(name) {
            self.with(name, |unit, cx| unit.on_due(is_on_time, missed, cx));
        }
    }

    fn on_run(&mut self, event: &Event) {
        // What is about a run that is over is about nobody.
        if let Some(owner) = event.run().and_then(|run| self.runs.owner.get(&run)).cloned() {
            self.with(&owner, |unit, cx| unit.on_event(event, cx));
        }
    }

    /// Lets the others follow, until nobody has anything more to do.
    pub(super) fn settle(&mut self) -> Vec<Action> {
        loop {
            self.let_others_follow();
            self.jobs.settle(&self.units, self.now, &mut self.out);
            if self.leaving.is_empty() {
                break;
            }
            self.forget_those_that_left();
            // What had to be done to them may be news for others. Nobody remembers a queue over the end of a step.
            if self.queue.is_empty() && self.notes.is_empty() {
                break;
            }
        }
        if std::mem::take(&mut self.came_to_rest) {
            self.end_if_nothing_is_left();
        }
        self.end_if_due();
        std::mem::take(&mut self.out)
    }

    fn let_others_follow(&mut self) {
        loop {
            if let Some((name, note)) = self.notes.pop() {
                self.on_note(&name, &note);
            } else if let Some(name) = self.queue.pop_first() {
                self.look_at(&name);
            } else if self.rolls.is_empty() || !self.take_turns() {
                break;
            }
        }
    }

    fn on_note(&mut self, name: &UnitName, note: &Note) {
        self.jobs.on_note(name, note, &mut self.out);
        if !self.rolls.is_empty() {
            self.tell_rolls(name, note);
        }
        match note {
            Note::LookAgain => {
                self.queue.insert(name.clone());
            }
            Note::Ended | Note::Restarting if planted(Bug::IgnorePartOf) => {}
            Note::Ended => self.restart_along(name, Reach::Alone),
            Note::Restarting => {
                let reach = self.units.get(name).map_or(Reach::Alone, |unit| unit.reach);
                self.restart_along(name, reach);
            }
            Note::RunBegins => self.start_needs(name),
            Note::ShutDown { status, why } => self.shut_down(*status, why.clone()),
            Note::Reloaded(_) | Note::NotRestarted(_) => {}
        }
    }

    fn look_at(&mut self, name: &UnitName) {
        let Some(unit) = self.units.get(name) else { return };
        if self.booting.contains(name) && order::has_settled(&self.units, unit) {
            self.booting.remove(name);
        }
        if matches!(unit.state, State::Completed) {
            // Those that build on its work look through it at what it was done to, which may be what has changed.
            self.queue.extend(self.links.required_by(name).iter().cloned());
        }
        if unit.is_down() {
            let mut held_up = Vec::new();
            order::held_up_by(&self.units, unit, &mut held_up);
            self.queue.extend(held_up);
        }
        if unit.spec.essential && unit.has_ended() && self.ending.is_none() {
            let (status, why) = (unit.final_status, format!("{name}, which is essential, {}", unit.why));
            return self.shut_down(status, why);
        }
        if unit.pending.is_some()
            && order::may_stop(&self.units, &self.links, name)
            && self.may_be_taken(unit)
        {
            let cap = self.stop_cap(name);
            self.with(name, |unit, cx| unit.begin_pending_stop(cap, cx));
        }
        if self.ending.is_none() || planted(Bug::StartInShutdown) {
            self.look_at_the_way_up(name, Seat::Own);
            self.look_at_the_way_up(name, Seat::Successor);
        }
    }

    /// Lets whoever is on `seat` take the next step up, if what it builds on is as it should be.
    fn look_at_the_way_up(&mut self, name: &UnitName, seat: Seat) {
        let Some(unit) = self.units.get(name).and_then(|unit| unit.on_seat(seat)) else { return };
        if matches!(unit.state, State::Waiting) {
            let has_failed =
                |words: &String| words.ends_with("(has failed)") || words.ends_with("(keeps failing)");
            if planted(Bug::FailedDependencyForgotten) && unit.waits_for.iter().any(has_failed) {
                return;
            }
            let blockers = order::blockers(&self.units, unit);
            if seat == Seat::Successor
                && let Some(words) = order::stuck_words(&self.units, unit)
            {
                // The old one does not wait with it for what may never come.
                return self.with(name, |unit, cx| unit.give_up_successor(words, cx));
            }
            self.with(name, |unit, cx| {
                unit.with_seat(seat, cx, |unit, cx| {
                    if blockers.is_empty() {
                        unit.waits_for.clear();
                        unit.release(cx);
                    } else {
                        unit.waits_for = blockers;
                    }
                });
            });
        } else if unit.is_prepared() {
            let stands = order::requirements_stand(&self.units, unit);
            self.with(name, |unit, cx| {
                unit.with_seat(seat, cx, |unit, cx| unit.take_last_step(stands, cx));
            });
        }
    }

    fn on_asked(&mut self, job: JobId, command: &Command) {
        let units = match command {
            Command::Start(units)
            | Command::Stop(units)
            | Command::Reset(units)
            | Command::Pause(units)
            | Command::Resume(units)
            | Command::Restart { units, .. }
            | Command::Reload { units, .. }
            | Command::Signal { units, .. } => units.iter().cloned().collect::<BTreeSet<_>>(),
        };
        let mut expects = BTreeMap::new();
        if matches!(command, Command::Stop(_)) {
            self.stop(&units);
        }
        let in_turns = match command {
            Command::Restart { .. } | Command::Reload { .. } => self.in_turns(&units),
            Command::Start(_)
            | Command::Stop(_)
            | Command::Reset(_)
            | Command::Pause(_)
            | Command::Resume(_)
            | Command::Signal { .. } => BTreeSet::new(),
        };
        // Instances in the order of their numbers.
        let mut in_order: Vec<&UnitName> = units.iter().collect();
        in_order.sort_by_key(|name| name.parts());
        for name in in_order {
            match self.carry_out(command, name, in_turns.contains(name)) {
                Ok(expect) => {
                    expects.insert(name.clone(), expect);
                }
                Err(outcome) => self.out.push(Action::Answer { job, outcome }),
            }
        }
        self.jobs.begin(job, expects, &mut self.out);
    }

    /// Does to one unit what was asked, and says what is to be awaited, or the answer if there is one already.
    fn carry_out(
        &mut self,
        command: &Command,
        name: &UnitName,
        is_in_turns: bool,
    ) -> Result<Expect, job::Answered> {
        if !self.units.contains_key(name) {
            return Err(job::no(name, "there is no such unit".to_owned()));
        }
        if self.ending.is_some()
            && !planted(Bug::StartInShutdown)
            && !matches!(command, Command::Stop(_) | Command::Signal { .. })
        {
            return Err(job::no(name, "svinit is shutting down".to_owned()));
        }
        if self.leaving.contains(name) && !matches!(command, Command::Stop(_) | Command::Signal { .. }) {
            return Err(job::no(name, "is defined no longer, and on its way out".to_owned()));
        }
        let after = self.runs.last();
        match command {
            Command::Start(_) => {
                self.start(name, Who::Person);
                Ok(Expect::Up { after: self.latest_before_next(name) })
            }
            Command::Stop(_) => Ok(Expect::Down),
            Command::Restart { reach, .. } if is_in_turns => Ok(self.restart_in_turn(name, *reach)),
            Command::Restart { reach, .. } => {
                self.restart(name, *reach);
                Ok(Expect::Up { after })
            }
            Command::Reload { otherwise, .. } => self.reload(name, *otherwise, is_in_turns),
            Command::Signal { signal, whom, .. } => Err(self.signal(name, signal, *whom)),
            Command::Reset(_) => {
                self.with(name, |unit, cx| unit.reset(cx));
                Err(job::yes(name, "restarts and failures are forgotten".to_owned()))
            }
            Command::Pause(_) => {
                self.with(name, Unit::pause);
                Err(job::yes(name, "paused: no health checks, no automatic restart until resume".to_owned()))
            }
            Command::Resume(_) => {
                self.with(name, Unit::resume);
                Err(job::yes(name, "health checks and automatic restarts are on".to_owned()))
            }
        }
    }

    /// The last run before the one that a start is about: that may be one that is there already.
    fn latest_before_next(&self, name: &UnitName) -> RunId {
        let is_there = |unit: &Unit| {
            matches!(unit.state, State::Ready(_) | State::Starting(_)) && unit.pending.is_none()
        };
        if self.units.get(name).is_some_and(is_there) { RunId(0) } else { self.runs.last() }
    }

    /// Starts a unit with what it needs; what it conflicts with makes room.
    pub(super) fn start(&mut self, name: &UnitName, who: Who) {
        let mut seen = BTreeSet::new();
        let mut to_start = vec![(name.clone(), who)];
        while let Some((name, who)) = to_start.pop() {
            let Some(unit) = self.units.get(&name) else { continue };
            if !seen.insert(name.clone()) {
                continue;
            }
            let spec = Arc::clone(&unit.spec);
            if who.only_arms(unit) {
                self.with(&name, |unit, cx| unit.ask_start(who, cx));
                continue;
            }
            to_start.extend(spec.requires.iter().map(|need| (need.clone(), Who::Unit)));
            let wanted =
                spec.wants.iter().filter(|want| self.units.get(*want).is_some_and(|unit| !unit.held));
            to_start.extend(wanted.map(|want| (want.clone(), Who::Unit)));
            for rival in &spec.conflicts {
                if self.units.get(rival).is_some_and(|unit| unit.goal == Goal::Up) {
                    self.bring_down(
                        rival,
                        After::StayDown,
                        &format!("conflicts with {name}, which was started"),
                    );
                    self.bring_down_dependants(rival, &BTreeSet::new());
                }
            }
            self.with(&name, |unit, cx| unit.ask_start(who, cx));
            self.queue.insert(name);
        }
    }

    /// A run by the clock has begun: what it builds on is started as far as it is at rest. Nobody's word is overruled by that:
    /// what a person has stopped, what has failed and what conflicts with something that runs stays as it is.
    fn start_needs(&mut self, name: &UnitName) {
        let mut needs = self.needs(name);
        while let Some(need) = needs.pop() {
            if self.units.get(&need).is_some_and(|unit| self.may_be_pulled(unit)) {
                needs.extend(self.needs(&need));
                self.with(&need, |unit, cx| unit.ask_start(Who::Unit, cx));
                self.queue.insert(need);
            }
        }
    }

    pub(super) fn needs(&self, name: &UnitName) -> Vec<UnitName> {
        self.spec(name).map(|spec| [&spec.requires[..], &spec.wants].concat()).unwrap_or_default()
    }

    fn may_be_pulled(&self, unit: &Unit) -> bool {
        let is_at_rest = matches!(unit.state, State::Inactive) && unit.goal == Goal::Down;
        let mut rivals = unit.spec.conflicts.iter().filter_map(|rival| self.units.get(rival));
        is_at_rest && !self.is_lost(unit) && rivals.all(|rival| rival.goal == Goal::Down)
    }

    /// It, or something that it requires, comes up at a person's word only.
    fn is_lost(&self, unit: &Unit) -> bool {
        let mut below = unit.spec.requires.iter().filter_map(|need| self.units.get(need));
        unit.held || matches!(unit.state, State::Failed) || below.any(|need| self.is_lost(need))
    }

    /// Stops units at a person's word. What requires them goes first, and comes back when they do.
    fn stop(&mut self, names: &BTreeSet<UnitName>) {
        for name in names {
            self.bring_down(name, After::StayDown, "stop was asked for");
            self.with(name, |unit, _| unit.held = !planted(Bug::RestartHeldUnit));
        }
        for name in names {
            if !planted(Bug::StopLeavesDependants) {
                self.bring_down_dependants(name, names);
            }
        }
    }

    pub(super) fn bring_down(&mut self, name: &UnitName, after: After, why: &str) {
        self.with(name, |unit, cx| unit.ask_stop(after, why, cx));
        self.queue.insert(name.clone());
    }

    /// Those that require it or are part of it cannot run while it is down: they wait for it to come back.
    fn bring_down_dependants(&mut self, name: &UnitName, but: &BTreeSet<UnitName>) {
        let mut seen = but.clone();
        let mut to_stop = vec![name.clone()];
        while let Some(below) = to_stop.pop() {
            let parts = if planted(Bug::IgnorePartOf) { &[] } else { self.links.parts(&below) };
            let dependants = [self.links.required_by(&below), parts].concat();
            for dependant in dependants {
                let Some(unit) = self.units.get(&dependant).filter(|unit| unit.goal == Goal::Up) else {
                    continue;
                };
                if !seen.insert(dependant.clone()) {
                    continue;
                }
                // A oneshot that has done its work need not do it again; those that build on it still have to go.
                if !matches!(unit.state, State::Completed) {
                    self.bring_down(&dependant, After::StartAgain, &format!("{name} was stopped"));
                }
                to_stop.push(dependant);
            }
        }
    }

    /// One that is up waits for its turn, also when it was to stop and has not begun to; of one that is not up, or is about
    /// to be restarted anyhow, nothing is taken away.
    fn restart_in_turn(&mut self, name: &UnitName, reach: Reach) -> Expect {
        let is_there = |unit: &Unit| unit.label().is_up() && unit.pending != Some(After::StartAgain);
        if self.units.get(name).is_some_and(is_there) {
            return self.queue_up(name, Kind::Restart, reach);
        }
        let expect = Expect::Up { after: self.runs.last() };
        self.restart(name, reach);
        self.has_begun(name, expect);
        expect
    }

    fn restart(&mut self, name: &UnitName, reach: Reach) {
        let Some(unit) = self.units.get(name) else { return };
        let is_first_looked_at =
            unit.spec.reload.test.is_some() || unit.spec.restart.mode == Mode::StartFirst;
        let goes_on_meanwhile = is_first_looked_at && matches!(unit.state, State::Ready(_));
        let active = !unit.is_down();
        self.start(name, Who::Person);
        if !active {
            // Those that go on without it have what it was, not what it will be.
            return self.restart_along(name, reach);
        }
        if goes_on_meanwhile {
            return self.with(name, |unit, cx| {
                unit.reach = reach;
                unit.wish(Wish::Restart, cx);
            });
        }
        self.restart_active(name, "restart was asked for");
        self.restart_along(name, reach);
    }

    /// What is part of it is restarted along with it, and what requires it if the restart reaches so far.
    pub(super) fn restart_along(&mut self, name: &UnitName, reach: Reach) {
        let mut along = self.links.parts(name).to_vec();
        if reach == Reach::WithDependants {
            along.extend_from_slice(self.links.required_by(name));
        }
        for other in along {
            self.restart_active(&other, &format!("{name} restarts"));
        }
    }

    /// One that is about to be restarted already is, for the reason that it has. What is part of it follows, and what is
    /// part of that.
    pub(super) fn restart_active(&mut self, name: &UnitName, why: &str) {
        let is_to_be = |unit: &&Unit| {
            !unit.is_down() && unit.goal == Goal::Up && unit.pending != Some(After::StartAgain)
        };
        let Some(unit) = self.units.get(name).filter(is_to_be) else { return };
        // Whoever is on its way down has been followed when that began.
        let is_followed = unit.is_going();
        self.bring_down(name, After::StartAgain, why);
        if !is_followed && !planted(Bug::IgnorePartOf) {
            for part in self.links.parts(name).to_vec() {
                self.restart_active(&part, &format!("{name} restarts"));
            }
        }
    }

    fn reload(
        &mut self,
        name: &UnitName,
        otherwise: Otherwise,
        is_in_turns: bool,
    ) -> Result<Expect, job::Answered> {
        let Some(unit) = self.units.get(name) else {
            return Err(job::no(name, "there is no such unit".to_owned()));
        };
        let after = self.runs.last();
        match (&unit.state, &unit.spec.reload.how, otherwise) {
            (State::Ready(_), Some(_), _) if unit.pending.is_none() && is_in_turns => {
                Ok(self.queue_up(name, Kind::Reload, Reach::Alone))
            }
            (State::Ready(_), Some(_), _) if unit.pending.is_none() => {
                self.with(name, |unit, cx| unit.wish(Wish::Reload, cx));
                Ok(Expect::Reloaded)
            }
            (_, _, Otherwise::Restart) if is_in_turns => Ok(self.restart_in_turn(name, Reach::Alone)),
            (_, _, Otherwise::Restart) => {
                self.restart(name, Reach::Alone);
                Ok(Expect::Up { after })
            }
            (State::Ready(_), None, Otherwise::Refuse) => {
                let why = format!(
                    "has no [reload]; try: svctl restart {name}, or: svctl reload --or-restart {name}"
                );
                Err(job::no(name, why))
            }
            (_, _, Otherwise::Refuse) => {
                let why = format!("is {}, not ready: {}", unit.label().as_str(), unit.why);
                Err(job::no(name, why))
            }
        }
    }

    fn signal(&mut self, name: &UnitName, signal: &SignalName, whom: Whom) -> job::Answered {
        let Some(main) = self.units.get(name).and_then(Unit::main) else {
            return job::no(name, "has no process to be signalled".to_owned());
        };
        self.out.push(Action::Signal { run: main.run, signal: signal.clone(), whom });
        job::yes(name, format!("SIG{} was sent", signal.0))
    }

    fn on_shutdown_asked(&mut self, why: String) {
        if self.ending.is_some() {
            if !planted(Bug::SecondShutdownIgnored) {
                self.hurry();
            }
        } else {
            self.shut_down(0, why);
        }
    }

    /// The end begins: everything stops in reverse order.
    fn shut_down(&mut self, status: u8, why: String) {
        if self.ending.is_some() {
            return;
        }
        let names: Vec<_> = self.units.keys().cloned().collect();
        self.ending = Some(Ending {
            began: self.now,
            deadline: self.now.after(self.settings.shutdown_timeout),
            hurried: None,
            status,
            why,
            stopping: self.units.values().filter(|u| !u.is_down()).map(|u| u.name().clone()).collect(),
            told: false,
        });
        self.booting.clear();
        self.rolls.clear();
        self.jobs.on_shutdown(&mut self.out);
        for name in &names {
            // What has ended for good stays what it is, for whoever looks at the end.
            if !self.units.get(name).is_some_and(Unit::has_ended) {
                self.bring_down(name, After::StayDown, "svinit is shutting down");
            }
        }
        // Those that were on their way down already have less time than they thought.
        for name in &names {
            let cap = self.stop_cap(name);
            self.with(name, |unit, cx| unit.hurry(cap, cx));
        }
        self.came_to_rest = true;
    }

    /// No more time: everything is killed, in no order.
    fn hurry(&mut self) {
        let Some(ending) = &mut self.ending else { return };
        ending.hurried.get_or_insert(self.now);
        let (now, names): (Time, Vec<_>) = (self.now, self.units.keys().cloned().collect());
        for name in &names {
            self.with(name, |unit, cx| {
                unit.begin_pending_stop(now, cx);
                unit.hurry(now, cx);
            });
        }
    }

    /// A unit's share of the time that is left, so that those that stop after it have theirs.
    fn stop_cap(&self, name: &UnitName) -> Time {
        let (Some(ending), Some(unit)) = (&self.ending, self.units.get(name)) else { return Time::NEVER };
        let levels = order::stop_levels(&self.units, unit, &mut BTreeMap::new());
        self.now.after(ending.deadline.since(self.now) / levels.max(1))
    }

    fn end_if_nothing_is_left(&mut self) {
        if let Some(ending) = &self.ending {
            if self.units.values().all(Unit::is_down) {
                let why = ending.summary(&self.units, self.now);
                let status = ending.status;
                self.end(status, why);
            }
            return;
        }
        let waits_for_a_person = |unit: &Unit| unit.held || unit.paused;
        if self.units.values().any(|unit| waits_for_a_person(unit) || self.may_still_run(unit)) {
            return;
        }
        let first_failed = self
            .units
            .values()
            .filter(|unit| matches!(unit.state, State::Failed))
            .min_by_key(|unit| unit.since);
        let (status, why) = match first_failed {
            Some(unit) => {
                (unit.final_status.max(1), format!("nothing is left to run: {} {}", unit.name(), unit.why))
            }
            None => (0, "nothing is left to run: all have completed".to_owned()),
        };
        self.shut_down(status, why);
        // With nothing to stop there is nothing to wait for.
        self.end_if_nothing_is_left();
    }

    fn may_still_run(&self, unit: &Unit) -> bool {
        match unit.state {
            State::Inactive | State::Completed | State::Failed => !unit.is_down(),
            // Without what it requires none of its runs comes to anything.
            State::Scheduled => !order::has_lost_a_requirement(&self.units, unit),
            State::Waiting => !order::is_stuck(&self.units, unit),
            State::Backoff { .. }
            | State::Gate(_)
            | State::Preparing(_)
            | State::Starting(_)
            | State::Ready(_)
            | State::Stopping(_) => true,
        }
    }

    fn end_if_due(&mut self) {
        let Some(ending) = &self.ending else { return };
        if ending.told || self.now < ending.next() {
            return;
        }
        if ending.hurried.is_some() {
            let why = ending.summary(&self.units, self.now);
            let status = ending.status;
            return self.end(status, why);
        }
        self.hurry();
        // Whoever had nothing left but a hook is gone by that alone.
        while let Some(name) = self.queue.pop_first() {
            self.look_at(&name);
        }
        self.end_if_nothing_is_left();
    }

    fn end(&mut self, status: u8, why: String) {
        let Some(ending) = &mut self.ending else { return };
        if std::mem::replace(&mut ending.told, true) {
            return;
        }
        self.jobs.on_end(&mut self.out);
        let status = if planted(Bug::EndWithZero) { 0 } else { status };
        self.out.push(Action::End(End { status, why }));
    }
}

impl Ending {
    /// When something has to be done about it: kill everything, then leave.
    fn next(&self) -> Time {
        if planted(Bug::DeadlineForgottenInShutdown) {
            return Time(self.began.0 + 3_600_000_000);
        }
        self.hurried.map_or(self.deadline, |at| at.max(self.deadline).after(LAST_GRACE))
    }

    /// "SIGTERM; stopped in 1.2s: gunicorn 200ms, postgres 1s; killed: worker".
    fn summary(&self, units: &Units, now: Time) -> String {
        let of = |keep: &dyn Fn(&Unit) -> bool, words: &dyn Fn(&Unit) -> String| -> Vec<String> {
            let mine = self.stopping.iter().filter_map(|name| units.get(name));
            mine.filter(|unit| keep(unit)).map(words).collect()
        };
        let took = |unit: &Unit| format!("{} {}", unit.name(), why::span(unit.stop_took.unwrap_or_default()));
        let name = |unit: &Unit| unit.name().to_string();
        let stopped = of(&|unit| unit.is_down() && !unit.was_killed, &took);
        let killed = of(&|unit| unit.is_down() && unit.was_killed, &took);
        let left = of(&|unit| !unit.is_down(), &name);
        let mut text = format!("{}; took {}", self.why, why::span(now.since(self.began)));
        for (title, names) in [("stopped", stopped), ("killed", killed), ("left to the kernel", left)] {
            if !names.is_empty() {
                text.push_str(&format!("; {title}: {}", why::list(&names)));
            }
        }
        text
    }
}
