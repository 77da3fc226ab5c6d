//! The words on the wire, for the control socket and for whoever talks to it. No logic.
//!
//! Times are RFC 3339 in UTC with milliseconds; durations are whole milliseconds in fields that end in `_ms`;
//! sizes are bytes. A field that has no value is `null`, never absent, unless it says otherwise. Fields may be added.

pub mod command;
pub mod event;
pub mod health;
pub mod log;
pub mod manager;
pub mod openapi;
pub mod place;
pub mod status;
pub mod upgrade;
