//! What a unit's processes use.

/// What a unit's tree uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// Bytes resident.
    pub memory: u64,
    /// CPU time of the processes that live, microseconds.
    pub cpu_us: u64,
    /// Processes.
    pub tasks: u32,
    /// Open descriptors.
    pub fds: u32,
}
