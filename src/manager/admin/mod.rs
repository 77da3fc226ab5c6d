//! The admin listener: what is, what happens, and what a person may do about it. `docs/manager-admin.md` is its description.
//!
//! Begin with [`routes`], the one table of what can be asked. `door` decides who may; `desk` is where handlers find everything.
//! It is a listener of its own, so that nothing that can be sent to the gateway's can reach it.

mod act;
mod desk;
mod door;
mod look;
mod metrics;
#[cfg(test)]
mod openapi;
mod refused;
mod routes;
pub mod server;
mod stream;
mod why;
