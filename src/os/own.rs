//! Our own process: the limit that its children are to have back, and a way to signal them without a pidfd.

use std::io;

use crate::lifecycle::event::Pid;
use crate::os::sys;

/// The soft limit on core files that this process has. To be asked before `posture::harden` takes it away.
#[must_use]
pub fn core_limit() -> Option<u64> {
    sys::get_limit(libc::RLIMIT_CORE).ok().map(|(soft, _)| soft)
}

/// Signals a child of ours that was not reaped, so that its number is still its own; for kernels without pidfds.
///
/// # Errors
/// `EPERM`, when it runs as somebody whom we may not signal.
pub fn signal_child(pid: Pid, signal: i32) -> io::Result<()> {
    sys::kill(pid.0, signal)
}
