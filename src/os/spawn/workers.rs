//! Where processes are made: in the calling thread, or in several threads at once.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use super::child::{self, Birth};
use super::plan::Plan;
use super::report::{Report, failure, kind_of};
use super::staging::{Held, Staging};
use super::{Child, Launch, launch};
use crate::lifecycle::event::{Pid, SpawnCause, SpawnFailure};
use crate::os::error::{cause, errno_words};
use crate::os::pidfd::PidFd;
use crate::os::signals;
use crate::os::sys;

/// Enough to prepare a launch; the child has a stack of its own.
const THREAD_STACK: usize = 128 * 1024;

/// Launches that are prepared ahead of the threads which make them, for each thread.
const AHEAD_PER_THREAD: usize = 2;

/// A way to make a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// Born in its control group.
    IntoCgroup,
    /// Joins it, if it has one, by itself: the kernel then waits some 10 ms for everybody who is about to fork.
    Plain { sharing: sys::Sharing, pidfd: bool },
}

/// Ways that work without a control group, best first; a seccomp profile or an emulator may not allow the first ones.
const WAYS: [Way; 4] = [
    Way::Plain { sharing: sys::Sharing::Memory, pidfd: true },
    Way::Plain { sharing: sys::Sharing::Memory, pidfd: false },
    Way::Plain { sharing: sys::Sharing::Copy, pidfd: true },
    Way::Plain { sharing: sys::Sharing::Copy, pidfd: false },
];

/// The first of [`WAYS`] that has not been refused.
static WAY: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Made once a thread: no two children of it are between clone and exec at the same time.
    static ROOM: RefCell<Option<Room>> = const { RefCell::new(None) };
}

/// What a thread needs to make processes.
struct Room {
    stack: sys::Stack,
    staging: Option<Staging>,
}

impl Room {
    fn new(staging: Option<Staging>) -> Result<Self, SpawnFailure> {
        let stack = sys::Stack::new().map_err(|error| SpawnFailure {
            cause: SpawnCause::NoResources,
            why: format!("cannot make a process: {}", cause(&error)),
        })?;
        Ok(Self { stack, staging })
    }

    /// Makes this thread use it; without it, the thread makes one without staging when it first needs one.
    fn settle(room: Result<Self, SpawnFailure>) {
        ROOM.set(room.ok());
    }
}

/// Threads made at start, so that many units start at once without a thread made on the fly.
pub struct Spawners {
    jobs: Option<Sender<Job>>,
    threads: usize,
}

/// Launches that nobody has taken up, with their places.
type Launches = VecDeque<(usize, Launch)>;

struct Job {
    launches: Arc<Mutex<Launches>>,
    results: Sender<(usize, Result<Child, SpawnFailure>)>,
}

impl Spawners {
    /// Makes up to `threads` threads beside the caller; with none of them the caller does all by itself. To be called
    /// after `Signals::install` at the start, since threads may not be had later.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let (jobs, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        // Here, while few descriptors are open.
        Room::settle(Room::new(Staging::new()));
        let made = (0..threads).map_while(|_| {
            let waiting = Arc::clone(&waiting);
            let staging = Staging::new();
            let builder = Builder::new().name("spawn".to_owned()).stack_size(THREAD_STACK);
            builder.spawn(move || work(&waiting, staging)).ok()
        });
        let threads = made.count();
        Self { jobs: (threads > 0).then_some(jobs), threads }
    }

    /// Makes all these processes, the calling thread helping; results in the order of the launches. The first is under
    /// way while the later ones are still prepared.
    #[must_use]
    pub fn launch_all(&self, launches: impl IntoIterator<Item = Launch>) -> Vec<Result<Child, SpawnFailure>> {
        let (results, done) = channel();
        let queue = Arc::new(Mutex::new(VecDeque::new()));
        let mut count = 0;
        let mut helpers = self.jobs.iter().cycle().take(self.threads);
        for wanted in launches {
            let waiting = {
                let mut queue = queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.push_back((count, wanted));
                queue.len()
            };
            count += 1;
            // Waking a thread costs as much as a spawn: none is woken for a single launch.
            if count > 1
                && let Some(jobs) = helpers.next()
            {
                // When a helper is gone the others, or this thread, do its work.
                let _ = jobs.send(Job { launches: Arc::clone(&queue), results: results.clone() });
            }
            if count > 1 && waiting > self.threads * AHEAD_PER_THREAD {
                take_one(&queue, &results);
            }
        }
        while take_one(&queue, &results) {}
        drop(results);
        let mut made: Vec<Option<Result<Child, SpawnFailure>>> = (0..count).map(|_| None).collect();
        for (number, result) in done.iter().take(count) {
            made[number] = Some(result);
        }
        made.into_iter().map(|result| result.unwrap_or_else(|| Err(lost()))).collect()
    }
}

/// A helper that has ended in the middle of a launch, which nothing makes it do.
fn lost() -> SpawnFailure {
    SpawnFailure {
        cause: SpawnCause::NoResources,
        why: "cannot make a process: the helper thread is gone".to_owned(),
    }
}

fn work(waiting: &Mutex<Receiver<Job>>, staging: Option<Staging>) {
    signals::block_all();
    Room::settle(Room::new(staging));
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => while take_one(&job.launches, &job.results) {},
            Err(_) => return,
        }
    }
}

/// Makes the process that has waited longest; `false` when none waits.
fn take_one(queue: &Mutex<Launches>, results: &Sender<(usize, Result<Child, SpawnFailure>)>) -> bool {
    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let Some((number, wanted)) = next else { return false };
    // Nobody waits any longer only when the caller is gone, and then nothing matters.
    let _ = results.send((number, launch(&wanted)));
    true
}

/// Makes the process that `plan` describes.
pub(super) fn start(plan: &Plan) -> Result<Child, SpawnFailure> {
    ROOM.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Some(Room::new(None)?);
        }
        match slot {
            Some(room) => start_in(room, plan),
            None => Err(lost()),
        }
    })
}

fn start_in(room: &Room, plan: &Plan) -> Result<Child, SpawnFailure> {
    let report = Report(room.stack.report());
    report.clear();
    let (pid, pidfd) = clone_some_way(room, plan, &report).map_err(|errno| SpawnFailure {
        cause: kind_of(errno, SpawnCause::Context),
        why: format!("cannot make a process: {}", errno_words(errno)),
    })?;
    if let Some(failed) = report.failed() {
        // It has ended, or does so now, and nobody has heard of it.
        sys::wait_and_reap(pid);
        return Err(failure(plan, failed));
    }
    let pidfd = pidfd.map(PidFd::from_owned).or_else(|| PidFd::open(pid).ok());
    Ok(Child { pid, pidfd, warnings: report.warnings(plan) })
}

/// The best way that works here; which one that is, is found out once.
fn clone_some_way(room: &Room, plan: &Plan, report: &Report<'_>) -> Result<(Pid, Option<OwnedFd>), i32> {
    if plan.cgroup.is_some() {
        match clone_one_way(room, plan, report, Way::IntoCgroup) {
            Err(errno) if kind_of(errno, SpawnCause::Context) != SpawnCause::NoResources => {}
            made => return made,
        }
    }
    let first = WAY.load(Ordering::Relaxed);
    let mut refused = libc::ENOSYS;
    for (number, way) in WAYS.iter().enumerate().skip(first) {
        match clone_one_way(room, plan, report, *way) {
            Err(errno @ (libc::EINVAL | libc::ENOSYS | libc::EPERM)) => refused = errno,
            Err(errno) => return Err(errno),
            Ok(made) => {
                WAY.store(number, Ordering::Relaxed);
                return Ok(made);
            }
        }
    }
    Err(refused)
}

fn clone_one_way(
    room: &Room,
    plan: &Plan,
    report: &Report<'_>,
    way: Way,
) -> Result<(Pid, Option<OwnedFd>), i32> {
    let (sharing, pidfd) = match way {
        Way::IntoCgroup => (sys::Sharing::Memory, true),
        Way::Plain { sharing, pidfd } => (sharing, pidfd),
    };
    // A child with a copy does not hold us up: the end of this pipe, closed by exec or exit, tells that it is done.
    let pipe = match sharing {
        sys::Sharing::Memory => None,
        sys::Sharing::Copy => Some(std::io::pipe().map_err(|error| error.raw_os_error().unwrap_or(0))?),
    };
    let held = match sharing {
        sys::Sharing::Memory => room.staging.as_ref().and_then(|staging| staging.hold(plan)),
        sys::Sharing::Copy => None,
    };
    let cloning = sys::Cloning { sharing, pidfd, shares_fds: held.is_some() };
    let birth = Birth {
        shares_fds_above: held.as_ref().map(Held::line),
        signals: signals::to_reset(),
        is_in_cgroup: way == Way::IntoCgroup,
    };
    let body = || child::run(plan, birth, report);
    // Nothing may interrupt the child before its dispositions are the default ones: it shares our memory, and what stops
    // it would stop us.
    let before = sys::set_mask(sys::ALL_SIGNALS)?;
    let made = match way {
        Way::IntoCgroup => sys::clone3(&room.stack, cloning, plan.cgroup.as_ref().map(Cell::get), &body),
        Way::Plain { .. } => sys::clone(&room.stack, cloning, &body),
    };
    sys::set_mask(before)?;
    drop(held);
    if let (Some((mut reader, writer)), Ok(_)) = (pipe, &made) {
        drop(writer);
        // Nothing is ever written: it fails at the end, and only there.
        let _ = reader.read_exact(&mut [0]);
    }
    made
}

#[cfg(test)]
pub(super) fn start_with_a_copy(plan: &Plan) -> Result<Child, SpawnFailure> {
    let room = Room::new(None)?;
    let report = Report(room.stack.report());
    let made = clone_one_way(&room, plan, &report, Way::Plain { sharing: sys::Sharing::Copy, pidfd: false });
    let (pid, _) = made.map_err(|_| lost())?;
    match report.failed() {
        Some(failed) => {
            sys::wait_and_reap(pid);
            Err(failure(plan, failed))
        }
        None => Ok(Child { pid, pidfd: None, warnings: report.warnings(plan) }),
    }
}
