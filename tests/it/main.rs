//! The real executable, on real processes. One binary of modules, so that it is linked once.
//!
//! `fixture` starts svinit on a directory of its own; tests wait for events by their names, never for time.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so by failing")]

mod binary;
mod bombs;
mod boot;
mod canary;
mod context;
mod documents;
mod fixture;
mod intruders;
mod kernel;
mod listener;
mod main_job;
mod memory;
mod metrics;
mod pid1;
mod posture;
mod privileges;
mod signals;
mod socket;
mod stack;
mod stop;
mod svctl;
mod terminal;
