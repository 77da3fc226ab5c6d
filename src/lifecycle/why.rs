//! Words for what has happened to a process and for how long things take. Everything that `svctl why` says starts here.

use std::time::Duration;

use crate::lifecycle::event::ExitStatus;
use crate::units::signal;

/// "exited with code 1", "was killed by SIGKILL", "was killed by SIGKILL: out of memory".
pub(super) fn ended(status: ExitStatus, oom: bool) -> String {
    match status {
        ExitStatus::Code(code) => format!("exited with code {code}"),
        ExitStatus::Signal { number, .. } if oom => {
            format!("was killed by SIG{}: out of memory", signal::name(number))
        }
        ExitStatus::Signal { number, core: true } => {
            format!("was killed by SIG{} (core dumped)", signal::name(number))
        }
        ExitStatus::Signal { number, core: false } => format!("was killed by SIG{}", signal::name(number)),
    }
}

/// "250ms", "1.5s", "30s", "2m5s": short, and exact enough for a person.
pub(super) fn span(span: Duration) -> String {
    let ms = span.as_millis();
    match ms {
        0..1000 => format!("{ms}ms"),
        1000..60_000 if ms % 1000 < 100 => format!("{}s", ms / 1000),
        1000..60_000 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        _ if (ms / 1000).is_multiple_of(60) => format!("{}m", ms / 60_000),
        _ => format!("{}m{}s", ms / 60_000, ms / 1000 % 60),
    }
}

/// "a", "a and b", "a, b and c".
pub(super) fn list(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_as_people_write_them() {
        let of = |ms| span(Duration::from_millis(ms));
        assert_eq!(
            [of(0), of(250), of(1000), of(1550), of(30_000), of(60_000), of(125_000)],
            ["0ms", "250ms", "1s", "1.5s", "30s", "1m", "2m5s"]
        );
    }

    #[test]
    fn an_end_says_its_code_its_signal_and_whether_memory_was_the_reason() {
        let killed = ExitStatus::Signal { number: 9, core: false };
        assert_eq!(ended(ExitStatus::Code(3), false), "exited with code 3");
        assert_eq!(ended(killed, false), "was killed by SIGKILL");
        assert_eq!(ended(killed, true), "was killed by SIGKILL: out of memory");
        assert_eq!(
            ended(ExitStatus::Signal { number: 11, core: true }, false),
            "was killed by SIGSEGV (core dumped)"
        );
    }
}
