//! The signals that svinit itself takes.
//!
//! PID 1 gets no signal whose disposition is default, except from outside its namespace: what is to act needs a
//! handler, and it must be there before the first thread and the first child. Whatever mask and dispositions svinit
//! was started with are replaced. Handlers only note the number and write to a pipe; all else happens in the loop.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use crate::os::error::{Doing, Error};
use crate::os::sys;
use crate::units::signal;
use crate::units::spec::SignalName;

/// The number of a signal on this machine; `None` when it has no such signal.
#[must_use]
pub fn number(name: &SignalName) -> Option<i32> {
    signal::number(&name.0)
}

/// The name of a signal without `SIG`.
#[must_use]
pub fn name(number: i32) -> String {
    signal::name(number)
}

/// Signals that get a handler: all that a program can take without having made a mistake itself. ALRM, IO and the like
/// would end a svinit that is not PID 1.
const TAKEN: [i32; 15] = [
    libc::SIGHUP,
    libc::SIGINT,
    libc::SIGQUIT,
    libc::SIGUSR1,
    libc::SIGUSR2,
    libc::SIGALRM,
    libc::SIGTERM,
    libc::SIGSTKFLT,
    libc::SIGCHLD,
    libc::SIGCONT,
    libc::SIGTSTP,
    libc::SIGVTALRM,
    libc::SIGWINCH,
    libc::SIGIO,
    libc::SIGPWR,
];

/// Real-time signals that are taken as well; 32 and 33 belong to the C library.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// A closed pipe, a file at its size limit and a terminal that others have are errors of a call, not ends of svinit.
const IGNORED: [i32; 4] = [libc::SIGPIPE, libc::SIGTTIN, libc::SIGTTOU, libc::SIGXFSZ];

/// Signals that have arrived and wait to be looked at.
pub struct Signals {
    wake: UnixStream,
}

impl Signals {
    /// Takes every signal that can be taken; PIPE, TTIN, TTOU and XFSZ are ignored; faults stay as they are. Nothing is
    /// blocked afterwards, whatever mask svinit was started with. To be called once, before the first thread.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn install() -> Result<Self, Error> {
        let made = || -> std::io::Result<Self> {
            let (wake, write) = UnixStream::pair()?;
            wake.set_nonblocking(true)?;
            write.set_nonblocking(true)?;
            sys::wake_by(write.into());
            for signal in TAKEN {
                sys::take_signal(signal)?;
            }
            for signal in REAL_TIME {
                // An emulator may keep some for itself.
                let _ = sys::take_signal(signal);
            }
            for signal in IGNORED {
                sys::ignore_signal(signal)?;
            }
            sys::set_mask(0).map_err(std::io::Error::from_raw_os_error)?;
            Ok(Self { wake })
        };
        made().doing(|| "take signals".to_owned())
    }

    /// The signals that have arrived since the last call, each once, in order of their numbers. To be called whenever
    /// the descriptor is readable.
    pub fn pending(&mut self) -> impl Iterator<Item = i32> + use<> {
        // First the pipe, then the bits: what comes in between is seen now and wakes once more for nothing.
        let mut rest = [0; 64];
        while matches!(self.wake.read(&mut rest), Ok(read) if read == rest.len()) {}
        let seen = sys::seen_signals();
        (1..=64).filter(move |signal| seen & sys::signal_bit(*signal) != 0)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// Those that have a handler of ours after [`Signals::install`], a bit each.
pub(super) fn taken() -> u64 {
    TAKEN.into_iter().chain(REAL_TIME).fold(0, |all, signal| all | sys::signal_bit(signal))
}

/// Blocks every signal of the calling thread, so that none is lost over a re-exec; [`Signals::install`] ends it.
pub fn block_all() {
    // The set is ours and the operation exists: there is nothing to fail.
    let _ = sys::set_mask(sys::ALL_SIGNALS);
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    /// One test only: handlers are for the whole process.
    #[test]
    fn a_signal_wakes_and_is_told_once_with_real_time_ones() {
        let mut signals = Signals::install().unwrap();
        let own = i32::try_from(process::id()).unwrap();
        for signal in [libc::SIGUSR1, libc::SIGUSR1, 37, libc::SIGPIPE, libc::SIGTTOU] {
            sys::kill(own, signal).unwrap();
        }
        let mut came = Vec::new();
        while came.len() < 2 {
            let mut polled = [nix::poll::PollFd::new(signals.as_fd(), nix::poll::PollFlags::POLLIN)];
            let woken = nix::poll::poll(&mut polled, 10_000_u16);
            assert!(matches!(woken, Ok(1) | Err(nix::errno::Errno::EINTR)), "{woken:?}");
            // Other tests end children meanwhile.
            came.extend(signals.pending().filter(|signal| *signal != libc::SIGCHLD));
        }
        came.sort_unstable();
        assert_eq!(came, [libc::SIGUSR1, 37]);
        assert_eq!(signals.pending().filter(|signal| *signal != libc::SIGCHLD).count(), 0);
        assert_eq!(number(&SignalName("RTMIN+3".into())), Some(37));
        assert_eq!(name(37), "RTMIN+3");
    }
}
