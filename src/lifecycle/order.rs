//! Who waits for whom: on the way up for those it builds on, on the way down for those that build on it.
//!
//! All questions are about the units as they are at this moment; nothing is remembered between two of them. `requires`,
//! `wants` and `after` together have no circle (`units` has seen to that), so that the walks here end.

use std::collections::BTreeMap;

use crate::lifecycle::planted::{Bug, planted};
use crate::lifecycle::state::Label;
use crate::lifecycle::unit::{Goal, State, Unit};
use crate::units::name::UnitName;
use crate::units::spec::{UnitSet, UnitSpec};

/// All units by name.
pub(super) type Units = BTreeMap<UnitName, Unit>;

/// Who names whom, looked up from both ends.
#[derive(Clone, Debug, Default)]
pub(super) struct Links {
    /// Those that name it, in whatever way.
    named_by: BTreeMap<UnitName, Vec<UnitName>>,
    required_by: BTreeMap<UnitName, Vec<UnitName>>,
    /// Those that are ordered after it: they require, want or follow it.
    before: BTreeMap<UnitName, Vec<UnitName>>,
    parts: BTreeMap<UnitName, Vec<UnitName>>,
}

impl Links {
    pub(super) fn of(set: &UnitSet) -> Self {
        let mut links = Self::default();
        for (name, spec) in &set.units {
            for other in all_named(spec) {
                push(&mut links.named_by, other, name);
            }
            for other in &spec.requires {
                push(&mut links.required_by, other, name);
            }
            for other in ordered_after(spec) {
                push(&mut links.before, other, name);
            }
            for other in &spec.part_of {
                push(&mut links.parts, other, name);
            }
        }
        links
    }

    /// Whose situation may be another one when `name`'s is.
    pub(super) fn around(&self, spec: &UnitSpec) -> Vec<UnitName> {
        all_named(spec).chain(of(&self.named_by, &spec.name)).cloned().collect()
    }

    pub(super) fn required_by(&self, name: &UnitName) -> &[UnitName] {
        of(&self.required_by, name)
    }

    pub(super) fn parts(&self, name: &UnitName) -> &[UnitName] {
        of(&self.parts, name)
    }

    fn before(&self, name: &UnitName) -> &[UnitName] {
        of(&self.before, name)
    }
}

fn push(map: &mut BTreeMap<UnitName, Vec<UnitName>>, key: &UnitName, value: &UnitName) {
    let list = map.entry(key.clone()).or_default();
    if list.last() != Some(value) {
        list.push(value.clone());
    }
}

fn of<'a>(map: &'a BTreeMap<UnitName, Vec<UnitName>>, name: &UnitName) -> &'a [UnitName] {
    map.get(name).map_or(&[], Vec::as_slice)
}

fn ordered_after(spec: &UnitSpec) -> impl Iterator<Item = &UnitName> {
    spec.requires.iter().chain(&spec.wants).chain(&spec.after)
}

fn all_named(spec: &UnitSpec) -> impl Iterator<Item = &UnitName> {
    ordered_after(spec).chain(&spec.part_of).chain(&spec.conflicts)
}

/// What a waiting unit waits for, in words; empty when it may go.
pub(super) fn blockers(units: &Units, unit: &Unit) -> Vec<String> {
    let spec = &unit.spec;
    let mut found = Vec::new();
    required_blockers(units, unit, &mut found);
    let mut say = |name: &UnitName, words: Option<&str>| {
        if let Some(words) = words {
            found.push(format!("{name} ({words})"));
        }
    };
    for name in spec.wants.iter().chain(&spec.after).filter(|name| !spec.requires.contains(name)) {
        say(name, units.get(name).and_then(|other| ordered_blocks(units, other)));
    }
    for name in &spec.part_of {
        say(name, units.get(name).and_then(whole_blocks));
    }
    for name in spec.conflicts.iter().filter(|_| !planted(Bug::IgnoreConflict)) {
        say(
            name,
            units.get(name).and_then(|other| (!other.is_down()).then_some("conflicts, has to stop first")),
        );
    }
    found.dedup();
    found
}

/// All that it requires is up.
pub(super) fn requirements_stand(units: &Units, unit: &Unit) -> bool {
    let mut missing = Vec::new();
    required_blockers(units, unit, &mut missing);
    missing.is_empty()
}

fn required_blockers(units: &Units, unit: &Unit, found: &mut Vec<String>) {
    for other in unit.spec.requires.iter().filter_map(|name| units.get(name)) {
        if planted(Bug::RequiresSkipped) {
            continue;
        }
        if matches!(other.state, State::Completed) {
            // A oneshot's work is worth something only while what it was done to is there: migrations and a database.
            required_blockers(units, other, found);
        } else if !other.is_up() {
            found.push(format!("{} ({})", other.name(), required_blocks(units, other)));
        }
    }
}

fn required_blocks(units: &Units, other: &Unit) -> &'static str {
    match other.label() {
        Label::Failed => "has failed",
        Label::Backoff => "keeps failing",
        Label::Inactive if other.held => "was stopped",
        Label::Inactive => "is not running",
        Label::Scheduled => "is run by the clock",
        Label::Waiting if is_stuck(units, other) => "cannot start",
        Label::Waiting => "waits itself",
        Label::Starting => "is starting",
        Label::Stopping | Label::Ready | Label::Reloading | Label::Completed => "is being stopped",
    }
}

/// Wanted, or only ordered: waited for while it is on its way up.
fn ordered_blocks(units: &Units, other: &Unit) -> Option<&'static str> {
    if planted(Bug::WantsBlocks) {
        return (other.goal == Goal::Up && !other.is_up()).then_some("is starting");
    }
    let on_its_way = other.goal == Goal::Up && !other.is_up() && !has_settled(units, other);
    on_its_way.then(|| if other.is_going() { "is restarting" } else { "is starting" })
}

fn whole_blocks(other: &Unit) -> Option<&'static str> {
    if other.held {
        Some("was stopped")
    } else if other.is_going() {
        Some("is restarting")
    } else {
        None
    }
}

/// It is as far as it comes for now: nobody is helped by waiting for it.
pub(super) fn has_settled(units: &Units, unit: &Unit) -> bool {
    match unit.state {
        State::Completed | State::Failed | State::Scheduled | State::Backoff { .. } => true,
        State::Ready(_) => unit.pending.is_none(),
        State::Inactive => unit.goal == Goal::Down,
        State::Waiting => is_stuck(units, unit),
        State::Gate(_) | State::Preparing(_) | State::Starting(_) | State::Stopping(_) => false,
    }
}

/// It waits for something that does not come by itself, or only after who knows how many tries.
pub(super) fn is_stuck(units: &Units, unit: &Unit) -> bool {
    matches!(unit.state, State::Waiting) && stuck_on(units, unit).is_some()
}

/// The unit that it is stuck on, as far up as the trouble goes.
pub(super) fn stuck_on<'a>(units: &'a Units, unit: &'a Unit) -> Option<&'a Unit> {
    let requires = unit.spec.requires.iter().filter_map(|name| units.get(name));
    let wholes = unit.spec.part_of.iter().filter_map(|name| units.get(name)).filter(|whole| whole.held);
    requires
        .filter_map(|other| match other.label() {
            Label::Failed | Label::Backoff | Label::Scheduled => Some(other),
            Label::Inactive => (other.goal == Goal::Down).then_some(other),
            Label::Waiting | Label::Completed => stuck_on(units, other),
            Label::Starting | Label::Ready | Label::Reloading | Label::Stopping => None,
        })
        .chain(wholes)
        .next()
}

/// One that it requires has failed for good.
pub(super) fn has_lost_a_requirement(units: &Units, unit: &Unit) -> bool {
    let is_lost = |other: &Unit| matches!(other.state, State::Failed) || has_lost_a_requirement(units, other);
    unit.spec.requires.iter().filter_map(|name| units.get(name)).any(is_lost)
}

/// What it is stuck on, in words.
pub(super) fn stuck_words(units: &Units, unit: &Unit) -> Option<String> {
    let culprit = stuck_on(units, unit)?;
    let (who, is) = (culprit.name(), culprit.label().as_str());
    Some(format!("waits for {who}, which is {is}: {}", culprit.why))
}

/// Those that are ordered after it and are to stop as well have stopped. A completed oneshot between them and it has
/// nothing to stop and is looked through: a database outlives what builds on its migrations.
pub(super) fn may_stop(units: &Units, links: &Links, name: &UnitName) -> bool {
    let mut over = links.before(name).iter().filter_map(|other| units.get(other));
    over.all(|other| {
        if matches!(other.state, State::Completed) {
            may_stop(units, links, other.name())
        } else {
            !other.is_going() || planted(Bug::StopOrderForward)
        }
    })
}

/// Those that wait to be stopped and that `unit`, which is down, may have held up.
pub(super) fn held_up_by<'a>(units: &'a Units, unit: &'a Unit, found: &mut Vec<UnitName>) {
    for other in ordered_after(&unit.spec).filter_map(|name| units.get(name)) {
        if other.pending.is_some() {
            found.push(other.name().clone());
        } else if matches!(other.state, State::Completed) {
            held_up_by(units, other, found);
        }
    }
}

/// How many units must stop one after the other, this one first and then those it builds on: by this the time that is
/// left is divided.
pub(super) fn stop_levels(units: &Units, unit: &Unit, known: &mut BTreeMap<UnitName, u32>) -> u32 {
    if let Some(&levels) = known.get(unit.name()) {
        return levels;
    }
    let below = ordered_after(&unit.spec)
        .filter_map(|name| units.get(name))
        .filter(|other| !other.is_down() || matches!(other.state, State::Completed))
        .map(|other| stop_levels(units, other, known))
        .max()
        .unwrap_or(0);
    let levels = below + u32::from(!unit.is_down());
    known.insert(unit.name().clone(), levels);
    levels
}
