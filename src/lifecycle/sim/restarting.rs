//! Promises about automatic restarts: back-off, limits, policies, pauses, and what is part of what.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::lifecycle::action::{Action, Purpose};
use crate::lifecycle::sim::book::{Book, Fault};
use crate::lifecycle::sim::promise::{Moment, Promise, Seen, Verdict, hold};
use crate::lifecycle::state::Label;
use crate::lifecycle::time::Time;
use crate::units::name::UnitName;
use crate::units::spec::{OnLimit, Restart};

/// All of them.
pub(super) fn promises() -> Vec<Promise> {
    let (mut pauses, mut limits, mut rate) = (Pasts::default(), Pasts::default(), VecDeque::new());
    vec![
        Promise::new("retries come at the pace of their back-off", move |seen| pace(&mut pauses, seen)),
        Promise::new("the limit of restarts within the window is kept", move |seen| limit(&mut limits, seen)),
        Promise::new("automatic restarts of all units keep the fork rate", move |seen| {
            fork_rate(&mut rate, seen)
        }),
        Promise::new("only what its policy wants back is restarted", policy),
        Promise::new("a paused unit is not restarted", paused),
        Promise::new("nobody gives up too early", no_early_failure),
        Promise::new("what is part of a unit is stopped and restarted along with it", parts_follow),
    ]
}

/// The unit that is tried again without anybody's asking, with what it comes after.
fn retry<'a>(seen: &Seen<'a>) -> Option<(&'a UnitName, Time, Fault)> {
    let Moment::Wished(Action::Spawn { unit, purpose, .. }) = seen.moment else { return None };
    let first = *purpose == Purpose::PreStart
        || (*purpose == Purpose::Main && seen.book.spec(unit).hooks.pre_start.is_empty());
    let (at, fault) = seen.book.is_automatic(unit).filter(|_| first)?;
    Some((unit, at, fault))
}

/// What each unit's failures were since its slate was last wiped.
#[derive(Default)]
struct Pasts(BTreeMap<UnitName, Past>);

#[derive(Default)]
struct Past {
    /// When the machine judged each failure that counts.
    judged: Vec<Time>,
    /// Of the failure last looked at.
    failed: Option<Time>,
    wiped: Time,
}

impl Pasts {
    /// Takes note of a failure when it is judged, and of whatever wipes the slate.
    fn follow(&mut self, seen: &Seen<'_>) {
        let Moment::Wished(Action::Report(report)) = seen.moment else { return };
        let (book, unit) = (seen.book, &report.unit);
        let is_over = |label: Label| {
            matches!(
                label,
                Label::Inactive | Label::Completed | Label::Failed | Label::Backoff | Label::Waiting
            )
        };
        // With nothing to be cleared away it need not be seen to stop.
        if (report.label == Label::Stopping || is_over(report.label)) && report.was.is_up() {
            let was_up = book.now.since(book.units[unit].ready_at);
            if was_up > book.spec(unit).restart.window {
                self.0.entry(unit.clone()).or_default().judged.clear();
            }
        }
        if is_over(report.was) || !is_over(report.label) {
            return;
        }
        if report.label == Label::Waiting && !report.why.starts_with("restart ") {
            // It was to be started again anyhow, for the sake of another unit.
            return;
        }
        let entry = &book.units[unit];
        let past = self.0.entry(unit.clone()).or_default();
        if entry.touched > past.wiped {
            *past = Past { wiped: entry.touched, ..Past::default() };
        }
        let Some((at, fault)) = book.is_automatic(unit).filter(|(at, _)| past.failed != Some(*at)) else {
            return;
        };
        past.failed = Some(at);
        // A process that could not be made for want of room is not the unit's fault and counts nowhere.
        if matches!(fault, Fault::Ended(_)) {
            past.judged.push(book.now);
        }
    }

    fn of(&self, seen: &Seen<'_>, unit: &UnitName, failed: Time) -> Option<&[Time]> {
        let past = self.0.get(unit)?;
        let counts = past.failed == Some(failed) && seen.book.units[unit].touched <= past.wiped;
        counts.then_some(past.judged.as_slice()).filter(|judged| !judged.is_empty())
    }
}

/// The least pause before the `nth` retry in a row.
fn pause(rule: &Restart, nth: usize) -> Duration {
    if nth <= 2 {
        return rule.delay.min(rule.max_delay).mul_f64(1.0 - rule.jitter);
    }
    let from = rule.delay.max(Duration::from_millis(100)).as_secs_f64();
    let grown = from * rule.factor.powi(i32::try_from(nth - 3).expect("few retries"));
    Duration::from_secs_f64(grown.min(rule.max_delay.as_secs_f64())).mul_f64(1.0 - rule.jitter)
}

fn pace(pasts: &mut Pasts, seen: &Seen<'_>) -> Verdict {
    pasts.follow(seen);
    let Some((unit, failed, Fault::Ended(_))) = retry(seen) else { return Ok(()) };
    let Some(judged) = pasts.of(seen, unit, failed) else { return Ok(()) };
    let least = pause(&seen.book.spec(unit).restart, judged.len());
    let was = seen.book.now.since(*judged.last().expect("not empty"));
    hold(was + Duration::from_millis(1) >= least, || {
        format!("{unit} is restarted for the {}. time after {was:?} instead of {least:?}", judged.len())
    })
}

fn limit(pasts: &mut Pasts, seen: &Seen<'_>) -> Verdict {
    pasts.follow(seen);
    let Some((unit, failed, Fault::Ended(_))) = retry(seen) else { return Ok(()) };
    let rule = &seen.book.spec(unit).restart;
    let Some((last, before)) = pasts.of(seen, unit, failed).and_then(<[Time]>::split_last) else {
        return Ok(());
    };
    let recent = before.iter().filter(|at| last.since(**at) <= rule.window).count();
    if rule.limit == 0 || recent < usize::try_from(rule.limit).expect("small") {
        return Ok(());
    }
    let waited = seen.book.now.since(*last);
    let is_half_open = rule.on_limit == OnLimit::RetryLater && waited >= rule.max_delay;
    hold(is_half_open, || format!("{unit} is restarted after {waited:?}, beyond its limit of {}", rule.limit))
}

fn fork_rate(times: &mut VecDeque<Time>, seen: &Seen<'_>) -> Verdict {
    let Moment::Wished(Action::Report(report)) = seen.moment else { return Ok(()) };
    let (book, unit) = (seen.book, &report.unit);
    let leaves = matches!(report.was, Label::Stopping | Label::Backoff) && report.label != report.was;
    let retried = leaves && matches!(report.label, Label::Waiting | Label::Starting);
    if !retried || book.is_automatic(unit).is_none() {
        return Ok(());
    }
    if book.late >= Duration::from_secs(1) {
        // What had waited for its turn over a suspension has it now, all at once.
        times.clear();
    }
    times.push_back(book.now);
    while times.front().is_some_and(|at| book.now.since(*at) >= Duration::from_secs(1)) {
        times.pop_front();
    }
    // A second's worth that may come at once and what follows in that second; the same for first retries.
    let most = (usize::try_from(book.plan.settings.fork_rate).expect("small") * 2 + 1) * 2;
    hold(times.len() <= most, || format!("{} automatic restarts within a second", times.len()))
}

fn policy(seen: &Seen<'_>) -> Verdict {
    let Some((unit, _, fault)) = retry(seen) else { return Ok(()) };
    hold(!seen.book.is_final(unit, fault), || format!("{unit} is restarted after {fault:?}"))
}

fn paused(seen: &Seen<'_>) -> Verdict {
    // What was let go before the pause may still come up.
    let Moment::Wished(Action::Report(report)) = seen.moment else { return Ok(()) };
    let (unit, leaves) = (&report.unit, matches!(report.was, Label::Stopping | Label::Backoff));
    let retried = leaves && matches!(report.label, Label::Waiting | Label::Starting);
    if !retried || seen.book.is_automatic(unit).is_none() {
        return Ok(());
    }
    hold(!seen.book.units[unit].paused, || format!("{unit} is restarted although it is paused"))
}

fn no_early_failure(seen: &Seen<'_>) -> Verdict {
    let Moment::Wished(Action::Report(report)) = seen.moment else { return Ok(()) };
    let (book, unit) = (seen.book, &report.unit);
    if report.label != Label::Failed || report.was == Label::Failed {
        return Ok(());
    }
    let Some((_, fault)) = book.is_automatic(unit) else { return Ok(()) };
    let rule = &book.spec(unit).restart;
    let may_end = rule.limit > 0 && rule.on_limit != OnLimit::RetryLater;
    hold(book.is_final(unit, fault) || book.units[unit].paused || may_end || book.is_ending(), || {
        format!("{unit} has failed for good after {fault:?}")
    })
}

fn parts_follow(seen: &Seen<'_>) -> Verdict {
    let Moment::Calm = seen.moment else { return Ok(()) };
    let book = seen.book;
    // What never comes to rest keeps what it builds on from being stopped.
    if book.is_something_stopping() {
        return Ok(());
    }
    for name in book.units.keys().filter(|name| book.units[*name].label == Label::Ready) {
        let began = main_began(book, name);
        // One that ends all the time restarts its parts all the time.
        for whole in book.spec(name).part_of.iter().filter(|whole| !book.plan.manners[*whole].broken) {
            let entry = &book.units[whole];
            // Somebody may have wanted the part up after that.
            let is_wanted = book.units[name].wanted_at > entry.stopped_at;
            hold(!entry.held || is_wanted, || {
                format!("{name} runs although {whole}, which it is part of, was stopped")
            })?;
            hold(entry.up_ended.is_none_or(|at| at <= began), || {
                format!("{name} was not restarted with {whole}, which it is part of")
            })?;
        }
    }
    Ok(())
}

fn main_began(book: &Book, unit: &UnitName) -> Time {
    book.units[unit].main.map_or(Time::ZERO, |run| book.runs[&run].asked_lived)
}
