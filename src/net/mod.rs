//! Names to addresses without libc, and one small HTTP reader. Knows nothing of units.

pub mod http1;
pub mod resolve;
pub mod token;
