//! Which processes belong to a run, and how all of them are signalled, measured and killed.
//!
//! A process belongs to a run when it carries its tag ([`crate::os::tag`]) or descends from one that does. All of them
//! descend from us, whatever they do: a double-forked daemon falls to us, its subreaper. So the children of ours that
//! carry the tag are the roots of all there is, and asking whether anything is left costs one short list. Children we
//! know ([`Trees::started`]) are not even looked at: their number cannot be reused before we reap them.
//!
//! A number read from `/proc` may be somebody else's a moment later. A signal therefore goes through a pidfd that is
//! opened first and checked to be the right process afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::sync::Arc;

use crate::lifecycle::event::{Pid, RunId};
use crate::os::cgroup::Cgroup;
use crate::os::pidfd::PidFd;
use crate::os::procfs;
use crate::os::sys;
use crate::os::tag;
use crate::os::usage::Usage;

/// Most processes that one call looks at or signals: a fork bomb is beaten over several calls, each of them short.
const MEMBERS_MAX: usize = 2000;

/// Rounds of stopping in one [`Trees::kill`]; what was stopped cannot fork, so few are needed.
const ROUNDS_MAX: usize = 6;

/// Ancestors that are asked for a tag, beyond which a process is nobody's.
const ANCESTORS_MAX: usize = 64;

/// Microseconds of a clock tick: the kernel counts 100 a second towards user space, on every machine.
const TICK_US: u64 = 10_000;

/// Knows which processes belong to which run.
#[derive(Debug)]
pub struct Trees {
    /// Children of ours that were not reaped, and what they are; adopted ones as far as they were met. What one is
    /// stays true: its number is not given away before we reap it.
    children: BTreeMap<Pid, Option<RunId>>,
    /// Where the kernel lists our children: a file for each thread of ours. Kept open, each crash reads them.
    lists: Option<Vec<File>>,
    /// First process of each run: its session has this number, also when it is gone itself.
    firsts: BTreeMap<RunId, Pid>,
    /// Control groups of runs that have one.
    cgroups: BTreeMap<RunId, Arc<Cgroup>>,
    own: Pid,
    has_proc: bool,
    can_tag: bool,
}

/// A process that a walk has met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Met {
    pid: Pid,
    /// With the number, names one process for ever.
    started: u64,
    /// Found by its tag or session, or by being a child of one that was.
    parent: Option<Pid>,
}

/// Holds on to one process.
struct Grip {
    pid: Pid,
    pidfd: Option<PidFd>,
}

impl Grip {
    fn signal(&self, signal: i32) -> std::io::Result<()> {
        match &self.pidfd {
            Some(pidfd) => pidfd.signal(signal),
            None => sys::kill(self.pid.0, signal),
        }
    }
}

impl Trees {
    /// Finds out how processes can be told apart here.
    #[must_use]
    pub fn detect() -> Self {
        Self {
            children: BTreeMap::new(),
            lists: None,
            firsts: BTreeMap::new(),
            cgroups: BTreeMap::new(),
            own: Pid(sys::own_pid()),
            has_proc: procfs::is_there(),
            can_tag: tag::is_possible(),
        }
    }

    /// What it goes by: "cgroup" while a run is in a control group of its unit, "tag", or "session" without `/proc` or
    /// without tags.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match (self.cgroups.is_empty(), self.has_proc && self.can_tag) {
            (false, _) => "cgroup",
            (true, true) => "tag",
            (true, false) => "session",
        }
    }

    /// `pid`, a child of ours, is the first process of `run`. To be told right after each launch.
    pub fn started(&mut self, run: RunId, pid: Pid, cgroup: Option<&Arc<Cgroup>>) {
        self.children.insert(pid, Some(run));
        self.firsts.insert(run, pid);
        if let Some(cgroup) = cgroup {
            self.cgroups.insert(run, Arc::clone(cgroup));
        }
    }

    /// The first process of each run, and whether the run is in a control group: for the next svinit.
    #[must_use]
    pub fn save(&self) -> Vec<(RunId, Pid, bool)> {
        self.firsts.iter().map(|(run, pid)| (*run, *pid, self.cgroups.contains_key(run))).collect()
    }

    /// The svinit before has told this. The process itself may be gone, and its number somebody else's.
    pub fn restore(&mut self, run: RunId, first: Pid, cgroup: Option<&Arc<Cgroup>>) {
        self.firsts.insert(run, first);
        if let Some(cgroup) = cgroup {
            self.cgroups.insert(run, Arc::clone(cgroup));
        }
    }

    /// `pid`, a child of ours that was not reaped, is of `run`.
    pub fn knows(&mut self, run: RunId, pid: Pid) {
        self.children.insert(pid, Some(run));
    }

    /// `pid`, a child of ours, is about to be reaped: its number means nothing any longer. To be told for every child,
    /// adopted ones too.
    pub fn ended(&mut self, pid: Pid) {
        self.children.remove(&pid);
    }

    /// Nothing of `run` is left.
    pub fn forget(&mut self, run: RunId) {
        self.firsts.remove(&run);
        self.cgroups.remove(&run);
        self.children.retain(|_, known| *known != Some(run));
    }

    /// The run that a process belongs to: by its tag, its ancestors' or its session; of a zombie as well. `None`: it
    /// belongs to no run of ours.
    #[must_use]
    pub fn run_of(&self, pid: Pid) -> Option<RunId> {
        let mut asked = pid;
        for _ in 0..ANCESTORS_MAX {
            if asked == self.own || asked.0 <= 1 {
                return None;
            }
            if let Some(run) = self.mark_of(asked) {
                return Some(run);
            }
            asked = procfs::stat(asked)?.parent;
        }
        None
    }

    /// The run that one process is known or marked to be of, without asking its ancestors.
    fn mark_of(&self, pid: Pid) -> Option<RunId> {
        if let Some(known) = self.children.get(&pid) {
            return *known;
        }
        tag::of(pid).or_else(|| if self.can_tag { None } else { self.run_of_session(pid) })
    }

    /// While anything of a session lives, its number is given to nobody else.
    fn run_of_session(&self, pid: Pid) -> Option<RunId> {
        let session = Pid(procfs::stat(pid)?.session);
        self.firsts.iter().find(|(_, first)| **first == session).map(|(run, _)| *run)
    }

    /// It has us for its parent; so has nobody that is gone.
    #[must_use]
    pub fn is_child(&self, pid: Pid) -> bool {
        procfs::stat(pid).is_some_and(|stat| stat.parent == self.own)
    }

    /// The processes of `run` that live, parents before their children. Zombies do not count.
    #[must_use]
    pub fn members(&self, run: RunId) -> Vec<Pid> {
        self.walk(run).into_iter().map(|met| met.pid).collect()
    }

    /// One look at our children: which runs have one among them. Whatever lives descends from a child of ours that
    /// carries the tag, so a run without one has nothing. `None`: this kernel does not tell children.
    pub fn living(&mut self) -> Option<BTreeSet<RunId>> {
        for child in self.own_children()? {
            if !self.children.contains_key(&child) {
                let run = self.mark_of(child);
                self.children.insert(child, run);
            }
        }
        Some(self.children.values().flatten().copied().collect())
    }

    /// Something of `run` lives or waits to be reaped, as `living` has told.
    #[must_use]
    pub fn is_left(&self, run: RunId, living: &Option<BTreeSet<RunId>>) -> bool {
        if !self.has_proc {
            return self.session_answers(run);
        }
        if self.own_group(run).is_some_and(|cgroup| cgroup.populated() == Some(true)) {
            return true;
        }
        match living {
            Some(living) => living.contains(&run),
            None => !self.scan(run).is_empty(),
        }
    }

    /// Nothing of `run` lives or waits to be reaped.
    pub fn is_empty(&mut self, run: RunId) -> bool {
        let living = self.living();
        !self.is_left(run, &living)
    }

    /// Opens what [`Trees::living`] reads, which it would else do by itself. To be called when all threads of svinit are
    /// there: none is made later.
    pub fn get_ready(&mut self) {
        if self.lists.is_none() {
            self.lists = procfs::children_files(self.own);
        }
    }

    /// Children of all our threads.
    fn own_children(&mut self) -> Option<Vec<Pid>> {
        self.get_ready();
        procfs::children_in(self.lists.as_deref()?)
    }

    /// Everything of `run` that lives, parents first.
    fn walk(&self, run: RunId) -> Vec<Met> {
        let Some(children) =
            self.lists.as_deref().map_or_else(|| procfs::children(self.own), procfs::children_in)
        else {
            return self.scan(run);
        };
        let mut waiting: Vec<(Pid, Option<Pid>)> = children
            .into_iter()
            .filter(|child| self.mark_of(*child) == Some(run))
            .map(|pid| (pid, None))
            .collect();
        let mut met = Vec::new();
        let mut seen = BTreeSet::new();
        while let Some((pid, parent)) = waiting.pop() {
            if met.len() >= MEMBERS_MAX || !seen.insert(pid) {
                continue;
            }
            let Some(stat) = procfs::stat(pid) else { continue };
            if stat.is_dead() {
                continue;
            }
            met.push(Met { pid, started: stat.started, parent });
            let below = procfs::children(pid).unwrap_or_default();
            waiting.extend(below.into_iter().map(|child| (child, Some(pid))));
        }
        met
    }

    /// Everything of `run` that lives, by looking at every process: where the kernel does not tell children.
    fn scan(&self, run: RunId) -> Vec<Met> {
        let everybody = procfs::all().unwrap_or_default();
        let marked = everybody.into_iter().filter(|pid| *pid != self.own && self.mark_of(*pid) == Some(run));
        marked
            .filter_map(|pid| Some((pid, procfs::stat(pid)?)))
            .filter(|(_, stat)| !stat.is_dead())
            .map(|(pid, stat)| Met { pid, started: stat.started, parent: None })
            .take(MEMBERS_MAX)
            .collect()
    }

    /// A descriptor for a process that was met, checked after it was opened to be that process and of `run`.
    fn pin(&self, run: RunId, met: Met) -> Option<Grip> {
        let pidfd = match PidFd::open(met.pid) {
            Ok(pidfd) => Some(pidfd),
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => return None,
            // No descriptor left, or a kernel without: the check right before the signal is what there is then.
            Err(_) => None,
        };
        let stat = procfs::stat(met.pid)?;
        let is_same = stat.started == met.started;
        let is_of_run =
            self.mark_of(met.pid) == Some(run) || met.parent.is_some_and(|parent| stat.parent == parent);
        (is_same && is_of_run).then_some(Grip { pid: met.pid, pidfd })
    }

    /// Sends `signal` to every process of `run`; how many got it.
    pub fn signal(&self, run: RunId, signal: i32) -> usize {
        if !self.has_proc {
            return usize::from(self.signal_session(run, signal));
        }
        let met = self.walk(run);
        met.into_iter()
            .filter(|met| self.pin(run, *met).is_some_and(|grip| grip.signal(signal).is_ok()))
            .count()
    }

    /// Stops and then kills every process of `run` that it finds, in bounded time. How many lived when it began: to be
    /// called again, after reaping, until that is 0. They are stopped first so that a fork bomb cannot outrun it.
    pub fn kill(&self, run: RunId) -> usize {
        if !self.has_proc {
            return usize::from(self.signal_session(run, libc::SIGKILL));
        }
        let mut pinned: BTreeMap<Pid, Grip> = BTreeMap::new();
        let mut refused = BTreeSet::new();
        for _ in 0..ROUNDS_MAX {
            let before = pinned.len();
            for met in self.walk(run) {
                if pinned.contains_key(&met.pid) || refused.contains(&met.pid) {
                    continue;
                }
                match self.pin(run, met) {
                    Some(grip) if grip.signal(libc::SIGSTOP).is_ok() => {
                        pinned.insert(met.pid, grip);
                    }
                    // Of another user, without the privilege to signal it: counted, so that nobody believes it gone.
                    Some(_) => {
                        refused.insert(met.pid);
                    }
                    None => {}
                }
            }
            if pinned.len() == before || pinned.len() >= MEMBERS_MAX {
                break;
            }
        }
        for grip in pinned.values() {
            // It may have ended by itself meanwhile.
            let _ = grip.signal(libc::SIGKILL);
        }
        if let Some(cgroup) = self.own_group(run)
            && cgroup.populated() == Some(true)
        {
            // Those as well that took the tag off.
            return (pinned.len() + refused.len()).max(usize::from(cgroup.kill()));
        }
        pinned.len() + refused.len()
    }

    /// The control group of `run`, when no other run is in there.
    fn own_group(&self, run: RunId) -> Option<&Arc<Cgroup>> {
        let own = self.cgroups.get(&run)?;
        let is_shared = self.cgroups.iter().any(|(other, cgroup)| *other != run && Arc::ptr_eq(cgroup, own));
        (!is_shared).then_some(own)
    }

    /// Without `/proc`: the group that the first process made has its number, as long as anybody is in it.
    fn signal_session(&self, run: RunId, signal: i32) -> bool {
        self.firsts.get(&run).is_some_and(|first| first.0 > 1 && sys::kill(-first.0, signal).is_ok())
    }

    fn session_answers(&self, run: RunId) -> bool {
        self.signal_session(run, 0)
    }

    /// What the processes of `run` use together.
    #[must_use]
    pub fn usage(&self, run: RunId) -> Usage {
        let members = self.members(run);
        let mut usage = Usage { tasks: u32::try_from(members.len()).unwrap_or(u32::MAX), ..Usage::default() };
        for pid in members {
            usage.memory += procfs::resident_pages(pid).unwrap_or(0).saturating_mul(sys::page_size());
            usage.cpu_us += procfs::stat(pid).map_or(0, |stat| stat.ticks.saturating_mul(TICK_US));
            usage.fds = usage.fds.saturating_add(u32::try_from(procfs::descriptors(pid)).unwrap_or(u32::MAX));
        }
        if let Some(measured) = self.own_group(run).and_then(|cgroup| cgroup.usage()) {
            // Counts what the processes share once only.
            usage.memory = measured.memory;
        }
        usage
    }

    /// Processes with a tag of ours that belong to no run in `known`: what a run that is over, or svinit before a
    /// crash, has left behind. A look at every process, for such moments only.
    #[must_use]
    pub fn survivors(&self, known: &[RunId]) -> Vec<(Pid, RunId)> {
        let everybody = procfs::all().unwrap_or_default();
        let marked = everybody.into_iter().filter(|pid| *pid != self.own);
        marked
            .filter_map(|pid| Some((pid, self.mark_of(pid)?)))
            .filter(|(_, run)| !known.contains(run))
            .filter(|(pid, _)| procfs::stat(*pid).is_some_and(|stat| !stat.is_dead()))
            .collect()
    }
}

#[cfg(test)]
mod tests;
