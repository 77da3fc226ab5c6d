//! Units that come and go: updates that add some, remove some, bring them back and scale groups, and the promises about it.
//!
//! The plan knows every unit that there will ever be. What others name goes only together with them, and comes back with
//! all that it names itself, so that each set of definitions is one that a person could have written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::lifecycle::action::Action;
use crate::lifecycle::sim::book::Book;
use crate::lifecycle::sim::dice::Dice;
use crate::lifecycle::sim::plan::{Edit, Plan, closure};
use crate::lifecycle::sim::promise::{Moment, Promise, Seen, Verdict, hold};
use crate::lifecycle::state::Label;
use crate::lifecycle::update::GONE;
use crate::units::name::UnitName;
use crate::units::spec::UnitSpec;

/// How often, in a hundred, units of a plan come and go.
const PLANS: u64 = 30;

/// Definitions by name.
type Units = BTreeMap<UnitName, Arc<UnitSpec>>;

/// Lets units come and go, in some plans.
pub(super) fn draw(plan: &mut Plan, dice: &mut Dice) {
    let all: Vec<UnitName> = plan.set.units.keys().cloned().collect();
    if all.len() < 2 || !dice.percent(PLANS) {
        return;
    }
    if dice.percent(50) {
        plan.absent = going(&plan.set.units, &dice.pick(&all));
    }
    if plan.absent.len() == all.len() {
        plan.absent.clear();
    }
    let quiet = u64::try_from(plan.quiet.as_micros()).expect("a short time");
    for _ in 0..dice.number(1, 3) {
        let name = dice.pick(&all);
        let mut at = Duration::from_micros(dice.below(quiet));
        let mut edit = if plan.absent.contains(&name) { Edit::Comes } else { Edit::Goes };
        for _ in 0..dice.number(1, 3) {
            let mut edits = vec![(name.clone(), edit)];
            for other in all.iter().filter(|other| **other != name) {
                if dice.percent(15) {
                    let others = [Edit::NextProcess, Edit::AtOnce, Edit::Goes, Edit::Comes];
                    edits.push((other.clone(), dice.pick(&others)));
                }
            }
            plan.updates.push((at.min(plan.quiet), edits));
            // It comes back at once or after a while, or is taken out again.
            at += if dice.percent(50) { dice.millis(0, 100) } else { dice.millis(0, 5_000) };
            edit = if edit == Edit::Goes { Edit::Comes } else { Edit::Goes };
        }
    }
}

/// The unit and all that name it.
fn going(there: &Units, name: &UnitName) -> BTreeSet<UnitName> {
    closure(name, |below| {
        let builds = |spec: &&Arc<UnitSpec>| named(spec).any(|other| other == below);
        there.values().filter(builds).map(|spec| spec.name.clone()).collect()
    })
}

fn named(spec: &UnitSpec) -> impl Iterator<Item = &UnitName> {
    let ordered = spec.requires.iter().chain(&spec.wants).chain(&spec.after);
    ordered.chain(&spec.part_of).chain(&spec.conflicts)
}

/// Takes `name` out of `there`, of a group the last instance. The last unit of all stays.
pub(super) fn take_out(plan: &Plan, name: &UnitName, there: &mut Units) {
    let group = plan.spec(name).group();
    let of_group = |other: &&UnitName| group.is_some() && plan.spec(other).group() == group;
    let Some(last) = there
        .keys()
        .filter(of_group)
        .max_by_key(|name| name.parts())
        .or(there.get_key_value(name).map(|(name, _)| name))
    else {
        return;
    };
    let gone = going(there, &last.clone());
    if gone.len() < there.len() {
        there.retain(|name, _| !gone.contains(name));
    }
}

/// Puts `name` into `there`, of a group the next instance, with all that it builds on, as they were defined last.
pub(super) fn put_in(plan: &Plan, name: &UnitName, latest: &Units, there: &mut Units) {
    let group = plan.spec(name).group();
    let of_group = |other: &&UnitName| group.is_some() && plan.spec(other).group() == group;
    let is_absent = |other: &&UnitName| !there.contains_key(*other);
    let next = plan.set.units.keys().filter(of_group).filter(is_absent).min_by_key(|name| name.parts());
    let comes = closure(next.unwrap_or(name), |name| named(plan.spec(name)).cloned().collect());
    for name in comes {
        let spec = latest.get(&name).unwrap_or(plan.spec(&name));
        there.entry(name).or_insert_with(|| Arc::clone(spec));
    }
}

/// All of them.
pub(super) fn promises() -> Vec<Promise> {
    vec![
        Promise::new("what builds on a unit that goes is down before that is stopped", in_order),
        Promise::new("nothing is left of a unit that is no more", nothing_left),
        Promise::new("a unit that comes is started if it is enabled", started),
        Promise::new("units that come and go leave all others as they are", others_stay),
        Promise::new("when everything rests there are the units that are defined", as_defined),
    ]
}

fn in_order(seen: &Seen<'_>) -> Verdict {
    let Moment::Wished(Action::Report(report)) = seen.moment else { return Ok(()) };
    let (book, unit) = (seen.book, &report.unit);
    let begins = report.label == Label::Stopping && report.was != Label::Stopping && report.why == GONE;
    // One that is defined again and not enabled stays on its way down, but does not go; who comes back need not wait for it.
    let goes = !book.wanted.contains_key(unit);
    if !begins || !goes || !book.has_main(unit) || book.is_ending() {
        return Ok(());
    }
    for (name, other) in book.units.iter().filter(|(name, _)| book.defined.contains_key(*name)) {
        let spec = book.spec(name);
        let builds_on = [&spec.requires, &spec.wants, &spec.after].iter().any(|list| list.contains(unit));
        let is_there =
            matches!(other.label, Label::Ready | Label::Reloading | Label::Starting | Label::Stopping);
        hold(!(builds_on && is_there), || {
            format!("{unit} goes while {name}, which builds on it, is {}", other.label.as_str())
        })?;
    }
    Ok(())
}

fn nothing_left(seen: &Seen<'_>) -> Verdict {
    let Moment::Wished(Action::Forget { unit }) = seen.moment else { return Ok(()) };
    let is_gone = !seen.book.wanted.contains_key(unit) || seen.book.is_ending();
    hold(is_gone, || format!("{unit} is no more, and is defined"))?;
    let left = seen.world.living().find(|(run, of, _)| *of == unit && !seen.world.is_stuck_stray(*run));
    hold(left.is_none(), || format!("{unit} is no more, and has a process: {left:?}"))
}

fn started(seen: &Seen<'_>) -> Verdict {
    let Moment::Settled(None, _) = seen.moment else { return Ok(()) };
    let book = seen.book;
    if !book.updating || book.is_ending() {
        return Ok(());
    }
    let needed = needed(book);
    for name in &book.came {
        let is_wanted = seen.supervisor.view(name).is_some_and(|view| view.wanted);
        let spec = book.spec(name);
        // Which of two that conflict came last is for the stories.
        let is_free = spec.conflicts.is_empty();
        hold(!spec.enabled || !is_free || is_wanted, || format!("{name} has come, and is not started"))?;
        hold(spec.enabled || needed.contains(name) || !is_wanted, || {
            format!("{name} has come and is not enabled, and is started")
        })?;
    }
    Ok(())
}

/// What is started for the sake of those that come, or that begin anew.
fn needed(book: &Book) -> BTreeSet<UnitName> {
    let is_started = |name: &&UnitName| book.spec(name).enabled || book.renewed.contains(*name);
    let from = book.came.iter().chain(&book.renewed).filter(is_started).cloned().collect();
    book.plan.pulled_by(&from, |_| false)
}

fn others_stay(seen: &Seen<'_>) -> Verdict {
    let Moment::Wished(Action::Report(report)) = seen.moment else { return Ok(()) };
    let (book, unit) = (seen.book, &report.unit);
    if !book.updating || report.label == report.was || book.went.contains(unit) || book.came.contains(unit) {
        return Ok(());
    }
    if !book.renewed.is_empty() || (book.came.is_empty() && book.went.is_empty()) {
        // What is restarted as well is a matter of `updating`.
        return Ok(());
    }
    let spec = book.spec(unit);
    let needed = needed(book);
    // Also for what one that comes needs.
    let makes_room = spec.conflicts.iter().any(|rival| book.came.contains(rival) || needed.contains(rival));
    let follows = spec.after.iter().chain(&spec.wants).any(|other| needed.contains(other));
    // What has failed may come up again for the sake of one that comes; what is up stays so.
    let may = makes_room
        || book.is_awaited(unit)
        || (!report.was.is_up() && (needed.contains(unit) || follows || report.was == Label::Waiting));
    hold(may, || {
        format!("{unit} becomes {} for an update in which others come and go", report.label.as_str())
    })
}

fn as_defined(seen: &Seen<'_>) -> Verdict {
    let Moment::Calm = seen.moment else { return Ok(()) };
    let there: BTreeSet<UnitName> = seen.supervisor.views().into_iter().map(|view| view.name).collect();
    let is_stuck = |name: &&UnitName| seen.world.was_stuck(name);
    let missing = seen.book.wanted.keys().find(|name| !there.contains(*name));
    hold(missing.is_none(), || format!("{missing:?} is defined, and is not there"))?;
    let mut left = there.iter().filter(|name| !seen.book.wanted.contains_key(*name));
    let left = left.find(|name| !is_stuck(name));
    hold(left.is_none(), || format!("{left:?} is defined no longer, and is there"))
}
