//! Promises about units that are replaced without a gap.

use crate::lifecycle::action::{Action, Report};
use crate::lifecycle::sim::book::{Book, RunBook, RunEnd};
use crate::lifecycle::sim::promise::{Moment, Promise, Seen, Verdict, hold};
use crate::lifecycle::state::Label;
use crate::units::name::UnitName;

/// All of them.
pub(super) fn promises() -> Vec<Promise> {
    vec![
        Promise::new("nobody takes the place of a unit that a person has stopped", held_is_not_replaced),
        Promise::new("the old one is not told to stop before the new one is up", nobody_is_missing),
        Promise::new("a new one takes over only when its health check has passed", new_one_is_well),
        Promise::new("a new one that does not come up changes nothing", failure_changes_nothing),
        Promise::new("a unit that is down has no process beside it", nobody_is_left_beside),
    ]
}

fn report<'a>(seen: &Seen<'a>) -> Option<&'a Report> {
    match seen.moment {
        Moment::Wished(Action::Report(report)) => Some(report),
        _ => None,
    }
}

/// The unit may be on its way down for its own sake: it is ill, hangs, or has said that it stops.
fn has_trouble(book: &Book, unit: &UnitName) -> bool {
    let leaves = book.runs.values().any(|r| r.unit == *unit && r.leaves.is_some() && r.end.is_none());
    // One that takes too long is killed for that, and has failed before it has ended.
    let is_over = |r: &RunBook| r.end.is_some() || r.killed;
    let last = book.runs.values().rev().find(|r| r.unit == *unit && r.topic == "health" && is_over(r));
    let is_ill = last.is_some_and(|r| r.end.as_ref().is_none_or(|end| !end.is_well()));
    is_ill || leaves || is_silent(book, unit)
}

/// Its watchdog has not heard from it for too long.
pub(super) fn is_silent(book: &Book, unit: &UnitName) -> bool {
    let alive = book.units[unit].main.map(|run| book.runs[&run].alive.0);
    book.spec(unit).watchdog.zip(alive).is_some_and(|(window, alive)| book.now.since(alive) >= window)
}

fn nobody_is_missing(seen: &Seen<'_>) -> Verdict {
    let Some(report) = report(seen) else { return Ok(()) };
    let (unit, book) = (&report.unit, seen.book);
    let was_up = matches!(report.was, Label::Ready | Label::Reloading);
    if !was_up || !matches!(report.label, Label::Waiting | Label::Starting) {
        return Ok(());
    }
    hold(!book.has_main(unit) || has_trouble(book, unit), || {
        format!("{unit} is {} and its main process had not ended", report.label.as_str())
    })
}

fn new_one_is_well(seen: &Seen<'_>) -> Verdict {
    let Some(report) = report(seen) else { return Ok(()) };
    let (unit, book) = (&report.unit, seen.book);
    let (Some(was), Some(run)) = (report.run_was, report.run) else { return Ok(()) };
    let goes_on = report.was.is_up() && report.label.is_up() && was != run;
    // When the old one has ended or is no use any more, the new one is better than none.
    let is_asked = book.spec(unit).health.is_some() && !book.units[unit].paused;
    if !goes_on || !is_asked || book.runs[&was].end.is_some() || has_trouble(book, unit) {
        return Ok(());
    }
    let passed = book
        .runs
        .range(run..)
        .any(|(_, r)| r.unit == *unit && r.topic == "health" && r.end.as_ref().is_some_and(RunEnd::is_well));
    hold(passed, || format!("{unit} is taken over by {run}, whose check has not passed"))
}

fn failure_changes_nothing(seen: &Seen<'_>) -> Verdict {
    let Some(report) = report(seen) else { return Ok(()) };
    let goes_down = report.was.is_up() && !report.label.is_up();
    let blamed = report.why.starts_with("not restarted, it goes on as it was: the new one");
    hold(!(goes_down && blamed) || seen.book.is_ending(), || {
        format!("{} goes down because the one that was to replace it has failed", report.unit)
    })
}

fn held_is_not_replaced(seen: &Seen<'_>) -> Verdict {
    let Some(report) = report(seen) else { return Ok(()) };
    let is_new = report.run_was.is_some() && report.run.is_some() && report.run != report.run_was;
    hold(!(is_new && seen.book.units[&report.unit].held), || {
        format!("{} was stopped and has a new main process", report.unit)
    })
}

fn nobody_is_left_beside(seen: &Seen<'_>) -> Verdict {
    let Moment::Settled(..) = seen.moment else { return Ok(()) };
    for view in seen.supervisor.views() {
        hold(view.label != Label::Inactive || view.beside.is_empty(), || {
            format!("{} is {} and has {:?} beside it", view.name, view.label.as_str(), view.beside)
        })?;
    }
    Ok(())
}
