//! The calendar, by clocks that are set by hand.

use super::*;
use crate::units::spec::Zone;

/// 2026-11-30 02:00:00 UTC.
const TWO: i64 = 1_796_004_000;

struct Clocks {
    calendar: Calendar,
    unit: UnitName,
    /// How far the wall clock is ahead of the time that passes: seconds.
    ahead: i64,
}

fn every(text: &str) -> When {
    When::Every(crate::units::quantity::parse_duration(text).unwrap())
}

fn cron(text: &str) -> When {
    When::Cron { cron: Cron::parse(text).unwrap(), zone: Zone::Utc }
}

impl Clocks {
    /// Armed at 0 seconds of the time that passes, which is [`TWO`].
    fn armed(when: &When, past: Option<i64>) -> Self {
        let mut clocks =
            Self { calendar: Calendar::default(), unit: UnitName::new("backup").unwrap(), ahead: TWO };
        let past = past.map(|past| (TWO + past) * 1_000_000);
        clocks.calendar.arm(&clocks.unit.clone(), when, TimeZone::UTC, past, clocks.at(0));
        clocks
    }

    fn at(&self, second: i64) -> Now {
        let time = Time::from_millis(u64::try_from(second * 1000 + 1_000_000).unwrap());
        Now { time, wall: (self.ahead + second) * 1_000_000 }
    }

    /// What is told at this second: on time or not, and how many were missed.
    fn told(&mut self, second: i64) -> Option<(bool, u32)> {
        let told = self.calendar.look(self.at(second));
        match &told[..] {
            [] => None,
            [Event::Due { unit, is_on_time, missed }] if *unit == self.unit => Some((*is_on_time, *missed)),
            other => panic!("{other:?}"),
        }
    }

    /// The second of the next moment.
    fn next(&mut self, second: i64) -> i64 {
        let now = self.at(second);
        self.calendar.has_changed = true;
        self.calendar.take_change(|| now).unwrap()[&self.unit] / 1_000_000 - self.ahead
    }
}

#[test]
fn a_moment_of_the_clock_is_told_once_when_it_comes() {
    let mut clocks = Clocks::armed(&cron("0 3 * * *"), None);
    assert_eq!((clocks.told(0), clocks.next(0)), (None, 3600));
    assert_eq!(clocks.told(3599), None);
    assert_eq!(clocks.told(3600), Some((true, 0)));
    assert_eq!((clocks.told(3600), clocks.next(3600)), (None, 3600 + 86_400));
    assert_eq!(clocks.calendar.due_by_clock(), Some((TWO + 3600 + 86_400) * 1_000_000));
    assert_eq!(clocks.calendar.due(), None);
}

#[test]
fn moments_that_passed_unseen_are_told_together_as_missed() {
    let mut clocks = Clocks::armed(&cron("*/10 * * * *"), None);
    // Noticed within a minute it is on time.
    assert_eq!(clocks.told(659), Some((true, 0)));
    assert_eq!(clocks.told(1261), Some((false, 1)));
    // The clock was put forward by two hours and some minutes.
    clocks.ahead += 2 * 3600 + 300;
    assert_eq!(clocks.told(1500), Some((true, 12)));
    assert_eq!(clocks.next(1500), 1500 + 600);
    // A month is not counted to its end.
    clocks.ahead += 30 * 86_400 + 120;
    assert_eq!(clocks.told(1501), Some((false, MISSED_MAX)));
    assert_eq!(clocks.told(1501), None);
}

#[test]
fn a_clock_that_is_set_back_a_little_brings_nothing_twice() {
    let mut clocks = Clocks::armed(&cron("0 3 * * *"), None);
    assert_eq!(clocks.told(3600), Some((true, 0)));
    clocks.ahead -= 2 * 3600;
    assert_eq!(clocks.told(3610), None);
    // It shows three again.
    assert_eq!(clocks.told(3 * 3600), None);
    assert_eq!(clocks.told(86_400 + 3 * 3600), Some((true, 0)));
    // It was wrong by a week.
    clocks.ahead -= 7 * 86_400;
    assert_eq!(clocks.told(86_400 + 3 * 3600 + 1), None);
    assert_eq!(clocks.told(2 * 86_400 + 3 * 3600), Some((true, 0)));
}

#[test]
fn what_goes_by_interval_goes_on_at_once_when_the_clock_is_set_back() {
    let mut clocks = Clocks::armed(&cron("*/10 * * * *"), None);
    assert_eq!(clocks.told(600), Some((true, 0)));
    // A correction of some seconds is no second moment.
    clocks.ahead -= 5;
    assert_eq!((clocks.told(601), clocks.told(605)), (None, None));
    assert_eq!(clocks.told(1205), Some((true, 0)));
    clocks.ahead -= 3600;
    assert_eq!(clocks.told(1206), None);
    assert_eq!(clocks.told(1805), Some((true, 0)));
}

#[test]
fn what_passed_while_svinit_was_down_is_told_when_it_is_armed() {
    let mut clocks = Clocks::armed(&cron("30 1 * * *"), Some(-3600));
    assert_eq!((clocks.told(0), clocks.told(1)), (Some((false, 1)), None));
    let mut clocks = Clocks::armed(&cron("30 1 * * *"), Some(-600));
    assert_eq!(clocks.told(0), None);
    // A stamp from a clock that was wrong means nothing.
    let mut clocks = Clocks::armed(&cron("0 3 * * *"), Some(86_400));
    assert_eq!((clocks.told(0), clocks.told(3600)), (None, Some((true, 0))));
}

#[test]
fn time_that_passes_is_counted_from_when_it_was_armed_whatever_the_clock_does() {
    let mut clocks = Clocks::armed(&every("5m"), None);
    assert_eq!((clocks.told(299), clocks.next(0)), (None, 300));
    clocks.ahead += 86_400;
    assert_eq!((clocks.told(299), clocks.told(300), clocks.told(300)), (None, Some((true, 0)), None));
    clocks.ahead -= 10 * 86_400;
    // Noticed late, the next is where it would have been.
    assert_eq!(clocks.told(630), Some((true, 0)));
    assert_eq!(clocks.told(900), Some((true, 0)));
    assert_eq!(clocks.told(900 + 620), Some((true, 1)));
    assert_eq!(clocks.told(1500 + 600 + 100), Some((false, 2)));
    assert_eq!(clocks.next(2200), 2400);
}

#[test]
fn time_that_passed_while_svinit_was_down_counts() {
    let mut clocks = Clocks::armed(&every("5m"), Some(-100));
    assert_eq!((clocks.told(0), clocks.told(199), clocks.told(200)), (None, None, Some((true, 0))));
    let mut clocks = Clocks::armed(&every("5m"), Some(-700));
    assert_eq!(clocks.calendar.due(), Some(Time::ZERO));
    assert_eq!(
        (clocks.told(0), clocks.told(199), clocks.told(200)),
        (Some((false, 2)), None, Some((true, 0)))
    );
    let mut clocks = Clocks::armed(&every("5m"), Some(1000));
    assert_eq!((clocks.told(299), clocks.told(300)), (None, Some((true, 0))));
}

#[test]
fn the_next_svinit_goes_on_with_the_same_moments() {
    for when in [cron("0 3 * * *"), every("1h")] {
        let mut clocks = Clocks::armed(&when, None);
        assert_eq!(clocks.told(60), None);
        let saved = serde_json::to_string(&clocks.calendar.save()).unwrap();
        let saved: BTreeMap<UnitName, SavedEntry> = serde_json::from_str(&saved).unwrap();
        let mut next = Clocks { calendar: Calendar::default(), ..clocks };
        for (unit, saved) in saved {
            next.calendar.restore(&unit, &when, TimeZone::UTC, saved);
        }
        assert_eq!((next.told(3599), next.told(3600), next.told(3600)), (None, Some((true, 0)), None));
    }
}

#[test]
fn what_is_disarmed_is_told_no_more() {
    let mut clocks = Clocks::armed(&every("5m"), None);
    let unit = clocks.unit.clone();
    assert!(clocks.calendar.is_armed(&unit) && clocks.calendar.is_by(&unit, &every("5m"), &TimeZone::UTC));
    assert!(!clocks.calendar.is_by(&unit, &every("6m"), &TimeZone::UTC));
    clocks.calendar.disarm(&unit);
    assert_eq!((clocks.told(1000), clocks.calendar.due()), (None, None));
}
