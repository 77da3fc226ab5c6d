//! `svmanager guard`: holds the Docker socket, and lets through only what recovery needs.
//!
//! Whoever can talk to the engine owns the host. So the manager, which faces the network, does not: it talks to the guard,
//! which has no network at all and answers eight calls.
//!
//! ```text
//!   clients ──> svmanager ──guard.sock──> guard ──docker.sock──> engine
//!               network, no engine        no network
//! ```
//!
//! [`rules`] decides, from the request alone: it takes a request apart into a [`rules::Call`] or refuses it. What is sent to
//! the engine is then written anew from that call, never passed on: the engine reads JSON keys in any letter case and takes
//! the last of two, and a filter that reads bytes as written would see another request than the engine. What comes back
//! is written anew as well ([`shown`]): no environment, no mounts, no command line of anybody.

pub mod rules;
pub mod server;
pub mod shown;

#[cfg(test)]
mod tests;
