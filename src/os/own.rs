//! Our own process: the limits that its children are to have back, and a way to signal them without a pidfd.

use std::io;
use std::os::fd::AsRawFd;

use serde::{Deserialize, Serialize};

use crate::lifecycle::event::Pid;
use crate::os::sys;

/// What svinit itself needs, and the hooks and clients of a few units.
const DESCRIPTORS_MIN: u64 = 256;

/// Beyond that the table would cost more than 512 KiB.
const DESCRIPTORS_MAX: u64 = 65_536;

/// Soft limits of this process that are not what its children should have. `None`: as it is, it is theirs too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Of core files.
    pub core: Option<u64>,
    /// Of open descriptors.
    pub nofile: Option<u64>,
}

impl Given {
    /// The soft limits that `posture::harden` is going to change. To be asked before.
    #[must_use]
    pub fn look() -> Self {
        let core = sys::get_limit(libc::RLIMIT_CORE).ok().map(|(soft, _)| soft).filter(|soft| *soft > 0);
        let nofile = sys::get_limit(libc::RLIMIT_NOFILE).ok();
        Self { core, nofile: nofile.filter(|(soft, hard)| soft < hard).map(|(soft, _)| soft) }
    }
}

/// Makes room for `count` descriptors. To be called before the first thread: the kernel grows the table of a process with
/// threads only after a grace period of its own (`expand_fdtable` calls `synchronize_rcu`), in which everybody waits some
/// 10 ms, at 64 descriptors, at 128, at 256 and so on.
pub fn expect_descriptors(count: usize) {
    let limit = sys::get_limit(libc::RLIMIT_NOFILE).map_or(DESCRIPTORS_MIN, |(soft, _)| soft);
    let highest = u64::try_from(count).unwrap_or(u64::MAX).clamp(DESCRIPTORS_MIN, DESCRIPTORS_MAX).min(limit);
    let highest = i32::try_from(highest).unwrap_or(i32::MAX).saturating_sub(1);
    // It need not succeed, and the table keeps its size when this one is closed again.
    let _ = std::io::pipe().map(|(reader, _)| sys::touch_above(reader.as_raw_fd(), highest));
}

/// Gives back what only the start needed: three quarters of the program are readers of units, command lines and the like,
/// and freed memory. What is used again comes back from the page cache.
pub fn settle() {
    sys::trim_heap();
    sys::unmap_own_code();
}

/// Signals a child of ours that was not reaped, so that its number is still its own; for kernels without pidfds.
///
/// # Errors
/// `EPERM`, when it runs as somebody whom we may not signal.
pub fn signal_child(pid: Pid, signal: i32) -> io::Result<()> {
    sys::kill(pid.0, signal)
}
