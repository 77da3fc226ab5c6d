//! The public listener: health and metrics.
//!
//! It has a `Reader` only, so it *cannot* change anything, and it answers from what is on the board. `door` (how
//! connections are let in and bounded), `moment` and `report` serve the control socket as well.

pub(crate) mod door;
pub(crate) mod measured;
pub(crate) mod metrics;
pub(crate) mod moment;
pub(crate) mod report;
pub(crate) mod schedule;
pub mod server;
