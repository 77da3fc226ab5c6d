//! What is to be done, as wishes in the imperative. Whoever gets them carries them out in order and decides nothing.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::lifecycle::event::{JobId, RunId, Whom};
use crate::lifecycle::state::{Health, Label};
use crate::units::name::UnitName;
use crate::units::spec::{Argv, Check, SignalName, UnitSpec};

/// One wish.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Make a process in the unit's context. Answered by `Spawned` or `SpawnFailed`, then `Exited`.
    Spawn {
        /// Known by this from here on; its tag.
        run: RunId,
        /// Whose context.
        unit: UnitName,
        /// What it is for.
        purpose: Purpose,
        /// What is executed.
        argv: Argv,
        /// Set over the unit's environment: `MAINPID`, `SERVICE_RESULT` ...
        extra_env: Vec<(String, String)>,
    },
    /// Send a signal, and CONT after it unless it is KILL, STOP, TSTP or CONT. Silent when there is no one left.
    Signal {
        /// To this run.
        run: RunId,
        /// What.
        signal: SignalName,
        /// Whom.
        whom: Whom,
    },
    /// SIGKILL. For the whole tree it is repeated until nothing is left, which `TreeGone` tells.
    Kill {
        /// This run.
        run: RunId,
        /// Whom.
        whom: Whom,
    },
    /// Kill nothing; answer `TreeGone` as soon as nothing of the run is left.
    AwaitTree {
        /// This run.
        run: RunId,
    },
    /// Ask a question over the network or the file system. Answered by `Passed` or `NotPassed`.
    /// Checks by `exec` do not come this way: they are a `Spawn`.
    Probe {
        /// Known by this.
        run: RunId,
        /// For whom.
        unit: UnitName,
        /// What.
        check: Check,
    },
    /// Nobody waits for this probe any longer.
    CancelProbe {
        /// Which.
        run: RunId,
    },
    /// Read the pid file of a forking unit. Answered by `MainFound` or `MainNotFound`.
    ReadPidFile {
        /// The run that is to have written it.
        run: RunId,
        /// Whose.
        unit: UnitName,
    },
    /// Measure the memory of the run's tree. Answered by `Measured`.
    Measure {
        /// Which.
        run: RunId,
    },
    /// The unit is seen to be different from before: log it, publish it, tell who listens.
    Report(Report),
    /// What has become of one unit of a job.
    Answer {
        /// Which.
        job: JobId,
        /// Of which unit.
        outcome: Outcome,
    },
    /// From here on the unit is as this says; it is one that was not there before, or it has another definition.
    Define {
        /// Its definition.
        spec: Arc<UnitSpec>,
    },
    /// The unit is no more, and nothing of it is left.
    Forget {
        /// Which.
        unit: UnitName,
    },
    /// Every unit of the job has had its answer.
    JobDone {
        /// Which.
        job: JobId,
    },
    /// Everything has ended: leave with this status. Nothing follows.
    End(End),
}

/// What a process of a unit is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Purpose {
    /// The unit itself.
    Main,
    /// `[hooks] pre_start`.
    PreStart,
    /// `[hooks] post_start`.
    PostStart,
    /// `[hooks] pre_stop`.
    PreStop,
    /// `[hooks] post_stop`.
    PostStop,
    /// `[stop] command`.
    StopCommand,
    /// `[reload] command`.
    ReloadCommand,
    /// `[reload] test`.
    Test,
    /// `[health] on_failure = "exec:..."`.
    Remedy,
    /// `[ready] exec`, `[health] exec`.
    Probe,
}

/// A change that can be seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// Whose.
    pub unit: UnitName,
    /// What it was.
    pub was: Label,
    /// What it is.
    pub label: Label,
    /// What its health was.
    pub health_was: Health,
    /// What its health is.
    pub health: Health,
    /// Its main run when it was last reported.
    pub run_was: Option<RunId>,
    /// Its main run.
    pub run: Option<RunId>,
    /// In words: "exited with code 1; restart 3 in 200ms".
    pub why: String,
}

/// The answer to a person, for one unit.
#[derive(Clone, Debug, PartialEq)]
pub struct Outcome {
    /// Which.
    pub unit: UnitName,
    /// It is as it was asked to be.
    pub ok: bool,
    /// In words, what came of it and, if it is not `ok`, what to do.
    pub why: String,
    /// What a failed test, hook or start has said last.
    pub said: String,
}

/// The end of svinit.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    /// For the container.
    pub status: u8,
    /// The last line: who took how long, who had to be killed, or what ended it.
    pub why: String,
}
