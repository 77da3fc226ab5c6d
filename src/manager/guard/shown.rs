//! What of an answer of the engine is shown: fields that are named here, and nothing else.
//!
//! An inspect of a container has its environment, its mounts and its command line; the command of an exec is in the event
//! that tells of it. None of that is anybody's business.

use serde_json::Map;
use serde_json::Value;

/// Of each container of a list.
const LISTED: &[&str] = &["Id", "Names", "State", "Status", "Created"];

/// Of the state of a container.
const STATE: &[&str] = &[
    "Status",
    "Running",
    "Paused",
    "Restarting",
    "OOMKilled",
    "Dead",
    "ExitCode",
    "StartedAt",
    "FinishedAt",
];

/// Labels that say what a container is.
const LABELS: &[&str] = &[
    "svinit.",
    "com.docker.compose.service",
    "com.docker.compose.project",
    "com.docker.compose.container-number",
];

/// What an event tells of a container beside its labels.
const ATTRIBUTES: &[&str] = &["name", "exitCode", "signal"];

/// The version, and nothing of what the engine is made of.
pub(super) fn version(value: &Value) -> Value {
    Value::Object(picked(value, &["ApiVersion", "MinAPIVersion", "Version"]))
}

/// A list of containers.
pub(super) fn list(value: &Value) -> Value {
    let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
    let one = |container: &Value| {
        let mut shown = picked(container, LISTED);
        shown.insert("Labels".to_owned(), labels(container.get("Labels")));
        shown.insert("NetworkSettings".to_owned(), networks(container.get("NetworkSettings")));
        Value::Object(shown)
    };
    Value::Array(all.iter().map(one).collect())
}

/// One container.
pub(super) fn container(value: &Value) -> Value {
    let mut shown = picked(value, &["Id", "Name", "Created", "RestartCount"]);
    let empty = Value::Null;
    let state = value.get("State").unwrap_or(&empty);
    let mut told = picked(state, STATE);
    if let Some(health) = state.get("Health") {
        told.insert("Health".to_owned(), Value::Object(picked(health, &["Status", "FailingStreak"])));
    }
    shown.insert("State".to_owned(), Value::Object(told));
    let mut config = Map::new();
    config.insert("Labels".to_owned(), labels(value.get("Config").and_then(|config| config.get("Labels"))));
    shown.insert("Config".to_owned(), Value::Object(config));
    shown.insert("NetworkSettings".to_owned(), networks(value.get("NetworkSettings")));
    Value::Object(shown)
}

/// The number of an exec.
pub(super) fn made(value: &Value) -> Value {
    Value::Object(picked(value, &["Id"]))
}

/// What became of an exec.
pub(super) fn exec(value: &Value) -> Value {
    Value::Object(picked(value, &["ID", "Running", "ExitCode", "ContainerID"]))
}

/// One event, if it is about a container. `exec_create: COMMAND` is told without its command.
pub(super) fn event(value: &Value) -> Option<Value> {
    if value.get("Type").and_then(Value::as_str) != Some("container") {
        return None;
    }
    let mut shown = picked(value, &["Type", "time", "timeNano"]);
    let action = value.get("Action").and_then(Value::as_str).unwrap_or_default();
    let action = match action.split_once(':') {
        // "health_status: healthy" is a word of the engine's own.
        Some((first, rest)) if first == "health_status" => format!("{first}:{rest}"),
        Some((first, _)) => first.to_owned(),
        None => action.to_owned(),
    };
    shown.insert("Action".to_owned(), Value::String(action));
    let empty = Value::Null;
    let actor = value.get("Actor").unwrap_or(&empty);
    let attributes = actor.get("Attributes");
    let mut told = labels(attributes).as_object().cloned().unwrap_or_default();
    told.extend(picked(attributes.unwrap_or(&empty), ATTRIBUTES));
    let mut who = picked(actor, &["ID"]);
    who.insert("Attributes".to_owned(), Value::Object(told));
    shown.insert("Actor".to_owned(), Value::Object(who));
    Some(Value::Object(shown))
}

/// Why it was refused.
pub(super) fn problem(value: &Value) -> Value {
    Value::Object(picked(value, &["message"]))
}

/// The label that lets a container be touched.
pub(super) fn is_managed(container: &Value) -> bool {
    let labels = container.get("Config").and_then(|config| config.get("Labels"));
    labels.and_then(|labels| labels.get("svinit.managed")).and_then(Value::as_str) == Some("true")
}

fn picked(value: &Value, names: &[&str]) -> Map<String, Value> {
    let of = |name: &&str| value.get(*name).map(|value| ((*name).to_owned(), value.clone()));
    names.iter().filter_map(of).collect()
}

fn labels(value: Option<&Value>) -> Value {
    let all = value.and_then(Value::as_object);
    let shown = all.into_iter().flatten().filter(|(name, _)| {
        LABELS.iter().any(|known| if known.ends_with('.') { name.starts_with(known) } else { name == known })
    });
    Value::Object(shown.map(|(name, value)| (name.clone(), value.clone())).collect())
}

fn networks(value: Option<&Value>) -> Value {
    let all = value.and_then(|settings| settings.get("Networks")).and_then(Value::as_object);
    let one = |(name, network): (&String, &Value)| {
        (name.clone(), Value::Object(picked(network, &["IPAddress", "GlobalIPv6Address"])))
    };
    let mut shown = Map::new();
    shown.insert("Networks".to_owned(), Value::Object(all.into_iter().flatten().map(one).collect()));
    Value::Object(shown)
}
