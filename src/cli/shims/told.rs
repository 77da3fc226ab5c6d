//! A unit's state in the words of each tool.

use crate::api::status::UnitStatus;

/// A unit that has a main process which serves.
pub(super) fn is_up(unit: &UnitStatus) -> bool {
    matches!(unit.state.as_str(), "ready" | "reloading")
}

/// A unit that is to run and is on its way, or there.
pub(super) fn is_alive(unit: &UnitStatus) -> bool {
    matches!(unit.state.as_str(), "ready" | "reloading" | "starting" | "waiting" | "backoff")
}

/// As in `pm2 list`.
pub(super) fn pm2(state: &str) -> &'static str {
    match state {
        "ready" | "reloading" => "online",
        "starting" | "waiting" => "launching",
        "stopping" => "stopping",
        "backoff" => "waiting restart",
        "failed" => "errored",
        _ => "stopped",
    }
}

/// As in `supervisorctl status`.
pub(super) fn supervisor(state: &str) -> &'static str {
    match state {
        "ready" | "reloading" => "RUNNING",
        "starting" | "waiting" => "STARTING",
        "stopping" => "STOPPING",
        "backoff" => "BACKOFF",
        "failed" => "FATAL",
        "completed" | "scheduled" => "EXITED",
        _ => "STOPPED",
    }
}

/// `ActiveState` and `SubState` of systemd.
pub(super) fn systemd(state: &str) -> (&'static str, &'static str) {
    match state {
        "ready" => ("active", "running"),
        "completed" => ("active", "exited"),
        "scheduled" => ("active", "waiting"),
        "reloading" => ("reloading", "reload"),
        "starting" | "waiting" => ("activating", "start"),
        "backoff" => ("activating", "auto-restart"),
        "stopping" => ("deactivating", "stop-sigterm"),
        "failed" => ("failed", "failed"),
        _ => ("inactive", "dead"),
    }
}
