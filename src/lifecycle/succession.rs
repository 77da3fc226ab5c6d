//! Replaced without a gap: a new one comes up beside the old one, and takes its place when it is up and well.
//!
//! ```text
//!   the unit ──────── Ready ───────────────────┐ hand_over
//!   its successor     Waiting ─▶ ... ─▶ Ready ─┴──▶ is the unit          the unit as it was: a leaver,
//!                        │ did not come up          (what others see)     Stopping ─▶ Inactive, forgotten
//!                        └──▶ forgotten, the unit goes on as if nothing had been
//! ```
//!
//! Both are whole units, each with its runs and its deadlines; nothing in [`Unit`] knows which of them it is. An event
//! is told to all of them and concerns the one whose run it is about. When the old one ends by itself, the new one takes
//! its place at once, wherever it is, and what is true of any unit that starts is true of it from then on.
//!
//! Easy to get wrong: a successor is judged here and not by its policy, so until it takes over its goal is to be down.
//! Those beside a unit have nobody beside themselves.

use std::mem;

use serde::{Deserialize, Serialize};

use crate::lifecycle::planted::{Bug, planted};
use crate::lifecycle::running::{Chore, Ready, Wish};
use crate::lifecycle::state::{Aside, Health};
use crate::lifecycle::stop::{After, Cause};
use crate::lifecycle::time::Time;
use crate::lifecycle::unit::{Cx, Goal, Note, State, Unit, Unwell};
use crate::lifecycle::update::Back;

/// Old ones that may have their time to end; before there are more, the oldest is killed.
const LEAVERS_MAX: usize = 8;

/// Those of the same name beside a unit.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Beside {
    /// Is to take the unit over. It is one that comes up, or one that did not and is being cleared away.
    pub(super) successor: Option<Box<Unit>>,
    /// The successor has another definition than the unit.
    #[serde(default)]
    pub(super) brings: bool,
    /// Were the unit, or were to be, and are on their way down. The oldest first.
    pub(super) leavers: Vec<Unit>,
}

impl Beside {
    pub(super) fn is_empty(&self) -> bool {
        self.successor.is_none() && self.leavers.is_empty()
    }

    /// Until the successor has come, the unit is what it was.
    pub(super) fn brings_another(&self) -> bool {
        self.brings && self.successor.is_some()
    }

    pub(super) fn has_leavers(&self) -> bool {
        !self.leavers.is_empty()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Unit> {
        self.successor.as_deref_mut().into_iter().chain(&mut self.leavers)
    }

    pub(super) fn shown(&self) -> Vec<Aside> {
        let aside = |unit: &Unit| {
            let main = unit.main();
            Aside { run: main.map(|main| main.run), pid: main.and_then(|main| main.pid), label: unit.label() }
        };
        self.successor.iter().map(|unit| aside(unit)).chain(self.leavers.iter().map(aside)).collect()
    }
}

/// One of the two that may be on their way up under one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seat {
    /// The unit.
    Own,
    /// The one that is to take it over.
    Successor,
}

/// What has become of a successor.
enum Standing {
    Coming,
    Come,
    /// It is up, and its health check says no.
    Ill(String),
    Failed(Unwell),
}

impl Unit {
    pub(super) fn is_being_replaced(&self) -> bool {
        self.beside.successor.is_some()
    }

    /// Whoever is on `seat`.
    pub(super) fn on_seat(&self, seat: Seat) -> Option<&Unit> {
        match seat {
            Seat::Own => Some(self),
            Seat::Successor => self.beside.successor.as_deref(),
        }
    }

    /// Does something with whoever is on `seat`.
    pub(super) fn with_seat(
        &mut self,
        seat: Seat,
        cx: &mut Cx<'_>,
        act: impl FnOnce(&mut Unit, &mut Cx<'_>),
    ) {
        match (seat, self.beside.successor.as_deref_mut()) {
            (Seat::Own, _) => act(self, cx),
            (Seat::Successor, Some(successor)) => cx.aside(|cx| act(successor, cx)),
            (Seat::Successor, None) => {}
        }
    }

    /// Does something with each of those beside it.
    pub(super) fn each_beside(&mut self, cx: &mut Cx<'_>, mut act: impl FnMut(&mut Unit, &mut Cx<'_>)) {
        for unit in self.beside.iter_mut() {
            cx.aside(|cx| act(unit, cx));
        }
    }

    /// A new one is to come up beside this one. One that is on its way already makes room: the last word counts.
    pub(super) fn begin_succession(&mut self, why: &str, cx: &mut Cx<'_>) {
        self.withdraw_successor("another restart was asked for", cx);
        let spec = self.take_for_next(cx);
        self.beside.brings = spec != self.spec;
        let mut new = Unit::new(spec, cx.now);
        new.state = State::Waiting;
        why.clone_into(&mut new.why);
        new.paused = self.paused;
        new.outside_answered = self.outside_answered;
        // It is the next start, before which they are to go.
        new.leftovers = mem::take(&mut self.leftovers);
        self.beside.successor = Some(Box::new(new));
        self.why = format!("{why}; a new one comes up beside it");
        cx.notes.push(Note::LookAgain);
        if planted(Bug::OldStopsFirst) {
            self.hand_over(cx);
        }
    }

    /// No other one is to come up.
    pub(super) fn withdraw_successor(&mut self, why: &str, cx: &mut Cx<'_>) {
        if planted(Bug::SuccessorStays) {
            return;
        }
        let Some(mut successor) = self.beside.successor.take() else { return };
        self.put_definition_back(&successor.spec, Back::Later, cx);
        cx.aside(|cx| {
            successor.ask_stop(After::StayDown, why, cx);
            successor.begin_pending_stop(Time::NEVER, cx);
        });
        self.put_aside(*successor, cx);
    }

    /// The successor cannot come up, and need not be brought down.
    pub(super) fn give_up_successor(&mut self, why: String, cx: &Cx<'_>) {
        if let Some(successor) = &mut self.beside.successor {
            successor.enter(State::Inactive, why, cx);
        }
    }

    /// What follows when it ends for a reason of its own: nothing, if another one takes its place.
    pub(super) fn after_its_own_end(&self) -> After {
        if self.is_being_replaced() { After::StayDown } else { After::Judge }
    }

    /// Looks at what has become of those beside it.
    pub(super) fn settle_beside(&mut self, cx: &mut Cx<'_>) {
        if self.beside.is_empty() {
            return;
        }
        while let Some(at) = self.beside.leavers.iter().position(Unit::is_down_itself) {
            let gone = self.beside.leavers.remove(at);
            self.forget_leaver(gone, cx);
        }
        let Some(successor) = &mut self.beside.successor else { return };
        if !matches!(self.state, State::Ready(_)) {
            return self.hand_over(cx);
        }
        match successor.standing() {
            Standing::Coming => {}
            Standing::Come => self.hand_over(cx),
            // Should the old one end meanwhile, it is the unit that is ill, and judged as such.
            Standing::Ill(why) => cx.aside(|cx| {
                successor.begin_stop(After::Judge, Cause::Ill, why, Time::NEVER, cx);
            }),
            Standing::Failed(unwell) => {
                if let Some(successor) = self.beside.successor.take() {
                    self.leftovers.extend(&successor.leftovers);
                    self.put_definition_back(&successor.spec, Back::Never, cx);
                }
                self.why = format!("not restarted, it goes on as it was: the new one {}", unwell.why);
                cx.notes.push(Note::NotRestarted(Unwell { why: self.why.clone(), ..unwell }));
                if planted(Bug::FailureTakesTheOldOne) {
                    self.pending = Some(After::StayDown);
                }
            }
        }
    }

    /// As a successor.
    fn standing(&self) -> Standing {
        match &self.state {
            State::Ready(ready) => match ready.health() {
                _ if ready.health.is_none() || self.paused || planted(Bug::SuccessorUnchecked) => {
                    Standing::Come
                }
                Health::Pass => Standing::Come,
                Health::Unknown => Standing::Coming,
                Health::Fail => Standing::Ill(self.why.clone()),
            },
            State::Waiting
            | State::Gate(_)
            | State::Preparing(_)
            | State::Starting(_)
            | State::Stopping(_) => Standing::Coming,
            State::Inactive | State::Completed | State::Failed | State::Scheduled | State::Backoff { .. } => {
                Standing::Failed(Unwell { why: self.why.clone(), said: self.said.clone() })
            }
        }
    }

    /// The successor takes its place.
    fn hand_over(&mut self, cx: &mut Cx<'_>) {
        let Some(mut new) = self.beside.successor.take() else { return };
        let wish = self.unfulfilled();
        if matches!(self.state, State::Ready(_)) {
            let why = "a new one has taken its place".to_owned();
            let cap = if planted(Bug::DrainCutShort) { cx.now } else { Time::NEVER };
            self.begin_stop(After::StayDown, Cause::Asked, why, cap, cx);
            cx.notes.push(Note::Restarting);
        }
        if planted(Bug::SuccessorHasOldDefinition) {
            new.spec = std::sync::Arc::clone(&self.spec);
        }
        new.goal = Goal::Up;
        new.held = self.held;
        new.paused = self.paused;
        new.retries = mem::take(&mut self.retries);
        new.restarts = self.restarts;
        new.last_exit = self.last_exit;
        new.stop_took = self.stop_took;
        new.was_killed = self.was_killed;
        new.seen = self.seen.take();
        new.reach = self.reach;
        new.coming = self.coming.take();
        new.beside = mem::take(&mut self.beside);
        let old = mem::replace(self, *new);
        self.put_aside(old, cx);
        if let Some(wish) = wish {
            self.wish(wish, cx);
        }
    }

    /// What somebody waits for to be done to it, and what will not be done to it any more: the next one has it done.
    fn unfulfilled(&self) -> Option<Wish> {
        let State::Ready(Ready { chore, next, .. }) = &self.state else { return None };
        let under_way = match chore {
            Some(Chore::Test { then, .. }) => Some(*then),
            Some(Chore::Reload { .. } | Chore::AwaitReload { .. }) => Some(Wish::Reload),
            Some(Chore::PostStart { .. } | Chore::Remedy { .. }) | None => None,
        };
        under_way.max(*next)
    }

    /// From here on `old` is on its way down, and whatever becomes of it is not what becomes of the unit.
    fn put_aside(&mut self, old: Unit, cx: &mut Cx<'_>) {
        if old.is_down_itself() {
            return self.forget_leaver(old, cx);
        }
        self.beside.leavers.push(old);
        let too_many = self.beside.leavers.len().saturating_sub(LEAVERS_MAX);
        for unit in &mut self.beside.leavers[..too_many] {
            cx.aside(|cx| unit.hurry(cx.now, cx));
        }
    }

    fn forget_leaver(&mut self, old: Unit, cx: &Cx<'_>) {
        let label = self.label();
        self.leftovers.extend(old.leftovers);
        if old.stop_took.is_some() {
            (self.stop_took, self.was_killed) = (old.stop_took, old.was_killed);
        }
        if let Some(exit) = old.last_exit
            && self.last_exit.is_none_or(|last| last.at <= exit.at)
        {
            self.last_exit = Some(exit);
        }
        if self.label() != label {
            self.since = cx.now;
        }
    }
}

impl Cx<'_> {
    /// What those beside a unit have to tell is their own business, but that they want to be looked at.
    fn aside(&mut self, act: impl FnOnce(&mut Cx<'_>)) {
        let mut notes = Vec::new();
        act(&mut Cx {
            now: self.now,
            out: self.out,
            runs: self.runs,
            chance: self.chance,
            fork_rate: self.fork_rate,
            notes: &mut notes,
            limits_enforced: self.limits_enforced,
        });
        self.notes.extend(notes.into_iter().filter(|note| *note == Note::LookAgain));
    }
}
