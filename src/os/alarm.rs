//! A descriptor that can be read when the wall clock shows a moment, and as soon as somebody sets that clock.
//!
//! The second is what it is for: a wait counted in seconds would not notice that the clock was put forward over its
//! end. It takes no tick, so whoever waits for three in the morning sleeps until then.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// One moment of the wall clock.
pub struct Alarm(TimerFd);

impl Alarm {
    /// One that is not set.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(TimerFd::new(ClockId::CLOCK_REALTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)?))
    }

    /// For this moment, microseconds since 1970; what lies in the past is due at once.
    ///
    /// # Errors
    /// What the system says; for a moment that it can represent there is no reason.
    pub fn set(&self, wall_us: i64) -> io::Result<()> {
        // Zero would switch it off.
        let wall_us = wall_us.max(1);
        let at = TimeSpec::new(wall_us / 1_000_000, wall_us % 1_000_000 * 1000);
        let flags = TimerSetTimeFlags::TFD_TIMER_ABSTIME | TimerSetTimeFlags::TFD_TIMER_CANCEL_ON_SET;
        match self.0.set(Expiration::OneShot(at), flags) {
            // The clock was set before this was: it is set all the same, and who reads it is told.
            Ok(()) | Err(Errno::ECANCELED) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Not any more.
    ///
    /// # Errors
    /// As [`Alarm::set`].
    pub fn unset(&self) -> io::Result<()> {
        Ok(self.0.unset()?)
    }

    /// Takes back that it can be read, for whichever reason it could.
    pub fn heed(&self) {
        // Without NONBLOCK this would wait; with it there is nothing that could fail and matter.
        let _ = self.0.wait();
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::clock;
    use crate::os::poll::Poller;

    #[test]
    fn an_alarm_is_due_when_its_moment_has_come_and_not_before() {
        let (alarm, poller) = (Alarm::new().unwrap(), Poller::new().unwrap());
        poller.add(&alarm, 1).unwrap();
        let mut due = Vec::new();
        alarm.set(clock::wall_us() + 3_600_000_000).unwrap();
        poller.wait(&mut due, 0).unwrap();
        assert!(due.is_empty());
        for at in [clock::wall_us() + 20_000, clock::wall_us() - 1, 0] {
            alarm.set(at).unwrap();
            poller.wait(&mut due, 5_000).unwrap();
            assert_eq!(std::mem::take(&mut due), [1]);
            alarm.heed();
            poller.wait(&mut due, 0).unwrap();
            assert!(due.is_empty(), "it was heeded");
        }
        alarm.set(clock::wall_us() + 10_000).unwrap();
        alarm.unset().unwrap();
        poller.wait(&mut due, 50).unwrap();
        assert!(due.is_empty());
    }
}
