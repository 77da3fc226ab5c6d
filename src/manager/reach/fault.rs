//! Why a service could not be reached, or did not do what it was asked.
//!
//! Recovery decides by the kind: in a container that does not run nothing can be done, and why it does not run is asked of the
//! engine; a socket where nobody answers says nothing about the service behind it.

use std::fmt;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody answers where the engine or svinit should be.
    Unreachable(String),
    /// There is no such container.
    NoContainer(String),
    /// The container is paused: somebody has done that.
    Paused(String),
    /// The container does not run: it has ended, was stopped, or is being started.
    NotRunning(String),
    /// There is no `svctl` in the container, or it cannot be executed.
    NoSvctl(String),
    /// The unit is not there.
    NoUnit(String),
    /// Whoever was asked does not permit it.
    Denied(String),
    /// It was tried and did not succeed, in its own words.
    Failed(String),
    /// It took too long; nobody knows what became of it.
    Late(String),
    /// What came back makes no sense.
    Odd(String),
}

impl Fault {
    /// One word for metrics and the audit log.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::NoContainer(_) => "no-container",
            Self::Paused(_) => "paused",
            Self::NotRunning(_) => "not-running",
            Self::NoSvctl(_) => "no-svctl",
            Self::NoUnit(_) => "no-unit",
            Self::Denied(_) => "denied",
            Self::Failed(_) => "failed",
            Self::Late(_) => "late",
            Self::Odd(_) => "odd",
        }
    }

    /// Its container is halted. That says nothing about who has done it.
    #[must_use]
    pub const fn is_halted(&self) -> bool {
        matches!(self, Self::Paused(_) | Self::NotRunning(_))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why)
            | Self::NoContainer(why)
            | Self::Paused(why)
            | Self::NotRunning(why)
            | Self::NoSvctl(why)
            | Self::NoUnit(why)
            | Self::Denied(why)
            | Self::Failed(why)
            | Self::Late(why)
            | Self::Odd(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for Fault {}

/// A connection that did not work out.
pub(super) fn of_io(whom: &str, error: &std::io::Error) -> Fault {
    #[expect(clippy::wildcard_enum_match_arm, reason = "whatever else it is, nobody was reached")]
    match error.kind() {
        std::io::ErrorKind::TimedOut => Fault::Late(format!("{whom} did not answer in time")),
        std::io::ErrorKind::InvalidData => {
            Fault::Odd(format!("cannot understand the answer of {whom}: {error}"))
        }
        std::io::ErrorKind::PermissionDenied => {
            Fault::Denied(format!("cannot use {whom}: permission denied"))
        }
        _ => {
            let text = error.to_string();
            let plain = text.split(" (os error").next().unwrap_or(&text).to_lowercase();
            Fault::Unreachable(format!("cannot reach {whom}: {plain}"))
        }
    }
}
