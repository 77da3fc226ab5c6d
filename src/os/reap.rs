//! Sees the end of every child, ours or orphaned, in one place.
//!
//! Nobody else in this program calls `waitid`: a second waiter would steal an exit status. SIGCHLD merges, so one
//! wake-up may mean many children: loop until there is nothing left. The order is peek, record, reap: while the zombie
//! is there its number cannot be given to another process, so whoever is told of the end in between still means the right one.

use crate::lifecycle::event::{ExitStatus, Pid};
use crate::os::error::{Doing, Error};
use crate::os::sys;

/// A child that has ended and is still a zombie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Which; the number stays its own until [`reap`].
    pub pid: Pid,
    /// How.
    pub status: ExitStatus,
}

/// The next child that has ended, left as it is; `None` when there is none now. Tells the same one until it is reaped.
#[must_use]
pub fn peek() -> Option<Ended> {
    found(sys::Child::Any, true)
}

/// Lets go of a child that has ended; `None` when it was not there or still runs.
pub fn reap(pid: Pid) -> Option<Ended> {
    found(sys::Child::Only(pid), false)
}

/// Looks at one child without reaping it.
#[must_use]
pub fn peek_at(pid: Pid) -> Option<Ended> {
    found(sys::Child::Only(pid), true)
}

/// Orphans below us fall to us from here on, as they do to PID 1.
///
/// # Errors
/// The kernel is older than Linux 3.4.
pub fn become_subreaper() -> Result<(), Error> {
    sys::set_child_subreaper().doing(|| "take care of orphaned processes".to_owned())
}

/// ECHILD, no children at all, is the only error there can be.
fn found(child: sys::Child, keep: bool) -> Option<Ended> {
    let (pid, status) = sys::wait(child, keep).ok().flatten()?;
    Some(Ended { pid, status })
}
