//! Where svinit finds itself: facts only.

use nix::sys::statvfs::{FsFlags, statvfs};

use crate::os::procfs;
use crate::os::spawn::capability_names;
use crate::os::sys;
use crate::os::tag;

/// Facts about this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posture {
    /// Its number.
    pub pid: i32,
    /// PID 1 of its namespace.
    pub is_pid1: bool,
    /// Effective user.
    pub uid: u32,
    /// Effective group.
    pub gid: u32,
    /// The root file system cannot be written to.
    pub root_is_read_only: bool,
    /// `/proc` is there.
    pub has_proc: bool,
    /// Nothing it starts can gain privileges.
    pub no_new_privileges: bool,
    /// Effective capabilities by name, without `CAP_`.
    pub capabilities: Vec<String>,
    /// Children can be tagged.
    pub can_tag: bool,
}

impl Posture {
    /// Looks.
    #[must_use]
    pub fn look() -> Self {
        let pid = sys::own_pid();
        Self {
            pid,
            is_pid1: pid == 1,
            uid: sys::geteuid(),
            gid: sys::getegid(),
            root_is_read_only: statvfs("/").is_ok_and(|root| root.flags().contains(FsFlags::ST_RDONLY)),
            has_proc: procfs::is_there(),
            no_new_privileges: sys::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0) == Ok(1),
            capabilities: capability_names(sys::get_capabilities().unwrap_or_default().effective),
            can_tag: tag::is_possible(),
        }
    }
}

/// Makes svinit itself harder to read: no core dumps, and not dumpable, since its memory holds secrets. And lets it open
/// what it may: it holds three descriptors a unit, and 1024 is the soft limit in most containers. Children are not
/// touched by any of it: they get the limits of their unit, or those that svinit was given ([`crate::os::own::Given`]).
pub fn harden() {
    // Lowering one's own limits cannot fail, and a kernel without the call dumps nothing either.
    if let Ok((_, hard)) = sys::get_limit(libc::RLIMIT_CORE) {
        let _ = sys::set_limit(libc::RLIMIT_CORE, 0, hard);
    }
    // Raising a soft limit to the hard one needs no privilege.
    if let Ok((_, hard)) = sys::get_limit(libc::RLIMIT_NOFILE) {
        let _ = sys::set_limit(libc::RLIMIT_NOFILE, hard, hard);
    }
    let _ = sys::prctl(libc::PR_SET_DUMPABLE, 0, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_are_those_of_this_process() {
        let posture = Posture::look();
        assert_eq!(posture.pid, i32::try_from(std::process::id()).unwrap());
        assert_eq!(posture.is_pid1, posture.pid == 1);
        assert!(posture.has_proc);
        assert_eq!(posture.capabilities.contains(&"SETUID".to_owned()), posture.uid == 0);
    }
}
