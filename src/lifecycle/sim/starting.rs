//! Promises about the way up.

use std::collections::BTreeSet;

use crate::lifecycle::action::{Action, Purpose};
use crate::lifecycle::sim::book::{Book, RunBook, RunEnd};
use crate::lifecycle::sim::promise::{Moment, Promise, Seen, Verdict, hold};
use crate::lifecycle::state::Label;
use crate::units::name::UnitName;
use crate::units::spec::{Kind, Mode, ReadySign};

/// All of them.
pub(super) fn promises() -> Vec<Promise> {
    vec![
        Promise::new("a unit has one main process, and another only while it is replaced", one_main),
        Promise::new("a replacement starts only when nothing of its predecessor is left", predecessor_gone),
        Promise::new("a unit starts only when what it requires is up", requirements_up),
        Promise::new("a unit waits for what it wants while that is starting", wants_waited_for),
        Promise::new("a unit that a person has stopped is not started", held_stays_down),
        Promise::new("nothing is started while svinit is on its way out", no_start_at_the_end),
        Promise::new("a unit is ready only when its sign has come", ready_is_true),
        Promise::new(
            "a unit starts only when the outside things it waits for have answered",
            outside_answered,
        ),
        Promise::new(
            "the main process starts only when every pre_start hook has succeeded",
            pre_start_succeeded,
        ),
        Promise::new("units that conflict never run at the same time", no_conflict),
    ]
}

/// The unit whose main process is wished for.
pub(super) fn main_spawn<'a>(seen: &Seen<'a>) -> Option<&'a UnitName> {
    match seen.moment {
        Moment::Wished(Action::Spawn { unit, purpose: Purpose::Main, .. }) => Some(unit),
        _ => None,
    }
}

fn one_main(seen: &Seen<'_>) -> Verdict {
    let Some(unit) = main_spawn(seen) else { return Ok(()) };
    let alone = !seen.book.has_main(unit) || seen.book.may_be_beside(unit) || is_being_replaced(seen, unit);
    hold(alone, || format!("{unit} is started while its main process lives"))
}

/// One that ends while another is to replace it does so beside that.
fn is_being_replaced(seen: &Seen<'_>, unit: &UnitName) -> bool {
    let is_beside = seen.supervisor.view(unit).is_some_and(|view| !view.beside.is_empty());
    seen.book.spec(unit).restart.mode == Mode::StartFirst && is_beside
}

fn predecessor_gone(seen: &Seen<'_>) -> Verdict {
    let Some(unit) = main_spawn(seen) else { return Ok(()) };
    let left = seen.book.units[unit].main.is_some_and(|run| seen.world.lives(run));
    hold(!left || is_being_replaced(seen, unit), || {
        format!("{unit} is started while processes of its last run live")
    })
}

/// The unit that is let go by this wish, and does not wait for the outside first.
fn released<'a>(seen: &Seen<'a>) -> Option<&'a UnitName> {
    match seen.moment {
        Moment::Wished(Action::Report(r))
            if r.was == Label::Waiting
                && r.label == Label::Starting
                && seen.book.spec(&r.unit).wait_for.is_none() =>
        {
            Some(&r.unit)
        }
        _ => None,
    }
}

fn requirements_up(seen: &Seen<'_>) -> Verdict {
    // Looked at twice: when it is let go, and again at its main process, for hooks and the outside take their time.
    let Some(unit) = released(seen).or_else(|| main_spawn(seen)) else { return Ok(()) };
    for other in &seen.book.spec(unit).requires {
        let label = seen.book.units[other].label;
        hold(label.is_up(), || format!("{unit} starts while {other} is {}", label.as_str()))?;
    }
    Ok(())
}

fn wants_waited_for(seen: &Seen<'_>) -> Verdict {
    let Some(unit) = released(seen) else { return Ok(()) };
    for other in &seen.book.spec(unit).wants {
        let label = seen.book.units[other].label;
        let wanted = seen.supervisor.view(other).is_some_and(|view| view.wanted);
        hold(label != Label::Starting || !wanted, || format!("{unit} does not wait for {other}"))?;
    }
    Ok(())
}

fn held_stays_down(seen: &Seen<'_>) -> Verdict {
    let Moment::Wished(Action::Spawn { unit, purpose: Purpose::Main | Purpose::PreStart, .. }) = seen.moment
    else {
        return Ok(());
    };
    hold(!seen.book.units[unit].held, || format!("{unit} is started although a person has stopped it"))
}

fn no_start_at_the_end(seen: &Seen<'_>) -> Verdict {
    let Moment::Wished(Action::Spawn { unit, purpose: Purpose::Main | Purpose::PreStart, .. }) = seen.moment
    else {
        return Ok(());
    };
    hold(!seen.book.is_ending(), || format!("{unit} is started although svinit is on its way out"))
}

fn ready_is_true(seen: &Seen<'_>) -> Verdict {
    let Moment::Wished(Action::Report(report)) = seen.moment else { return Ok(()) };
    let (unit, book) = (&report.unit, seen.book);
    let comes_up = report.was == Label::Starting || report.run != report.run_was;
    if !comes_up || !matches!(report.label, Label::Ready | Label::Reloading) {
        return Ok(());
    }
    let Some((id, run)) = report.run.map(|id| (id, &book.runs[&id])) else {
        return Err(format!("{unit} is ready without a main process"));
    };
    hold(run.end.is_none(), || format!("{unit} is ready although its main process has ended"))?;
    let spec = book.spec(unit);
    match spec.kind {
        Kind::Simple => hold(run.made.is_some(), || format!("{unit} is ready before its program runs"))?,
        Kind::Notify => hold(run.signed, || format!("{unit} is ready and has not said so"))?,
        Kind::Forking { .. } => hold(run.found, || format!("{unit} is ready and has no daemon"))?,
        Kind::Oneshot => return Err(format!("{unit} is a oneshot and ready")),
    }
    let passed =
        |r: &RunBook| r.unit == *unit && r.topic == "ready" && r.end.as_ref().is_some_and(RunEnd::is_well);
    if spec.kind == Kind::Notify {
        return Ok(());
    }
    match spec.ready.as_ref().map(|ready| &ready.sign) {
        None => Ok(()),
        Some(ReadySign::Check(_)) => {
            let has_passed = book.runs.range(id..).any(|(_, r)| passed(r));
            hold(has_passed, || format!("{unit} is ready and its check has not passed"))
        }
        Some(ReadySign::Log(_) | ReadySign::Notify | ReadySign::Fd(_)) => {
            hold(run.signed, || format!("{unit} is ready and has not said so"))
        }
        Some(ReadySign::Delay(delay)) => {
            let age = run.made.map(|made| book.now.since(made));
            hold(age >= Some(*delay), || format!("{unit} is ready before its delay is over"))
        }
    }
}

fn outside_answered(seen: &Seen<'_>) -> Verdict {
    let Some(unit) = main_spawn(seen) else { return Ok(()) };
    let Some(outside) = &seen.book.spec(unit).wait_for else { return Ok(()) };
    let answered: BTreeSet<&str> = seen
        .book
        .runs
        .values()
        .filter(|r| r.unit == *unit && r.topic.starts_with("outside"))
        .filter(|r| r.end.as_ref().is_some_and(RunEnd::is_well))
        .map(|r| r.topic.as_str())
        .collect();
    hold(answered.len() >= outside.checks.len(), || format!("{unit} did not wait for the outside"))
}

fn pre_start_succeeded(seen: &Seen<'_>) -> Verdict {
    let Some(unit) = main_spawn(seen) else { return Ok(()) };
    let count = seen.book.spec(unit).hooks.pre_start.len();
    let well = last_hooks(seen.book, unit, count);
    hold(well == count, || format!("{unit} is started after {well} of {count} pre_start hooks"))
}

/// How many of the last `count` pre_start hooks since the last main process have succeeded.
fn last_hooks(book: &Book, unit: &UnitName, count: usize) -> usize {
    if count == 0 {
        return 0;
    }
    let before = book.units[unit].main;
    book.runs
        .iter()
        .rev()
        .take_while(|(id, _)| Some(**id) != before)
        .filter(|(_, r)| r.unit == *unit && r.purpose == Some(Purpose::PreStart))
        .take(count)
        .filter(|(_, r)| r.end.as_ref().is_some_and(RunEnd::is_well))
        .count()
}

fn no_conflict(seen: &Seen<'_>) -> Verdict {
    let Some(unit) = main_spawn(seen) else { return Ok(()) };
    for other in &seen.book.spec(unit).conflicts {
        let lives = seen.book.units[other].main.is_some_and(|run| seen.world.lives(run));
        let allowed = seen.book.spec(other).stop.kill == crate::units::spec::KillMode::Process;
        hold(!lives || (allowed && !seen.book.has_main(other)), || format!("{unit} starts beside {other}"))?;
    }
    Ok(())
}
