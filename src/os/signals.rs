//! The signals that svinit itself takes.
//!
//! PID 1 gets no signal whose disposition is default, except from outside its namespace, unless it is blocked: then it
//! stays pending, and a signalfd gives it to the loop. So they are blocked before the first thread, which inherits that,
//! and for ever: nothing of ours is interrupted, a thousand ends of children are one wake-up, no child has a handler to
//! get rid of, and none is lost while svinit executes itself. Whatever mask and dispositions svinit was started with
//! are replaced.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

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

/// Signals that are taken: all that a program can take without having made a mistake itself. ALRM, IO and the like
/// would end a svinit that is not PID 1. Nor is PID 1 safe from what is not blocked everywhere: while its main thread
/// blocks all signals to make a process and another thread does not, the kernel lets the default action end it.
const TAKEN: [i32; 17] = [
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
    libc::SIGPROF,
    libc::SIGXCPU,
    libc::SIGWINCH,
    libc::SIGIO,
    libc::SIGPWR,
];

/// Real-time signals that are taken as well; 32 and 33 belong to the C library.
const REAL_TIME: std::ops::RangeInclusive<i32> = 34..=64;

/// Signals that are read by one call.
const SIGNALS_A_READ: usize = 8;

/// Calls in one look, so that whoever sends without pause does not keep us from everything else.
const READS_A_LOOK: usize = 16;

/// A closed pipe, a file at its size limit and a terminal that others have are errors of a call, not ends of svinit. 32
/// and 33 would be the end of it, too; the C library unblocks both and gives 33 a handler with the first thread.
const IGNORED: [i32; 6] = [libc::SIGPIPE, libc::SIGTTIN, libc::SIGTTOU, libc::SIGXFSZ, 32, 33];

/// Ours, or handled by Rust's runtime to tell an overflow of the stack: what is left of them is for a child to undo.
const NOT_DEFAULT: [i32; 12] = [
    libc::SIGPIPE,
    libc::SIGTTIN,
    libc::SIGTTOU,
    libc::SIGXFSZ,
    32,
    33,
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGABRT,
    INTERRUPTION,
];

/// Whether [`Signals::install`] has been called.
static INSTALLED: AtomicBool = AtomicBool::new(false);

/// Signals that have arrived and wait to be looked at.
pub struct Signals(File);

impl Signals {
    /// Takes every signal that can be taken; those of [`IGNORED`] are ignored; faults stay as they are. Whatever else
    /// was blocked or ignored is not any more. To be called once, before the first thread.
    ///
    /// # Errors
    /// No descriptor left.
    pub fn install() -> Result<Self, Error> {
        let made = || -> std::io::Result<Self> {
            // 32 and 33 may wait since before svinit executed itself; ignored, they are gone.
            sys::set_mask(sys::ALL_SIGNALS).map_err(std::io::Error::from_raw_os_error)?;
            // Those alone that are not: to set it once more would lose a WINCH that waits while svinit executes itself.
            sys::default_signals(!bits(NOT_DEFAULT) & !sys::signals_at_default());
            sys::ignore_signals(bits(IGNORED));
            // The one that interrupts a thread of ours is for that alone.
            sys::set_mask(taken() | sys::signal_bit(INTERRUPTION))
                .map_err(std::io::Error::from_raw_os_error)?;
            INSTALLED.store(true, Ordering::Relaxed);
            Ok(Self(sys::signal_fd(taken())?.into()))
        };
        made().doing(|| "take signals".to_owned())
    }

    /// The signals that have arrived since the last call, each once, in order of their numbers. To be called whenever
    /// the descriptor is readable.
    pub fn pending(&mut self) -> impl Iterator<Item = i32> + use<> {
        let mut seen = 0;
        let mut room = [0; sys::SIGNAL_INFO * SIGNALS_A_READ];
        for _ in 0..READS_A_LOOK {
            let Ok(read) = self.0.read(&mut room) else { break };
            for info in room[..read].chunks_exact(sys::SIGNAL_INFO) {
                let number = info.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                if (1..=64).contains(&number) {
                    seen |= sys::signal_bit(number);
                }
            }
            if read < room.len() {
                break;
            }
        }
        (1..=64).filter(move |signal| seen & sys::signal_bit(*signal) != 0)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Blocks every signal of the calling thread, a helper of the main one.
pub fn block_all() {
    // The set is ours and the operation exists: there is nothing to fail.
    let _ = sys::set_mask(sys::ALL_SIGNALS);
}

/// Interrupts a thread of ours in a call that waits. Its default is to be ignored, so whoever sends it to us does no harm.
const INTERRUPTION: i32 = libc::SIGURG;

/// A thread that blocks all signals but that by which [`Thread::interrupt`] brings it out of a call that waits.
#[derive(Clone, Copy, Debug)]
pub struct Thread(i32);

impl Thread {
    /// The calling thread, a helper of the main one, from here on.
    #[must_use]
    pub fn interruptible() -> Self {
        sys::interrupt_by(INTERRUPTION);
        // The set is ours and the operation exists: there is nothing to fail.
        let _ = sys::set_mask(sys::ALL_SIGNALS & !sys::signal_bit(INTERRUPTION));
        Self(sys::own_thread())
    }

    /// A call that waits, if it is in one, comes back early. It may be about to begin one, so this is to be repeated until
    /// the thread shows that it has noticed.
    pub fn interrupt(self) {
        let _ = sys::signal_thread(self.0, INTERRUPTION);
    }
}

/// Blocks every signal while `execute` takes the place of this program with another: the kernel gives those that have a
/// handler, which are 32 or 33 as well, back their default. Comes back when that could not be.
pub(super) fn keep_while<T>(execute: impl FnOnce() -> T) -> T {
    // The set is ours and the operation exists: there is nothing to fail.
    let before = sys::set_mask(sys::ALL_SIGNALS);
    let failed = execute();
    if let Ok(before) = before {
        let _ = sys::set_mask(before);
    }
    failed
}

/// What a child must set back to the default: after [`Signals::install`] a few, before it whatever there may be.
pub(super) fn to_reset() -> u64 {
    if INSTALLED.load(Ordering::Relaxed) { bits(NOT_DEFAULT) } else { u64::MAX }
}

fn taken() -> u64 {
    bits(TAKEN.into_iter().chain(REAL_TIME))
}

fn bits(signals: impl IntoIterator<Item = i32>) -> u64 {
    signals.into_iter().fold(0, |all, signal| all | sys::signal_bit(signal))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sent to this thread alone: in the test's process others run, which do not block what svinit's own threads do.
    #[test]
    fn a_signal_wakes_and_is_told_once_with_real_time_ones() {
        let before = sys::set_mask(0).unwrap();
        let mut signals = Signals::install().unwrap();
        for signal in [libc::SIGUSR1, libc::SIGUSR1, 37, libc::SIGPIPE, libc::SIGTTOU] {
            sys::signal_own_thread(signal).unwrap();
        }
        let mut polled = [nix::poll::PollFd::new(signals.as_fd(), nix::poll::PollFlags::POLLIN)];
        assert_eq!(nix::poll::poll(&mut polled, 10_000_u16), Ok(1));
        // Other tests end children meanwhile.
        let told: Vec<i32> = signals.pending().filter(|signal| *signal != libc::SIGCHLD).collect();
        assert_eq!(told, [libc::SIGUSR1, 37]);
        assert_eq!(signals.pending().filter(|signal| *signal != libc::SIGCHLD).count(), 0);
        sys::set_mask(before).unwrap();
        assert_eq!(number(&SignalName("RTMIN+3".into())), Some(37));
        assert_eq!(name(37), "RTMIN+3");
    }
}
