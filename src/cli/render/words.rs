//! Numbers and facts in words.

use crate::api::status::LastExit;

/// `350 ms`, `1.2 s`, `2 min 10 s`: how long something took.
pub(crate) fn took(ms: f64) -> String {
    if ms < 9.95 {
        format!("{ms:.1} ms")
    } else if ms < 999.5 {
        format!("{ms:.0} ms")
    } else if ms < 59_950.0 {
        format!("{:.1} s", ms / 1000.0)
    } else {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "`as` saturates, which is right here"
        )]
        age(ms as u64)
    }
}

/// The same of whole milliseconds.
pub(crate) fn took_ms(ms: u64) -> String {
    if ms == 0 {
        return "under 1 ms".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "shown with two digits")]
    took(ms as f64)
}

/// `12s`, `2m10s`, `3h12m`, `4d3h`: one word, for a column.
pub(crate) fn age(ms: u64) -> String {
    let seconds = ms / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{}s", seconds % 60),
        (0, _, _) => format!("{hours}h{minutes}m"),
        _ => format!("{days}d{hours}h"),
    }
}

/// `12.4M`: memory.
pub(crate) fn size(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["K", "M", "G", "T", "P"] {
        if value < 999.5 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" || value >= 99.95 { format!("{value:.0}{unit}") } else { format!("{value:.1}{unit}") }
}

/// `3 units`, `1 unit`.
pub(crate) fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// How a process ended.
pub(crate) fn ending(exit: &LastExit) -> String {
    let how = match (exit.code, &exit.signal) {
        (_, Some(signal)) => format!("killed by {signal}"),
        (Some(127), None) => "exited with status 127 (command not found)".to_owned(),
        (Some(126), None) => "exited with status 126 (cannot be executed)".to_owned(),
        (Some(code), None) => format!("exited with status {code}"),
        (None, None) => "ended, nobody knows how".to_owned(),
    };
    if exit.oom { format!("{how}, out of memory") } else { how }
}

/// The time of day in an RFC 3339 text, to the millisecond; what is no such text as it is.
pub(crate) fn clock(ts: &str) -> &str {
    let time = ts.get(11..).filter(|_| ts.as_bytes().get(10) == Some(&b'T')).unwrap_or(ts);
    time.get(..12).unwrap_or_else(|| time.trim_end_matches('Z'))
}

/// Date and time of day in an RFC 3339 text, to the second.
pub(crate) fn date(ts: &str) -> String {
    match (ts.get(..10), ts.get(11..19)) {
        (Some(day), Some(time)) => format!("{day} {time}"),
        _ => ts.to_owned(),
    }
}

/// Milliseconds from the RFC 3339 text `ts` to `now_ms`.
pub(crate) fn since(ts: &str, now_ms: i64) -> Option<u64> {
    let then: jiff::Timestamp = ts.parse().ok()?;
    u64::try_from(now_ms - then.as_millisecond()).ok()
}

/// Milliseconds from `now_ms` to the RFC 3339 text `ts`.
pub(crate) fn until(ts: &str, now_ms: i64) -> Option<u64> {
    let then: jiff::Timestamp = ts.parse().ok()?;
    u64::try_from(then.as_millisecond() - now_ms).ok()
}

/// A reason without the pause before the next try that was true when it was given, for where the rest of it is shown.
pub(crate) fn without_pause(why: &str) -> &str {
    why.split("; next try in ").next().unwrap_or(why)
}

/// `text` without what would move the cursor or ring the bell: what a unit says of itself is not to be trusted.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::age;
    use super::clock;
    use super::date;
    use super::since;
    use super::size;
    use super::took;

    #[test]
    fn times_are_short() {
        let all = [0.04, 9.0, 130.2, 999.4, 1234.0, 59_900.0, 130_000.0].map(took).join(" · ");
        assert_eq!(all, "0.0 ms · 9.0 ms · 130 ms · 999 ms · 1.2 s · 59.9 s · 2m10s");
        let all = [999, 12_000, 130_000, 11_520_000, 356_400_000].map(age).join(" ");
        assert_eq!(all, "0s 12s 2m10s 3h12m 4d3h");
    }

    #[test]
    fn sizes_have_three_digits() {
        let all = [0, 999, 1000, 13_000_000, 512 << 20, 3 << 30, u64::MAX].map(size).join(" ");
        assert_eq!(all, "0B 999B 1.0K 12.4M 512M 3.0G 16384P");
    }

    #[test]
    fn moments_are_read_as_they_are_written() {
        assert_eq!(clock("2026-01-02T03:04:05.678901Z"), "03:04:05.678");
        assert_eq!(clock("2026-01-02T03:04:05Z"), "03:04:05");
        assert_eq!(clock("yesterday"), "yesterday");
        assert_eq!(date("2026-01-02T03:04:05.678Z"), "2026-01-02 03:04:05");
        assert_eq!(since("1970-01-01T00:00:01Z", 3500), Some(2500));
        assert_eq!(since("1970-01-01T00:00:01Z", 0), None);
    }
}
