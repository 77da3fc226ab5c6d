//! The real svmanager in front of small real services. One binary of modules, so that it is linked once.
//!
//! `fixture` starts the manager on a file of its own and gives services that count what reaches them; tests wait for events, never
//! for time. `MANAGER_BYTES=2147483648` makes the streams of `streams`, and
//! `MANAGER_REQUESTS=20000` the load of `load`, as long as the promise is.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so by failing")]

mod admin;
mod backend;
mod browser;
mod checks;
mod commands;
mod containers;
mod cors;
mod dashboard;
mod engine;
mod filter;
mod fixture;
mod headers;
mod health;
mod limits;
mod load;
mod pair;
mod parking;
mod reloading;
mod repair;
#[allow(
    dead_code,
    unreachable_pub,
    clippy::disallowed_methods,
    reason = "shared with other tests, which use other parts; it has clients and a clock of its own"
)]
#[path = "../proof/load.rs"]
mod rush;
mod streams;
mod supervised;
#[path = "../it/fixture.rs"]
mod supervisor;
mod upgrades;
