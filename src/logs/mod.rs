//! From a pipe to lines, memory, files and stdout. Knows no unit's state.
//!
//! ```text
//! pipes -> pump -+-> lines -> rate -> buffer (memory, a unit)
//!                |                 -> format -> queue -> writer thread -> stdout, stderr
//!                |                           -> queue -> writer thread -> file, rotate, gzip
//! own words -----+
//! ```
//!
//! The pump lives in the driver and never waits; the two threads of the writer do all that may. Between them are
//! queues with a bound a unit: when one is full, the pump stops reading that unit's pipes (the unit waits in its
//! write), or the oldest lines go and are counted, as the unit has chosen.

pub mod buffer;
pub mod file;
pub mod format;
pub mod gzip;
pub mod line;
pub mod lines;
pub mod own;
pub mod pump;
pub mod queue;
pub mod rate;
pub mod rotate;
pub mod writer;
