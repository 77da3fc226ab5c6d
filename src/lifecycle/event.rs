//! What can happen, as facts in the past tense.
//!
//! Every fact about a process carries the [`RunId`] it was started under, never a bare PID or unit name: what arrives
//! late is then about a run that is over, and is dropped in one place.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::time::Time;
use crate::units::name::UnitName;
use crate::units::spec::SignalName;

/// One process that svinit started (main, hook, stop command, test) or one probe. Never reused, unlike a PID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub u64);

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// One command of a person, from the asking to the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct JobId(pub u64);

/// A process number. For people to read and for the kernel; decisions go by [`RunId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pid(pub i32);

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// How a process ended, as `waitid` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It returned this.
    Code(u8),
    /// This signal ended it; `core` when it left a core dump.
    Signal {
        /// 1 to 64.
        number: i32,
        /// A core was dumped.
        core: bool,
    },
}

impl ExitStatus {
    /// The status a shell would show: the code, or 128 and the signal's number.
    #[must_use]
    pub fn shell_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal { number, .. } => u8::try_from(128 + number).unwrap_or(255),
        }
    }
}

/// Why a process could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpawnFailure {
    /// What kind of trouble it is.
    pub cause: SpawnCause,
    /// In words, "cannot DO: CAUSE".
    pub why: String,
}

/// The kinds of trouble that differ in what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SpawnCause {
    /// No such program: shell status 127.
    Missing,
    /// It is there but cannot be executed: shell status 126.
    NotExecutable,
    /// The machine had no room (`EAGAIN`, `ENOMEM`, `EMFILE`): will pass, and is not the unit's fault.
    NoResources,
    /// User, directory, limits, secret, capability ...: the context could not be made. Shell status 1.
    Context,
}

/// What a unit's own processes can say about themselves (`sd_notify`, s6 descriptor, a line of output).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sign {
    /// `READY=1`, a newline on the readiness descriptor, or a matching line.
    Ready,
    /// `RELOADING=1`, and since when by `MONOTONIC_USEC`, if it says so.
    Reloading(Option<Time>),
    /// `STOPPING=1`.
    Stopping,
    /// `STATUS=`: one line for people.
    Status(String),
    /// `MAINPID=`: checked to be a process of this run.
    MainPid(Pid),
    /// `WATCHDOG=1`: it has not hung.
    Alive,
    /// `WATCHDOG=trigger`: it knows by itself that it has.
    Hung,
    /// `WATCHDOG_USEC=`: from now on it says that it is alive at least so often.
    AliveEvery(Duration),
    /// `EXTEND_TIMEOUT_USEC=`: its start, stop or reload may take so long from now.
    MoreTime(Duration),
    /// `ERRNO=` and `EXIT_STATUS=`: why it is about to end, in words.
    Reason(String),
}

/// One thing that has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Event {
    /// Time has passed; see `Supervisor::next_deadline`.
    Tick,
    /// Exec has succeeded.
    Spawned {
        /// Of this run.
        run: RunId,
        /// The process.
        pid: Pid,
    },
    /// There is no process, and there was none.
    SpawnFailed {
        /// Of this run.
        run: RunId,
        /// Why.
        failure: SpawnFailure,
    },
    /// The run's first process (or the one its pid file named) has ended. Others of its tree may still be there.
    Exited {
        /// Of this run.
        run: RunId,
        /// How.
        status: ExitStatus,
        /// The kernel killed it for want of memory.
        oom: bool,
        /// The last lines of what a hook, test or probe has said; empty for a main process, whose lines are in the log.
        said: String,
    },
    /// No process of the run is left. Follows `Action::Kill` with `Whom::Tree`, and `Action::AwaitTree`.
    TreeGone {
        /// Of this run.
        run: RunId,
    },
    /// A probe got the answer that it hoped for.
    Passed {
        /// The probe.
        run: RunId,
    },
    /// A probe did not.
    NotPassed {
        /// The probe.
        run: RunId,
        /// In words, "connection refused".
        why: String,
    },
    /// The pid file of a forking unit named this process of the run.
    MainFound {
        /// Of this run.
        run: RunId,
        /// The daemon.
        pid: Pid,
    },
    /// The pid file is not there yet, or does not name a process of the run.
    MainNotFound {
        /// Of this run.
        run: RunId,
        /// In words.
        why: String,
    },
    /// A process of this main run has said something about itself.
    Signed {
        /// The main run it belongs to.
        run: RunId,
        /// What.
        sign: Sign,
    },
    /// Memory of the whole tree, as asked for by `Action::Measure`.
    Measured {
        /// The main run.
        run: RunId,
        /// Bytes.
        memory: u64,
    },
    /// Moments of a unit's `[schedule]` have come.
    Due {
        /// Which.
        unit: UnitName,
        /// The last of them is now.
        is_on_time: bool,
        /// Others, which passed while nobody looked.
        missed: u32,
    },
    /// A person has asked for something. Answered by `Action::Answer` for each unit, then `Action::JobDone`.
    Asked {
        /// Chosen by the caller, never reused.
        job: JobId,
        /// What.
        command: Command,
    },
    /// TERM, INT, RTMIN+3 or `svctl shutdown`. A second one kills at once.
    ShutdownAsked {
        /// In words: "SIGTERM", "svctl shutdown".
        why: String,
    },
}

impl Event {
    /// The run that it is about; `None` for what concerns no single one.
    #[must_use]
    pub fn run(&self) -> Option<RunId> {
        match self {
            Self::Spawned { run, .. }
            | Self::SpawnFailed { run, .. }
            | Self::Exited { run, .. }
            | Self::TreeGone { run }
            | Self::Passed { run }
            | Self::NotPassed { run, .. }
            | Self::MainFound { run, .. }
            | Self::MainNotFound { run, .. }
            | Self::Signed { run, .. }
            | Self::Measured { run, .. } => Some(*run),
            Self::Tick | Self::Due { .. } | Self::Asked { .. } | Self::ShutdownAsked { .. } => None,
        }
    }
}

/// What a person may ask for. Names are those of units that exist; aliases and globs were resolved before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// With all they require and want.
    Start(Vec<UnitName>),
    /// With all that require them.
    Stop(Vec<UnitName>),
    /// Tested first where there is a test; a unit that is down is started.
    Restart {
        /// Which.
        units: Vec<UnitName>,
        /// And all that require them, or only them.
        reach: Reach,
    },
    /// As `[reload]` says.
    Reload {
        /// Which.
        units: Vec<UnitName>,
        /// What if one cannot be reloaded.
        otherwise: Otherwise,
    },
    /// To the main process, or to all of the unit.
    Signal {
        /// Which.
        units: Vec<UnitName>,
        /// What.
        signal: SignalName,
        /// Whom.
        whom: Whom,
    },
    /// Clears restart counts; a failed unit becomes inactive.
    Reset(Vec<UnitName>),
    /// No health checks and no automatic restart until `Resume`: a person is working on it.
    Pause(Vec<UnitName>),
    /// The end of `Pause`.
    Resume(Vec<UnitName>),
}

/// How far a restart reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reach {
    /// Surgical: the units named and what is `part_of` them.
    Alone,
    /// And every unit that requires them.
    WithDependants,
}

/// What `reload` does with a unit that has no `[reload]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Otherwise {
    /// Refuse, and name the way: never a silent restart.
    Refuse,
    /// Restart it.
    Restart,
}

/// Whom a signal is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Whom {
    /// The main process.
    Main,
    /// Every process of the run.
    Tree,
}
