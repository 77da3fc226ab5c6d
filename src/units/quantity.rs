//! Durations and sizes as people write them: `"250ms"`, `"1m30s"`, `"64M"`.
//!
//! A bare number is refused on purpose: nobody can tell whether `timeout = 30` meant seconds. Zero is zero in any unit,
//! so `"0"` is taken.

use std::time::Duration;

/// Units of time, in microseconds, the largest first.
const TIMES: [(&str, u64); 7] = [
    ("w", 604_800_000_000),
    ("d", 86_400_000_000),
    ("h", 3_600_000_000),
    ("m", 60_000_000),
    ("s", 1_000_000),
    ("ms", 1000),
    ("us", 1),
];

/// Units of size, in bytes, the largest first. As in Docker, K is 1024.
const SIZES: [(&str, u64); 4] = [("T", 1 << 40), ("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];

/// Reads `"250ms"`, `"1.5s"`, `"1m30s"`, `"0"`.
///
/// # Errors
/// Why it is no duration, if there is more to say than that.
pub fn parse_duration(text: &str) -> Result<Duration, Option<String>> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = 0_u64;
    let mut smaller_than = u64::MAX;
    if text.is_empty() {
        return Err(None);
    }
    while !rest.is_empty() {
        let (number, after) = split_number(rest);
        let (unit, after) =
            after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        let Some(&(_, factor)) = TIMES.iter().find(|(name, _)| *name == unit) else {
            return Err(unit_of_time(number, unit, after));
        };
        if factor >= smaller_than {
            return Err(Some("larger units come first, and each once".to_owned()));
        }
        smaller_than = factor;
        let part = times(number, factor).ok_or(None)?;
        total = total.checked_add(part).ok_or_else(|| Some("that is too long".to_owned()))?;
        rest = after;
    }
    Ok(Duration::from_micros(total))
}

fn unit_of_time(number: &str, unit: &str, after: &str) -> Option<String> {
    if number.is_empty() || !after.is_empty() && !after.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let units = "us, ms, s, m, h, d or w";
    Some(match unit {
        "" => format!("after the number comes its unit: {units}"),
        unit => format!("the units of time are {units}, not \"{unit}\""),
    })
}

/// `duration` so that [`parse_duration`] reads it again: `1m30s`, `9.5s`, `250ms`, `0s`.
#[must_use]
pub fn print_duration(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    if left == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    // Weeks are read but not printed: "7d" is what people write.
    for (unit, factor) in &TIMES[1..] {
        let count = left / factor;
        left %= factor;
        if *unit == "s" && count > 0 && left > 0 {
            let part = format!("{left:06}");
            out.push_str(&format!("{count}.{}s", part.trim_end_matches('0')));
            break;
        }
        if count > 0 {
            out.push_str(&format!("{count}{unit}"));
        }
    }
    out
}

/// Reads `"64M"`, `"1.5G"`, `"10KB"`, `"512B"`, `"0"`.
///
/// # Errors
/// Why it is no size, if there is more to say than that.
pub fn parse_size(text: &str) -> Result<u64, Option<String>> {
    if text == "0" {
        return Ok(0);
    }
    let (number, unit) = split_number(text);
    if number.is_empty() {
        return Err(None);
    }
    let upper = unit.to_ascii_uppercase();
    let factor = match upper.as_str() {
        "" => return Err(Some("after the number comes its unit: B, K, M, G or T".to_owned())),
        "B" => 1,
        other => {
            let short = other.strip_suffix("IB").or_else(|| other.strip_suffix('B')).unwrap_or(other);
            let known = SIZES.iter().find(|(name, _)| *name == short);
            known.ok_or_else(|| Some("the units of size are B, K, M, G and T".to_owned()))?.1
        }
    };
    times(number, factor).ok_or_else(|| Some("that is too much, or no number".to_owned()))
}

/// `size` so that [`parse_size`] reads it again.
#[must_use]
pub fn print_size(size: u64) -> String {
    if size == 0 {
        return "0".to_owned();
    }
    let exact = SIZES.iter().find(|(_, factor)| size.is_multiple_of(*factor));
    exact.map_or_else(|| format!("{size}B"), |(unit, factor)| format!("{}{unit}", size / factor))
}

fn split_number(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len()))
}

/// `number`, which may have a decimal point, times `factor`; `None` when it is no number or too large.
fn times(number: &str, factor: u64) -> Option<u64> {
    let (whole, part) = number.split_once('.').map_or((number, None), |(whole, part)| (whole, Some(part)));
    let whole: u64 = whole.parse().ok()?;
    let whole = whole.checked_mul(factor)?;
    let Some(part) = part else { return Some(whole) };
    if part.is_empty() || part.len() > 9 {
        return None;
    }
    let digits = u128::from(part.parse::<u64>().ok()?);
    let scale = 10_u128.pow(u32::try_from(part.len()).ok()?);
    whole.checked_add(u64::try_from(digits * u128::from(factor) / scale).ok()?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::{parse_duration, parse_size, print_duration, print_size};

    #[test]
    fn durations_are_read() {
        for (text, micros) in [
            ("250ms", 250_000),
            ("10s", 10_000_000),
            ("1m30s", 90_000_000),
            ("9.5s", 9_500_000),
            ("0", 0),
            ("0s", 0),
            ("7d", 604_800_000_000),
            ("1w", 604_800_000_000),
            ("5us", 5),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_micros(micros)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in
            ["", "s", "10", "10 s", "-1s", "1s1m", "1s2s", ".s", "1.s", "1e3s", "10S", "99999999999999999w"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
        assert_eq!(
            parse_duration("10sec").unwrap_err().unwrap(),
            "the units of time are us, ms, s, m, h, d or w, not \"sec\""
        );
    }

    #[test]
    fn sizes_are_read() {
        for (text, bytes) in
            [("64M", 64 << 20), ("1.5k", 1536), ("10KiB", 10 << 10), ("2GB", 2 << 30), ("7B", 7), ("0", 0)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "M", "64", "64X", "-1M", "1..5M", "99999999T", "64 M"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(micros in 0..u64::MAX, size in 0..u64::MAX) {
            let duration = Duration::from_micros(micros);
            prop_assert_eq!(parse_duration(&print_duration(duration)), Ok(duration));
            let short = Duration::from_micros(micros % 100_000_000);
            prop_assert_eq!(parse_duration(&print_duration(short)), Ok(short));
            prop_assert_eq!(parse_size(&print_size(size)), Ok(size));
        }

        #[test]
        fn nothing_makes_it_panic(text in r"[0-9.a-zA-Z\PC]{0,30}") {
            let _ = parse_duration(&text);
            let _ = parse_size(&text);
        }
    }
}
