//! The tag by which the processes of a run are known: its number in their soft limit `RLIMIT_RTTIME`.
//!
//! The limit means nothing to processes that are not real-time. It is inherited over fork, exec, setsid and setuid,
//! needs no privilege, survives an emptied environment, and is readable in `/proc/PID/limits`, of a zombie too.
//!
//! Several svinit can see each other's processes: one started as a unit of another, or one in a container that runs in
//! ours. So between 2^60 and the run's number there are 24 bits that tell svinits apart, made of the PID namespace and
//! our PID in it. They stay the same over a re-exec, and a run of another svinit is never taken for ours.

use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use crate::lifecycle::event::{Pid, RunId};
use crate::os::procfs;
use crate::os::sys;

/// Every tag is at least this: no limit that a person would set.
const BASE: u64 = 1 << 60;

/// Bits for the run's number: at 1,000 a second they last for two years.
const RUN_BITS: u32 = 36;

/// Bits that tell one svinit from another.
const OWNER_BITS: u32 = 24;

/// `RLIMIT_RTTIME`.
pub(super) const RESOURCE: sys::Resource = libc::RLIMIT_RTTIME;

/// The soft limit that marks the processes of `run`.
#[must_use]
pub fn number(run: RunId) -> u64 {
    BASE | (owner() << RUN_BITS) | (run.0 & run_mask())
}

/// The run that a soft limit marks, if it is one of this svinit.
#[must_use]
pub fn run(soft: u64) -> Option<RunId> {
    (soft & !run_mask() == BASE | (owner() << RUN_BITS)).then_some(RunId(soft & run_mask()))
}

/// The run that `pid` is marked with: any process, a zombie too.
#[must_use]
pub fn of(pid: Pid) -> Option<RunId> {
    run(procfs::rttime(pid)?)
}

/// Whether children can be tagged at all: the hard limit, which nobody without privilege can raise, must allow it.
#[must_use]
pub fn is_possible() -> bool {
    sys::get_limit(RESOURCE).is_ok_and(|(_, hard)| hard >= 2 * BASE)
}

const fn run_mask() -> u64 {
    (1 << RUN_BITS) - 1
}

/// The bits of this svinit.
fn owner() -> u64 {
    static OWNER: OnceLock<u64> = OnceLock::new();
    *OWNER.get_or_init(|| {
        let namespace = std::fs::metadata("/proc/self/ns/pid").map_or(0, |file| file.ino());
        let pid = u64::from(std::process::id());
        // Fibonacci hashing: neighbours in either number land far apart.
        let mixed = (namespace << 22 ^ pid).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed >> (64 - OWNER_BITS)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_gives_its_run_back_and_nothing_else_does() {
        for number_wanted in [0, 1, 77, run_mask()] {
            assert_eq!(run(number(RunId(number_wanted))), Some(RunId(number_wanted)));
        }
        assert_eq!(run(u64::MAX), None);
        assert_eq!(run(200_000), None);
        assert_eq!(run(number(RunId(1)) ^ (1 << RUN_BITS)), None, "the same run of another svinit");
        assert!(number(RunId(run_mask())) < 2 * BASE);
    }
}
