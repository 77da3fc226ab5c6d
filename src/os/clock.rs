//! The only place that reads a clock.
//!
//! All decisions go by the monotonic clock, which no step of the wall clock touches and which stays valid over a
//! re-exec. The wall clock is for people: log stamps and "since".

use nix::sys::time::TimeSpec;
use nix::time::ClockId;

use crate::lifecycle::time::Time;

/// Now, by `CLOCK_MONOTONIC`.
#[must_use]
pub fn now() -> Time {
    Time(u64::try_from(micros(read(ClockId::CLOCK_MONOTONIC))).unwrap_or(0))
}

/// Now, microseconds since 1970, UTC.
#[must_use]
pub fn wall_us() -> i64 {
    micros(read(ClockId::CLOCK_REALTIME))
}

/// When `moment` was by the wall clock as it is set now, microseconds since 1970.
#[must_use]
pub fn wall_of(moment: Time) -> i64 {
    let offset = wall_us().saturating_sub(i64::try_from(now().0).unwrap_or(i64::MAX));
    offset.saturating_add(i64::try_from(moment.0).unwrap_or(i64::MAX))
}

fn read(clock: ClockId) -> TimeSpec {
    // Both clocks exist on every Linux, and the call cannot fail for another reason.
    clock.now().unwrap_or(TimeSpec::new(0, 0))
}

fn micros(at: TimeSpec) -> i64 {
    at.tv_sec().saturating_mul(1_000_000).saturating_add(at.tv_nsec() / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_monotonic_clock_never_goes_back_and_maps_to_the_wall_clock() {
        let first = now();
        let second = now();
        assert!(second >= first);
        assert!((wall_of(second) - wall_us()).abs() < 1_000_000);
    }
}
