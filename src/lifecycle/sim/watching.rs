//! Promises about units that are up: health, tests, suspension.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::lifecycle::action::{Action, Purpose};
use crate::lifecycle::event::{Command, Event, ExitStatus, RunId};
use crate::lifecycle::sim::book::Book;
use crate::lifecycle::sim::promise::{Moment, Promise, Seen, Verdict, hold};
use crate::lifecycle::sim::replacing::is_silent;
use crate::lifecycle::state::{Health, Label, Phase};
use crate::lifecycle::time::Time;
use crate::units::name::UnitName;
use crate::units::spec::{Mode, OnFailure};

/// All of them.
pub(super) fn promises() -> Vec<Promise> {
    let mut verdicts = Verdicts::default();
    let mut counted = Verdicts::default();
    vec![
        Promise::new("a unit is ill only after as many failed checks as it may have", move |seen| {
            ill_is_true(&mut verdicts, seen)
        }),
        Promise::new("a unit whose checks fail is found to be ill", move |seen| {
            ill_is_noticed(&mut counted, seen)
        }),
        Promise::new("an ill unit gets its remedy", remedy_is_applied),
        Promise::new("a unit is ended for its silence only after its watchdog time", silence_is_true),
        Promise::new("a unit that is silent for its watchdog time is ended", silence_is_noticed),
        Promise::new("a paused unit is not checked", paused_is_left_alone),
        Promise::new("a suspension is held against nobody", suspension_is_harmless),
        Promise::new("a failed test leaves the old process as it is", failed_test_changes_nothing),
    ]
}

/// The count of failed checks of each unit, as its definition counts them.
#[derive(Default)]
struct Verdicts(BTreeMap<UnitName, Count>);

#[derive(Default)]
struct Count {
    failures: u32,
    lenient_until: Time,
    main: Option<RunId>,
}

impl Verdicts {
    fn follow(&mut self, seen: &Seen<'_>) {
        match seen.moment {
            Moment::Told(event) => self.on_event(seen.book, event),
            // A check that is given up for the time it takes has failed; one that is given up with its unit does not matter.
            Moment::Wished(Action::CancelProbe { run } | Action::Kill { run, .. }) => {
                self.take(seen.book, *run, false);
            }
            Moment::Wished(Action::Report(r)) if r.was == Label::Starting && r.label.is_up() => {
                if let Some(rule) = &seen.book.spec(&r.unit).health {
                    self.begin(seen.book, &r.unit, seen.book.now.after(rule.start_period));
                }
            }
            _ => {}
        }
    }

    fn begin(&mut self, book: &Book, unit: &UnitName, lenient_until: Time) {
        let count = Count { failures: 0, lenient_until, main: book.units[unit].main };
        self.0.insert(unit.clone(), count);
    }

    fn on_event(&mut self, book: &Book, event: &Event) {
        match event {
            Event::Passed { run } => self.take(book, *run, true),
            Event::NotPassed { run, .. } | Event::SpawnFailed { run, .. } => self.take(book, *run, false),
            Event::Exited { run, status, .. } => self.take(book, *run, *status == ExitStatus::Code(0)),
            Event::Asked { command: Command::Resume(units), .. } => {
                for unit in units.iter().filter(|unit| book.units[*unit].paused) {
                    if let Some(rule) = &book.spec(unit).health {
                        self.begin(book, unit, book.now.after(rule.start_period));
                    }
                }
            }
            _ => {}
        }
    }

    fn take(&mut self, book: &Book, run: RunId, passed: bool) {
        let Some(entry) = book.runs.get(&run).filter(|r| r.topic == "health" && r.end.is_none() && !r.killed)
        else {
            return;
        };
        let Some(count) = self.0.get_mut(&entry.unit) else { return };
        if passed {
            (count.failures, count.lenient_until) = (0, Time::ZERO);
        } else if book.now >= count.lenient_until {
            count.failures += 1;
        }
    }
}

/// The unit that becomes ill by this wish.
fn becomes_ill<'a>(seen: &Seen<'a>) -> Option<&'a UnitName> {
    match seen.moment {
        Moment::Wished(Action::Report(r)) if r.health == Health::Fail && r.health_was != Health::Fail => {
            Some(&r.unit)
        }
        _ => None,
    }
}

fn ill_is_true(verdicts: &mut Verdicts, seen: &Seen<'_>) -> Verdict {
    verdicts.follow(seen);
    // A unit that is restarted for its illness goes straight from being up to being stopped.
    let unit = match seen.moment {
        Moment::Wished(Action::Report(r))
            if r.label == Label::Stopping && r.why.starts_with("health check failed") =>
        {
            Some(&r.unit)
        }
        _ => becomes_ill(seen),
    };
    let Some(unit) = unit else { return Ok(()) };
    if seen.book.units[unit].health == Health::Fail || !seen.book.units[unit].label.is_up() {
        return Ok(());
    }
    if seen.book.spec(unit).restart.mode == Mode::StartFirst {
        // Nobody can see which of two was asked.
        return Ok(());
    }
    let (Some(count), Some(rule)) = (verdicts.0.get(unit), &seen.book.spec(unit).health) else {
        return Err(format!("{unit} is ill and has no check"));
    };
    hold(count.failures >= rule.retries, || {
        format!("{unit} is ill after {} failed checks, it may have {}", count.failures, rule.retries)
    })
}

fn ill_is_noticed(verdicts: &mut Verdicts, seen: &Seen<'_>) -> Verdict {
    verdicts.follow(seen);
    let Moment::Settled(..) = seen.moment else { return Ok(()) };
    for (name, count) in &verdicts.0 {
        let (unit, spec) = (&seen.book.units[name], seen.book.spec(name));
        let watched =
            unit.main == count.main && matches!(unit.label, Label::Ready | Label::Reloading) && !unit.paused;
        let failed = spec.restart.mode == Mode::StopFirst
            && spec.health.as_ref().is_some_and(|rule| count.failures >= rule.retries);
        hold(!(watched && failed) || unit.health == Health::Fail, || {
            format!("{name} has failed {} checks and is not found to be ill", count.failures)
        })?;
    }
    Ok(())
}

fn remedy_is_applied(seen: &Seen<'_>) -> Verdict {
    let Moment::Settled(_, actions) = seen.moment else { return Ok(()) };
    let book = seen.book;
    for action in actions {
        let Action::Report(report) = action else { continue };
        let ill = report.health == Health::Fail && report.health_was != Health::Fail;
        let Some(rule) = book.spec(&report.unit).health.as_ref().filter(|_| ill) else { continue };
        let busy =
            book.runs.values().any(|r| r.unit == report.unit && r.end.is_none() && is_chore(r.purpose));
        if report.label != Label::Ready && rule.on_failure != OnFailure::Restart {
            continue;
        }
        let spawned = |purposes: &[Purpose]| {
            actions.iter().any(
                |a| matches!(a, Action::Spawn { unit, purpose, .. } if *unit == report.unit && purposes.contains(purpose)),
            )
        };
        let signalled = || {
            actions
                .iter()
                .any(|a| matches!(a, Action::Signal { run, .. } if book.runs[run].unit == report.unit))
        };
        let applied = match rule.on_failure {
            OnFailure::Restart => report.label == Label::Stopping,
            OnFailure::Reload => {
                busy || book.spec(&report.unit).reload.how.is_none()
                    || signalled()
                    || spawned(&[Purpose::Test, Purpose::ReloadCommand])
            }
            OnFailure::Signal(_) => signalled(),
            OnFailure::Exec(_) => busy || spawned(&[Purpose::Remedy]),
            OnFailure::Shutdown => seen.supervisor.phase() == Phase::Stopping,
            OnFailure::None => true,
        };
        hold(applied, || format!("{} is ill and {:?} does not happen", report.unit, rule.on_failure))?;
    }
    Ok(())
}

fn is_chore(purpose: Option<Purpose>) -> bool {
    matches!(purpose, Some(Purpose::PostStart | Purpose::Test | Purpose::ReloadCommand | Purpose::Remedy))
}

fn paused_is_left_alone(seen: &Seen<'_>) -> Verdict {
    let unit = match seen.moment {
        Moment::Wished(Action::Probe { unit, check, .. })
            if crate::lifecycle::sim::plan::topic(check) == "health" =>
        {
            unit
        }
        Moment::Wished(Action::Spawn { unit, purpose: Purpose::Probe, argv, .. })
            if argv.0[0] == "health" =>
        {
            unit
        }
        _ => return Ok(()),
    };
    hold(!seen.book.units[unit].paused, || format!("{unit} is checked although it is paused"))
}

/// For how long the main process of a unit has said nothing.
struct Silence {
    /// As told.
    told: Duration,
    /// In the life of processes.
    lived: Duration,
    /// How long it may be.
    window: Duration,
}

impl Silence {
    fn of(book: &Book, unit: &UnitName) -> Option<Self> {
        let window = book.spec(unit).watchdog?;
        let (told, lived) = book.runs.get(&book.units[unit].main?)?.alive;
        Some(Self { told: book.now.since(told), lived: book.lived.since(lived), window })
    }
}

fn silence_is_true(seen: &Seen<'_>) -> Verdict {
    let Moment::Wished(Action::Report(r)) = seen.moment else { return Ok(()) };
    if r.label != Label::Stopping || !r.was.is_up() || !r.why.starts_with("hangs: no WATCHDOG=1") {
        return Ok(());
    }
    let Some(Silence { told, window, .. }) = Silence::of(seen.book, &r.unit) else {
        return Err(format!("{} is ended for its silence, and has no watchdog", r.unit));
    };
    hold(told >= window, || format!("{} spoke {told:?} ago, and may be silent for {window:?}", r.unit))
}

fn silence_is_noticed(seen: &Seen<'_>) -> Verdict {
    let Moment::Settled(..) = seen.moment else { return Ok(()) };
    let book = seen.book;
    for (name, unit) in &book.units {
        if !matches!(unit.label, Label::Ready | Label::Reloading) || unit.paused {
            continue;
        }
        let Some(Silence { lived, window, .. }) = Silence::of(book, name) else { continue };
        // A suspension gives everybody more time, and a person who lets go of a paused unit gives it all of it.
        let bound = window + 4 * LATE;
        let long = lived > bound && book.now.since(unit.touched) > bound;
        hold(!long, || {
            format!("{name} has been silent for {lived:?}, may be for {window:?}, and is left alone")
        })?;
    }
    Ok(())
}

/// From here on a late tick cannot be anything but a suspension.
const LATE: Duration = Duration::from_secs(2);

fn suspension_is_harmless(seen: &Seen<'_>) -> Verdict {
    let Moment::Wished(action) = seen.moment else { return Ok(()) };
    let book = seen.book;
    if book.late <= LATE || book.is_ending() {
        return Ok(());
    }
    match action {
        Action::Report(r) if r.health == Health::Fail && r.health_was != Health::Fail => {
            Err(format!("{} is ill after a suspension of {:?}", r.unit, book.late))
        }
        Action::Report(r) if r.label == Label::Stopping && (r.was.is_up() || r.was == Label::Starting) => {
            Err(format!("{} is stopped after a suspension of {:?}", r.unit, book.late))
        }
        Action::Kill { run, .. }
            if book.runs[run].purpose == Some(Purpose::Main) && book.runs[run].end.is_none() =>
        {
            Err(format!("{} is killed after a suspension of {:?}", book.runs[run].unit, book.late))
        }
        _ => Ok(()),
    }
}

fn failed_test_changes_nothing(seen: &Seen<'_>) -> Verdict {
    let Moment::Settled(Some(Event::Exited { run, status, .. }), _) = seen.moment else { return Ok(()) };
    let Some(entry) = seen.book.runs.get(run).filter(|r| r.purpose == Some(Purpose::Test)) else {
        return Ok(());
    };
    let unit = &seen.book.units[&entry.unit];
    // One that was killed for a stop says nothing.
    let failed = *status != ExitStatus::Code(0) && !seen.book.stale && !entry.killed;
    // In the same step it may be found to hang.
    let hangs = is_silent(seen.book, &entry.unit);
    let stays = unit.label != Label::Stopping || unit.since != seen.book.lived || hangs;
    hold(!failed || stays, || format!("{} is stopped although its test has failed", entry.unit))
}
