//! What the user wrote: texts in, a validated [`spec::UnitSet`] or every problem out.
//!
//! Reads no file and no environment: both are handed in, so that a check in an editor, in CI and at boot see the same.
//! Begin with [`file`], where every key is described once, then [`reading`], which is the whole way from texts to units.

pub mod address;
mod build;
pub mod capability;
pub mod cron;
pub mod difference;
pub mod expand;
pub mod file;
pub mod graph;
pub mod instances;
mod links;
pub mod name;
pub mod overlay;
pub mod problem;
pub mod quantity;
pub mod reading;
pub mod schema;
pub mod show;
pub mod signal;
pub mod socket;
pub mod sockets;
pub mod source;
pub mod spec;
pub mod suggest;
pub mod table;
pub mod value;
pub mod words;
