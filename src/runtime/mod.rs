//! The one loop: facts in, wishes out, and what carries them out. No policy.
//!
//! Start with [`driver`] (the loop), then `perform` (what becomes of each wish) and [`hands`] (with what).

mod arming;
pub mod boot;
pub mod clients;
mod closing;
pub mod command;
pub mod disk;
pub mod driver;
pub mod environment;
pub mod fault;
pub mod handle;
pub mod handover;
pub mod hands;
mod held;
mod jobs;
mod kept;
mod ledger;
pub mod load;
pub mod obstacles;
mod perform;
mod pid_file;
pub mod prepare;
pub mod probe;
mod reaping;
mod reconciling;
pub mod rehearsal;
mod runs;
pub mod safe;
mod saved;
mod schedule;
pub mod signals;
mod signs;
mod spawning;
mod unknown;
pub mod update;
pub mod upgrade;
mod usage;
pub mod words;
#[cfg(test)]
pub(crate) mod world;
