//! `GET /v1/logs`: lines, as JSON lines; the same form as `--log-format json` writes to stdout.

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct LogLine {
    /// RFC 3339 with microseconds.
    pub ts: String,
    /// Whose; `svinit` for its own.
    pub unit: String,
    /// The unit's main process at that time.
    pub pid: Option<i32>,
    /// `stdout`, `stderr`, or `svinit` for what it says about the unit.
    pub stream: String,
    /// Without its newline; bytes that are not UTF-8 are replaced.
    pub message: String,
}
