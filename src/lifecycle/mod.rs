//! What happens to units: a state machine that is told facts and the time, and answers with wishes.
//!
//! Absent: the clock, I/O, randomness of its own, logging. Everything it decides can be decided again from the same
//! seed, which is how `sim` runs it through a hundred thousand bad days in two minutes.
//!
//! Read `event` and `action` first (all that goes in and comes out), then `unit` with its diagram, then `supervisor`. A unit
//! that is replaced without a gap is two for a while: `succession`. The instances of a group take turns: `roll`.
//! What is run by the clock has its moments in `schedule`.

pub mod action;
mod backoff;
mod chance;
mod errand;
pub mod event;
mod health;
mod job;
#[cfg(test)]
mod model;
mod order;
mod planted;
pub mod recovery;
mod roll;
mod running;
pub mod saved;
pub mod schedule;
#[cfg(test)]
mod sim;
mod start;
pub mod state;
mod stop;
#[cfg(test)]
mod stories;
mod succession;
pub mod supervisor;
pub mod time;
mod unit;
mod update;
pub mod verdict;
mod watchdog;
mod why;
