//! The gateway: one entry for requests to services in other containers, and the repair of those services.
//!
//! Begin with [`config::file`] (what a user writes) and [`gate`] (what the two halves know of each other: the gateway tells who is
//! well, recovery tells whose requests are to wait).

pub mod config;
pub mod gate;
pub mod path;
