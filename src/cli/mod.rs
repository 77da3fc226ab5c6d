//! What a person types and reads.

pub mod exit;
mod render;
pub mod shims;
pub mod svctl;
pub mod svinit;
pub mod svmanager;
