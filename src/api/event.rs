//! `GET /v1/events`: every change of a unit, as JSON lines or as server-sent events.

use serde::{Deserialize, Serialize};

/// One change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UnitEvent {
    /// Counts up from 1 and never repeats in one life of svinit; the SSE `id`.
    pub id: u64,
    /// RFC 3339.
    pub ts: String,
    /// Which unit.
    pub unit: String,
    /// What it was.
    pub was: String,
    /// What it is.
    pub state: String,
    /// `unknown` `pass` `fail`.
    pub health: String,
    /// Its main process.
    pub pid: Option<i32>,
    /// Why.
    pub why: String,
    /// Not a change: the state that the unit was in when the stream began. `id` is that of the latest change of all.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub initial: bool,
}

/// A line of a stream of events or log lines: the client was too slow, and some are missing here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Lagged {
    /// Always `true`.
    pub lagged: bool,
    /// So many.
    pub missed: u64,
}
