//! Moments as people and programs read them: RFC 3339 in UTC.

use crate::lifecycle::time::Time;
use crate::runtime::handle::Info;

/// `at` with milliseconds.
pub(crate) fn of(info: &Info, at: Time) -> String {
    format!("{:.3}", stamp(info.wall_us(at)))
}

/// Microseconds since 1970, with milliseconds.
pub(crate) fn of_wall_ms(wall_us: i64) -> String {
    format!("{:.3}", stamp(wall_us))
}

/// Microseconds since 1970, with microseconds.
pub(crate) fn of_wall(wall_us: i64) -> String {
    format!("{:.6}", stamp(wall_us))
}

/// What lies beyond the calendar is shown as its end: a clock that far off is wrong anyway, and must not be an error.
fn stamp(wall_us: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_microsecond(wall_us).unwrap_or(if wall_us < 0 {
        jiff::Timestamp::MIN
    } else {
        jiff::Timestamp::MAX
    })
}

#[cfg(test)]
mod tests {
    use super::of_wall;

    #[test]
    fn a_moment_has_all_its_digits() {
        assert_eq!(of_wall(1_700_000_000_120_000), "2023-11-14T22:13:20.120000Z");
        assert_eq!(of_wall(0), "1970-01-01T00:00:00.000000Z");
    }

    #[test]
    fn a_clock_that_is_far_off_is_no_panic() {
        assert!(of_wall(i64::MAX).starts_with("9999"));
        assert!(of_wall(i64::MIN).starts_with('-'));
    }
}
