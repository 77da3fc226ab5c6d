//! Promises to people: every request is answered, once, truthfully.

use crate::lifecycle::action::{Action, Outcome, Purpose};
use crate::lifecycle::event::{Command, JobId, RunId};
use crate::lifecycle::sim::book::{Book, JobBook, RunEnd};
use crate::lifecycle::sim::plan;
use crate::lifecycle::sim::promise::{Moment, Promise, Seen, Verdict, hold};
use crate::lifecycle::state::Label;
use crate::units::name::UnitName;
use crate::units::spec::ReloadHow;

/// All of them.
pub(super) fn promises() -> Vec<Promise> {
    vec![
        Promise::new("every request gets one answer a unit", one_answer),
        Promise::new("every request comes to its end", every_job_ends),
        Promise::new("an answer is true", answers_are_true),
        Promise::new(
            "a reload is over when a reload is that began after it was asked for",
            reload_is_its_own,
        ),
        Promise::new("a restart or reload that went well has passed its test", tested),
        Promise::new("a start asked for by a person does not count as a restart", person_does_not_count),
    ]
}

fn one_answer(seen: &Seen<'_>) -> Verdict {
    match seen.moment {
        Moment::Wished(Action::Answer { job, outcome }) => {
            let entry = known(seen.book, *job)?;
            hold(!entry.done, || format!("job {} is answered after its end", job.0))?;
            hold(!entry.answers.contains_key(&outcome.unit), || {
                format!("job {} is answered twice for {}", job.0, outcome.unit)
            })
        }
        Moment::Wished(Action::JobDone { job }) => {
            let entry = known(seen.book, *job)?;
            hold(!entry.done, || format!("job {} ends twice", job.0))?;
            for name in plan::named(&entry.command) {
                hold(entry.answers.contains_key(name), || format!("job {} has no answer for {name}", job.0))?;
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn known(book: &Book, job: JobId) -> Result<&JobBook, String> {
    book.jobs.get(&job).ok_or_else(|| format!("nobody has asked for job {}", job.0))
}

fn every_job_ends(seen: &Seen<'_>) -> Verdict {
    let Moment::Over = seen.moment else { return Ok(()) };
    match seen.book.jobs.iter().find(|(_, job)| !job.done) {
        Some((id, job)) => Err(format!("job {} has no end: {:?}", id.0, job.command)),
        None => Ok(()),
    }
}

fn well<'a>(seen: &Seen<'a>) -> Option<(&'a JobBook, &'a Outcome)> {
    match seen.moment {
        Moment::Wished(Action::Answer { job, outcome }) if outcome.ok => {
            Some((seen.book.jobs.get(job)?, outcome))
        }
        _ => None,
    }
}

fn answers_are_true(seen: &Seen<'_>) -> Verdict {
    let Some((job, outcome)) = well(seen) else { return Ok(()) };
    let (book, unit) = (seen.book, &outcome.unit);
    let label = book.units[unit].label;
    let is_newer = |run: &RunId| *run > job.last_run;
    match &job.command {
        Command::Start(_) | Command::Restart { .. } if book.spec(unit).schedule.is_some() => {
            let ran = seen.supervisor.view(unit).and_then(|view| view.schedule);
            hold(ran.is_some_and(|ran| ran.last.is_none_or(|last| last.is_well)), || {
                format!("{unit} is said to have run well and has not")
            })
        }
        Command::Start(_) => {
            hold(label.is_up(), || format!("{unit} is said to be up and is {}", label.as_str()))
        }
        Command::Stop(_) => hold(!book.has_main(unit) && label != Label::Stopping, || {
            format!("{unit} is said to be down and is {}", label.as_str())
        }),
        Command::Restart { .. } => {
            let new = book.units[unit].main.as_ref().is_some_and(is_newer);
            hold(label.is_up() && new, || format!("{unit} is said to be restarted and is {}", label.as_str()))
        }
        Command::Reload { .. } => reload_is_true(book, job, unit),
        Command::Signal { .. } | Command::Reset(_) | Command::Pause(_) | Command::Resume(_) => Ok(()),
    }
}

fn reload_is_true(book: &Book, job: &JobBook, unit: &UnitName) -> Verdict {
    // A restart that is on its way does what the reload would have done.
    let restarts = book.jobs.values().any(|other| {
        !other.done
            && matches!(other.command, Command::Restart { .. })
            && plan::named(&other.command).contains(unit)
    });
    let restarted = restarts || book.units[unit].main.is_some_and(|run| run > job.last_run);
    let Some(ReloadHow::Command(_)) = &book.spec(unit).reload.how else { return Ok(()) };
    let ran = book.runs.values().any(|r| {
        r.unit == *unit
            && r.purpose == Some(Purpose::ReloadCommand)
            && r.asked_lived >= job.lived
            && r.end.as_ref().is_some_and(RunEnd::is_well)
    });
    hold(restarted || ran, || {
        format!("{unit} is said to be reloaded and its reload command has not succeeded since")
    })
}

fn reload_is_its_own(seen: &Seen<'_>) -> Verdict {
    let Some((job, outcome)) = well(seen) else { return Ok(()) };
    let is_reload = matches!(job.command, Command::Reload { .. });
    let by_signal = matches!(seen.book.spec(&outcome.unit).reload.how, Some(ReloadHow::Signal(_)));
    let main = seen.book.units[&outcome.unit].main.map(|run| &seen.book.runs[&run]);
    let Some(began) = main.and_then(|run| run.reloaded).filter(|_| is_reload && by_signal) else {
        return Ok(());
    };
    hold(began >= job.told, || {
        format!(
            "{} is said to be reloaded by a reload that began {began}, before it was asked to",
            outcome.unit
        )
    })
}

fn tested(seen: &Seen<'_>) -> Verdict {
    let Some((job, outcome)) = well(seen) else { return Ok(()) };
    let (book, unit) = (seen.book, &outcome.unit);
    let concerns = matches!(job.command, Command::Restart { .. } | Command::Reload { .. });
    // What is dragged along by another unit is not tested.
    let named = plan::named(&job.command);
    let concerns = concerns && named.len() == 1 && named[0] == *unit;
    // Neither is a unit that is restarted for another cause before its turn has come.
    let spec = book.spec(unit);
    let concerns = concerns && spec.health.is_none() && spec.limits.memory_high.is_none();
    let was_up = matches!(job.labels[unit], Label::Ready | Label::Reloading);
    if !concerns || !was_up || book.spec(unit).reload.test.is_none() {
        return Ok(());
    }
    let passed = book.runs.values().any(|r| {
        r.unit == *unit
            && r.purpose == Some(Purpose::Test)
            && r.ended_lived >= job.lived
            && r.end.as_ref().is_some_and(RunEnd::is_well)
    });
    // A test that was given up with its unit says nothing.
    let given_up = book.runs.values().any(|r| {
        r.unit == *unit && r.purpose == Some(Purpose::Test) && r.killed && r.ended_lived >= job.lived
    });
    // It may have come back for other reasons: its own end, or that of what it belongs to.
    let alone = book.jobs.values().filter(|other| other.lived >= job.lived || !other.done).count() == 1;
    let by_itself = book.jobs.len() > 1 && !alone;
    let ended_unasked =
        book.units[unit].up_ended.is_some_and(|at| at >= job.lived) && !is_asked_end(book, job, unit);
    hold(passed || given_up || by_itself || ended_unasked || !book.spec(unit).part_of.is_empty(), || {
        format!("{unit} is said to be restarted or reloaded and no test has passed since")
    })
}

/// The process that was there when it was asked ended because it was told to.
fn is_asked_end(book: &Book, job: &JobBook, unit: &UnitName) -> bool {
    job.mains[unit].and_then(|run| book.runs.get(&run)).is_some_and(|r| {
        r.stop_told.is_some_and(|told| book.units[unit].last_end.is_none_or(|(ended, _)| told < ended))
    })
}

fn person_does_not_count(seen: &Seen<'_>) -> Verdict {
    let Some((job, outcome)) = well(seen) else { return Ok(()) };
    let (book, unit) = (seen.book, &outcome.unit);
    if !matches!(job.command, Command::Start(_)) {
        return Ok(());
    }
    let mains_since = book
        .runs
        .values()
        .filter(|r| r.unit == *unit && r.purpose == Some(Purpose::Main) && r.asked_lived >= job.lived)
        .count();
    let before =
        matches!(job.labels[unit], Label::Starting | Label::Ready | Label::Reloading | Label::Waiting);
    let others = book.jobs.values().filter(|other| other.lived >= job.lived || !other.done).count() > 1;
    let counted = seen.supervisor.view(unit).map_or(0, |view| view.restarts);
    let stumbled = book.runs.values().any(|r| {
        let hook = r.purpose == Some(Purpose::PreStart) || r.topic.starts_with("outside");
        r.unit == *unit
            && hook
            && r.asked_lived >= job.lived
            && (r.killed || r.end.as_ref().is_none_or(|end| !end.is_well()))
    });
    hold(counted == 0 || stumbled || mains_since != 1 || before || others, || {
        format!("{unit} was started by a person and counts {counted} restarts")
    })
}
