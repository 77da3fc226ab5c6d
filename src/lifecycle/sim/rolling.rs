//! Groups: one unit of a plan becomes several instances, and the promises about how these take turns.

use std::sync::Arc;
use std::time::Duration;

use crate::lifecycle::action::Action;
use crate::lifecycle::event::{Command, Otherwise, Reach};
use crate::lifecycle::sim::book::{Book, JobBook};
use crate::lifecycle::sim::dice::Dice;
use crate::lifecycle::sim::plan::{self, Plan};
use crate::lifecycle::sim::promise::{Moment, Promise, Seen, Verdict, hold};
use crate::lifecycle::state::{Health, Label, UnitView};
use crate::units::name::UnitName;
use crate::units::spec::{Instance, Kind, UnitSpec};

/// How often, in a hundred, a plan has a group.
const GROUPS: u64 = 30;

/// Makes a group of one of the units, in some plans: whatever names it names all instances then.
pub(super) fn multiply(plan: &mut Plan, dice: &mut Dice) {
    let may = |spec: &&Arc<UnitSpec>| spec.kind != Kind::Oneshot && spec.conflicts.is_empty();
    let units: Vec<UnitName> = plan.set.units.values().filter(may).map(|spec| spec.name.clone()).collect();
    if units.is_empty() || !dice.percent(GROUPS) {
        return;
    }
    let group = dice.pick(&units);
    let instances: Vec<UnitName> =
        (1..=u32::try_from(dice.number(2, 3)).expect("small")).map(|number| group.instance(number)).collect();
    let expand = |list: &mut Vec<UnitName>| {
        if let Some(at) = list.iter().position(|name| *name == group) {
            list.splice(at..=at, instances.iter().cloned());
        }
    };
    let old = std::mem::take(&mut plan.set.units);
    for (name, spec) in old {
        let mut spec = UnitSpec::clone(&spec);
        for list in [&mut spec.requires, &mut spec.wants, &mut spec.after, &mut spec.part_of] {
            expand(list);
        }
        let names = if name == group { instances.as_slice() } else { std::slice::from_ref(&name) };
        for (number, own) in (1..).zip(names) {
            let instance = (name == group).then(|| Instance { group: group.clone(), number });
            let spec = UnitSpec { name: own.clone(), instance, ..spec.clone() };
            plan.set.units.insert(own.clone(), Arc::new(spec));
            plan.manners.insert(own.clone(), plan.manners[&name].clone());
        }
    }
    plan.manners.remove(&group);
    for (_, command) in &mut plan.asked {
        match command {
            Command::Start(units)
            | Command::Stop(units)
            | Command::Restart { units, .. }
            | Command::Reload { units, .. }
            | Command::Signal { units, .. }
            | Command::Reset(units)
            | Command::Pause(units)
            | Command::Resume(units) => expand(units),
        }
    }
    for (_, changes) in &mut plan.updates {
        if let Some(at) = changes.iter().position(|(name, _)| *name == group) {
            let restarts = changes[at].1;
            changes.splice(at..=at, instances.iter().map(|name| (name.clone(), restarts)));
        }
    }
    let quiet = u64::try_from(plan.quiet.as_micros()).expect("a short time");
    for _ in 0..dice.number(1, 3) {
        let units = instances.clone();
        let command = match dice.below(4) {
            0 => Command::Reload { units, otherwise: Otherwise::Refuse },
            1 => Command::Restart { units, reach: Reach::WithDependants },
            _ => Command::Restart { units, reach: Reach::Alone },
        };
        plan.asked.push((Duration::from_micros(dice.below(quiet)), command));
    }
}

/// All of them.
pub(super) fn promises() -> Vec<Promise> {
    vec![
        Promise::new("a restart of a group takes one away at a time", one_at_a_time),
        Promise::new("the turns of a group end with one that does not come up", ends_with_failure),
    ]
}

/// The instance that is taken away for a restart of several, and that restart.
fn taken<'a>(seen: &Seen<'a>) -> Option<(&'a UnitName, &'a JobBook)> {
    let Moment::Wished(Action::Report(report)) = seen.moment else { return None };
    let (book, unit) = (seen.book, &report.unit);
    let is_up = matches!(report.was, Label::Ready | Label::Reloading);
    let is_asked = report.why == "restart was asked for";
    if !is_up || report.label != Label::Stopping || !is_asked || book.units[unit].health == Health::Fail {
        return None;
    }
    let group = book.spec(unit).group()?;
    let is_of_group = |name: &&UnitName| book.spec(name).group() == Some(group);
    let concerns = |job: &&JobBook| {
        let named = plan::named(&job.command);
        !job.done
            && matches!(job.command, Command::Restart { .. })
            && named.contains(unit)
            && named.iter().filter(is_of_group).count() > 1
    };
    Some((unit, book.jobs.values().find(concerns)?))
}

/// The others of its group that are to run.
fn others<'a>(seen: &Seen<'a>, unit: &UnitName) -> impl Iterator<Item = UnitView> {
    let book: &Book = seen.book;
    let group = book.spec(unit).group().cloned();
    let is_other = move |name: &&UnitName| *name != unit && book.spec(name).group() == group.as_ref();
    let names: Vec<UnitName> = book.units.keys().filter(is_other).cloned().collect();
    let views: Vec<UnitView> = names.iter().filter_map(|name| seen.supervisor.view(name)).collect();
    views.into_iter().filter(|view| view.wanted)
}

fn one_at_a_time(seen: &Seen<'_>) -> Verdict {
    let Some((unit, _)) = taken(seen) else { return Ok(()) };
    for other in others(seen, unit) {
        // As it was told last: the machine itself may be further already.
        let label = seen.book.units[&other.name].label;
        let is_away = matches!(label, Label::Stopping | Label::Starting);
        hold(!is_away, || format!("{unit} is restarted while {} is {}", other.name, label.as_str()))?;
    }
    Ok(())
}

fn ends_with_failure(seen: &Seen<'_>) -> Verdict {
    let Some((unit, job)) = taken(seen) else { return Ok(()) };
    for other in others(seen, unit) {
        let label = seen.book.units[&other.name].label;
        let has_failed = matches!(label, Label::Failed | Label::Backoff);
        let is_known = job.answers.get(&other.name) == Some(&false);
        hold(!(has_failed && is_known), || {
            format!("{unit} is restarted although {} did not come up: it is {}", other.name, label.as_str())
        })?;
    }
    Ok(())
}
