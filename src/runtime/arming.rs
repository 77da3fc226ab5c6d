//! Units with a schedule are armed as the machine says: the calendar, the alarm that wakes for it, and the stamps by which
//! the next start knows what was missed.

use std::collections::BTreeSet;

use jiff::tz::TimeZone;

use crate::lifecycle::event::Event;
use crate::lifecycle::state::{Phase, UnitView};
use crate::lifecycle::time::Time;
use crate::logs::pump::Pump;
use crate::os::alarm::Alarm;
use crate::os::clock;
use crate::os::stamps::Stamps;
use crate::os::zone;
use crate::runtime::hands::Hands;
use crate::runtime::schedule::{Calendar, Now, SavedEntry};
use crate::units::name::UnitName;
use crate::units::spec::{LogLevel, Missed, Schedule, When};

/// The poller's mark of the alarm. `signs` counts up from 1 and does not come so far; the pump has a bit of its own.
pub(super) const ALARM_TOKEN: u64 = 1 << 61;

const _: () =
    assert!(ALARM_TOKEN & Pump::TOKEN_BIT == 0, "a mark of the pump would be taken for that of the alarm");

/// Without an alarm the wall clock is looked at so often, while there is something to wait for.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(30);

/// What is armed.
pub(super) struct Arming {
    pub(super) calendar: Calendar,
    stamps: Stamps,
    /// Made when the first unit goes by the wall clock.
    alarm: Option<Alarm>,
    /// What it is set for.
    set_for: Option<i64>,
    /// Were armed once since svinit was started: what was before is known of them.
    known: BTreeSet<UnitName>,
    has_warned: bool,
}

impl Arming {
    pub(super) fn new(stamps: Stamps) -> Self {
        let (calendar, known) = (Calendar::default(), BTreeSet::new());
        Self { calendar, stamps, alarm: None, set_for: None, known, has_warned: false }
    }

    /// When it must be looked at without another cause.
    pub(super) fn due(&self) -> Option<Time> {
        let passing = self.calendar.due();
        let looks = self.calendar.due_by_clock().filter(|_| self.alarm.is_none());
        let looked_at = looks.map(|_| clock::now().after(LOOK_EVERY));
        passing.into_iter().chain(looked_at).min()
    }

    /// The alarm can be read.
    pub(super) fn heed(&mut self) {
        if let Some(alarm) = &self.alarm {
            alarm.heed();
        }
        // Be it that its moment has come or that the clock was set: it is set anew.
        self.set_for = None;
    }
}

/// Both clocks.
pub(super) fn now() -> Now {
    Now { time: clock::now(), wall: clock::wall_us() }
}

impl Hands {
    /// The zone of its clock. That there is one was seen when the units were read; should it be gone since, then UTC.
    fn zone_of(&mut self, unit: &UnitName, rule: &Schedule) -> TimeZone {
        let When::Cron { zone, .. } = &rule.when else { return TimeZone::UTC };
        zone::find(zone).unwrap_or_else(|why| {
            self.warn_once(unit, &format!("{why}; until then its schedule goes by UTC"));
            TimeZone::UTC
        })
    }

    /// Goes on with what another svinit has left of a unit.
    pub(super) fn rearm(&mut self, unit: &UnitName, saved: SavedEntry) {
        self.arming.known.insert(unit.clone());
        let rule = self.setting.set.units.get(unit).and_then(|spec| spec.schedule.clone());
        if let Some(rule) = rule {
            let zone = self.zone_of(unit, &rule);
            self.arming.calendar.restore(unit, &rule.when, zone, saved);
        }
    }

    /// The unit is as `view` says: arms it, or takes that back.
    pub(super) fn heed_schedule(&mut self, view: &UnitView, phase: Phase) {
        let unit = &view.name;
        let rule = self.setting.set.units.get(unit).and_then(|spec| spec.schedule.clone());
        let is_armed = self.arming.calendar.is_armed(unit);
        match rule.filter(|_| view.wanted && view.schedule.is_some()) {
            Some(rule) => {
                let zone = self.zone_of(unit, &rule);
                if !is_armed || !self.arming.calendar.is_by(unit, &rule.when, &zone) {
                    self.arm(unit, &rule, zone);
                }
            }
            None if is_armed => {
                self.arming.calendar.disarm(unit);
                // What passes while a person has stopped it is not missed; what passes while svinit is down is.
                if phase != Phase::Stopping {
                    self.arming.stamps.remove(unit.as_str());
                }
            }
            None => {}
        }
    }

    fn arm(&mut self, unit: &UnitName, rule: &Schedule, zone: TimeZone) {
        let now = now();
        let is_first = self.arming.known.insert(unit.clone());
        let keeps = rule.missed == Missed::Once;
        let past = self.arming.stamps.read(unit.as_str()).filter(|_| is_first && keeps);
        self.arming.calendar.arm(unit, &rule.when, zone, past, now);
        if past.is_none() && keeps {
            self.stamp(unit, now.wall);
        }
    }

    /// Up to `wall` the moments of the unit were told.
    fn stamp(&mut self, unit: &UnitName, wall: i64) {
        let Err(error) = self.arming.stamps.write(unit.as_str(), wall) else { return };
        if !std::mem::replace(&mut self.arming.has_warned, true) {
            let words = format!(
                "{error}: moments that pass while svinit is down are not made up for (mount a volume there, let state_dir \
                 in svinit.toml name another place, or write missed = \"skip\")"
            );
            self.pump.say(Some(unit), LogLevel::Warn, &words);
        }
    }

    /// Tells what has come by either clock.
    pub(super) fn look_at_calendar(&mut self) {
        if self.arming.calendar.is_empty() {
            return;
        }
        let now = now();
        for event in self.arming.calendar.look(now) {
            if let Event::Due { unit, .. } = &event {
                let rule = self.setting.set.units.get(unit).and_then(|spec| spec.schedule.as_ref());
                if rule.is_some_and(|rule| rule.missed == Missed::Once) {
                    self.stamp(&unit.clone(), now.wall);
                }
            }
            self.facts.push_back(event);
        }
    }

    /// Sees to it that svinit wakes for the next moment of the wall clock.
    pub(super) fn set_alarm(&mut self) {
        let Self { arming, poller, .. } = self;
        let due = arming.calendar.due_by_clock();
        if due == arming.set_for {
            return;
        }
        if arming.alarm.is_none() {
            // Without one the clock is looked at now and then.
            let made = Alarm::new().ok().filter(|alarm| poller.add(alarm, ALARM_TOKEN).is_ok());
            arming.alarm = made;
        }
        let Some(alarm) = &arming.alarm else { return };
        let is_set = match due {
            Some(due) => alarm.set(due),
            None => alarm.unset(),
        };
        match is_set {
            Ok(()) => arming.set_for = due,
            Err(_) => arming.alarm = None,
        }
    }
}
