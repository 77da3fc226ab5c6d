//! Faults on purpose, for whoever may not name the floor that makes them.

pub use crate::os::crash::Fault;
