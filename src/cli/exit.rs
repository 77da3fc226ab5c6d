//! Every exit status that is svinit's own, in one place.
//!
//! The supervisor also ends with statuses that are not its own: those of the essential unit or the command that ended
//! (128 and the signal's number, 126 and 127 as shells do). They come from the machine as `End::status` and pass
//! through [`Exit::Of`] untouched.

use std::process::ExitCode;

/// How a personality ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; for questions: yes.
    Done,
    /// It was tried and did not succeed.
    Failed,
    /// The command line makes no sense.
    Usage,
    /// `status UNIT`, `is-active`: a unit is not running. `health`: not well.
    NotRunning,
    /// No unit has this name.
    NoSuchUnit,
    /// The caller may not do this.
    NotPermitted,
    /// Nobody answers at the control socket.
    NoSupervisor,
    /// It did not come to pass within `--timeout`.
    TimedOut,
    /// Bad configuration (`EX_CONFIG` of sysexits.h): nothing was started.
    BadConfiguration,
    /// The program to be run is there but cannot be executed.
    CannotExecute,
    /// There is no such program.
    CommandNotFound,
    /// The status of something else, passed on as it is.
    Of(u8),
}

impl Exit {
    /// The number that the caller sees.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotRunning => 3,
            Self::NoSuchUnit => 4,
            Self::NotPermitted => 5,
            Self::NoSupervisor => 6,
            Self::TimedOut => 7,
            Self::BadConfiguration => 78,
            Self::CannotExecute => 126,
            Self::CommandNotFound => 127,
            Self::Of(code) => code,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn the_documented_statuses_have_their_documented_numbers() {
        let documented = [
            (Exit::Done, 0),
            (Exit::Failed, 1),
            (Exit::Usage, 2),
            (Exit::NotRunning, 3),
            (Exit::NoSuchUnit, 4),
            (Exit::NotPermitted, 5),
            (Exit::NoSupervisor, 6),
            (Exit::TimedOut, 7),
            (Exit::BadConfiguration, 78),
            (Exit::CannotExecute, 126),
            (Exit::CommandNotFound, 127),
            (Exit::Of(143), 143),
        ];
        for (exit, code) in documented {
            assert_eq!(exit.code(), code, "{exit:?}");
        }
    }
}
