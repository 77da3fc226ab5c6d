//! Where processes are made: in the calling thread, or in several threads at once.

use std::cell::RefCell;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;

use super::child;
use super::plan::Plan;
use super::report::{Report, failure, kind_of};
use super::{Child, Launch, launch};
use crate::lifecycle::event::{Pid, SpawnCause, SpawnFailure};
use crate::os::error::{cause, errno_words};
use crate::os::pidfd::PidFd;
use crate::os::sys;

/// Enough to prepare a launch; the child has a stack of its own.
const THREAD_STACK: usize = 128 * 1024;

/// Most launches that wait for a helper; the caller makes the rest by itself.
const AHEAD_MAX: usize = 1024;

/// Ways to make a process, best first; a seccomp profile or an emulator may not allow the first ones.
const WAYS: [(sys::Sharing, bool); 4] = [
    (sys::Sharing::Memory, true),
    (sys::Sharing::Memory, false),
    (sys::Sharing::Copy, true),
    (sys::Sharing::Copy, false),
];

/// The first of [`WAYS`] that has not been refused.
static WAY: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// Mapped once a thread: no two children of it are between clone and exec at the same time.
    static STACK: RefCell<Option<sys::Stack>> = const { RefCell::new(None) };
}

/// Threads made at start, so that many units start at once without a thread made on the fly.
pub struct Spawners {
    jobs: Option<Sender<Job>>,
    threads: usize,
}

struct Job {
    launches: Arc<Mutex<Vec<(usize, Launch)>>>,
    results: Sender<(usize, Result<Child, SpawnFailure>)>,
}

impl Spawners {
    /// Makes up to `threads` threads beside the caller; with none of them the caller does all by itself. To be called
    /// after `Signals::install` at the start, since threads may not be had later.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        let (jobs, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        let made = (0..threads).map_while(|_| {
            let waiting = Arc::clone(&waiting);
            let builder = Builder::new().name("spawn".to_owned()).stack_size(THREAD_STACK);
            builder.spawn(move || work(&waiting)).ok()
        });
        let threads = made.count();
        Self { jobs: (threads > 0).then_some(jobs), threads }
    }

    /// Makes all these processes, the calling thread helping; results in the order of the launches.
    #[must_use]
    pub fn launch_all(&self, launches: Vec<Launch>) -> Vec<Result<Child, SpawnFailure>> {
        let count = launches.len();
        let (results, done) = channel();
        let queue = Arc::new(Mutex::new(launches.into_iter().enumerate().rev().collect::<Vec<_>>()));
        // Waking a thread costs as much as a spawn: one is woken for each launch beside the first.
        let helpers = self.threads.min(count.saturating_sub(1)).min(AHEAD_MAX);
        for jobs in self.jobs.iter().cycle().take(helpers) {
            // When a helper is gone the others, or this thread, do its work.
            let _ = jobs.send(Job { launches: Arc::clone(&queue), results: results.clone() });
        }
        take_all(&queue, &results);
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

fn work(waiting: &Mutex<Receiver<Job>>) {
    // Signals are for the main thread.
    let _ = sys::set_mask(sys::ALL_SIGNALS);
    loop {
        let job = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(job) => take_all(&job.launches, &job.results),
            Err(_) => return,
        }
    }
}

fn take_all(queue: &Mutex<Vec<(usize, Launch)>>, results: &Sender<(usize, Result<Child, SpawnFailure>)>) {
    loop {
        let next = queue.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let Some((number, wanted)) = next else { return };
        // Nobody waits any longer only when the caller is gone, and then nothing matters.
        let _ = results.send((number, launch(&wanted)));
    }
}

/// Makes the process that `plan` describes.
pub(super) fn start(plan: &Plan) -> Result<Child, SpawnFailure> {
    STACK.with_borrow_mut(|slot| {
        if slot.is_none() {
            *slot = Some(sys::Stack::new().map_err(|error| SpawnFailure {
                cause: SpawnCause::NoResources,
                why: format!("cannot make a process: {}", cause(&error)),
            })?);
        }
        match slot {
            Some(stack) => start_on(stack, plan),
            None => Err(lost()),
        }
    })
}

fn start_on(stack: &sys::Stack, plan: &Plan) -> Result<Child, SpawnFailure> {
    let report = Report(stack.report());
    report.clear();
    let (pid, pidfd) = clone_some_way(stack, plan, &report).map_err(|errno| SpawnFailure {
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
fn clone_some_way(
    stack: &sys::Stack,
    plan: &Plan,
    report: &Report<'_>,
) -> Result<(Pid, Option<OwnedFd>), i32> {
    let first = WAY.load(Ordering::Relaxed);
    let mut refused = libc::ENOSYS;
    for (number, (sharing, pidfd)) in WAYS.iter().enumerate().skip(first) {
        match clone_one_way(stack, plan, report, *sharing, *pidfd) {
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
    stack: &sys::Stack,
    plan: &Plan,
    report: &Report<'_>,
    sharing: sys::Sharing,
    pidfd: bool,
) -> Result<(Pid, Option<OwnedFd>), i32> {
    // A child with a copy does not hold us up: the end of this pipe, closed by exec or exit, tells that it is done.
    let pipe = match sharing {
        sys::Sharing::Memory => None,
        sys::Sharing::Copy => Some(std::io::pipe().map_err(|error| error.raw_os_error().unwrap_or(0))?),
    };
    // No handler of ours may run in the child, which shares our memory: everything is blocked until its dispositions
    // are the default ones.
    let before = sys::set_mask(sys::ALL_SIGNALS)?;
    let made = sys::clone(stack, sharing, pidfd, &|| child::run(plan, report));
    sys::set_mask(before)?;
    if let (Some((mut reader, writer)), Ok(_)) = (pipe, &made) {
        drop(writer);
        // Nothing is ever written: it fails at the end, and only there.
        let _ = reader.read_exact(&mut [0]);
    }
    made
}

#[cfg(test)]
pub(super) fn start_with_a_copy(plan: &Plan) -> Result<Child, SpawnFailure> {
    let stack = sys::Stack::new().map_err(|_| lost())?;
    let report = Report(stack.report());
    let made = clone_one_way(&stack, plan, &report, sys::Sharing::Copy, false);
    let (pid, _) = made.map_err(|_| lost())?;
    match report.failed() {
        Some(failed) => {
            sys::wait_and_reap(pid);
            Err(failure(plan, failed))
        }
        None => Ok(Child { pid, pidfd: None, warnings: report.warnings(plan) }),
    }
}
