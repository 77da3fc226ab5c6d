//! How the writing side wakes the driver.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::logs::writer::streams::Outs;

/// A descriptor that becomes readable.
pub(super) enum Bell {
    /// Rung by the threads.
    Event(EventFd),
    /// Without threads: readable when the streams can be written again, or when it is rung.
    Ready { epoll: Epoll, event: EventFd, outs: Outs },
}

impl Bell {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self::Event(event()?))
    }

    pub(super) fn for_outs(outs: &Outs) -> io::Result<Self> {
        let (epoll, event) = (Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?, event()?);
        epoll.add(&event, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
        let outs = outs.try_clone()?;
        for out in outs.fds() {
            // A plain file is always ready and cannot be watched, nor need it be.
            let _ = epoll.add(out, EpollEvent::new(EpollFlags::EPOLLONESHOT, 1));
        }
        Ok(Self::Ready { epoll, event, outs })
    }

    pub(super) fn ring(&self) {
        let (Self::Event(event) | Self::Ready { event, .. }) = self;
        // It fails when it has been rung 2^64 times unheard.
        let _ = event.write(1);
    }

    /// Rings once when the streams can be written.
    pub(super) fn ring_when_ready(&self) {
        if let Self::Ready { epoll, outs, .. } = self {
            for out in outs.fds() {
                let flags = EpollFlags::EPOLLOUT | EpollFlags::EPOLLONESHOT;
                let _ = epoll.modify(out, &mut EpollEvent::new(flags, 1));
            }
        }
    }

    pub(super) fn hush(&self) {
        let (Self::Event(event) | Self::Ready { event, .. }) = self;
        let _ = event.read();
        if let Self::Ready { epoll, .. } = self {
            // A one-shot event is over once it has been fetched.
            let mut events = [EpollEvent::empty(); 4];
            let _ = epoll.wait(&mut events, EpollTimeout::ZERO);
        }
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Event(event) => event.as_fd(),
            Self::Ready { epoll, .. } => epoll.0.as_fd(),
        }
    }
}

fn event() -> io::Result<EventFd> {
    Ok(EventFd::from_value_and_flags(0, EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?)
}
