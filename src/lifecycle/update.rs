//! Another set of definitions, taken over while everything runs: only the units that differ are touched.
//!
//! Who builds on whom changes for all units at the same moment, or the old order of one and the new order of another
//! could make a circle together. Everything else a unit takes over when that does no harm: at rest, or up with nothing
//! being done to it; see [`Unit::take_definition`]. So the old process is still stopped as its own definition says.
//!
//! An update that comes while another one is under way changes its mind: the last word counts, as everywhere.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::lifecycle::action::Action;
use crate::lifecycle::event::{JobId, Reach};
use crate::lifecycle::health::HealthWatch;
use crate::lifecycle::job::{self, Expect};
use crate::lifecycle::order::Links;
use crate::lifecycle::planted::{Bug, planted};
use crate::lifecycle::roll::Kind;
use crate::lifecycle::running::{MemoryWatch, Wish};
use crate::lifecycle::saved;
use crate::lifecycle::state::Label;
use crate::lifecycle::stop::After;
use crate::lifecycle::supervisor::Supervisor;
use crate::lifecycle::time::Time;
use crate::lifecycle::unit::{Cx, Goal, State, Unit, Who};
use crate::units::difference::{self, Difference, KeyChange, UnitChange};
use crate::units::name::UnitName;
use crate::units::spec::{Mode, UnitSet, UnitSpec};
use crate::units::table::Change;

/// A definition that a unit has not taken over yet.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Coming {
    /// No part of the state that is saved, as no definition is.
    #[serde(skip, default = "saved::nothing_to_run")]
    pub(super) spec: Arc<UnitSpec>,
    /// It is of use only to the next process.
    pub(super) restarts: bool,
    /// Its turn is to come: until then it is not taken over, whatever happens to the unit.
    pub(super) waits: bool,
}

/// What becomes of a definition whose first process does not come up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Back {
    /// It is taken over at the next start.
    Later,
    /// It is given up.
    Never,
}

/// Why a unit is restarted.
pub(super) const CHANGED: &str = "its definition has changed";

/// Why a unit is stopped and forgotten.
pub(super) const GONE: &str = "it is defined no longer";

impl Supervisor {
    /// The definitions that are in force or will be, those of units on their way out left out.
    #[must_use]
    pub fn definitions(&self) -> UnitSet {
        let stays = |unit: &&Unit| !self.leaving.contains(unit.name());
        let units = self.units.values().filter(stays).map(|unit| (unit.name().clone(), unit.definition()));
        UnitSet { units: units.collect(), aliases: BTreeMap::new() }
    }

    /// Units that have not taken over yet what they are to be. Whoever goes on with this machine needs those definitions
    /// as well as the ones in force; see [`Supervisor::restore`].
    #[must_use]
    pub fn awaiting(&self) -> BTreeSet<UnitName> {
        let awaits = |unit: &&Unit| unit.coming.is_some() || unit.beside.brings_another();
        self.units.values().filter(awaits).map(|unit| unit.name().clone()).collect()
    }

    /// Definitions of new ones that come up beside units of another: those have been told of as what the unit is to be,
    /// and may have to be taken back.
    #[must_use]
    pub fn ahead(&self) -> Vec<Arc<UnitSpec>> {
        let ahead = |unit: &Unit| {
            let successor = unit.beside.successor.as_deref().filter(|_| unit.beside.brings_another())?;
            Some(Arc::clone(&successor.spec))
        };
        self.units.values().filter_map(ahead).collect()
    }

    /// The unit has not taken over yet what it is to be, or is being replaced.
    #[must_use]
    pub fn is_changing(&self, unit: &UnitName) -> bool {
        self.units.get(unit).is_some_and(|unit| unit.coming.is_some() || unit.is_being_replaced())
    }

    /// Takes `set` over: what is not in it stops and is forgotten, what is new starts if it is enabled, what differs
    /// restarts if it has to. Answered as a job, for each unit that differs.
    #[must_use]
    pub fn adopt(&mut self, job: JobId, set: &UnitSet, now: Time) -> Vec<Action> {
        if self.has_ended() {
            return Vec::new();
        }
        self.now = self.now.max(now);
        let Difference(changes) = Difference::between(&self.definitions(), set);
        if self.ending.is_some() {
            for name in changes.keys() {
                let outcome = job::no(name, "svinit is shutting down".to_owned());
                self.out.push(Action::Answer { job, outcome });
            }
            self.out.push(Action::JobDone { job });
            return self.settle();
        }
        let needs = self.new_needs(set);
        let returns = self.those_that_return(set);
        for name in changes.keys() {
            self.define(name, set.units.get(name));
        }
        self.relate(set);
        // What they build on may be on its way out as well, and not be enabled.
        for name in &returns {
            self.start(name, Who::Update);
        }
        let mut expects = BTreeMap::new();
        let mut in_order: Vec<_> = changes.iter().collect();
        in_order.sort_by_key(|(name, _)| name.parts());
        for (name, change) in in_order {
            match self.carry_over(name, change) {
                Ok(expect) => drop(expects.insert(name.clone(), expect)),
                Err(outcome) => self.out.push(Action::Answer { job, outcome }),
            }
        }
        for need in needs {
            self.start(&need, Who::Unit);
        }
        self.jobs.begin(job, expects, &mut self.out);
        self.settle()
    }

    /// Units on their way out that are defined again, and are to run.
    fn those_that_return(&self, set: &UnitSet) -> Vec<UnitName> {
        let is_to_run = |name: &&UnitName| set.units.get(*name).is_some_and(|spec| spec.enabled);
        self.leaving.iter().filter(is_to_run).cloned().collect()
    }

    /// What units that are to run require or want as `set` says, and did not before.
    fn new_needs(&self, set: &UnitSet) -> Vec<UnitName> {
        let mut found = Vec::new();
        for (name, new) in &set.units {
            let Some(unit) = self.units.get(name).filter(|unit| unit.goal == Goal::Up) else { continue };
            let is_held = |other: &&UnitName| self.units.get(*other).is_some_and(|unit| unit.held);
            let wants = new.wants.iter().filter(|other| !is_held(other) && !unit.spec.wants.contains(other));
            let requires =
                new.requires.iter().filter(|other| !is_held(other) && !unit.spec.requires.contains(other));
            found.extend(requires.chain(wants).cloned());
        }
        found
    }

    /// Each unit knows what it is to be. Nothing is done to it yet.
    fn define(&mut self, name: &UnitName, spec: Option<&Arc<UnitSpec>>) {
        let Some(spec) = spec else {
            self.leaving.insert(name.clone());
            // What it was to be it will not be, and nobody who goes on with this machine has that definition.
            self.with(name, |unit, _| unit.coming = None);
            return;
        };
        let returns = self.leaving.remove(name);
        if returns && planted(Bug::ReturnForgotten) {
            self.leaving.insert(name.clone());
        }
        if !self.units.contains_key(name) {
            self.units.insert(name.clone(), Unit::new(Arc::clone(spec), self.now));
            self.out.push(Action::Define { spec: Arc::clone(spec) });
        } else {
            // By what it is now: the change may be one of a definition that it has not taken over yet.
            let needs_process = |key: &KeyChange| key.change == Change::Restart;
            let spec = Arc::clone(spec);
            self.with(name, |unit, cx| {
                if unit.beside.brings_another() {
                    // Whoever goes on with this machine is given one definition that is to come, which is no longer that.
                    unit.withdraw_successor("another update came", cx);
                }
                let by_clock = unit.is_timed() && spec.schedule.is_some();
                let restarts =
                    returns || !by_clock && difference::keys(&unit.spec, &spec).iter().any(needs_process);
                unit.coming = Some(Coming { spec, restarts, waits: false });
            });
        }
    }

    /// Who builds on whom is as `set` says from here on.
    fn relate(&mut self, set: &UnitSet) {
        for (name, new) in &set.units {
            let Some(unit) = self.units.get_mut(name) else { continue };
            let related = related(&unit.spec, new);
            if !Arc::ptr_eq(&related, &unit.spec) {
                self.queue.insert(name.clone());
                self.unsaved.push(name.clone());
            }
            unit.spec = related;
            unit.beside.iter_mut().for_each(|beside| beside.spec = self::related(&beside.spec, new));
        }
        self.link();
    }

    fn link(&mut self) {
        let is_linked = |name: &UnitName| !(planted(Bug::GoingLosesOrder) && self.leaving.contains(name));
        let units = self.units.iter().filter(|(name, _)| is_linked(name));
        let units = units.map(|(name, unit)| (name.clone(), Arc::clone(&unit.spec)));
        self.links = Links::of(&UnitSet { units: units.collect(), aliases: BTreeMap::new() });
    }

    /// Does to one unit what its change needs, and says what is to be awaited, or the answer if there is one already.
    fn carry_over(&mut self, name: &UnitName, change: &UnitChange) -> Result<Expect, job::Answered> {
        let Some(unit) = self.units.get(name) else {
            return Err(job::no(name, "there is no such unit".to_owned()));
        };
        let after = self.runs.last();
        let is_wanted = unit.goal == Goal::Up;
        match change {
            UnitChange::Removed => {
                for need in self.needs(name).iter().filter(|_| planted(Bug::GoingTakesNeeds)) {
                    self.bring_down(need, After::StayDown, "nobody requires it any longer");
                }
                self.with(name, |unit, cx| {
                    unit.ask_stop(After::StayDown, GONE, cx);
                    // Nor does what was on its way up beside it come later.
                    unit.coming = None;
                });
                self.queue.insert(name.clone());
                Ok(Expect::Down)
            }
            UnitChange::Added { is_enabled } => {
                let is_new = matches!(unit.state, State::Inactive);
                // It is seen from here on, whatever becomes of it.
                self.with(name, |_, _| {});
                if !is_enabled && !is_wanted {
                    return Err(job::yes(name, "added; it is not enabled, so it is not started".to_owned()));
                }
                if !is_new {
                    // It was on its way out.
                    self.renew(name, Reach::Alone, CHANGED);
                } else if !planted(Bug::ComingNotStarted) {
                    self.start(name, Who::Update);
                }
                // The others of its group are not taken away before it is there.
                self.has_begun(name, Expect::Up { after });
                Ok(Expect::Up { after })
            }
            UnitChange::Changed(_) if unit.is_up() && self.has_others(unit) => {
                let restarts = unit.coming.as_ref().is_some_and(|coming| coming.restarts);
                if !restarts {
                    self.take_off(name);
                    return Err(job::yes(name, self.said_of(name, change)));
                }
                self.with(name, |unit, _| {
                    if let Some(coming) = &mut unit.coming {
                        coming.waits = true;
                    }
                });
                Ok(self.queue_up(name, Kind::Renew, Reach::Alone))
            }
            UnitChange::Changed(_)
                if is_wanted && unit.is_timed() && unit.spec_to_come().schedule.is_some() =>
            {
                let when = if unit.coming.is_some() { "from its next run on" } else { "in force" };
                Err(job::yes(name, format!("changed, {when}")))
            }
            UnitChange::Changed(_) if !is_wanted => {
                Err(job::yes(name, "changed; in force when it is next started".to_owned()))
            }
            UnitChange::Changed(_) => {
                let is_for_next = unit.coming.as_ref().is_some_and(|coming| coming.restarts);
                if is_for_next || change.needs() == Change::Restart || planted(Bug::UpdateRestartsAll) {
                    self.take_off(name);
                    self.renew(name, Reach::Alone, CHANGED);
                    self.has_begun(name, Expect::Up { after });
                    return Ok(Expect::Up { after });
                }
                Err(job::yes(name, self.said_of(name, change)))
            }
        }
    }

    /// The unit begins anew, and with it what `reach` says. What it requires is left as it is: an update is no word about
    /// a unit that a person has stopped.
    pub(super) fn renew(&mut self, name: &UnitName, reach: Reach, why: &str) {
        if planted(Bug::UpdateStopsForGood) {
            return self.bring_down(name, After::StayDown, why);
        }
        let Some(unit) = self.units.get(name) else { return };
        let coming = unit.spec_to_come();
        let is_first_looked_at = coming.reload.test.is_some() || coming.restart.mode == Mode::StartFirst;
        if is_first_looked_at && matches!(unit.state, State::Ready(_)) {
            return self.with(name, |unit, cx| {
                unit.reach = reach;
                unit.wish(Wish::Restart, cx);
            });
        }
        let was_active = !unit.is_down();
        let who = if coming.schedule.is_some() { Who::Update } else { Who::Person };
        self.with(name, |unit, cx| unit.ask_start(who, cx));
        self.queue.insert(name.clone());
        if was_active {
            self.restart_active(name, why);
            self.restart_along(name, reach);
        }
    }

    /// There are others of its group.
    fn has_others(&self, unit: &Unit) -> bool {
        let is_other = |other: &Unit| other.name() != unit.name() && other.spec.group() == unit.spec.group();
        unit.spec.group().is_some() && self.units.values().any(is_other)
    }

    fn said_of(&self, name: &UnitName, change: &UnitChange) -> String {
        let coming = self.units.get(name).is_some_and(|unit| unit.coming.is_some());
        match change.needs() {
            Change::Boot => "changed; in force when svinit is next started".to_owned(),
            Change::NextStart => "changed; in force when it is next started".to_owned(),
            Change::AtOnce | Change::Restart | Change::Within if coming => {
                "changed; in force as soon as it has come up".to_owned()
            }
            Change::AtOnce | Change::Restart | Change::Within => "changed, in force".to_owned(),
        }
    }

    /// Units on their way out that have nothing left are no more.
    pub(super) fn forget_those_that_left(&mut self) {
        let down: Vec<UnitName> = self
            .leaving
            .iter()
            .filter(|name| self.units.get(*name).is_some_and(Unit::is_down))
            .cloned()
            .collect();
        let mut gone = BTreeSet::new();
        for name in down {
            let leftovers = self.units.get(&name).map(|unit| unit.leftovers.clone()).unwrap_or_default();
            if !leftovers.is_empty() && !planted(Bug::GoneLeavesProcesses) {
                // They are not to be met by a successor, but there will be none.
                self.with(&name, |unit, cx| leftovers.iter().for_each(|run| unit.tidying.clear(*run, cx)));
                continue;
            }
            self.with(&name, |unit, cx| unit.clear_seen(cx));
            self.book(&name, None);
            self.units.remove(&name);
            self.queue.remove(&name);
            self.booting.remove(&name);
            self.out.push(Action::Forget { unit: name.clone() });
            gone.insert(name);
        }
        if !gone.is_empty() {
            self.leaving.retain(|name| !gone.contains(name));
            self.link();
        }
    }
}

/// `old` with the relations of `new`.
pub(super) fn related(old: &Arc<UnitSpec>, new: &UnitSpec) -> Arc<UnitSpec> {
    let is_same = (&old.requires, &old.wants, &old.after, &old.part_of, &old.conflicts)
        == (&new.requires, &new.wants, &new.after, &new.part_of, &new.conflicts);
    if is_same {
        return Arc::clone(old);
    }
    Arc::new(UnitSpec {
        requires: new.requires.clone(),
        wants: new.wants.clone(),
        after: new.after.clone(),
        part_of: new.part_of.clone(),
        conflicts: new.conflicts.clone(),
        ..UnitSpec::clone(old)
    })
}

impl Unit {
    /// What it is, or will be by itself. When a person has overtaken its restart, it stays what it is.
    fn definition(&self) -> Arc<UnitSpec> {
        if let (Some(successor), None) = (&self.beside.successor, &self.coming) {
            return Arc::clone(&successor.spec);
        }
        let stays = match &self.state {
            State::Starting(_) => self.pending.is_none(),
            State::Ready(ready) => self.pending.is_none() && !ready.is_to_restart(),
            State::Inactive
            | State::Completed
            | State::Failed
            | State::Scheduled
            | State::Backoff { .. }
            | State::Waiting
            | State::Gate(_)
            | State::Preparing(_)
            | State::Stopping(_) => false,
        };
        let coming = self.coming.as_ref().filter(|coming| coming.waits || !(coming.restarts && stays));
        Arc::clone(coming.map_or(&self.spec, |coming| &coming.spec))
    }

    /// Takes over what it is to be, if it is where that does no harm.
    pub(super) fn take_definition(&mut self, cx: &mut Cx<'_>) {
        let Some(Coming { restarts, waits, .. }) = self.coming else { return };
        let may = match &self.state {
            _ if waits => false,
            State::Inactive
            | State::Completed
            | State::Failed
            | State::Scheduled
            | State::Backoff { .. }
            | State::Waiting => true,
            // A new one on its way has the definition that it was made with, and takes this one over with its place.
            State::Ready(ready) => {
                !restarts && self.pending.is_none() && !ready.is_busy() && self.beside.successor.is_none()
            }
            State::Gate(_) | State::Preparing(_) | State::Starting(_) | State::Stopping(_) => false,
        };
        if !may && !planted(Bug::DefinitionTakenTooEarly) {
            return;
        }
        let Some(Coming { spec, .. }) = self.coming.take().filter(|_| !planted(Bug::DefinitionLost)) else {
            return;
        };
        let old = std::mem::replace(&mut self.spec, Arc::clone(&spec));
        cx.out.push(Action::Define { spec: Arc::clone(&spec) });
        self.take_schedule(cx);
        let State::Ready(ready) = &mut self.state else { return };
        if old.health != spec.health {
            if let Some(watch) = &mut ready.health {
                watch.abandon(&mut self.tidying, cx);
            }
            ready.health = spec.health.as_ref().map(|rule| HealthWatch::new(rule, cx.now));
        }
        if old.limits != spec.limits {
            ready.memory = MemoryWatch::new(&spec.limits, cx.limits_enforced, cx.now);
        }
    }

    /// It need not wait for its turn any longer.
    pub(super) fn stop_waiting(&mut self) {
        if let Some(coming) = &mut self.coming {
            coming.waits = false;
        }
    }

    /// What it is to be, and need not wait for.
    pub(super) fn coming_next(&self) -> Option<&Arc<UnitSpec>> {
        self.coming.as_ref().filter(|coming| !coming.waits).map(|coming| &coming.spec)
    }

    /// The definition that the next process is for, from here on. Comes back with it.
    pub(super) fn take_for_next(&mut self, cx: &mut Cx<'_>) -> Arc<UnitSpec> {
        let Some(Coming { spec, .. }) = self.coming.take_if(|coming| !coming.waits) else {
            return Arc::clone(&self.spec);
        };
        cx.out.push(Action::Define { spec: Arc::clone(&spec) });
        spec
    }

    /// The one that was to have the new definition does not come. Whoever asked for it by `how` has it, or has not.
    pub(super) fn put_definition_back(&mut self, spec: &Arc<UnitSpec>, how: Back, cx: &mut Cx<'_>) {
        if Arc::ptr_eq(spec, &self.spec) || **spec == *self.spec {
            return;
        }
        if how == Back::Never && planted(Bug::FailedDefinitionStays) {
            return;
        }
        cx.out.push(Action::Define { spec: Arc::clone(&self.spec) });
        let is_later = how == Back::Later || planted(Bug::FailedDefinitionComesBack);
        if is_later && self.coming.is_none() {
            self.coming = Some(Coming { spec: Arc::clone(spec), restarts: true, waits: false });
        }
    }

    /// The definition that a restart is for.
    pub(super) fn spec_to_come(&self) -> &Arc<UnitSpec> {
        self.coming_next().unwrap_or(&self.spec)
    }

    /// The last that is seen of it is that it is down.
    fn clear_seen(&mut self, cx: &mut Cx<'_>) {
        if self.label() != Label::Inactive {
            self.enter(State::Inactive, GONE, cx);
        }
    }
}
