//! What the engine answers, as much of it as is read.

use std::collections::BTreeMap;

use serde::Deserialize;

/// `GET /version`.
#[derive(Clone, Debug, Deserialize)]
pub struct Version {
    /// The newest it speaks.
    #[serde(rename = "ApiVersion")]
    pub api: String,
    /// The oldest.
    #[serde(rename = "MinAPIVersion", default)]
    pub least: Option<String>,
}

/// One of `GET /containers/json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Listed {
    /// Its number.
    pub id: String,
    /// Its names, each with a slash before it.
    #[serde(default)]
    pub names: Vec<String>,
    /// `running`, `paused`, `exited` ...
    #[serde(default)]
    pub state: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its addresses.
    #[serde(default)]
    pub network_settings: Networks,
}

/// `GET /containers/{id}/json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// Its number.
    pub id: String,
    /// Its name, with a slash before it.
    #[serde(default)]
    pub name: String,
    /// How it is.
    pub state: State,
    /// What it was made from.
    #[serde(default)]
    pub config: Config,
    /// Its addresses.
    #[serde(default)]
    pub network_settings: Networks,
}

/// How a container is.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct State {
    /// In a word.
    pub status: String,
    /// It has processes.
    pub running: bool,
    /// They are halted.
    pub paused: bool,
    /// The engine starts it again.
    pub restarting: bool,
    /// For want of memory.
    #[serde(rename = "OOMKilled")]
    pub oom_killed: bool,
    /// RFC 3339.
    pub started_at: String,
}

/// What a container was made from.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// Its labels.
    pub labels: Option<BTreeMap<String, String>>,
}

/// Addresses by network.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Networks {
    /// By the network's name.
    pub networks: BTreeMap<String, Network>,
}

/// One address.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Network {
    /// Empty while it does not run.
    #[serde(rename = "IPAddress")]
    pub address: String,
}

/// `POST /containers/{id}/exec`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Made {
    /// Of the exec.
    pub id: String,
}

/// `GET /exec/{id}/json`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ExecState {
    /// `None` while it runs.
    pub exit_code: Option<i64>,
}

/// An answer of failure.
#[derive(Clone, Debug, Deserialize)]
pub struct Problem {
    /// In words.
    pub message: String,
}

/// One line of `GET /events`.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Happening {
    /// `die`, `start`, `oom`, `pause` ...; an exec has its command behind a colon.
    #[serde(default)]
    pub action: String,
    /// To whom.
    #[serde(default)]
    pub actor: Actor,
}

/// Whom an event is about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Actor {
    /// Its number.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its labels and more.
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}
