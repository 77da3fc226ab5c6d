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

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, more: Self) {
        self.memory = self.memory.saturating_add(more.memory);
        self.cpu_us = self.cpu_us.saturating_add(more.cpu_us);
        self.tasks = self.tasks.saturating_add(more.tasks);
        self.fds = self.fds.saturating_add(more.fds);
    }
}
