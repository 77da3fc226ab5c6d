//! The calendar: when the moments of units with a schedule come, by the wall clock or by the time that passes.
//!
//! It is told both clocks and reads neither. It says what has come, and `lifecycle::schedule` what that means. Easy to get
//! wrong: the wall clock can be set. Forward over moments: those were missed, and are told together. Back: nothing comes
//! twice, unless the clock was wrong by more than [`SET_BACK`]; what goes by interval goes on at once.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::lifecycle::event::Event;
use crate::lifecycle::time::Time;
use crate::units::cron::Cron;
use crate::units::name::UnitName;
use crate::units::spec::When;

/// A moment is noticed so late at most, or it was missed: microseconds.
const LATE: i64 = 60_000_000;

/// A clock that was set back by more than this was wrong before, and all begins anew from what it shows. As in Vixie cron.
pub(super) const SET_BACK: i64 = 3 * 3600 * 1_000_000;

/// The same for what goes by interval: so that a small correction does not make the same minute come twice.
const SET_BACK_INTERVAL: i64 = 60_000_000;

/// Missed moments that are counted at a time; that there were more changes nothing.
const MISSED_MAX: u32 = 100;

/// All units that are armed.
#[derive(Default)]
pub(super) struct Calendar {
    entries: BTreeMap<UnitName, Entry>,
    /// Something is otherwise than when this was last asked.
    has_changed: bool,
}

/// The moments of one unit.
struct Entry {
    moments: Moments,
    /// Missed before it was armed, and not told yet.
    owed: u32,
}

enum Moments {
    Clock {
        cron: Cron,
        zone: TimeZone,
        /// All before it was told: microseconds of the wall clock.
        seen: i64,
        /// The first after that.
        next: Option<i64>,
    },
    Passing {
        every: Duration,
        next: Time,
    },
}

/// What is left of an entry to the next svinit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedEntry {
    owed: u32,
    seen: i64,
    next: Time,
}

/// Both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) time: Time,
    /// Microseconds since 1970.
    pub(super) wall: i64,
}

impl Calendar {
    /// The moments of `unit` are told from here on. `past` is until when they were told before svinit was started, by the
    /// wall clock.
    pub(super) fn arm(&mut self, unit: &UnitName, when: &When, zone: TimeZone, past: Option<i64>, now: Now) {
        let entry = match when {
            When::Cron { cron, .. } => {
                let seen = past.unwrap_or(now.wall);
                let next = next_after(cron, &zone, seen);
                Entry { moments: Moments::Clock { cron: cron.clone(), zone, seen, next }, owed: 0 }
            }
            When::Every(every) => {
                let since = past.map_or(0, |past| now.wall.saturating_sub(past));
                let since = Duration::from_micros(u64::try_from(since).unwrap_or(0));
                let (owed, left) = whole_and_rest(since, *every);
                Entry {
                    moments: Moments::Passing { every: *every, next: now.time.after(*every - left) },
                    owed,
                }
            }
        };
        self.entries.insert(unit.clone(), entry);
        self.has_changed = true;
    }

    /// Not any more.
    pub(super) fn disarm(&mut self, unit: &UnitName) {
        self.has_changed |= self.entries.remove(unit).is_some();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn is_armed(&self, unit: &UnitName) -> bool {
        self.entries.contains_key(unit)
    }

    /// Whether these are the moments that it is armed for.
    pub(super) fn is_by(&self, unit: &UnitName, when: &When, zone: &TimeZone) -> bool {
        match (self.entries.get(unit).map(|entry| &entry.moments), when) {
            (Some(Moments::Clock { cron, zone: of, .. }), When::Cron { cron: wanted, .. }) => {
                cron == wanted && of == zone
            }
            (Some(Moments::Passing { every, .. }), When::Every(wanted)) => every == wanted,
            (Some(_) | None, _) => false,
        }
    }

    /// What has come by now.
    pub(super) fn look(&mut self, now: Now) -> Vec<Event> {
        let mut come = Vec::new();
        for (unit, entry) in &mut self.entries {
            let (on_time, missed) = entry.look(now);
            let missed = missed.saturating_add(std::mem::take(&mut entry.owed)).min(MISSED_MAX);
            if on_time || missed > 0 {
                come.push(Event::Due { unit: unit.clone(), is_on_time: on_time, missed });
            }
        }
        self.has_changed |= !come.is_empty();
        come
    }

    /// When it must be looked at, by the time that passes.
    pub(super) fn due(&self) -> Option<Time> {
        let of = |entry: &Entry| match &entry.moments {
            _ if entry.owed > 0 => Some(Time::ZERO),
            Moments::Passing { next, .. } => Some(*next),
            Moments::Clock { .. } => None,
        };
        self.entries.values().filter_map(of).min()
    }

    /// When it must be looked at, by the wall clock.
    pub(super) fn due_by_clock(&self) -> Option<i64> {
        let of = |entry: &Entry| match &entry.moments {
            Moments::Clock { next, .. } => *next,
            Moments::Passing { .. } => None,
        };
        self.entries.values().filter_map(of).min()
    }

    /// The next moment of each unit by the wall clock, if something has changed since this was last asked.
    pub(super) fn take_change(&mut self, now: impl FnOnce() -> Now) -> Option<BTreeMap<UnitName, i64>> {
        if !std::mem::take(&mut self.has_changed) {
            return None;
        }
        let now = now();
        let next = |entry: &Entry| match &entry.moments {
            Moments::Clock { next, .. } => *next,
            Moments::Passing { next, .. } => {
                let left = i64::try_from(next.since(now.time).as_micros()).unwrap_or(i64::MAX);
                Some(now.wall.saturating_add(left))
            }
        };
        Some(self.entries.iter().filter_map(|(unit, entry)| Some((unit.clone(), next(entry)?))).collect())
    }

    /// For the next svinit.
    pub(super) fn save(&self) -> BTreeMap<UnitName, SavedEntry> {
        let saved = |entry: &Entry| match &entry.moments {
            Moments::Clock { seen, .. } => SavedEntry { owed: entry.owed, seen: *seen, next: Time::ZERO },
            Moments::Passing { next, .. } => SavedEntry { owed: entry.owed, seen: 0, next: *next },
        };
        self.entries.iter().map(|(unit, entry)| (unit.clone(), saved(entry))).collect()
    }

    /// Goes on with what another svinit has left of `unit`.
    pub(super) fn restore(&mut self, unit: &UnitName, when: &When, zone: TimeZone, saved: SavedEntry) {
        let SavedEntry { owed, seen, next } = saved;
        let moments = match when {
            When::Cron { cron, .. } => {
                let next = next_after(cron, &zone, seen);
                Moments::Clock { cron: cron.clone(), zone, seen, next }
            }
            When::Every(every) => Moments::Passing { every: *every, next },
        };
        self.entries.insert(unit.clone(), Entry { moments, owed });
        self.has_changed = true;
    }
}

impl Entry {
    /// Whether one has come just now, and how many have passed.
    fn look(&mut self, now: Now) -> (bool, u32) {
        match &mut self.moments {
            Moments::Clock { cron, zone, seen, next } => {
                let bound = if cron.is_by_interval() { SET_BACK_INTERVAL } else { SET_BACK };
                if seen.saturating_sub(now.wall) > bound {
                    *seen = now.wall;
                    *next = next_after(cron, zone, now.wall);
                    return (false, 0);
                }
                let (mut count, mut last) = (0, None);
                while let Some(moment) = next.filter(|moment| *moment <= now.wall) {
                    (count, last) = (count + 1, Some(moment));
                    // Of so many only the last is of interest.
                    let from =
                        if count < MISSED_MAX { moment } else { moment.max(now.wall.saturating_sub(LATE)) };
                    *next = next_after(cron, zone, from);
                    *seen = now.wall;
                }
                let on_time = last.is_some_and(|last| now.wall.saturating_sub(last) <= LATE);
                (on_time, count - u32::from(on_time))
            }
            Moments::Passing { every, next } => {
                if *next > now.time {
                    return (false, 0);
                }
                let late = now.time.since(*next);
                let (more, rest) = whole_and_rest(late, *every);
                *next = now.time.after(*every - rest);
                let on_time = rest.as_micros() <= LATE.unsigned_abs().into();
                (on_time, more + u32::from(!on_time))
            }
        }
    }
}

/// How often `every` goes into `time`, bounded, and what is left.
fn whole_and_rest(time: Duration, every: Duration) -> (u32, Duration) {
    let (time, every) = (time.as_micros(), every.as_micros().max(1));
    let whole = u32::try_from(time / every).unwrap_or(MISSED_MAX).min(MISSED_MAX);
    (whole, Duration::from_micros(u64::try_from(time % every).unwrap_or(0)))
}

fn next_after(cron: &Cron, zone: &TimeZone, wall: i64) -> Option<i64> {
    cron.next(Timestamp::from_microsecond(wall).ok()?, zone).map(Timestamp::as_microsecond)
}

#[cfg(test)]
mod tests;
