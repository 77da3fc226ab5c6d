//! Was a KILL the kernel's, for want of memory?
//!
//! Claims it only when a counter of our own control group, or of the unit's, has risen since it was last looked at.

use std::path::{Path, PathBuf};

use crate::os::cgroup;
use crate::os::cgroup::Cgroup;

/// Watches the counter of one control group.
#[derive(Debug, Default)]
pub struct OomWatch {
    counter: Option<PathBuf>,
    last: u64,
}

impl OomWatch {
    /// Watches the group that svinit itself was started in: the container. Version 2 or 1; where neither tells, it
    /// never rises. To be called before `Cgroups::detect`, which moves svinit.
    #[must_use]
    pub fn container() -> Self {
        let places = [
            cgroup::own_dir().map(|dir| dir.join("memory.events")),
            cgroup::own_memory_dir().map(|dir| dir.join("memory.oom_control")),
        ];
        Self::at(places.into_iter().flatten().find(|place| count(place).is_some()))
    }

    /// Watches the group of a unit.
    #[must_use]
    pub fn of(cgroup: &Cgroup) -> Self {
        Self::at(Some(cgroup.oom_file()))
    }

    fn at(counter: Option<PathBuf>) -> Self {
        let last = counter.as_deref().and_then(count).unwrap_or(0);
        Self { counter, last }
    }

    /// Whether the kernel has killed for want of memory since the last call. To be asked when a process has ended by
    /// KILL that nobody here sent.
    pub fn has_risen(&mut self) -> bool {
        let Some(now) = self.counter.as_deref().and_then(count) else { return false };
        let has_risen = now > self.last;
        self.last = now;
        has_risen
    }
}

/// Both versions have a line "oom_kill N"; before Linux 4.13 it is not there.
fn count(file: &Path) -> Option<u64> {
    cgroup::field(&cgroup::read(file)?, "oom_kill")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_counter_that_rose_is_an_out_of_memory_kill() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("memory.events");
        let write = |kills: u32| {
            std::fs::write(&file, format!("oom 9\noom_kill {kills}\noom_group_kill 0\n")).unwrap()
        };
        write(2);
        let mut watch = OomWatch::at(Some(file.clone()));
        assert!(!watch.has_risen());
        write(3);
        assert!(watch.has_risen());
        assert!(!watch.has_risen());
        std::fs::remove_file(&file).unwrap();
        assert!(!watch.has_risen());
        assert!(!OomWatch::default().has_risen());
    }
}
