//! The real executable, on real processes. One binary of modules, so that it is linked once.
//!
//! `fixture` starts svinit on a directory of its own; tests wait for events by their names, never for time.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test that cannot go on says so by failing")]

mod binary;
mod bombs;
mod boot;
mod canary;
mod carried;
mod clock;
mod context;
mod control_load;
mod crash;
mod crowd;
mod descriptors;
mod documents;
mod escapees;
mod fixture;
mod held_sockets;
mod instances;
mod intruders;
mod keeping;
mod kernel;
mod listener;
mod log_files;
mod main_job;
mod memory;
mod metrics;
mod notify;
mod observer;
mod output;
mod parents;
mod pid1;
mod pid_files;
mod pid_reuse;
mod posture;
mod privileges;
mod remote;
mod schedule;
mod shims;
mod signals;
mod socket;
mod speaking;
mod stack;
mod statuses;
mod stop;
mod storms;
mod stuck;
mod surroundings;
mod svctl;
#[cfg(target_arch = "x86_64")]
mod sweep;
mod terminal;
mod update;
mod upgrade;
