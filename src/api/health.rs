//! `/health` in the `application/health+json` form (draft-inadarei-api-health-check).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::api::status::Schedule;

/// The body of `/health`, `/health/UNIT`, `/livez` and `/readyz`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HealthReport {
    /// `pass`, `warn` or `fail`; `fail` comes with status 503.
    pub status: String,
    /// Of svinit.
    pub version: String,
    /// In words, what is wrong first.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub output: String,
    /// By unit name; each has exactly one entry, a list by the draft's form.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub checks: BTreeMap<String, Vec<HealthCheck>>,
}

/// One unit in `/health`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct HealthCheck {
    /// Always `component`.
    pub component_type: String,
    /// `pass`, `warn` or `fail`.
    pub status: String,
    /// Its state, `ready` ...
    pub observed_value: String,
    /// In this state since; RFC 3339.
    pub time: String,
    /// Why, when it does not pass.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub output: String,
    /// Its runs, if it is run by the clock.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub schedule: Option<Schedule>,
}
