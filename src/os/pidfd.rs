//! A descriptor that stands for one process and never for another that got its number later.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::lifecycle::event::Pid;
use crate::os::sys;

/// Stands for one process, also after its death.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// For the process that has the number `pid` now. Safe for a child that was not reaped; for others the caller must
    /// look again afterwards whether it got whom it meant.
    ///
    /// # Errors
    /// `ESRCH` when there is none, `ENOSYS` before Linux 5.3.
    pub fn open(pid: Pid) -> io::Result<Self> {
        sys::pidfd_open(pid).map(Self)
    }

    /// What clone gave us.
    pub(super) fn from_owned(fd: OwnedFd) -> Self {
        Self(fd)
    }

    /// Sends a signal; 0 only asks.
    ///
    /// # Errors
    /// `ESRCH` when it is gone, which is mostly no error to the caller; `EPERM`.
    pub fn signal(&self, signal: i32) -> io::Result<()> {
        sys::pidfd_send_signal(self.0.as_fd(), signal)
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
