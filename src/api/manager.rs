//! What the admin listener of `svmanager` says: `docs/manager-admin.md`.

use serde::{Deserialize, Serialize};

use crate::api::status::UnitStatus;

/// `GET /api/status`: the manager itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ManagerStatus {
    /// Of the running binary.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since it was started.
    pub uptime_ms: u64,
    /// This manager acts, and not another one that shares its directory.
    pub leader: bool,
    /// Half of everything is ill, so nothing is touched.
    pub frozen: bool,
    /// A person has paused recovery of all services for so much longer.
    pub paused_ms: Option<u64>,
    /// Of requests, by the first digit of their status.
    pub answers: Answers,
    /// How many services are in each state.
    pub services: States,
}

/// Answers by the first digit of their status.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Answers {
    /// The request ended without one.
    pub none: u64,
    /// 100 to 199: switched to another protocol.
    #[serde(rename = "1xx")]
    pub informed: u64,
    /// 200 to 299.
    #[serde(rename = "2xx")]
    pub succeeded: u64,
    /// 300 to 399.
    #[serde(rename = "3xx")]
    pub redirected: u64,
    /// 400 to 499.
    #[serde(rename = "4xx")]
    pub refused: u64,
    /// 500 to 599.
    #[serde(rename = "5xx")]
    pub failed: u64,
}

/// Services by their state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct States {
    /// Every instance is up.
    pub up: u64,
    /// Some are.
    pub degraded: u64,
    /// They are being repaired, and requests wait.
    pub away: u64,
    /// None is up.
    pub down: u64,
    /// Nothing is known yet.
    pub unknown: u64,
}

/// `GET /api/services`: one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ServiceStatus {
    /// Its name.
    pub service: String,
    /// `up` `degraded` `away` `down` `unknown`.
    pub state: String,
    /// Requests that wait now.
    pub parked: u64,
    /// It is being repaired, and its requests wait.
    pub away: bool,
    /// As the gateway takes them.
    pub instances: Vec<InstanceStatus>,
    /// Since the manager was started.
    pub requests: Requests,
    /// How its svinit is reached; `null`: it is not.
    pub control: Option<ControlStatus>,
    /// What recovery thinks of it; `null`: it cannot do anything about it.
    pub recovery: Option<RecoveryStatus>,
    /// Where svinit was asked.
    pub containers: Vec<ContainerStatus>,
}

/// One instance, as the gateway takes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InstanceStatus {
    /// Where it serves.
    pub address: String,
    /// Its container, if that is known.
    pub container: Option<String>,
    /// `unknown` `up` `ill` `gone`.
    pub standing: String,
    /// Why.
    pub why: String,
    /// Left out for a while for its answers.
    pub ejected: bool,
    /// It gets no new requests.
    pub draining: bool,
    /// Requests and upgraded connections at it now.
    pub in_flight: u64,
}

/// Requests, by how they ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Requests {
    /// All of them.
    pub total: u64,
    /// Answered with 500 to 599 by the service itself.
    pub errors: u64,
    /// Answered with an error of the gateway's own, because of the service.
    pub failed: u64,
    /// Tried again.
    pub retried: u64,
    /// Had to wait.
    pub parked: u64,
    /// Given up by the client.
    pub abandoned: u64,
}

/// How the svinit of a service is reached.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ControlStatus {
    /// `docker` `socket` `api`.
    pub driver: String,
    /// The unit that serves.
    pub unit: String,
}

/// What recovery thinks of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecoveryStatus {
    /// `at rest` `waiting` `confirming` `acting` `proving` `cooling` `quarantined`.
    pub phase: String,
    /// What keeps it from acting, if it would.
    pub held_by: Option<String>,
    /// A person has paused it for so much longer.
    pub paused_ms: Option<u64>,
    /// Actions that are left in this window.
    pub budget: u64,
    /// How each instance looks.
    pub signs: Vec<SignStatus>,
}

/// How one instance looks to recovery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SignStatus {
    /// Which.
    pub instance: String,
    /// `well` `ill` `coming` `down` `held` `unseen` `lost`.
    pub sign: String,
    /// Why; may be empty.
    pub why: String,
}

/// One place where a service runs, and what svinit says there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ContainerStatus {
    /// What requests about it name.
    pub id: String,
    /// For people.
    pub name: String,
    /// In the engine's word; `running` where no engine is asked.
    pub state: String,
    /// Where it can be connected to, as far as that is known.
    pub address: Option<String>,
    /// Why svinit could not be asked.
    pub error: Option<String>,
    /// All units there.
    pub units: Vec<UnitStatus>,
}

/// `GET /api/routes`: one route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RouteStatus {
    /// Host and path in one, `*` for every host.
    pub route: String,
    /// `null`: every host.
    pub host: Option<String>,
    /// Or what it begins with.
    pub path: String,
    /// This path and no other.
    pub exact: bool,
    /// What takes its place.
    pub rewrite: Option<String>,
    /// Who answers.
    pub service: String,
    /// Since the manager was started or the route came.
    pub requests: u64,
    /// Of those, answered with 500 and above.
    pub errors: u64,
    /// The last sixty seconds.
    pub minute: Minute,
}

/// Requests of the last sixty seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Minute {
    /// Requests a second.
    pub rate: f64,
    /// The share of errors, from 0 to 1; `null`: no request.
    pub errors: Option<f64>,
    /// Half of them took at most so long.
    pub p50_ms: Option<f64>,
    /// 90 of a hundred.
    pub p90_ms: Option<f64>,
    /// 99 of a hundred.
    pub p99_ms: Option<f64>,
    /// The longest.
    pub max_ms: Option<f64>,
}

/// `GET /api/why/SERVICE`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Why {
    /// Its name.
    pub service: String,
    /// As in [`ServiceStatus`].
    pub state: String,
    /// In words, in lines.
    pub text: String,
    /// The last decisions about it, the oldest first.
    pub notes: Vec<Note>,
}

/// A decision of recovery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Note {
    /// How long ago.
    pub ago_ms: u64,
    /// In a word.
    pub decision: String,
    /// In words.
    pub why: String,
}

/// `GET /api/events`: something has happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Event {
    /// Counts up from 1 in one life of the manager.
    pub id: u64,
    /// RFC 3339.
    pub ts: String,
    /// `unit` `instance` `recovery` `alert`.
    pub kind: String,
    /// About which service; `null`: all of them.
    pub service: Option<String>,
    /// About which of its instances; `null`: the service.
    pub subject: Option<String>,
    /// A state, or a decision in a word.
    pub state: String,
    /// In words.
    pub why: String,
}

/// What came of an action.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Action {
    /// With which service.
    pub service: String,
    /// Where.
    pub instance: String,
    /// With which unit.
    pub unit: String,
    /// `restart` `reload` `start` `stop`.
    pub action: String,
    /// It is as it was asked to be.
    pub ok: bool,
    /// State of the unit at the end, if svinit has said it.
    pub state: Option<String>,
    /// The main process before.
    pub old_pid: Option<i32>,
    /// The main process after.
    pub new_pid: Option<i32>,
    /// From the request to the end.
    pub took_ms: Option<f64>,
    /// In words.
    pub why: String,
}

/// The body of `POST .../pause`; all of it may be left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PauseRequest {
    /// How long: `30m`. An hour by default.
    #[serde(default, rename = "for")]
    pub length: Option<String>,
}

/// What came of `pause` and `resume`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Paused {
    /// Which; `null`: all of them.
    pub service: Option<String>,
    /// For how long; `null`: it is not.
    pub paused_ms: Option<u64>,
}

/// `GET /health`: the manager answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Liveness {
    /// `pass`.
    pub status: String,
}
