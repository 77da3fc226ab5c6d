//! Control groups v2, where a writable one was given to us.
//!
//! Four kinds of machine are met: version 1 only, version 2 without controllers, version 2 read-only (every ordinary
//! container), and a delegated version 2. Only in the last can limits be enforced, and only there are groups made: where
//! they could do nothing but keep processes together, tags do the same and cost nothing, while a group costs as much as
//! half a spawn to make and to remove. A group with controllers may have no processes beside its subgroups, so svinit
//! moves into a leaf of its own. It takes hold of a group only if nobody but it and its children is in there, or if it is PID 1.

use std::collections::BTreeMap;
use std::fs;
use std::fs::OpenOptions;
use std::io;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use serde::{Deserialize, Serialize};

use crate::lifecycle::event::Pid;
use crate::os::error::{Doing, Error, cause};
use crate::os::procfs;
use crate::os::sys;
use crate::os::usage::Usage;
use crate::units::name::UnitName;
use crate::units::spec::Limits;

/// Controllers that units are limited by.
const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// No file of a control group that is read here is longer, but the list of processes.
const TEXT_MAX: u64 = 1 << 20;

/// The group below [`Cgroups::base`] that svinit itself is in, where there are controllers.
const LEAF: &str = "supervisor";

/// Microseconds over which CPU time is dealt out.
const CPU_PERIOD: u64 = 100_000;

/// The place below which groups can be made: `OWN/svinit-PID`.
#[derive(Debug)]
pub struct Cgroups {
    base: PathBuf,
    controllers: Vec<String>,
    /// Groups in use: one a unit, so that the end of an old user does not remove what a new one is about to join.
    groups: Mutex<BTreeMap<UnitName, Weak<Cgroup>>>,
}

impl Cgroups {
    /// Takes hold of our own group, if it can be written to; moves svinit into a leaf of it where that brings
    /// controllers. `None` in ordinary containers. To be called before the first child is made.
    #[must_use]
    pub fn detect(places: &Places) -> Option<Self> {
        let own = places.own_dir()?;
        let listed = read(&own.join("cgroup.procs"))?;
        let members = procfs::parse_pids(listed.as_bytes());
        let pid = Pid(sys::own_pid());
        if !members.contains(&pid) {
            // Another part of the tree is mounted here than the one we are in.
            return None;
        }
        is_ours(&listed, pid).then(|| Self::take(&own, &members)).flatten()
    }

    fn take(own: &Path, members: &[Pid]) -> Option<Self> {
        let given = words(&own.join("cgroup.controllers"));
        let wanted: Vec<&str> =
            CONTROLLERS.into_iter().filter(|name| given.iter().any(|known| known == name)).collect();
        if wanted.is_empty() {
            return None;
        }
        let base = own.join(format!("svinit-{}", sys::own_pid()));
        make(&base).ok()?;
        let mut controllers = Vec::new();
        // The root of a whole machine may have processes beside its groups. It holds the kernel's own threads: some cannot
        // be moved, and those of real-time priority would keep the cpu controller from us.
        let is_root = !own.join("cgroup.type").exists();
        let moved = if is_root { &[Pid(sys::own_pid())][..] } else { members };
        if move_all(&base.join(LEAF), moved).is_ok() {
            for name in wanted {
                let both = [own, &base]
                    .into_iter()
                    .try_for_each(|dir| write(&dir.join("cgroup.subtree_control"), &format!("+{name}")));
                if both.is_ok() {
                    controllers.push(name.to_owned());
                }
            }
        }
        Some(Self { base, controllers, groups: Mutex::default() })
    }

    /// Whether `memory`, `cpu` or `pids` can be limited.
    #[must_use]
    pub fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|known| known == controller)
    }

    /// The group of a unit, made if it is not there, with these limits. What cannot be limited is told by
    /// [`crate::os::limits::unenforced`] and by [`Cgroup::limit`].
    ///
    /// # Errors
    /// It cannot be made; the unit can run without.
    pub fn of(&self, unit: &UnitName, limits: &Limits) -> Result<Arc<Cgroup>, Error> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cgroup) = groups.get(unit).and_then(Weak::upgrade) {
            let _told_by_unenforced = cgroup.limit(limits);
            return Ok(cgroup);
        }
        let path = self.base.join(format!("unit-{unit}"));
        make(&path).doing(|| format!("make the control group of {unit}"))?;
        let cgroup = Arc::new(Cgroup { path });
        let _told_by_unenforced = cgroup.limit(limits);
        groups.insert(unit.clone(), Arc::downgrade(&cgroup));
        Ok(cgroup)
    }
}

/// What is left to the next svinit, which finds itself where the one before has moved to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedCgroups {
    base: PathBuf,
    controllers: Vec<String>,
}

impl Cgroups {
    /// For the next svinit.
    #[must_use]
    pub fn save(&self) -> SavedCgroups {
        SavedCgroups { base: self.base.clone(), controllers: self.controllers.clone() }
    }

    /// From the svinit before.
    #[must_use]
    pub fn restore(saved: SavedCgroups) -> Self {
        Self { base: saved.base, controllers: saved.controllers, groups: Mutex::default() }
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        // A container ends with its PID 1. Whoever else gave us a group gets it back as it was: a group that gives
        // controllers to others cannot hold processes, so that comes first. What somebody is still in stays.
        if sys::own_pid() != 1
            && let Some(own) = self.base.parent()
        {
            for dir in [&self.base, own] {
                for name in &self.controllers {
                    let _ = write(&dir.join("cgroup.subtree_control"), &format!("-{name}"));
                }
            }
            let _ = write(&own.join("cgroup.procs"), &sys::own_pid().to_string());
        }
        let _ = fs::remove_dir(self.base.join(LEAF));
        let _ = fs::remove_dir(&self.base);
    }
}

/// The group of one unit: of all its runs. Removed when it is dropped, if it is empty by then.
#[derive(Debug)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Descriptor of its directory: a process is born into it, or writes to the `cgroup.procs` in it.
    ///
    /// # Errors
    /// It is gone.
    pub(super) fn dir_for_joining(&self) -> Result<OwnedFd, Error> {
        let dir =
            OpenOptions::new().read(true).custom_flags(libc::O_PATH | libc::O_DIRECTORY).open(&self.path);
        dir.map(OwnedFd::from).doing(|| format!("join the control group {}", self.path.display()))
    }

    /// Sets limits; what is not set any longer is lifted. What cannot be set comes back as sentences.
    #[must_use]
    pub fn limit(&self, limits: &Limits) -> Vec<String> {
        let number = |value: Option<u64>| value.map_or("max".to_owned(), |value| value.to_string());
        let quota = limits.cpu_percent.map(|percent| u64::from(percent) * CPU_PERIOD / 100);
        let files = [
            ("memory_max", "memory.max", number(limits.memory_max), limits.memory_max.is_some()),
            ("memory_high", "memory.high", number(limits.memory_high), limits.memory_high.is_some()),
            ("cpu", "cpu.max", format!("{} {CPU_PERIOD}", number(quota)), limits.cpu_percent.is_some()),
            ("pids", "pids.max", number(limits.pids.map(u64::from)), limits.pids.is_some()),
        ];
        let set = |(key, file, value, is_asked): (&str, &str, String, bool)| {
            let error = write(&self.path.join(file), &value).err()?;
            is_asked.then(|| format!("cannot enforce {key}: {}", cause(&error)))
        };
        files.into_iter().filter_map(set).collect()
    }

    /// Kills all of it, all runs of the unit together, at once. `false` before Linux 5.14.
    #[must_use]
    pub fn kill(&self) -> bool {
        write(&self.path.join("cgroup.kill"), "1").is_ok()
    }

    /// Something lives in it. `None`: cannot tell.
    #[must_use]
    pub fn populated(&self) -> Option<bool> {
        Some(field(&read(&self.path.join("cgroup.events"))?, "populated")? != 0)
    }

    /// Who is in it.
    #[must_use]
    pub fn members(&self) -> Vec<Pid> {
        members_of(&self.path)
    }

    /// How many of its processes the kernel has killed for want of memory.
    #[must_use]
    pub fn oom_kills(&self) -> u64 {
        read(&self.oom_file()).and_then(|text| field(&text, "oom_kill")).unwrap_or(0)
    }

    /// Where those are counted.
    pub(super) fn oom_file(&self) -> PathBuf {
        self.path.join("memory.events")
    }

    /// What it uses; `None` without a memory controller. Descriptors are not counted.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        let number = |file: &str| read(&self.path.join(file))?.trim().parse::<u64>().ok();
        let tasks = u32::try_from(self.members().len()).unwrap_or(u32::MAX);
        let cpu_us =
            read(&self.path.join("cpu.stat")).and_then(|text| field(&text, "usage_usec")).unwrap_or(0);
        Some(Usage { memory: number("memory.current")?, cpu_us, tasks, fds: 0 })
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // With somebody in it, it stays, and is found again at the next start of the unit.
        let _ = fs::remove_dir(&self.path);
    }
}

/// Where our own groups are, as it was when svinit started: what it was put into by whoever made the container.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Places {
    groups: String,
    mounts: String,
}

impl Places {
    /// Reads them. To be called before [`Cgroups::detect`], which moves svinit.
    #[must_use]
    pub fn read() -> Self {
        let text = |path| read(Path::new(path)).unwrap_or_default();
        Self { groups: text("/proc/self/cgroup"), mounts: text("/proc/self/mountinfo") }
    }

    /// What these texts of `/proc/PID/cgroup` and `/proc/PID/mountinfo` tell.
    #[must_use]
    pub fn of(groups: String, mounts: String) -> Self {
        Self { groups, mounts }
    }

    /// The directory of our own group in version 2, as it is mounted here.
    #[must_use]
    pub fn own_dir(&self) -> Option<PathBuf> {
        dir_in(&self.groups, &self.mounts, "0::", "cgroup2", "")
    }

    /// The directory of our own group in the hierarchy of the memory controller of version 1.
    #[must_use]
    pub fn own_memory_dir(&self) -> Option<PathBuf> {
        let line = self.groups.lines().find(|line| line.contains(":memory:"))?;
        let (start, _) = line.split_at(line.find(":memory:")? + ":memory:".len());
        dir_in(&self.groups, &self.mounts, start, "cgroup", "memory")
    }
}

/// Our path in a hierarchy, seen from where a part of it is mounted.
fn dir_in(groups: &str, mounts: &str, start: &str, kind: &str, option: &str) -> Option<PathBuf> {
    let own = groups.lines().find_map(|line| line.strip_prefix(start))?;
    let found = mounts.lines().filter_map(|line| mount(line, kind, option)).find_map(|(root, point)| {
        let rest = Path::new(own).strip_prefix(root).ok()?;
        Some(point.join(rest))
    });
    found.filter(|dir| !dir.components().any(|part| part.as_os_str() == ".."))
}

/// Root and mount point of a line of `mountinfo`, when it is of this kind.
fn mount<'a>(line: &'a str, kind: &str, option: &str) -> Option<(&'a str, PathBuf)> {
    let (before, after) = line.split_once(" - ")?;
    let mut after = after.split(' ');
    if after.next()? != kind {
        return None;
    }
    if !option.is_empty() && !after.nth(1)?.split(',').any(|found| found == option) {
        return None;
    }
    let mut fields = before.split(' ').skip(3);
    // Without a root our own path would stay absolute, and lead past the mount.
    let root = fields.next().filter(|root| root.starts_with('/'))?;
    Some((root, PathBuf::from(fields.next()?)))
}

fn move_all(leaf: &Path, members: &[Pid]) -> io::Result<()> {
    make(leaf)?;
    // One that has ended meanwhile need not be moved; one that stays makes the controllers fail, which is seen there.
    members.iter().try_for_each(|pid| match write(&leaf.join("cgroup.procs"), &pid.to_string()) {
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        moved => moved,
    })
}

fn make(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    // Not created: a file that is not there means that the kernel does not have it.
    OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
}

pub(super) fn read(path: &Path) -> Option<String> {
    String::from_utf8(procfs::read_up_to(path.to_str()?, TEXT_MAX)?).ok()
}

fn words(path: &Path) -> Vec<String> {
    read(path).map(|text| text.split_whitespace().map(str::to_owned).collect()).unwrap_or_default()
}

/// The number behind `key` in a file of lines "key number".
pub(super) fn field(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}

fn members_of(dir: &Path) -> Vec<Pid> {
    read(&dir.join("cgroup.procs")).map(|text| procfs::parse_pids(text.as_bytes())).unwrap_or_default()
}

/// Whether a group with these members, a number a line, is the container's whose PID 1 is `own`, or that of `own` alone.
/// A process of a PID namespace that is not below ours has no number that we could see, and is listed as 0: then the
/// group is not for us to divide, and a second PID 1 in it would take the groups of our units for its own.
fn is_ours(listed: &str, own: Pid) -> bool {
    let mut numbers = listed.lines().map(|line| line.trim().parse().unwrap_or(0));
    numbers.all(|number: i32| number == own.0 || (own.0 == 1 && number > 0))
}

#[cfg(test)]
mod tests;
