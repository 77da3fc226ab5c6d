//! The control socket's server: HTTP/1.1 and JSON for who may command, see docs/api.md.
//!
//! Read `routes` first: it is the table of all that can be asked. Handlers are thin; what may be done is decided by the
//! machine, who may ask is decided by `peer`, and `convert` turns inner types into those on the wire.

pub(crate) mod convert;
pub(crate) mod events;
pub(crate) mod jobs;
pub(crate) mod logs;
pub(crate) mod names;
#[cfg(test)]
mod openapi;
pub mod peer;
pub(crate) mod refusal;
pub mod remote;
pub mod routes;
pub(crate) mod samples;
pub mod server;
pub(crate) mod stream;
pub(crate) mod supervisor;
pub(crate) mod units;
mod update;
mod upgrade;
