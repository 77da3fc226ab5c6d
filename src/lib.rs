//! svinit: PID 1 for containers, in one static binary.
//!
//! Read this first, then [`lifecycle`], then `runtime::driver`.
//!
//! | floor | what it is for | what is absent |
//! |---|---|---|
//! | [`units`] | what the user wrote: texts in, a validated set or every problem out | files, environment |
//! | [`api`] | the words on the wire | logic |
//! | [`lifecycle`] | what happens to units: a state machine | clock, I/O, randomness, logging |
//! | [`os`] | every system call that tokio does not make for us; the only `unsafe` | decisions |
//! | [`net`] | names to addresses without libc, and one small HTTP reader | policy |
//! | [`logs`] | from a pipe to lines, memory, files and stdout | any unit's state |
//! | [`runtime`] | the one loop: events in, actions out, probes, usage | policy |
//! | [`client`] | HTTP over the control socket | a runtime: it blocks |
//! | [`control`] | the control socket's server | |
//! | [`http`] | the public listener: health and metrics | any way to send a command |
//! | [`manager`] | the gateway: requests to services, parked while one is repaired; its recovery and its admin listener | supervision of processes |
//! | [`cli`] | what a person types and reads | |
//!
//! A floor names only floors above it in this table; `tests/tidy.rs` holds them to it.

pub mod api;
pub mod cli;
pub mod client;
pub mod control;
pub mod http;
pub mod lifecycle;
pub mod logs;
pub mod manager;
pub mod net;
pub mod os;
pub mod runtime;
pub mod units;
