//! What is done about services that are not well: a pure state machine, told facts and the time, which returns wishes.
//!
//! It reads no clock and does no I/O; deadlines are data that it is asked for. The same machine is driven by
//! [`crate::manager::repair`] and by a seeded simulator (`sim`), whose promises are the ones below.
//!
//! ```text
//!            ill                  grace over               still ill
//!   well ──────────> waiting ──────────────> confirming ─────────────┐
//!    ^ ^     well       │  it is down: at once                       v
//!    │ └────────────────┴────────────────────────────────────────> acting ──── done ───> proving ──well──> well
//!    │                                                     ^          │ failed              │ not in time
//!    │ well                                                │ next     v                     │
//!    ├──────────────────────────────────────────────────── cooling <─────────────────────────┘
//!    │                                                        │ no rung left, no budget left, or it flaps
//!    └──────────────────────────────── quarantined <──────────┘        (people are told; tried again much later)
//! ```
//!
//! Promises: never two instances of a service at once; never more than so many actions in so long; nothing is touched
//! that a person has stopped or paused, that waits for a service which is not well itself, or while half of everything
//! is ill; nobody acts who is not the leader; whoever is told to wait at the gate is let go again.

pub mod fact;
pub mod machine;
pub mod policy;
mod service;
pub mod tally;
mod told;

#[cfg(test)]
mod sim;
#[cfg(test)]
mod stories;
