//! One line of output, as it is kept, streamed and written.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// One line of output, as it is kept and streamed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Microseconds since 1970, UTC.
    pub wall_us: i64,
    /// Whose; `svinit` for its own.
    pub unit: Arc<str>,
    /// The main process at that time.
    pub pid: Option<i32>,
    /// Where it came from.
    pub stream: Stream,
    /// Without its newline, as it came.
    pub text: Vec<u8>,
}

/// Where a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// svinit, about the unit.
    Svinit,
}
