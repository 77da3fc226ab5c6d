//! Events and actions in words, for whoever reads why a promise was broken.

use crate::lifecycle::action::Action;
use crate::lifecycle::event::{Event, RunId};
use crate::lifecycle::sim::book::Book;

fn whose(book: &Book, run: RunId) -> String {
    match book.runs.get(&run) {
        Some(entry) => match entry.purpose {
            Some(purpose) => format!("{} {purpose:?} {run}", entry.unit),
            None => format!("{} {} {run}", entry.unit, entry.topic),
        },
        None => run.to_string(),
    }
}

fn about(event: &Event) -> Option<RunId> {
    match event {
        Event::Spawned { run, .. }
        | Event::SpawnFailed { run, .. }
        | Event::Exited { run, .. }
        | Event::TreeGone { run }
        | Event::Passed { run }
        | Event::NotPassed { run, .. }
        | Event::MainFound { run, .. }
        | Event::MainNotFound { run, .. }
        | Event::Signed { run, .. }
        | Event::Measured { run, .. } => Some(*run),
        Event::Tick | Event::Due { .. } | Event::Asked { .. } | Event::ShutdownAsked { .. } => None,
    }
}

/// One event.
pub(super) fn event(book: &Book, event: &Event) -> String {
    let of = about(event).map(|run| whose(book, run)).unwrap_or_default();
    match event {
        Event::Tick => format!(
            "tick{}",
            if book.late.as_secs() > 0 { format!(", {:?} late", book.late) } else { String::new() }
        ),
        Event::Spawned { pid, .. } => format!("{of} is process {pid}"),
        Event::SpawnFailed { failure, .. } => format!("{of}: {}", failure.why),
        Event::Exited { status, .. } => format!("{of} has ended: {status:?}"),
        Event::TreeGone { .. } => format!("{of}: nothing is left"),
        Event::Passed { .. } => format!("{of} passed"),
        Event::NotPassed { why, .. } => format!("{of} did not pass: {why}"),
        Event::MainFound { pid, .. } => format!("{of}: the daemon is process {pid}"),
        Event::MainNotFound { why, .. } => format!("{of}: no daemon: {why}"),
        Event::Signed { sign, .. } => format!("{of} says {sign:?}"),
        Event::Measured { memory, .. } => format!("{of} uses {memory} bytes"),
        Event::Due { unit, is_on_time, missed } => {
            format!("a moment of {unit} {}, {missed} were missed", if *is_on_time { "is now" } else { "was" })
        }
        Event::Asked { job, command } => format!("job {} asks: {command:?}", job.0),
        Event::ShutdownAsked { why } => format!("shutdown is asked for: {why}"),
    }
}

/// One action.
pub(super) fn action(book: &Book, action: &Action) -> String {
    match action {
        Action::Spawn { run, unit, purpose, .. } => format!("spawn {unit} {purpose:?} {run}"),
        Action::Signal { run, signal, whom } => format!("signal {} {} {whom:?}", signal.0, whose(book, *run)),
        Action::Kill { run, whom } => format!("kill {} {whom:?}", whose(book, *run)),
        Action::AwaitTree { run } => format!("await the end of {}", whose(book, *run)),
        Action::Probe { run, unit, check } => {
            format!("probe {unit} {} {run}", crate::lifecycle::sim::plan::topic(check))
        }
        Action::CancelProbe { run } => format!("cancel {}", whose(book, *run)),
        Action::ReadPidFile { run, .. } => format!("read the pid file of {}", whose(book, *run)),
        Action::Measure { run } => format!("measure {}", whose(book, *run)),
        Action::Report(r) => format!(
            "{} [{} -> {}] health {} -> {}: {}",
            r.unit,
            r.was.as_str(),
            r.label.as_str(),
            r.health_was.as_str(),
            r.health.as_str(),
            r.why
        ),
        Action::Answer { job, outcome } => {
            format!(
                "answer job {} {} {}: {}",
                job.0,
                outcome.unit,
                if outcome.ok { "ok" } else { "no" },
                outcome.why
            )
        }
        Action::Define { spec } => format!("{} has another definition", spec.name),
        Action::Forget { unit } => format!("{unit} is no more"),
        Action::JobDone { job } => format!("job {} is done", job.0),
        Action::End(end) => format!("end with {}: {}", end.status, end.why),
    }
}
