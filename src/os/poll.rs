//! One epoll for many descriptors.
//!
//! Sits in one tokio `AsyncFd` of its own: units' pipes, notify sockets and readiness descriptors then cost no memory
//! in user space, and a wake-up reads them in bounded batches. Level-triggered, so what was not read is told again.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

/// Most events that one [`Poller::wait`] returns; the others are told by the next.
pub const BATCH: usize = 64;

/// One epoll, level-triggered, for reading and for hang-up.
pub struct Poller(Epoll);

impl Poller {
    /// A new one, watching nothing.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Watches `fd`, and tells `token` when it can be read or its other end is closed.
    ///
    /// # Errors
    /// `EEXIST` when it is watched already, `ENOSPC`, `ENOMEM`; `EPERM` for a plain file, which is always ready.
    pub fn add(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.0.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, token))?)
    }

    /// Watches `fd`, and tells `token` only when it is broken or its other end is closed.
    ///
    /// # Errors
    /// As [`Poller::add`].
    pub fn add_for_end(&self, fd: impl AsFd, token: u64) -> io::Result<()> {
        Ok(self.0.add(fd, EpollEvent::new(EpollFlags::empty(), token))?)
    }

    /// Watches it no more. To be called before it is closed, since a copy elsewhere would keep it in the set.
    ///
    /// # Errors
    /// `ENOENT` when it is not watched.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.0.delete(fd)?)
    }

    /// Adds the tokens that are ready to `out`, at most [`BATCH`]; waits for the first at most `timeout_ms`.
    ///
    /// # Errors
    /// What epoll says; an interruption by a signal is no error.
    pub fn wait(&self, out: &mut Vec<u64>, timeout_ms: u16) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); BATCH];
        match self.0.wait(&mut events, EpollTimeout::from(timeout_ms)) {
            Ok(ready) => out.extend(events[..ready].iter().map(EpollEvent::data)),
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        Ok(())
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_pipe_is_told_while_it_has_bytes_and_when_it_is_closed() {
        let poller = Poller::new().unwrap();
        let (reader, mut writer) = std::io::pipe().unwrap();
        poller.add(&reader, 7).unwrap();
        let mut ready = Vec::new();
        poller.wait(&mut ready, 0).unwrap();
        assert!(ready.is_empty());
        writer.write_all(b"x").unwrap();
        poller.wait(&mut ready, 0).unwrap();
        assert_eq!(ready, [7]);
        drop(writer);
        ready.clear();
        poller.wait(&mut ready, 0).unwrap();
        assert_eq!(ready, [7]);
        poller.remove(&reader).unwrap();
        ready.clear();
        poller.wait(&mut ready, 0).unwrap();
        assert!(ready.is_empty());
    }
}
