//! What goes through a route: how much, how quickly, and how well. Pure: it is told the time.
//!
//! A ring of sixty seconds, each with its own counts by classes of time, so that "the last minute" is exact to a second and costs the same
//! whatever the load is; and totals that only grow, for Prometheus.

use std::time::Duration;

use crate::api::manager::Minute;

/// Seconds that are looked back upon.
const SECONDS: usize = 60;

/// The upper end of the first class of time, and how much further each next one reaches.
const CLASS_FIRST_MS: f64 = 0.5;
const CLASS_STEP: f64 = 1.2;

/// The last class is about a minute, and all that took longer.
const CLASSES: usize = 66;

/// Upper ends of the classes that Prometheus sees, in seconds.
pub const BOUNDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Of one route.
#[derive(Clone, Debug)]
pub struct Traffic {
    /// Requests so far.
    pub requests: u64,
    /// Of those, answered with 500 and above.
    pub errors: u64,
    /// How long all of them took together, in seconds.
    pub seconds: f64,
    /// How many took at most as long as each of [`BOUNDS`].
    pub within: [u64; BOUNDS.len()],
    slots: Vec<Slot>,
}

/// One second.
#[derive(Clone, Debug)]
struct Slot {
    /// Which.
    second: u64,
    errors: u32,
    max_ms: f64,
    classes: [u32; CLASSES],
}

impl Default for Traffic {
    fn default() -> Self {
        Self { requests: 0, errors: 0, seconds: 0.0, within: [0; BOUNDS.len()], slots: Vec::new() }
    }
}

impl Traffic {
    /// A request has ended in the second `now`.
    pub fn add(&mut self, took: Duration, is_error: bool, now: u64) {
        self.requests += 1;
        self.errors += u64::from(is_error);
        self.seconds += took.as_secs_f64();
        for (bound, count) in BOUNDS.iter().zip(&mut self.within) {
            *count += u64::from(took.as_secs_f64() <= *bound);
        }
        let ms = took.as_secs_f64() * 1000.0;
        let slot = self.slot(now);
        slot.errors += u32::from(is_error);
        slot.max_ms = slot.max_ms.max(ms);
        slot.classes[class(ms)] += 1;
    }

    /// The last sixty seconds before `now`, and what has come in it so far.
    #[must_use]
    pub fn minute(&self, now: u64) -> Minute {
        let recent = || self.slots.iter().filter(|slot| slot.second + SECONDS as u64 > now);
        let mut classes = [0u64; CLASSES];
        for slot in recent() {
            classes.iter_mut().zip(&slot.classes).for_each(|(sum, count)| *sum += u64::from(*count));
        }
        let all: u64 = classes.iter().sum();
        if all == 0 {
            return Minute::default();
        }
        let errors: u64 = recent().map(|slot| u64::from(slot.errors)).sum();
        let max_ms = recent().map(|slot| slot.max_ms).fold(0.0, f64::max);
        let within = |percent: u64| {
            let wanted = (all * percent).div_ceil(100);
            let mut seen = 0;
            let place = classes.iter().position(|count| {
                seen += count;
                seen >= wanted
            });
            // No class says more than the longest of all.
            Some(rounded(upper_end(place.unwrap_or(CLASSES - 1)).min(max_ms)))
        };
        Minute {
            rate: rounded(float(all) / float(SECONDS as u64)),
            errors: Some(float(errors) / float(all)),
            p50_ms: within(50),
            p90_ms: within(90),
            p99_ms: within(99),
            max_ms: Some(rounded(max_ms)),
        }
    }

    fn slot(&mut self, now: u64) -> &mut Slot {
        let empty = Slot { second: now, errors: 0, max_ms: 0.0, classes: [0; CLASSES] };
        // Made with the first request: most routes of most files see none.
        if self.slots.is_empty() {
            self.slots = vec![Slot { second: 0, ..empty.clone() }; SECONDS];
        }
        let place = usize::try_from(now % SECONDS as u64).unwrap_or(0);
        let slot = &mut self.slots[place];
        if slot.second != now {
            *slot = empty;
        }
        slot
    }
}

/// The class of a time.
fn class(ms: f64) -> usize {
    (0..CLASSES - 1).find(|place| ms <= upper_end(*place)).unwrap_or(CLASSES - 1)
}

fn upper_end(class: usize) -> f64 {
    CLASS_FIRST_MS * CLASS_STEP.powi(i32::try_from(class).unwrap_or(i32::MAX))
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests have less than 52 bits")]
fn float(count: u64) -> f64 {
    count as f64
}

/// To a thousandth.
fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Traffic;
    use crate::api::manager::Minute;

    #[test]
    fn a_minute_is_a_minute() {
        let mut traffic = Traffic::default();
        assert_eq!(traffic.minute(1000), Minute::default());
        for second in 1000..1120 {
            for request in 0..10 {
                traffic.add(Duration::from_millis(if request == 0 { 100 } else { 10 }), request == 1, second);
            }
        }
        let minute = traffic.minute(1119);
        assert_eq!((minute.rate, minute.errors, minute.max_ms), (10.0, Some(0.1), Some(100.0)));
        let (p50, p90, p99) = (minute.p50_ms.unwrap(), minute.p90_ms.unwrap(), minute.p99_ms.unwrap());
        assert!((10.0..12.0).contains(&p50) && (10.0..12.0).contains(&p90) && p99 == 100.0, "{minute:?}");
        assert_eq!(traffic.minute(1149).rate, 5.0);
        assert_eq!(traffic.minute(1179), Minute::default());
        assert_eq!(
            (traffic.requests, traffic.errors, traffic.within[3], traffic.within[6]),
            (1200, 120, 1080, 1200)
        );
    }

    #[test]
    fn no_time_is_without_a_class() {
        let mut traffic = Traffic::default();
        for took in [Duration::ZERO, Duration::from_secs(3600)] {
            traffic.add(took, false, 0);
        }
        assert_eq!(traffic.minute(0).max_ms, Some(3_600_000.0));
    }
}
