//! Groups: one unit of a plan becomes several instances, and the promises about how these take turns.

use std::sync::Arc;
use std::time::Duration;

use crate::lifecycle::action::{Action, Purpose};
use crate::lifecycle::event::{Command, Otherwise, Reach};
use crate::lifecycle::sim::book::{Asked, Book, JobBook, RunBook};
use crate::lifecycle::sim::dice::Dice;
use crate::lifecycle::sim::plan::{self, Edit, Plan};
use crate::lifecycle::sim::promise::{Moment, Promise, Seen, Verdict, hold};
use crate::lifecycle::sim::starting::main_spawn;
use crate::lifecycle::state::{Health, Label, UnitView};
use crate::lifecycle::update::CHANGED;
use crate::units::name::UnitName;
use crate::units::spec::{Instance, Kind, OnFailure, ReloadHow, UnitSpec};

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
            let edit = changes[at].1;
            changes.splice(at..=at, instances.iter().map(|name| (name.clone(), edit)));
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
    for _ in 0..dice.below(3) {
        let edits = instances.iter().map(|name| (name.clone(), Edit::NextProcess)).collect();
        plan.updates.push((Duration::from_micros(dice.below(quiet)), edits));
    }
}

/// All of them.
pub(super) fn promises() -> Vec<Promise> {
    vec![
        Promise::new("a restart of a group takes one away at a time", |seen| {
            one_at_a_time(seen, Asked::ByCommand)
        }),
        Promise::new("the turns of a group end with one that does not come up", |seen| {
            ends_with_failure(seen, Asked::ByCommand)
        }),
        Promise::new("an update of a group takes one away at a time", |seen| {
            one_at_a_time(seen, Asked::ByUpdate)
        }),
        Promise::new("an update of a group ends with one that does not come up", |seen| {
            ends_with_failure(seen, Asked::ByUpdate)
        }),
        Promise::new("of a group one is replaced beside itself at a time", one_beside_at_a_time),
        Promise::new("of a group one is reloaded at a time", one_reload_at_a_time),
        Promise::new("the reloads of a group end with one that fails", reloads_end_with_failure),
    ]
}

/// What is said of an instance whose turn to go it is.
const ITS_TURN: [&str; 2] = ["restart was asked for", CHANGED];

/// The instance that is taken away for a restart or an update of several, and that.
fn taken<'a>(seen: &Seen<'a>, asked: Asked) -> Option<(&'a UnitName, &'a JobBook)> {
    let Moment::Wished(Action::Report(report)) = seen.moment else { return None };
    let (book, unit) = (seen.book, &report.unit);
    let is_up = matches!(report.was, Label::Ready | Label::Reloading);
    let is_asked = ITS_TURN.contains(&report.why.as_str());
    if !is_up || report.label != Label::Stopping || !is_asked || book.units[unit].health == Health::Fail {
        return None;
    }
    let is_of_kind = |job: &JobBook| match asked {
        Asked::ByCommand => matches!(job.command, Command::Restart { .. }),
        Asked::ByUpdate => job.asked == Asked::ByUpdate,
    };
    Some((unit, of_several(book, unit, is_of_kind)?))
}

/// The job under way that is about this instance, which has had no answer, and others of its group.
fn of_several<'a>(
    book: &'a Book,
    unit: &UnitName,
    is_of_kind: impl Fn(&JobBook) -> bool,
) -> Option<&'a JobBook> {
    let group = book.spec(unit).group()?;
    let is_of_group = |name: &&UnitName| book.spec(name).group() == Some(group);
    let concerns = |job: &&JobBook| {
        let named = plan::named(&job.command);
        !job.done
            && is_of_kind(job)
            && named.contains(unit)
            // Others that were not there, or had been stopped, when it was asked make it no restart of several.
            && named.iter().filter(is_of_group).filter(|name| !job.turnless.contains(*name)).count() > 1
            && (job.asked == Asked::ByCommand || !job.answers.contains_key(unit))
    };
    book.jobs.values().find(concerns)
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

fn one_at_a_time(seen: &Seen<'_>, asked: Asked) -> Verdict {
    let Some((unit, _)) = taken(seen, asked) else { return Ok(()) };
    for other in others(seen, unit) {
        // As it was told last: the machine itself may be further already.
        let label = seen.book.units[&other.name].label;
        let is_away =
            matches!(label, Label::Stopping | Label::Starting) && !goes_for_another(seen.book, unit, &other);
        hold(!is_away, || format!("{unit} is restarted while {} is {}", other.name, label.as_str()))?;
    }
    Ok(())
}

/// It is away because something restarts that both build on: then all instances go along at once.
fn goes_for_another(book: &Book, unit: &UnitName, other: &UnitView) -> bool {
    let spec = book.spec(unit);
    let below = spec.requires.iter().chain(&spec.part_of);
    other.label == Label::Stopping && below.into_iter().any(|below| other.why == format!("{below} restarts"))
}

fn ends_with_failure(seen: &Seen<'_>, asked: Asked) -> Verdict {
    let Some((unit, job)) = taken(seen, asked) else { return Ok(()) };
    for other in others(seen, unit) {
        let label = seen.book.units[&other.name].label;
        let has_failed = matches!(label, Label::Failed | Label::Backoff);
        let is_known = job.answers.get(&other.name) == Some(&false) && !job.turnless.contains(&other.name);
        hold(!(has_failed && is_known), || {
            format!("{unit} is restarted although {} did not come up: it is {}", other.name, label.as_str())
        })?;
    }
    Ok(())
}

fn one_beside_at_a_time(seen: &Seen<'_>) -> Verdict {
    let Some(unit) = main_spawn(seen).filter(|unit| seen.book.may_be_beside(unit)) else { return Ok(()) };
    let is_any = |job: &JobBook| {
        (job.asked == Asked::ByUpdate || matches!(job.command, Command::Restart { .. }))
            && !job.answers.contains_key(unit)
    };
    // One that was on its way out and comes back takes nothing away.
    let comes_back = seen.book.jobs.values().any(|job| !job.done && job.came.contains(unit));
    let Some(job) = of_several(seen.book, unit, is_any).filter(|_| !comes_back) else { return Ok(()) };
    let named = plan::named(&job.command);
    for other in others(seen, unit).filter(|other| named.contains(&other.name)) {
        let comes = other.beside.iter().any(|aside| aside.label != Label::Stopping);
        hold(!comes || job.answers.contains_key(&other.name), || {
            format!("{unit} is replaced while {} is", other.name)
        })?;
    }
    Ok(())
}

/// The instance whose reload begins for the sake of several, and the command for that.
fn reloaded<'a>(seen: &Seen<'a>) -> Option<(&'a UnitName, &'a JobBook)> {
    let book = seen.book;
    let unit = match seen.moment {
        Moment::Wished(Action::Spawn { unit, purpose: Purpose::ReloadCommand, .. }) => unit,
        Moment::Wished(Action::Signal { run, signal, .. }) => {
            let unit = &book.runs[run].unit;
            let is_reload = book.spec(unit).reload.how.as_ref() == Some(&ReloadHow::Signal(signal.clone()));
            is_reload.then_some(unit)?
        }
        _ => return None,
    };
    // One that is ill may be reloaded for that.
    let rule = book.spec(unit).health.as_ref();
    if rule.is_some_and(|rule| rule.on_failure == OnFailure::Reload) {
        return None;
    }
    let is_reload = |job: &JobBook| matches!(job.command, Command::Reload { .. });
    let job = of_several(book, unit, is_reload)?;
    (!job.answers.contains_key(unit)).then_some((unit, job))
}

fn one_reload_at_a_time(seen: &Seen<'_>) -> Verdict {
    let Some((unit, _)) = reloaded(seen) else { return Ok(()) };
    let is_under_way =
        |run: &RunBook| run.purpose == Some(Purpose::ReloadCommand) && run.end.is_none() && !run.killed;
    for other in others(seen, unit) {
        let reloads = seen.book.runs.values().any(|run| run.unit == other.name && is_under_way(run));
        hold(!reloads, || format!("{unit} is reloaded while {} is", other.name))?;
    }
    Ok(())
}

fn reloads_end_with_failure(seen: &Seen<'_>) -> Verdict {
    let Some((unit, job)) = reloaded(seen) else { return Ok(()) };
    let group = seen.book.spec(unit).group();
    let failed = job.failed_reload.as_ref().filter(|other| seen.book.spec(other).group() == group);
    hold(failed.is_none(), || format!("{unit} is reloaded although the reload of {failed:?} has failed"))
}
