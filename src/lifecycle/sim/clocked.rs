//! Schedules: some units of a plan are run by the clock, and the promises about their moments.
//!
//! The world has no calendar: moments are drawn, on time or missed, and told as whoever keeps one would tell them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::lifecycle::action::{Action, Purpose};
use crate::lifecycle::event::Event;
use crate::lifecycle::sim::dice::Dice;
use crate::lifecycle::sim::plan::Plan;
use crate::lifecycle::sim::promise::{Moment, Promise, Seen, Verdict, hold};
use crate::lifecycle::state::{Label, Timing, UnitView};
use crate::units::name::UnitName;
use crate::units::spec::{Kind, Missed, Mode, Overlap, Policy, Restart, Schedule, UnitSpec, When};

/// How often, in a hundred, a plan has units with a schedule.
const PLANS: u64 = 30;

/// How often, in a hundred, one that could have one does.
const UNITS: u64 = 60;

/// Moments of one unit, at most.
const MOMENTS: u64 = 40;

/// Moments of one unit that have come.
#[derive(Clone, Debug)]
pub(super) struct Due {
    pub(super) unit: UnitName,
    pub(super) is_on_time: bool,
    pub(super) missed: u32,
}

/// Runs some of the units by the clock, in some plans. Nothing may build on them.
pub(super) fn set_clocks(plan: &mut Plan, dice: &mut Dice) {
    if !dice.percent(PLANS) {
        return;
    }
    let names = |spec: &UnitSpec| {
        [&spec.requires[..], &spec.wants, &spec.after, &spec.part_of, &spec.conflicts].concat()
    };
    let named: Vec<UnitName> = plan.set.units.values().flat_map(|spec| names(spec)).collect();
    let free: Vec<UnitName> = plan.set.units.keys().filter(|name| !named.contains(name)).cloned().collect();
    for name in free {
        let spec = UnitSpec::clone(&plan.set.units[&name]);
        if spec.instance.is_some() || !spec.conflicts.is_empty() || !dice.percent(UNITS) {
            continue;
        }
        let every = dice.round_millis(200, 4_000);
        let spec = clocked(spec, every, dice);
        plan.set.units.insert(name.clone(), Arc::new(spec));
        let mut at = dice.millis(0, 4_000);
        for _ in 0..MOMENTS {
            if at >= plan.quiet {
                break;
            }
            let is_on_time = dice.percent(90);
            let missed = if is_on_time && dice.percent(90) { 0 } else { dice.number(1, 3) };
            let missed = u32::try_from(missed).expect("small");
            plan.due.push((at, Due { unit: name.clone(), is_on_time, missed }));
            at += every;
        }
    }
}

fn clocked(spec: UnitSpec, every: Duration, dice: &mut Dice) -> UnitSpec {
    let policy = dice.pick(&[Policy::Never, Policy::Never, Policy::OnFailure]);
    let mut spec = UnitSpec {
        kind: Kind::Oneshot,
        essential: false,
        ready: None,
        health: None,
        watchdog: None,
        part_of: Vec::new(),
        restart: Restart { policy, mode: Mode::StopFirst, ..spec.restart.clone() },
        schedule: Some(Schedule {
            when: When::Every(every),
            overlap: dice.pick(&[Overlap::Skip, Overlap::Queue, Overlap::Kill]),
            missed: dice.pick(&[Missed::Once, Missed::Skip]),
            jitter: if dice.percent(70) { Duration::ZERO } else { dice.round_millis(1, 2_000) },
            at_start: dice.percent(30),
        }),
        ..spec
    };
    (spec.limits.memory_high, spec.limits.memory_max) = (None, None);
    spec
}

/// All of them.
pub(super) fn promises() -> Vec<Promise> {
    let (mut before, mut labels) = (BTreeMap::new(), BTreeMap::new());
    vec![
        Promise::new(
            "every moment of a schedule is run, kept for later or counted as skipped",
            move |seen| none_is_lost(&mut before, seen),
        ),
        Promise::new("a moment does to a run what overlap says", move |seen| overlap(&mut labels, seen)),
        Promise::new("two runs of a schedule are never there at once", one_at_a_time),
        Promise::new("a schedule that is armed and has nothing to do waits for its next moment", stays_armed),
    ]
}

/// All moments of a unit, and its runs that were asked for.
fn sum(timing: &Timing) -> u64 {
    timing.runs + timing.skipped + u64::from(timing.queued) + u64::from(timing.delayed.is_some())
}

fn clocked_views(seen: &Seen<'_>) -> impl Iterator<Item = (UnitView, Timing)> {
    let views = seen.supervisor.views().into_iter();
    views.filter_map(|view| view.schedule.clone().map(|timing| (view, timing)))
}

/// What was known of a unit before it was told something.
struct Before {
    sum: u64,
    is_wanted: bool,
    label: Label,
}

fn none_is_lost(before: &mut BTreeMap<UnitName, Before>, seen: &Seen<'_>) -> Verdict {
    match seen.moment {
        Moment::Told(_) if seen.book.plan.due.is_empty() => {}
        Moment::Told(_) => {
            let of = |(view, timing): (UnitView, Timing)| {
                let is_wanted = view.wanted && !seen.book.is_ending();
                (view.name, Before { sum: sum(&timing), is_wanted, label: view.label })
            };
            *before = clocked_views(seen).map(of).collect();
        }
        Moment::Settled(event, _) if !before.is_empty() => {
            for (view, timing) in clocked_views(seen) {
                let Some(Before { sum: was, is_wanted, label }) = before.get(&view.name) else { continue };
                let is = sum(&timing);
                hold(is >= *was, || format!("a moment of {} is lost: {timing:?}", view.name))?;
                let Some(Event::Due { unit, is_on_time, missed }) = event else { continue };
                if *unit != view.name {
                    continue;
                }
                let come = if *is_wanted { u64::from(*is_on_time) + u64::from(*missed) } else { 0 };
                hold(is == was + come, || {
                    format!("{come} moments of {unit} came and {} are accounted for: {timing:?}", is - was)
                })?;
                hold(*is_wanted || view.label == *label, || {
                    format!("a moment makes {unit}, which is not to run, {}", view.label.as_str())
                })?;
            }
            before.clear();
        }
        _ => {}
    }
    Ok(())
}

fn overlap(before: &mut BTreeMap<UnitName, (Label, bool)>, seen: &Seen<'_>) -> Verdict {
    match seen.moment {
        Moment::Told(Event::Due { unit, .. }) => {
            let view = seen.supervisor.view(unit);
            before.extend(view.map(|view| (view.name, (view.label, view.paused || !view.wanted))));
        }
        Moment::Settled(Some(Event::Due { unit, is_on_time, .. }), _) => {
            let (Some((label, is_idle)), Some(view)) = (before.remove(unit), seen.supervisor.view(unit))
            else {
                return Ok(());
            };
            let (Some(timing), Some(rule)) = (&view.schedule, &seen.book.spec(unit).schedule) else {
                return Ok(());
            };
            let runs = label == Label::Starting && *is_on_time && rule.jitter.is_zero() && !is_idle;
            let stays = view.label == Label::Starting;
            match rule.overlap {
                Overlap::Skip => hold(!timing.queued, || format!("{unit} has queued a moment"))?,
                Overlap::Queue => hold(!runs || (timing.queued && stays), || {
                    format!("{unit} has not queued a moment that came while it ran")
                })?,
                Overlap::Kill => hold(!runs || !stays, || format!("{unit} goes on over its next moment"))?,
            }
            hold(!runs || rule.overlap != Overlap::Skip || stays, || {
                format!("{unit} was ended by a moment that it should skip")
            })?;
        }
        _ => {}
    }
    Ok(())
}

fn one_at_a_time(seen: &Seen<'_>) -> Verdict {
    let Moment::Wished(Action::Spawn { unit, purpose: Purpose::Main, .. }) = seen.moment else {
        return Ok(());
    };
    if seen.book.spec(unit).schedule.is_none() || seen.world.was_stuck(unit) {
        return Ok(());
    }
    let other = seen.world.living().find(|(_, of, purpose)| *of == unit && *purpose == Purpose::Main);
    hold(other.is_none(), || format!("{unit} is run while an earlier run of it is there: {other:?}"))
}

fn stays_armed(seen: &Seen<'_>) -> Verdict {
    let Moment::Calm = seen.moment else { return Ok(()) };
    for (view, timing) in clocked_views(seen) {
        let is_at_rest = view.wanted && !timing.queued && timing.began.is_none();
        hold(view.label != Label::Scheduled || is_at_rest, || {
            format!("{} is scheduled, and {timing:?}", view.name)
        })?;
        hold(!matches!(view.label, Label::Completed | Label::Failed), || {
            format!("{} has a schedule and is {}", view.name, view.label.as_str())
        })?;
    }
    Ok(())
}
