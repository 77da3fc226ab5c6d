//! What each signal to svinit means. Whoever catches them is `os::signals`; who acts on them is the driver.
//!
//! Any process in the container may send any signal to PID 1, so only the documented ones act, and all others are
//! counted and nothing else. The one exception is [`Role::Command`]: there svinit stands in front of one command and
//! hands it every signal that a person could have meant for it, as `tini` does.

/// What svinit is here for, which decides what a signal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Units: TERM is an order to svinit.
    Units,
    /// One COMMAND and no units: TERM is for the command.
    Command,
}

/// What is to be done about a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Children have ended.
    Reap,
    /// Stop everything; a second one kills.
    Shutdown,
    /// Hand it to the command in the foreground, if there is one.
    Forward,
    /// Open log files again.
    ReopenLogs,
    /// HUP: read the units again. That a terminal goes away must not take the services with it.
    HangUp,
    /// Go on as the program that is on the disk by now.
    Upgrade,
    /// None of ours: counted.
    Unknown,
}

/// The meaning of the signal of this name (without `SIG`).
#[must_use]
pub fn meaning(name: &str, role: Role) -> Meaning {
    match (name, role) {
        ("CHLD", _) => Meaning::Reap,
        // About svinit's own doings, never about the command.
        ("TTIN" | "TTOU" | "PIPE", Role::Command) => Meaning::Unknown,
        (_, Role::Command) | ("WINCH" | "TSTP" | "CONT" | "TTIN" | "TTOU", Role::Units) => Meaning::Forward,
        // RTMIN+3 is what container engines send to a systemd, PWR what init gets from a power failure.
        ("TERM" | "INT" | "QUIT" | "PWR" | "RTMIN+3", Role::Units) => Meaning::Shutdown,
        ("HUP", Role::Units) => Meaning::HangUp,
        ("USR1", Role::Units) => Meaning::ReopenLogs,
        ("USR2", Role::Units) => Meaning::Upgrade,
        (_, Role::Units) => Meaning::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::{Meaning, Role, meaning};

    #[test]
    fn documented_signals_act_on_svinit_when_it_has_units() {
        for name in ["TERM", "INT", "QUIT", "PWR", "RTMIN+3"] {
            assert_eq!(meaning(name, Role::Units), Meaning::Shutdown, "{name}");
        }
        assert_eq!(meaning("HUP", Role::Units), Meaning::HangUp);
        assert_eq!(meaning("USR1", Role::Units), Meaning::ReopenLogs);
        assert_eq!(meaning("USR2", Role::Units), Meaning::Upgrade);
        assert_eq!(meaning("WINCH", Role::Units), Meaning::Forward);
    }

    #[test]
    fn undocumented_signals_do_nothing() {
        for name in ["RTMIN", "RTMIN+4", "RTMAX", "ALRM", "VTALRM", "IO", "PIPE", ""] {
            assert_eq!(meaning(name, Role::Units), Meaning::Unknown, "{name}");
        }
    }

    #[test]
    fn a_lone_command_gets_what_a_person_could_have_meant_for_it() {
        for name in ["TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH", "CONT", "RTMIN+3"] {
            assert_eq!(meaning(name, Role::Command), Meaning::Forward, "{name}");
        }
        assert_eq!(meaning("CHLD", Role::Command), Meaning::Reap);
        assert_eq!(meaning("TTOU", Role::Command), Meaning::Unknown);
    }
}
