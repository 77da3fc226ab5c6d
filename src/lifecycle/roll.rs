//! A group is restarted, reloaded or given another definition one instance at a time, so that all but one stay up.
//!
//! ```text
//!   queued ───(all others are up)───▶ begun ───(it is up, and well once)───▶ done
//!     ▲  those that are not up         │
//!     │  begin at once, together       └──(it did not come up, or keeps failing)──▶ the roll stops:
//!     └── a later command                                                whoever is queued stays as it is
//! ```
//!
//! What is done in a turn is what would have been done to a unit of its own, by the same functions; here is only decided
//! when. Nothing is armed: after each step the rolls are looked at again. A person's stop stands before a turn: that turn
//! is none any more, and nobody waits for the unit.
//!
//! Easy to get wrong: another definition must not come into force before its turn, or an instance that crashes meanwhile
//! would come back with one that may have stopped the roll already. See [`Coming::waits`](super::update::Coming).

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::lifecycle::event::{Event, Reach};
use crate::lifecycle::job::{self, Expect};
use crate::lifecycle::order;
use crate::lifecycle::planted::{Bug, planted};
use crate::lifecycle::running::Wish;
use crate::lifecycle::state::Health;
use crate::lifecycle::stop::After;
use crate::lifecycle::supervisor::Supervisor;
use crate::lifecycle::unit::{Goal, Note, State, Unit, Unwell, Who};
use crate::lifecycle::update::CHANGED;
use crate::units::name::UnitName;

/// All of them, by group.
pub(super) type Rolls = BTreeMap<UnitName, Roll>;

/// One group's.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Roll {
    /// Their turn is to come, in this order.
    pub(super) queue: Vec<Turn>,
    /// Their turn has begun.
    pub(super) begun: BTreeMap<UnitName, Begun>,
    /// They had their turn and came up.
    pub(super) done: BTreeSet<UnitName>,
}

/// What is to be done to one instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Turn {
    pub(super) unit: UnitName,
    pub(super) kind: Kind,
    /// How far a restart goes.
    pub(super) reach: Reach,
}

/// The kinds of turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    /// It is started anew.
    Restart,
    /// It reads its configuration again.
    Reload,
    /// It is started anew with another definition.
    Renew,
}

/// A turn under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Begun {
    pub(super) expect: Expect,
    /// What it has told by itself.
    pub(super) told: Option<Result<(), Unwell>>,
}

/// What has become of one whose turn has begun.
enum Standing {
    Coming,
    Done,
    /// Nobody waits for it any more.
    Void,
    Failed(Unwell),
}

/// One whose turn did not go well.
struct Failure {
    unit: UnitName,
    kind: Kind,
    why: String,
}

impl Kind {
    const fn words(self) -> &'static str {
        match self {
            Self::Restart => "restarted",
            Self::Reload => "reloaded",
            Self::Renew => "given its new definition",
        }
    }
}

impl Roll {
    fn has(&self, unit: &UnitName, kind: Kind) -> bool {
        self.queue.iter().any(|turn| turn.unit == *unit && turn.kind == kind)
    }

    fn add(&mut self, turn: Turn) {
        match self.queue.iter_mut().find(|other| other.unit == turn.unit && other.kind == turn.kind) {
            Some(other) if turn.reach == Reach::WithDependants => other.reach = turn.reach,
            Some(_) => {}
            None => self.queue.push(turn),
        }
    }
}

impl Supervisor {
    /// Those of `names` that take turns: of a group of which several are named, or of which some take turns already.
    pub(super) fn in_turns<'a>(&self, names: impl IntoIterator<Item = &'a UnitName>) -> BTreeSet<UnitName> {
        let mut of_group: BTreeMap<&UnitName, Vec<UnitName>> = BTreeMap::new();
        for unit in names.into_iter().filter_map(|name| self.units.get(name)) {
            if let Some(group) = unit.spec.group() {
                of_group.entry(group).or_default().push(unit.name().clone());
            }
        }
        of_group.retain(|group, names| names.len() > 1 || self.rolls.contains_key(*group));
        of_group.into_values().flatten().collect()
    }

    /// `unit` is up, and is to have a turn.
    pub(super) fn queue_up(&mut self, unit: &UnitName, kind: Kind, reach: Reach) -> Expect {
        if let Some(group) = self.group_of(unit) {
            let roll = self.rolls.entry(group).or_default();
            // Whatever a restart reaches is reached once, with the last of them.
            let is_new = !roll.has(unit, kind);
            let before = roll.queue.iter_mut().filter(|_| is_new && reach == Reach::WithDependants);
            before.filter(|turn| turn.kind == kind).for_each(|turn| turn.reach = Reach::Alone);
            roll.add(Turn { unit: unit.clone(), kind, reach });
            if kind == Kind::Restart {
                // What it needs is started when it is asked for; what is stopped after that stays so.
                self.start(unit, Who::Person);
            }
            let why = format!("waits for its turn to be {}", kind.words());
            self.with(unit, |unit, _| unit.why = why);
        }
        Expect::Turn(kind)
    }

    /// The turn of `unit`, which is not up, begins with what was done to it just now.
    pub(super) fn has_begun(&mut self, unit: &UnitName, expect: Expect) {
        if let Some(group) = self.group_of(unit) {
            let begun = Begun { expect, told: None };
            self.rolls.entry(group).or_default().begun.insert(unit.clone(), begun);
        }
    }

    fn group_of(&self, unit: &UnitName) -> Option<UnitName> {
        self.units.get(unit)?.spec.group().cloned()
    }

    /// Another definition than the one that it was to have in its turn needs none.
    pub(super) fn take_off(&mut self, unit: &UnitName) {
        let Some(roll) = self.group_of(unit).and_then(|group| self.rolls.get_mut(&group)) else { return };
        if roll.has(unit, Kind::Renew) {
            roll.queue.retain(|turn| turn.unit != *unit || turn.kind != Kind::Renew);
            let outcome = job::no(unit, "another update came before its turn".to_owned());
            self.jobs.turn_is_off(unit, Kind::Renew, &outcome, &mut self.out);
        }
    }

    /// A unit has told something that a roll may wait for.
    pub(super) fn tell_rolls(&mut self, unit: &UnitName, note: &Note) {
        let Some(roll) = self.group_of(unit).and_then(|group| self.rolls.get_mut(&group)) else { return };
        let Some(begun) = roll.begun.get_mut(unit) else { return };
        match (note, begun.expect) {
            (Note::Reloaded(result), Expect::Reloaded) => begun.told = Some(result.clone()),
            (Note::NotRestarted(unwell), Expect::Up { .. }) => begun.told = Some(Err(unwell.clone())),
            (_, _) => {}
        }
    }

    /// Begins what turns can begin, and stops what has failed. Says whether anything has been done.
    pub(super) fn take_turns(&mut self) -> bool {
        let groups: Vec<UnitName> = self.rolls.keys().cloned().collect();
        let acted: Vec<bool> = groups.iter().map(|group| self.go_on(group)).collect();
        acted.contains(&true)
    }

    fn go_on(&mut self, group: &UnitName) -> bool {
        let Some(mut roll) = self.rolls.remove(group) else { return false };
        let mut failed: Option<Failure> = None;
        let (begun, done) = (&mut roll.begun, &mut roll.done);
        begun.retain(|name, begun| match self.standing(name, begun) {
            Standing::Coming => true,
            Standing::Void => false,
            Standing::Done => {
                done.insert(name.clone());
                false
            }
            Standing::Failed(unwell) => {
                let kind = if begun.expect == Expect::Reloaded { Kind::Reload } else { Kind::Restart };
                failed.get_or_insert(Failure { unit: name.clone(), kind, why: unwell.why });
                false
            }
        });
        let failed = failed.or_else(|| self.one_that_keeps_failing(&roll));
        let is_overlooked = |failure: &Failure| {
            planted(Bug::RollGoesOn) || (failure.kind == Kind::Reload && planted(Bug::ReloadsGoOn))
        };
        if let Some(failure) = failed.filter(|failure| !is_overlooked(failure)) {
            self.end_turns(&mut roll, &failure);
            self.rolls.insert(group.clone(), roll);
            return true;
        }
        let void = self.drop_void(&mut roll);
        if roll.queue.is_empty() && roll.begun.is_empty() {
            return void;
        }
        let held_up: Vec<UnitName> =
            roll.begun.keys().filter(|name| self.may_be_taken_now(&roll, name)).cloned().collect();
        if !held_up.is_empty() {
            self.queue.extend(held_up);
            self.rolls.insert(group.clone(), roll);
            return true;
        }
        let next = self.next_of(&roll);
        let turn = next.map(|at| roll.queue.remove(at));
        self.rolls.insert(group.clone(), roll);
        let Some(turn) = turn else { return void };
        self.begin(&turn);
        true
    }

    fn standing(&self, name: &UnitName, begun: &Begun) -> Standing {
        let Some(unit) = self.units.get(name).filter(|unit| unit.goal == Goal::Up) else {
            return Standing::Void;
        };
        if let Some(Err(unwell)) = &begun.told {
            return Standing::Failed(unwell.clone());
        }
        let verdict = match &begun.told {
            Some(_) if unit.is_up() => Some(job::yes(name, String::new())),
            // It was reloaded, and ended before anybody looked.
            Some(_) => job::judge(&self.units, unit, Expect::Up { after: unit.latest }, self.now),
            None => job::judge(&self.units, unit, begun.expect, self.now),
        };
        match verdict {
            None => Standing::Coming,
            Some(outcome) if outcome.ok => match wellness(unit) {
                Health::Pass => Standing::Done,
                Health::Unknown => Standing::Coming,
                Health::Fail => Standing::Failed(Unwell { why: unit.why.clone(), said: String::new() }),
            },
            // A person has seen to it that it stays as it was.
            Some(_) if unit.is_up() => Standing::Void,
            Some(outcome) => Standing::Failed(Unwell { why: outcome.why, said: outcome.said }),
        }
    }

    /// One that came up in its turn, and does not stay up: what would become of the others?
    fn one_that_keeps_failing(&self, roll: &Roll) -> Option<Failure> {
        let of = |name: &UnitName| self.units.get(name).filter(|unit| unit.goal == Goal::Up);
        let fails = |unit: &&Unit| match unit.state {
            State::Failed => true,
            State::Backoff { until, .. } => until > self.now,
            State::Ready(_) => unit.health() == Health::Fail,
            State::Inactive
            | State::Completed
            | State::Scheduled
            | State::Waiting
            | State::Gate(_)
            | State::Preparing(_)
            | State::Starting(_)
            | State::Stopping(_) => false,
        };
        let found = roll.done.iter().filter_map(of).find(fails)?;
        let failure = || Failure { unit: found.name().clone(), kind: Kind::Restart, why: found.why.clone() };
        (!roll.queue.is_empty()).then(failure)
    }

    /// Takes out the turns that are none any more.
    fn drop_void(&mut self, roll: &mut Roll) -> bool {
        let (queue, void): (Vec<Turn>, Vec<Turn>) =
            roll.queue.drain(..).partition(|turn| self.why_void(turn).is_none());
        roll.queue = queue;
        for turn in &void {
            let Some(why) = self.why_void(turn) else { continue };
            // What it was to be it is when it is next started.
            self.with(&turn.unit, |unit, _| unit.stop_waiting());
            let outcome = job::no(&turn.unit, why);
            self.jobs.turn_is_off(&turn.unit, turn.kind, &outcome, &mut self.out);
        }
        !void.is_empty()
    }

    fn why_void(&self, turn: &Turn) -> Option<String> {
        let Some(unit) = self.units.get(&turn.unit).filter(|unit| unit.goal == Goal::Up) else {
            return Some("was stopped meanwhile".to_owned());
        };
        match turn.kind {
            Kind::Restart => None,
            // Definitions are no part of the state that is saved, and may not be there any more.
            Kind::Renew => unit.coming.is_none().then(|| {
                "its new definition was lost with the svinit that had read it; try: svctl update".to_owned()
            }),
            // One that is started again reads its configuration; but who knows when this one is.
            Kind::Reload => (!unit.is_up() && order::has_settled(&self.units, unit))
                .then(|| format!("could not be reloaded: {}", unit.why)),
        }
    }

    /// The place of the turn that can begin now. One that is down or ill comes first, since that takes nothing away.
    fn next_of(&self, roll: &Roll) -> Option<usize> {
        let is_reload = roll.queue.first().is_some_and(|turn| turn.kind == Kind::Reload);
        if planted(Bug::AllAtOnce) || (is_reload && planted(Bug::ReloadsAtOnce)) {
            return (!roll.queue.is_empty()).then_some(0);
        }
        if !roll.begun.is_empty() {
            return None;
        }
        let serves = |turn: &Turn| {
            let unit = self.units.get(&turn.unit);
            unit.is_some_and(|unit| unit.is_up() && unit.health() != Health::Fail)
        };
        let first = roll.queue.iter().position(|turn| turn.kind != Kind::Reload && !serves(turn));
        if first.is_some() {
            return first;
        }
        let turn = roll.queue.first()?;
        let unit = self.units.get(&turn.unit)?;
        let is_waited_for = |other: &Unit| {
            // It may have been told to reload by itself before.
            let reloads = matches!(&other.state, State::Ready(ready) if ready.is_to_reload());
            is_on_its_way(self, other) || (turn.kind == Kind::Reload && reloads)
        };
        (unit.is_up() && !self.others(unit).any(is_waited_for)).then_some(0)
    }

    /// The other instances of its group that are to run.
    fn others<'a>(&'a self, unit: &'a Unit) -> impl Iterator<Item = &'a Unit> {
        let others = self.units.values().filter(|other| {
            other.spec.group() == unit.spec.group() && other.name() != unit.name() && other.goal == Goal::Up
        });
        others.filter(|other| !self.leaving.contains(other.name()))
    }

    /// No other one is away. One that is about to go is still there; else two of them could wait for each other.
    fn others_are_there(&self, unit: &Unit) -> bool {
        self.others(unit).all(|other| matches!(other.state, State::Ready(_)) || !is_on_its_way(self, other))
    }

    /// Whether `unit`, which is to stop, may be taken away: in its turn only while all others are there. It may have been
    /// tested first, or have waited for those that build on it, and another one has ended meanwhile.
    pub(super) fn may_be_taken(&self, unit: &Unit) -> bool {
        let is_in_turn = || {
            let roll = unit.spec.group().and_then(|group| self.rolls.get(group));
            roll.is_some_and(|roll| roll.begun.contains_key(unit.name()))
        };
        self.rolls.is_empty()
            || unit.pending != Some(After::StartAgain)
            || !matches!(unit.state, State::Ready(_))
            || planted(Bug::AllAtOnce)
            || !is_in_turn()
            || self.others_are_there(unit)
            || self.is_waited_for(unit)
    }

    /// What it builds on is to stop, and waits until this one has: then it is not for its turn that it goes.
    fn is_waited_for(&self, unit: &Unit) -> bool {
        let spec = &unit.spec;
        let below = spec.requires.iter().chain(&spec.wants).chain(&spec.after).chain(&spec.part_of);
        below.filter_map(|name| self.units.get(name)).any(|below| {
            below.pending.is_some() || (matches!(below.state, State::Completed) && self.is_waited_for(below))
        })
    }

    /// One that was held up by others of its group, and is not any longer.
    fn may_be_taken_now(&self, roll: &Roll, name: &UnitName) -> bool {
        let unit = self.units.get(name).filter(|unit| unit.pending == Some(After::StartAgain));
        roll.begun.contains_key(name)
            && unit.is_some_and(|unit| {
                let may = self.others_are_there(unit) || self.is_waited_for(unit);
                may && order::may_stop(&self.units, &self.links, name)
            })
    }

    fn begin(&mut self, turn: &Turn) {
        let name = &turn.unit;
        let after = self.runs.last();
        let expect = if turn.kind == Kind::Reload { Expect::Reloaded } else { Expect::Up { after } };
        self.has_begun(name, expect);
        self.jobs.turn_has_come(name, turn.kind, expect);
        match turn.kind {
            Kind::Restart => self.renew(name, turn.reach, "restart was asked for"),
            Kind::Reload => self.with(name, |unit, cx| {
                unit.wish(Wish::Reload, cx);
                // It may be over already, and is to be checked now.
                unit.on_event(&Event::Tick, cx);
            }),
            Kind::Renew => {
                self.with(name, |unit, _| unit.stop_waiting());
                self.renew(name, Reach::Alone, CHANGED);
            }
        }
    }

    /// Whoever has had no turn stays as it is. That one could not be reloaded says nothing about restarts.
    fn end_turns(&mut self, roll: &mut Roll, failure: &Failure) {
        let ends = |turn: &Turn| failure.kind != Kind::Reload || turn.kind == Kind::Reload;
        let (ended, queue): (Vec<Turn>, Vec<Turn>) = roll.queue.drain(..).partition(ends);
        roll.queue = queue;
        let what = if failure.kind == Kind::Reload { "was not reloaded" } else { "did not come up" };
        for Turn { unit, kind, .. } in ended {
            let (culprit, why) = (&failure.unit, &failure.why);
            let why = format!("not {}, it goes on as it was: {culprit} {what}: {why}", kind.words());
            let outcome = job::no(&unit, why.clone());
            self.with(&unit, |unit, _| {
                if planted(Bug::NoTurnNoMatter) {
                    unit.stop_waiting();
                }
                unit.coming.take_if(|coming| coming.waits);
                unit.why = why;
            });
            self.jobs.turn_is_off(&unit, kind, &outcome, &mut self.out);
        }
    }
}

/// Whether it has been well once. Without a check, or with one that is paused, to be up is to be well.
fn wellness(unit: &Unit) -> Health {
    if let State::Ready(ready) = &unit.state
        && ready.health.is_some()
        && !unit.paused
    {
        return ready.health();
    }
    Health::Pass
}

/// It is not up, and may be soon.
fn is_on_its_way(supervisor: &Supervisor, unit: &Unit) -> bool {
    match unit.state {
        State::Ready(_) => unit.pending.is_some() || unit.is_being_replaced(),
        State::Completed | State::Failed | State::Scheduled => false,
        State::Waiting => !order::is_stuck(&supervisor.units, unit),
        State::Inactive | State::Gate(_) | State::Preparing(_) | State::Starting(_) | State::Stopping(_) => {
            true
        }
        // A person works on one that is paused.
        State::Backoff { .. } => !unit.paused,
    }
}
