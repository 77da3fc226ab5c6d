//! `manager.toml`: its text in, a [`spec::Config`] or every problem out. Reads no file and no environment.

pub mod file;
pub mod kinds;
pub mod reading;
pub mod spec;
