//! Was a KILL the kernel's, for want of memory?
//!
//! Claims it only when a counter of our own control group, or of the unit's, has risen since it was last looked at.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::os::cgroup;
use crate::os::cgroup::{Cgroup, Places};

/// The files that are counted in are shorter.
const TEXT_MAX: usize = 1024;

/// Watches the counter of one control group. It is kept open: each end by KILL asks for it.
#[derive(Debug, Default)]
pub struct OomWatch {
    counter: Option<File>,
    last: u64,
}

impl OomWatch {
    /// Watches the group that svinit itself was started in: the container. Version 2 or 1; where neither tells, it
    /// never rises.
    #[must_use]
    pub fn container(places: &Places) -> Self {
        let files = [
            places.own_dir().map(|dir| dir.join("memory.events")),
            places.own_memory_dir().map(|dir| dir.join("memory.oom_control")),
        ];
        Self::at(files.into_iter().flatten().find_map(|file| open(&file)))
    }

    /// Watches the group of a unit.
    #[must_use]
    pub fn of(cgroup: &Cgroup) -> Self {
        Self::at(open(&cgroup.oom_file()))
    }

    fn at(counter: Option<File>) -> Self {
        let last = counter.as_ref().and_then(count).unwrap_or(0);
        Self { counter, last }
    }

    /// Whether there is a counter: without the memory controller a group has none.
    #[must_use]
    pub fn can_tell(&self) -> bool {
        self.counter.is_some()
    }

    /// Whether the kernel has killed for want of memory since the last call. To be asked when a process has ended by
    /// KILL that nobody here sent.
    pub fn has_risen(&mut self) -> bool {
        let Some(now) = self.counter.as_ref().and_then(count) else { return false };
        let has_risen = now > self.last;
        self.last = now;
        has_risen
    }
}

/// Only a file that counts.
fn open(path: &Path) -> Option<File> {
    File::open(path).ok().filter(|file| count(file).is_some())
}

/// Both versions have a line "oom_kill N"; before Linux 4.13 it is not there.
fn count(file: &File) -> Option<u64> {
    let mut text = [0; TEXT_MAX];
    let length = file.read_at(&mut text, 0).ok()?;
    cgroup::field(std::str::from_utf8(text.get(..length)?).ok()?, "oom_kill")
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
        let mut watch = OomWatch::at(open(&file));
        assert!(!watch.has_risen());
        write(3);
        assert!(watch.has_risen());
        assert!(!watch.has_risen());
        write(3);
        assert!(!watch.has_risen());
        assert!(!OomWatch::default().has_risen());
        assert!(!OomWatch::at(open(&dir.path().join("none"))).has_risen());
    }
}
