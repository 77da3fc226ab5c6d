//! What can be asked of svinit and how it answers: `POST /v1/jobs`, `/v1/update`, `/v1/scale`.
//!
//! The answer is a stream of JSON lines: `progress` for each change of a unit that the job is about, one `outcome` for
//! each unit, and `done`. With `"wait": false` only `accepted` comes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The body of `POST /v1/jobs`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct JobRequest {
    /// What is to be done.
    pub verb: Verb,
    /// Names, aliases, globs, or `all`. At least one.
    pub units: Vec<String>,
    /// For `signal`: name without `SIG`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// For `signal`: to every process of the unit, not the main one only.
    #[serde(default)]
    pub tree: bool,
    /// For `restart`: also the units that require these.
    #[serde(default)]
    pub with_dependants: bool,
    /// For `reload`: restart what cannot be reloaded.
    #[serde(default)]
    pub or_restart: bool,
    /// Answer when all is done, with progress; else as soon as it is accepted.
    #[serde(default = "yes")]
    pub wait: bool,
}

fn yes() -> bool {
    true
}

/// The body of `POST /v1/update`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct UpdateRequest {
    /// Names or aliases, also of units that are in the files only; none is all.
    #[serde(default)]
    pub units: Vec<String>,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Answer when all is done, with progress; else as soon as it is begun.
    #[serde(default = "yes")]
    pub wait: bool,
}

/// The body of `POST /v1/scale`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ScaleRequest {
    /// By group, how many instances there are to be: 1 to 100. At least one group.
    pub instances: BTreeMap<String, u32>,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Answer when all is done, with progress; else as soon as it is begun.
    #[serde(default = "yes")]
    pub wait: bool,
}

/// What differs between the files and what is in force, in one unit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UnitDifference {
    /// Its name.
    pub unit: String,
    /// `added`, `removed` or `changed`.
    pub what: String,
    /// What follows: `start`, `stop`, `restart`, `at once`, `next start`, `next start of svinit` or, for what is added and
    /// not enabled, `nothing`.
    pub follows: String,
    /// Of `changed`: what differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyDifference>,
}

/// Another value of one key. Of secrets there is only the path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KeyDifference {
    /// With its table: `stop.timeout`.
    pub key: String,
    /// As TOML; `null`: it was not set.
    pub old: Option<String>,
    /// As TOML; `null`: it is not set.
    pub new: Option<String>,
    /// When it is in force: `restart`, `at once`, `next start`, `next start of svinit`.
    pub in_force: String,
}

/// What is to be done with the units.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verb {
    /// With what they require and want.
    Start,
    /// With what requires them.
    Stop,
    /// One by one where they depend on each other.
    Restart,
    /// Read the configuration again.
    Reload,
    /// Send a signal.
    Signal,
    /// Forget restarts and failures.
    Reset,
    /// Leave alone: no checks, no automatic restarts.
    Pause,
    /// The end of `pause`.
    Resume,
}

/// One line of the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum JobLine {
    /// Of an update, first: all that differs. With `dry_run` only `done` follows.
    Plan {
        /// By unit.
        units: Vec<UnitDifference>,
        /// What looks wrong in the files, but stops nothing.
        warnings: Vec<String>,
    },
    /// The job runs, for these units.
    Accepted {
        /// Its number.
        job: u64,
        /// Resolved names.
        units: Vec<String>,
    },
    /// A unit of the job has changed.
    Progress {
        /// Which.
        unit: String,
        /// Its state.
        state: String,
        /// Why.
        why: String,
    },
    /// The client was too slow; some `progress` is missing.
    Lagged {
        /// So many.
        missed: u64,
    },
    /// What came of one unit.
    Outcome(Outcome),
    /// There is nothing more to come.
    Done {
        /// Every unit was `ok`.
        ok: bool,
    },
}

/// What came of one unit, as `svctl restart --json` prints it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Outcome {
    /// Its name.
    pub unit: String,
    /// As it was asked to be.
    pub ok: bool,
    /// Its state at the end.
    pub state: String,
    /// The main process before.
    pub old_pid: Option<i32>,
    /// The main process after.
    pub new_pid: Option<i32>,
    /// From the request to the end.
    pub took_ms: f64,
    /// In words.
    pub why: String,
    /// Last words of a failed test, hook or start.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
}
