//! The images and the systems of compose/, on a real Docker engine: built, brought up, broken, and healed.
//!
//! What needs an engine says `skipped: WHY` where there is none, which is a failure in CI. Systems run one after the other.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that cannot go on says so by failing"
)]

#[path = "../manager/browser.rs"]
mod browser;
mod cluster;
mod conventions;
mod dashboards;
mod demo;
mod engine;
mod flask;
#[path = "../manager/fixture.rs"]
mod gateway;
mod healing;
mod hot_reload;
mod images;
mod interrupted;
mod items;
mod manager;
mod monolith;
mod mysql_check;
mod nginx;
mod numbers;
mod patroni;
mod postgres;
mod postures;
mod redis;
mod swarm;
mod three_tier;
mod two_tier;
