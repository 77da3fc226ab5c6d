//! Promises about what svinit says of itself: reports, views, deadlines, and how it ends.

use std::collections::BTreeSet;

use crate::lifecycle::action::Action;
use crate::lifecycle::event::{Event, RunId};
use crate::lifecycle::sim::book::{Book, RunEnd};
use crate::lifecycle::sim::promise::{Moment, Promise, Seen, Verdict, hold};
use crate::lifecycle::state::{Health, Label, Phase, UnitView};
use crate::units::name::UnitName;
use crate::units::spec::{Kind, OnFailure, OnLimit};

/// All of them.
pub(super) fn promises() -> Vec<Promise> {
    let mut allowed = None;
    let mut steps = 0_u64;
    vec![
        Promise::new("every change is reported once, and as it was", reports_are_a_chain),
        Promise::new("what is shown of a unit is what was reported", move |seen| {
            steps += 1;
            if steps.is_multiple_of(8) { views_are_true(seen) } else { Ok(()) }
        }),
        Promise::new("after a tick, the next deadline is still to come", deadlines_pass),
        Promise::new("nothing wakes svinit when there is nothing to do", idle_is_idle),
        Promise::new("what is about a run that is over changes nothing", stale_changes_nothing),
        Promise::new("a signal or a kill is for a run that may have processes", signals_have_a_target),
        Promise::new("nothing follows the end", nothing_follows),
        Promise::new("the status at the end is true", move |seen| end_is_true(&mut allowed, seen)),
    ]
}

fn reports_are_a_chain(seen: &Seen<'_>) -> Verdict {
    let Moment::Wished(Action::Report(report)) = seen.moment else { return Ok(()) };
    let unit = &seen.book.units[&report.unit];
    hold(unit.label == report.was, || {
        let (was, said) = (unit.label.as_str(), report.was.as_str());
        format!("{} is reported to have been {said}, it was {was}", report.unit)
    })?;
    hold(unit.health == report.health_was, || {
        let (was, said) = (unit.health.as_str(), report.health_was.as_str());
        format!("the health of {} is reported to have been {said}, it was {was}", report.unit)
    })
}

fn views_are_true(seen: &Seen<'_>) -> Verdict {
    let Moment::Settled(..) = seen.moment else { return Ok(()) };
    seen.supervisor.views().iter().try_for_each(|view| view_is_true(seen.book, view))
}

fn view_is_true(book: &Book, view: &UnitView) -> Verdict {
    let unit = &book.units[&view.name];
    let name = &view.name;
    hold(view.label == unit.label, || {
        format!("{name} is shown as {}, reported as {}", view.label.as_str(), unit.label.as_str())
    })?;
    hold(view.health == unit.health, || {
        format!(
            "{name} is shown with health {}, reported with {}",
            view.health.as_str(),
            unit.health.as_str()
        )
    })?;
    hold(view.pid.is_none() || book.has_main(name), || {
        format!("{name} is shown with a process that has ended")
    })?;
    let pid = view.run.and_then(|run| book.runs[&run].pid);
    hold(view.pid.is_none() || view.pid == pid, || format!("{name} is shown with another process"))?;
    hold(view.retry_at.is_some() == (view.label == Label::Backoff), || {
        format!("{name} is {} and is tried again at {:?}", view.label.as_str(), view.retry_at)
    })?;
    hold(book.is_ending() || view.held || !unit.held, || {
        format!("{name} was stopped by a person and is not held")
    })?;
    hold(book.is_ending() || view.paused == unit.paused, || {
        format!("{name} is shown with paused = {}", view.paused)
    })
}

fn deadlines_pass(seen: &Seen<'_>) -> Verdict {
    let Moment::Settled(Some(Event::Tick), _) = seen.moment else { return Ok(()) };
    let next = seen.supervisor.next_deadline();
    hold(next.is_none_or(|at| at > seen.book.now), || {
        format!("the next deadline is {next:?}, which is not to come")
    })
}

fn idle_is_idle(seen: &Seen<'_>) -> Verdict {
    let Moment::Calm = seen.moment else { return Ok(()) };
    let book = seen.book;
    let quiet = |name: &UnitName| {
        let spec = book.spec(name);
        let watched = spec.watchdog.is_some() || spec.health.is_some() || spec.limits.memory_high.is_some();
        let timing = seen.supervisor.view(name).and_then(|view| view.schedule);
        if timing.is_some_and(|timing| timing.delayed.is_some()) {
            return false;
        }
        match book.units[name].label {
            Label::Ready => {
                !watched
                    && seen.supervisor.view(name).is_some_and(|view| view.beside.is_empty())
                    && !book
                        .runs
                        .values()
                        .any(|r| r.unit == *name && r.end.is_none() && !r.killed && is_helper(r))
            }
            Label::Waiting => spec.wait_for.is_none(),
            Label::Inactive | Label::Completed | Label::Failed | Label::Scheduled => true,
            Label::Starting | Label::Reloading | Label::Stopping | Label::Backoff => false,
        }
    };
    let next = seen.supervisor.next_deadline();
    hold(next.is_none() || !book.units.keys().all(quiet), || {
        format!("everything rests and {next:?} is a deadline")
    })
}

fn is_helper(run: &crate::lifecycle::sim::book::RunBook) -> bool {
    run.purpose != Some(crate::lifecycle::action::Purpose::Main)
}

fn stale_changes_nothing(seen: &Seen<'_>) -> Verdict {
    let Moment::Settled(Some(event), actions) = seen.moment else { return Ok(()) };
    hold(!seen.book.stale || actions.is_empty(), || {
        format!("{event:?} is about a run that is over, and causes {actions:?}")
    })
}

fn signals_have_a_target(seen: &Seen<'_>) -> Verdict {
    let Moment::Wished(Action::Signal { run, .. } | Action::Kill { run, .. } | Action::AwaitTree { run }) =
        seen.moment
    else {
        return Ok(());
    };
    hold(seen.book.runs.get(run).is_some_and(|r| !r.gone), || {
        format!("run {run} is gone, and is to be signalled")
    })
}

fn nothing_follows(seen: &Seen<'_>) -> Verdict {
    match seen.moment {
        Moment::Wished(action) => hold(seen.book.end.is_none(), || format!("after the end: {action:?}")),
        Moment::Settled(..) if seen.book.end.is_some() => {
            let next = seen.supervisor.next_deadline();
            hold(next.is_none(), || format!("after the end, {next:?} is a deadline"))
        }
        _ => Ok(()),
    }
}

/// The statuses that svinit may end with, found out when its end begins.
fn end_is_true(allowed: &mut Option<BTreeSet<u8>>, seen: &Seen<'_>) -> Verdict {
    let Moment::Settled(event, actions) = seen.moment else { return Ok(()) };
    if seen.supervisor.phase() == Phase::Stopping && allowed.is_none() {
        *allowed = Some(match event {
            Some(Event::ShutdownAsked { .. }) => [0].into(),
            _ => reasons(seen.book, actions),
        });
    }
    let Some(Action::End(end)) = actions.iter().find(|a| matches!(a, Action::End(_))) else { return Ok(()) };
    let allowed = allowed.clone().unwrap_or_default();
    hold(allowed.contains(&end.status), || {
        format!("svinit ends with {}, not with {allowed:?}: {}", end.status, end.why)
    })
}

fn reasons(book: &Book, actions: &[Action]) -> BTreeSet<u8> {
    let mut found = BTreeSet::new();
    for (name, unit) in &book.units {
        let (spec, own) = (book.spec(name), own_status(book, name));
        let failed = has_failed(book, name);
        if spec.essential && (failed || unit.label == Label::Completed) {
            found.extend(&own);
        }
        let ill = spec.health.as_ref().is_some_and(|rule| rule.on_failure == OnFailure::Shutdown);
        let found_ill = |action: &Action| matches!(action, Action::Report(r) if r.unit == *name && r.why.starts_with("health check failed"));
        if ill && (unit.health == Health::Fail || actions.iter().any(found_ill)) {
            found.insert(1);
        }
        if failed && spec.restart.limit > 0 && spec.restart.on_limit == OnLimit::Shutdown {
            found.extend(own.iter().map(|status| (*status).max(1)));
        }
    }
    let rests = |name: &UnitName| {
        let label = book.units[name].label;
        matches!(
            label,
            Label::Inactive | Label::Waiting | Label::Completed | Label::Failed | Label::Scheduled
        )
    };
    if found.is_empty() || book.units.keys().all(rests) {
        found.extend(when_nothing_is_left(book));
    }
    found
}

fn when_nothing_is_left(book: &Book) -> BTreeSet<u8> {
    let failed = || book.units.iter().filter(|(_, u)| u.label == Label::Failed);
    let Some(first) = failed().map(|(_, u)| u.since_told).min() else { return [0].into() };
    failed()
        .filter(|(_, u)| u.since_told == first)
        .flat_map(|(name, _)| own_status(book, name))
        .map(|status| status.max(1))
        .collect()
}

/// For good. What is run by the clock is not seen to: it may have failed for this time.
fn has_failed(book: &Book, name: &UnitName) -> bool {
    book.units[name].label == Label::Failed || book.spec(name).schedule.is_some()
}

/// What its last end says: the status of its process, or of the shell for one that could not be made; 1 for a hook, a
/// check or a timeout.
fn own_status(book: &Book, name: &UnitName) -> BTreeSet<u8> {
    let unit = &book.units[name];
    let status = match unit.main.map(|run: RunId| &book.runs[&run]) {
        Some(run) if run.end == Some(RunEnd::NotMade) => run.not_made,
        _ => unit.last_end.map(|(_, status)| status.shell_code()),
    };
    let mut found: BTreeSet<u8> = status.into_iter().collect();
    if has_failed(book, name) {
        let spec = book.spec(name);
        let may_stumble = !spec.hooks.pre_start.is_empty()
            || spec.wait_for.is_some()
            || matches!(spec.kind, Kind::Forking { .. });
        let clean = !may_stumble
            && unit.failed.is_some()
            && unit.failed.map(|(at, _)| at) == unit.last_end.map(|(at, _)| at);
        if !clean {
            found.insert(1);
        }
    }
    found
}
