//! Promises about the way down.

use std::time::Duration;

use crate::lifecycle::action::{Action, Purpose};
use crate::lifecycle::event::Command;
use crate::lifecycle::sim::book::JobBook;
use crate::lifecycle::sim::promise::{Moment, Promise, Seen, Verdict, hold};
use crate::lifecycle::state::Label;
use crate::units::name::UnitName;
use crate::units::spec::{KillMode, Kind, UnitSpec};

/// News may be late, a kill needs a moment, and after a suspension everybody gets a little more time.
const SLACK: Duration = Duration::from_secs(6);

/// From the shutdown's deadline to the end.
const LAST_WORDS: Duration = Duration::from_millis(600);

/// All of them.
pub(super) fn promises() -> Vec<Promise> {
    vec![
        Promise::new("what builds on a unit is down before that is stopped", dependants_first),
        Promise::new("a stop ends within its timeouts", stop_is_bounded),
        Promise::new("the shutdown ends by its deadline, from any state", shutdown_is_bounded),
        Promise::new("a second request to shut down kills at once", second_kills),
        Promise::new("a hook, test or check does not outlive its timeout", helpers_are_bounded),
        Promise::new("a main process has its stop timeout before it is killed", killed_in_time),
        Promise::new("what has said that it stops is not told to", leaving_is_not_told),
        Promise::new("an orderly end leaves no process behind", nothing_left),
        Promise::new("stopping a unit stops what requires it", dependants_are_stopped),
    ]
}

/// An ordinary way down from being up, because a person asked for it or svinit ends. Its own troubles do not count.
fn asked_stop<'a>(seen: &Seen<'a>) -> Option<&'a UnitName> {
    let Moment::Wished(Action::Report(report)) = seen.moment else { return None };
    let asked =
        report.why.starts_with("stop was asked for") || report.why.starts_with("svinit is shutting down");
    let begins = report.label == Label::Stopping && report.was != Label::Stopping;
    (asked && begins && seen.book.has_main(&report.unit)).then_some(&report.unit)
}

fn dependants_first(seen: &Seen<'_>) -> Verdict {
    let Some(unit) = asked_stop(seen) else { return Ok(()) };
    let book = seen.book;
    if book.is_hurried() {
        return Ok(());
    }
    for (name, other) in &book.units {
        let spec = book.spec(name);
        let builds_on = spec.requires.contains(unit)
            || (book.is_ending() && (spec.wants.contains(unit) || spec.after.contains(unit)));
        let is_there =
            matches!(other.label, Label::Ready | Label::Reloading | Label::Starting | Label::Stopping);
        hold(!(builds_on && is_there), || {
            format!("{unit} is stopped while {name}, which builds on it, is {}", other.label.as_str())
        })?;
    }
    Ok(())
}

fn stop_bound(spec: &UnitSpec) -> Duration {
    let hooks = u32::try_from(spec.hooks.pre_stop.len() + spec.hooks.post_stop.len()).expect("few hooks");
    spec.hooks.timeout * hooks + spec.stop.timeout * 2 + SLACK
}

fn stop_is_bounded(seen: &Seen<'_>) -> Verdict {
    let (Moment::Settled(..) | Moment::Over) = seen.moment else { return Ok(()) };
    if seen.book.end.is_some() {
        return Ok(());
    }
    for (name, unit) in seen.book.units.iter().filter(|(_, u)| u.label == Label::Stopping) {
        let (took, bound) = (seen.book.lived.since(unit.since), stop_bound(seen.book.spec(name)));
        hold(took <= bound || seen.world.was_stuck(name), || {
            format!("{name} is being stopped since {took:?}, which should take {bound:?} at most")
        })?;
    }
    Ok(())
}

fn shutdown_is_bounded(seen: &Seen<'_>) -> Verdict {
    let (Moment::Settled(..) | Moment::Over, Some(began)) = (seen.moment, seen.book.ending) else {
        return Ok(());
    };
    let bound = seen.book.plan.settings.shutdown_timeout + LAST_WORDS;
    let over = seen.book.end.is_some() && matches!(seen.moment, Moment::Over);
    hold(over || seen.book.lived.since(began) <= bound, || {
        format!("svinit has not ended {:?} after its shutdown began", seen.book.lived.since(began))
    })
}

fn second_kills(seen: &Seen<'_>) -> Verdict {
    let (Moment::Settled(..), Some(second)) = (seen.moment, seen.book.second) else { return Ok(()) };
    let took = seen.book.lived.since(second);
    hold(seen.book.end.is_some() || took <= Duration::from_secs(1) || seen.world.anything_stuck(), || {
        format!("svinit has not ended {took:?} after the second request")
    })
}

fn helpers_are_bounded(seen: &Seen<'_>) -> Verdict {
    let (Moment::Calm | Moment::Over) = seen.moment else { return Ok(()) };
    for (id, unit, purpose) in seen.world.living().filter(|(_, _, purpose)| *purpose != Purpose::Main) {
        // One that nobody knows is a matter of `crashing`.
        let Some(run) = seen.book.runs.get(&id) else { continue };
        let spec = seen.book.spec(unit);
        let timeout = match purpose {
            Purpose::Main => continue,
            Purpose::PreStart
            | Purpose::PostStart
            | Purpose::PreStop
            | Purpose::PostStop
            | Purpose::Remedy => spec.hooks.timeout,
            Purpose::Test | Purpose::ReloadCommand => spec.reload.timeout,
            Purpose::StopCommand => spec.stop.timeout,
            Purpose::Probe => Duration::from_secs(5),
        };
        let age = seen.book.lived.since(run.asked_lived);
        hold(age <= timeout + SLACK || seen.world.was_stuck(unit), || {
            format!("a {purpose:?} process of {unit} lives since {age:?}, its timeout is {timeout:?}")
        })?;
    }
    Ok(())
}

fn killed_in_time(seen: &Seen<'_>) -> Verdict {
    let Moment::Wished(Action::Kill { run, .. }) = seen.moment else { return Ok(()) };
    let book = seen.book;
    let entry = &book.runs[run];
    let spec = book.spec(&entry.unit);
    let exempt = book.is_ending()
        || entry.purpose != Some(Purpose::Main)
        || entry.end.is_some()
        || entry.killed
        || matches!(spec.kind, Kind::Forking { .. });
    if exempt {
        return Ok(());
    }
    let had = entry.stop_told.or(entry.said_stopping).map_or(Duration::ZERO, |at| book.now.since(at));
    hold(had >= spec.stop.timeout, || {
        format!(
            "{} is killed {had:?} after it was told to stop, its timeout is {:?}",
            entry.unit, spec.stop.timeout
        )
    })
}

fn leaving_is_not_told(seen: &Seen<'_>) -> Verdict {
    let Moment::Wished(Action::Signal { run, signal, .. }) = seen.moment else { return Ok(()) };
    let entry = &seen.book.runs[run];
    let by_a_person = |job: &JobBook| {
        !job.done && matches!(&job.command, Command::Signal { units, .. } if units.contains(&entry.unit))
    };
    let is_told = entry.leaves.is_some() && entry.end.is_none() && !seen.book.jobs.values().any(by_a_person);
    hold(!is_told, || format!("{} has said that it stops, and is sent {}", entry.unit, signal.0))
}

fn nothing_left(seen: &Seen<'_>) -> Verdict {
    let Moment::Wished(Action::End(_)) = seen.moment else { return Ok(()) };
    let book = seen.book;
    if book.is_hurried() {
        return Ok(());
    }
    for (run, unit, purpose) in seen.world.living() {
        let left_on_purpose = purpose == Purpose::Main && book.spec(unit).stop.kill == KillMode::Process;
        // What was made in the turn of a crash was killed, and svinit knows no more of it; the kernel may not let it go.
        let left_on_purpose = left_on_purpose || seen.world.is_stuck_stray(run);
        hold(left_on_purpose, || format!("a {purpose:?} process of {unit} is left at the end"))?;
    }
    Ok(())
}

fn dependants_are_stopped(seen: &Seen<'_>) -> Verdict {
    let Moment::Calm = seen.moment else { return Ok(()) };
    // What is stuck in the kernel, or never comes to rest at all, keeps what it builds on from being stopped.
    if seen.book.is_something_stopping() {
        return Ok(());
    }
    for name in seen.book.units.keys().filter(|name| seen.book.has_main(name)) {
        for below in &seen.book.spec(name).requires {
            hold(!seen.book.units[below].held, || {
                format!("{name} runs although a person has stopped {below}, which it requires")
            })?;
        }
    }
    Ok(())
}
