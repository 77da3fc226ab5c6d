//! Signals by name. The table is Linux's on x86-64 and arm64; real-time signals count from RTMIN = 34, as libc does.

use crate::units::spec::SignalName;
use crate::units::suggest::near;

/// Names without `SIG`, by number from 1 to 31.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// First real-time signal that programs may use: the C library keeps 32 and 33 for itself.
const RTMIN: i32 = 34;

/// Last real-time signal.
const RTMAX: i32 = 64;

/// The number of a signal named "TERM", "SIGTERM", "rtmin+3" or "15"; `None` when there is no such signal.
#[must_use]
pub fn number(name: &str) -> Option<i32> {
    let upper = name.to_ascii_uppercase();
    let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
    if let Ok(number) = bare.parse::<i32>() {
        return (1..=RTMAX).contains(&number).then_some(number);
    }
    if let Some(position) = NAMES.iter().position(|known| *known == bare) {
        return i32::try_from(position).ok().map(|position| position + 1);
    }
    match bare {
        "POLL" => Some(29),
        "IOT" => Some(6),
        "CLD" => Some(17),
        _ => real_time(bare),
    }
}

fn real_time(bare: &str) -> Option<i32> {
    let (base, offset, sign) = if let Some(rest) = bare.strip_prefix("RTMIN") {
        (RTMIN, rest.strip_prefix('+'), 1)
    } else {
        (RTMAX, bare.strip_prefix("RTMAX")?.strip_prefix('-'), -1)
    };
    let offset = match offset {
        // `parse` alone would take a sign.
        Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => digits.parse::<i32>().ok()?,
        Some(_) => return None,
        None if bare.len() == "RTMIN".len() => 0,
        None => return None,
    };
    let number = base + sign * offset;
    (offset >= 0 && (RTMIN..=RTMAX).contains(&number)).then_some(number)
}

/// The name of a signal without `SIG`; real-time ones are "RTMIN+n", what is no signal is its number.
#[must_use]
pub fn name(number: i32) -> String {
    match number {
        1..=31 => NAMES[usize::try_from(number - 1).unwrap_or(0)].to_owned(),
        RTMIN => "RTMIN".to_owned(),
        35..=RTMAX => format!("RTMIN+{}", number - RTMIN),
        _ => number.to_string(),
    }
}

impl SignalName {
    /// Reads `"SIGTERM"`, `"term"`, `"RTMIN+3"`, `"RTMAX-1"` or an alias; keeps the plain name.
    ///
    /// # Errors
    /// What to write instead, if that can be said.
    pub fn parse(text: &str) -> Result<Self, Option<String>> {
        let upper = text.to_ascii_uppercase();
        let bare = upper.strip_prefix("SIG").unwrap_or(&upper);
        if !bare.is_empty() && bare.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(Some("write its name: numbers differ between machines".to_owned()));
        }
        match number(bare) {
            Some(number) => Ok(Self(name(number))),
            None if bare.starts_with("RTM") => {
                let offset_max = RTMAX - RTMIN;
                Err(Some(format!(
                    "real-time signals are RTMIN to RTMIN+{offset_max} and RTMAX-{offset_max} to RTMAX"
                )))
            }
            None => {
                let words: Vec<_> = near(bare, NAMES).iter().map(|known| format!("\"SIG{known}\"")).collect();
                Err((!words.is_empty()).then(|| format!("did you mean {}?", words.join(" or "))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_is_found_by_its_own_name() {
        for number_wanted in (1..=31).chain(RTMIN..=RTMAX) {
            assert_eq!(number(&name(number_wanted)), Some(number_wanted), "{}", name(number_wanted));
        }
    }

    #[test]
    fn names_are_taken_with_and_without_the_prefix_and_as_numbers() {
        assert_eq!(number("SIGTERM"), Some(15));
        assert_eq!(number("term"), Some(15));
        assert_eq!(number("15"), Some(15));
        assert_eq!(number("RTMIN+3"), Some(37));
        assert_eq!(number("SIGRTMAX-2"), Some(62));
    }

    #[test]
    fn what_is_no_signal_is_refused() {
        for text in
            ["", "SIG", "TERMM", "0", "65", "-1", "RTMIN+31", "RTMAX+1", "RTMIN-1", "RTMINX", "RTMIN+"]
        {
            assert_eq!(number(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_unit_file_names_signals_in_any_form_but_by_number() {
        for (text, name) in
            [("SIGTERM", "TERM"), ("usr1", "USR1"), ("SIGIOT", "ABRT"), ("SIGRTMIN+3", "RTMIN+3")]
        {
            assert_eq!(SignalName::parse(text).unwrap().0, name, "{text}");
        }
        assert_eq!(SignalName::parse("SIGTREM").unwrap_err().unwrap(), "did you mean \"SIGTERM\"?");
        assert!(SignalName::parse("15").unwrap_err().unwrap().contains("numbers differ"));
        for text in ["", "SIG", "RTMIN+99", "RTMIN-1", "RTMIN+", "RTMIN++1", "RTMINX"] {
            assert!(SignalName::parse(text).is_err(), "{text}");
        }
    }
}
