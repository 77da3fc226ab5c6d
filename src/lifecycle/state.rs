//! What others see of a unit: a label, a health, and the facts beside them. The machine's own states are in `unit`.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::lifecycle::event::{ExitStatus, Pid, RunId};
use crate::lifecycle::time::Time;
use crate::units::name::UnitName;

/// A unit's state as it is printed. One word each, part of the public interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Label {
    /// Not running and not to run.
    Inactive,
    /// To run, and waits for other units or for `wait_for`.
    Waiting,
    /// Its processes run, it is not ready yet.
    Starting,
    /// Up.
    Ready,
    /// Up, and reading its configuration again.
    Reloading,
    /// On its way down.
    Stopping,
    /// Ended unasked; will be started again after a pause.
    Backoff,
    /// Ended well and has nothing more to do.
    Completed,
    /// Ended for good, not well.
    Failed,
    /// Run by the clock, and between two runs.
    Scheduled,
}

impl Label {
    /// As printed and sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inactive => "inactive",
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Reloading => "reloading",
            Self::Stopping => "stopping",
            Self::Backoff => "backoff",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Scheduled => "scheduled",
        }
    }

    /// Up, or ended as it was meant to: what others may build on.
    #[must_use]
    pub const fn is_up(self) -> bool {
        matches!(self, Self::Ready | Self::Reloading | Self::Completed)
    }
}

/// What its health check says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Health {
    /// There is no check, or none has ended yet.
    #[default]
    Unknown,
    /// The last one passed.
    Pass,
    /// `retries` in a row did not.
    Fail,
}

impl Health {
    /// As printed and sent.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Pass => "pass",
            Self::Fail => "fail",
        }
    }
}

/// How and when the last main process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastExit {
    /// How.
    pub status: ExitStatus,
    /// For want of memory.
    pub oom: bool,
    /// When.
    pub at: Time,
}

/// A main process of a unit beside its own one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Aside {
    /// The run.
    pub run: Option<RunId>,
    /// The process.
    pub pid: Option<Pid>,
    /// Where it is: `Stopping` is an old one, everything else the one that is to take the unit over.
    pub label: Label,
}

/// How a run by the clock was, be it that its moment had come or that a person asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRun {
    /// When it began, with all that it had to wait for.
    pub began: Time,
    /// When nothing of it was left.
    pub ended: Time,
    /// It ended well.
    pub is_well: bool,
    /// How it ended, in words.
    pub why: String,
}

/// The runs of a unit with a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Timing {
    /// A moment has come, and its run begins then.
    pub delayed: Option<Time>,
    /// A moment has come whose run follows the present one.
    pub queued: bool,
    /// A run is under way since.
    pub began: Option<Time>,
    /// How the last one was.
    pub last: Option<LastRun>,
    /// Runs that have begun.
    pub runs: u64,
    /// Runs that have not ended well.
    pub failed: u64,
    /// Moments that have not become runs.
    pub skipped: u64,
}

/// Everything that may be shown about a unit, without its secrets.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitView {
    /// Its name.
    pub name: UnitName,
    /// For people.
    pub description: String,
    /// Its state.
    pub label: Label,
    /// Its health.
    pub health: Health,
    /// What the last health check said, when it did not pass.
    pub health_why: String,
    /// The run of its main process.
    pub run: Option<RunId>,
    /// Its main process.
    pub pid: Option<Pid>,
    /// In this state since.
    pub since: Time,
    /// The main process was started at.
    pub started: Option<Time>,
    /// Automatic restarts since a person last started it.
    pub restarts: u32,
    /// How its last main process ended.
    pub last_exit: Option<LastExit>,
    /// In words: why it is in its state.
    pub why: String,
    /// What it waits for or stands behind: names and words, for `svctl why`.
    pub waits_for: Vec<String>,
    /// `STATUS=` of its own.
    pub status_text: String,
    /// When it will be tried again.
    pub retry_at: Option<Time>,
    /// A person has stopped it.
    pub held: bool,
    /// A person has paused it.
    pub paused: bool,
    /// It is to run (enabled at boot, or started since).
    pub wanted: bool,
    /// From spawn to ready, last time.
    pub start_took: Option<Duration>,
    /// From the first step of stopping to the last, last time.
    pub stop_took: Option<Duration>,
    /// While it is replaced without a gap: the new one, and old ones that are on their way down.
    pub beside: Vec<Aside>,
    /// If it is run by the clock.
    pub schedule: Option<Timing>,
}

/// What svinit as a whole is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Enabled units are coming up for the first time.
    Booting,
    /// They have been up, completed or failed.
    Running,
    /// Everything is being stopped.
    Stopping,
}
