//! A unit as `GET /v1/units` and `svctl status --json` show it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UnitStatus {
    /// Its name.
    pub unit: String,
    /// The group that it is an instance of.
    #[serde(default)]
    pub group: Option<String>,
    /// Its number there.
    #[serde(default)]
    pub instance: Option<u32>,
    /// For people; may be empty.
    pub description: String,
    /// `inactive` `waiting` `starting` `ready` `reloading` `stopping` `backoff` `completed` `failed` `scheduled`.
    pub state: String,
    /// `unknown` `pass` `fail`.
    pub health: String,
    /// What the last health check said, when it did not pass.
    pub health_why: Option<String>,
    /// The main process, if there is one.
    pub pid: Option<i32>,
    /// In this state since; RFC 3339.
    pub since: String,
    /// The same as an age, in milliseconds.
    pub since_ms: u64,
    /// Age of the main process, in milliseconds.
    pub uptime_ms: Option<u64>,
    /// Automatic restarts since a person last started it.
    pub restarts: u32,
    /// How the last main process ended.
    pub last_exit: Option<LastExit>,
    /// Why it is in its state, in words.
    pub why: String,
    /// What it waits for.
    pub waits_for: Vec<String>,
    /// What it says of itself (`STATUS=`).
    pub status_text: Option<String>,
    /// Milliseconds until it is tried again.
    pub retry_ms: Option<u64>,
    /// A person has stopped it: nothing starts it until asked to.
    pub held: bool,
    /// A person has paused it: no checks, no automatic restart.
    pub paused: bool,
    /// It is to run.
    pub wanted: bool,
    /// Share of one CPU since the last look, percent; `null` until there are two looks.
    pub cpu_percent: Option<f64>,
    /// CPU time of its processes that live, milliseconds.
    pub cpu_ms: Option<u64>,
    /// Memory of its whole tree, bytes.
    pub memory: Option<u64>,
    /// Its processes.
    pub tasks: Option<u32>,
    /// From spawn to ready, last time.
    pub start_took_ms: Option<u64>,
    /// From the first step of stopping to the last, last time.
    pub stop_took_ms: Option<u64>,
    /// Main processes beside its own one, while it is replaced without a gap.
    #[serde(default)]
    pub beside: Vec<Aside>,
    /// Further names.
    pub aliases: Vec<String>,
    /// Started at boot.
    pub enabled: bool,
    /// Its files are not what is in force: `svctl update --dry-run` says how they differ.
    #[serde(default)]
    pub changed_on_disk: bool,
    /// Addresses of the sockets that are held for it, by name; one for messages says so, as in `0.0.0.0:53 (UDP)`.
    #[serde(default)]
    pub sockets: BTreeMap<String, String>,
    /// If it is run by the clock.
    #[serde(default)]
    pub schedule: Option<Schedule>,
}

/// The runs of a unit with `[schedule]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Schedule {
    /// `0 3 * * * UTC`, `every 5m`.
    pub when: String,
    /// When its next moment comes, without the random delay; RFC 3339. `null` while it is stopped.
    pub next: Option<String>,
    /// A run is under way.
    pub running: bool,
    /// A moment has come whose run follows that one.
    pub queued: bool,
    /// A moment has come, and its random delay is over in so many milliseconds.
    pub delay_ms: Option<u64>,
    /// The last run that is over.
    pub last: Option<LastRun>,
    /// Runs that have begun, those included that a person has asked for. Counted since svinit was started.
    pub runs: u64,
    /// Runs that have not ended well.
    pub failed: u64,
    /// Moments that have not become runs.
    pub skipped: u64,
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LastRun {
    /// It ended well.
    pub ok: bool,
    /// When it began; RFC 3339.
    pub began: String,
    /// When nothing of it was left; RFC 3339.
    pub ended: String,
    /// The time between, in milliseconds.
    pub took_ms: u64,
    /// How it ended, in words.
    pub why: String,
}

/// A main process of a unit beside its own one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Aside {
    /// The process, if it is there already.
    pub pid: Option<i32>,
    /// `stopping`: it was the unit's own. Everything else: it is to be that, and comes up.
    pub state: String,
}

/// How a process ended: `{"code":1}` or `{"signal":"KILL"}`, and `"oom":true` when it was for want of memory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LastExit {
    /// What it returned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<u8>,
    /// What ended it, without `SIG`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub signal: Option<String>,
    /// For want of memory.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub oom: bool,
    /// When; RFC 3339.
    pub at: String,
}

/// svinit itself: `GET /v1/supervisor`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SupervisorStatus {
    /// Of the running binary.
    pub version: String,
    /// `booting` `running` `stopping`.
    pub phase: String,
    /// Its own, 1 in a container.
    pub pid: i32,
    /// Since it was started.
    pub uptime_ms: u64,
    /// Where the units came from.
    pub unit_paths: Vec<String>,
    /// Where `/health` is served; `null` when it is off.
    pub http: Option<String>,
    /// How processes are attributed: `cgroup` or `tag`.
    pub tracking: String,
    /// How often svinit has executed itself: upgrades in place.
    #[serde(default)]
    pub upgrades: u64,
    /// How long nobody listened the last time, in milliseconds.
    #[serde(default)]
    pub paused_ms: Option<f64>,
    /// The program on the disk is another than the one that runs: `svctl upgrade`.
    #[serde(default)]
    pub replaced: bool,
}

/// `GET /v1/units/NAME/definition`: the unit as it is in force, secrets by path only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Definition {
    /// Its name.
    pub unit: String,
    /// The files that made it, in the order they were laid over each other.
    pub files: Vec<String>,
    /// Their texts, each after its path.
    pub texts: Vec<String>,
    /// Every key with its effective value, as TOML.
    pub effective: String,
}

/// `GET /v1/units/NAME/environment`: what its next process starts with. Secrets are `***`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Environment {
    /// Its name.
    pub unit: String,
    /// By name.
    pub variables: BTreeMap<String, String>,
}

/// What every refused request is answered with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Refusal {
    /// One word: `no_such_unit` `not_permitted` `bad_request` `bad_configuration` `refused` `shutting_down` `not_found`.
    pub error: String,
    /// In words, with the remedy.
    pub message: String,
    /// Names that come near, for `no_such_unit`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub did_you_mean: Vec<String>,
}
