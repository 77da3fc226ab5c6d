//! Which system calls there are and how the kernel can refuse each of them.
//!
//! Only what can really happen is listed: an error that no kernel gives would ask svinit for what it need not do. A call
//! that is not listed at all fails for lack of memory, as any may.

use libc::{
    E2BIG, EACCES, EADDRINUSE, EAGAIN, EBUSY, ECONNABORTED, ECONNREFUSED, EINTR, EINVAL, EIO, EMFILE, ENFILE,
    ENOBUFS, ENODEV, ENOENT, ENOMEM, ENOSPC, ENOSYS, ENOTCONN, EPERM, EPIPE, EROFS, ESRCH,
};

/// One call: its number, its name, and the errors it may come back with.
struct Known {
    call: i64,
    name: &'static str,
    errors: &'static [i32],
}

const fn known(call: i64, name: &'static str, errors: &'static [i32]) -> Known {
    Known { call, name, errors }
}

/// A descriptor is made.
const MAKES: &[i32] = &[EMFILE, ENFILE, ENOMEM];
/// A file is looked at.
const LOOKS: &[i32] = &[EACCES, EIO, ENOMEM];
/// A directory is changed.
const CHANGES: &[i32] = &[ENOSPC, EROFS, EACCES, EIO];
/// Nothing can go wrong with sound arguments.
const NEVER: &[i32] = &[];

const KNOWN: &[Known] = &[
    known(libc::SYS_read, "read", &[EINTR, EIO, EAGAIN]),
    known(libc::SYS_readv, "readv", &[EINTR, EIO, EAGAIN]),
    known(libc::SYS_pread64, "pread64", &[EINTR, EIO]),
    known(libc::SYS_write, "write", &[EINTR, EAGAIN, ENOSPC, EIO]),
    known(libc::SYS_writev, "writev", &[EINTR, EAGAIN, ENOSPC, EIO]),
    known(libc::SYS_recvfrom, "recvfrom", &[EINTR, EAGAIN, ENOMEM]),
    known(libc::SYS_recvmsg, "recvmsg", &[EINTR, EAGAIN, ENOMEM]),
    known(libc::SYS_sendto, "sendto", &[EINTR, EAGAIN, ENOBUFS, EPIPE]),
    known(libc::SYS_sendmsg, "sendmsg", &[EINTR, EAGAIN, ENOBUFS, EPIPE]),
    known(libc::SYS_open, "open", &[EMFILE, ENFILE, EACCES, EIO, ENOSPC]),
    known(libc::SYS_openat, "openat", &[EMFILE, ENFILE, EACCES, EIO, ENOSPC]),
    known(libc::SYS_close, "close", &[EINTR, EIO]),
    known(libc::SYS_close_range, "close_range", &[ENOSYS, ENOMEM, EMFILE]),
    known(libc::SYS_stat, "stat", LOOKS),
    known(libc::SYS_lstat, "lstat", LOOKS),
    known(libc::SYS_fstat, "fstat", LOOKS),
    known(libc::SYS_newfstatat, "newfstatat", LOOKS),
    known(libc::SYS_statx, "statx", &[EACCES, EIO, ENOMEM, ENOSYS]),
    known(libc::SYS_access, "access", LOOKS),
    known(libc::SYS_faccessat, "faccessat", LOOKS),
    known(libc::SYS_readlink, "readlink", LOOKS),
    known(libc::SYS_readlinkat, "readlinkat", LOOKS),
    known(libc::SYS_getdents64, "getdents64", &[EIO]),
    known(libc::SYS_getcwd, "getcwd", &[ENOENT, ENOMEM]),
    known(libc::SYS_statfs, "statfs", LOOKS),
    known(libc::SYS_lseek, "lseek", &[EINVAL]),
    known(libc::SYS_mkdir, "mkdir", CHANGES),
    known(libc::SYS_mkdirat, "mkdirat", CHANGES),
    known(libc::SYS_rmdir, "rmdir", CHANGES),
    known(libc::SYS_unlink, "unlink", CHANGES),
    known(libc::SYS_unlinkat, "unlinkat", CHANGES),
    known(libc::SYS_rename, "rename", CHANGES),
    known(libc::SYS_renameat, "renameat", CHANGES),
    known(libc::SYS_renameat2, "renameat2", CHANGES),
    known(libc::SYS_chmod, "chmod", CHANGES),
    known(libc::SYS_fchmod, "fchmod", CHANGES),
    known(libc::SYS_fchmodat, "fchmodat", CHANGES),
    known(libc::SYS_chown, "chown", &[EPERM, EROFS, EIO]),
    known(libc::SYS_lchown, "lchown", &[EPERM, EROFS, EIO]),
    known(libc::SYS_fchown, "fchown", &[EPERM, EROFS, EIO]),
    known(libc::SYS_fchownat, "fchownat", &[EPERM, EROFS, EIO]),
    known(libc::SYS_ftruncate, "ftruncate", &[EINTR, EIO]),
    known(libc::SYS_fsync, "fsync", &[EIO, ENOSPC]),
    known(libc::SYS_fallocate, "fallocate", &[EINTR, ENOSPC]),
    known(libc::SYS_utimensat, "utimensat", &[EPERM, EROFS]),
    known(libc::SYS_chdir, "chdir", LOOKS),
    known(libc::SYS_fchdir, "fchdir", LOOKS),
    known(libc::SYS_dup, "dup", MAKES),
    known(libc::SYS_dup2, "dup2", &[EBUSY, EINTR, EMFILE]),
    known(libc::SYS_dup3, "dup3", &[EBUSY, EINTR, EMFILE]),
    known(libc::SYS_fcntl, "fcntl", &[EMFILE, EINVAL]),
    known(libc::SYS_ioctl, "ioctl", &[EIO, EINVAL]),
    known(libc::SYS_pipe2, "pipe2", MAKES),
    known(libc::SYS_eventfd2, "eventfd2", &[EMFILE, ENFILE, ENOMEM, ENODEV]),
    known(libc::SYS_signalfd4, "signalfd4", &[EMFILE, ENFILE, ENOMEM, ENODEV]),
    known(libc::SYS_timerfd_create, "timerfd_create", &[EMFILE, ENFILE, ENOMEM, ENODEV]),
    known(libc::SYS_memfd_create, "memfd_create", MAKES),
    known(libc::SYS_inotify_init1, "inotify_init1", MAKES),
    known(libc::SYS_inotify_add_watch, "inotify_add_watch", &[ENOSPC, ENOMEM, EACCES]),
    known(libc::SYS_epoll_create1, "epoll_create1", MAKES),
    known(libc::SYS_epoll_ctl, "epoll_ctl", &[ENOMEM, ENOSPC]),
    known(libc::SYS_epoll_wait, "epoll_wait", &[EINTR]),
    known(libc::SYS_epoll_pwait, "epoll_pwait", &[EINTR]),
    known(libc::SYS_epoll_pwait2, "epoll_pwait2", &[EINTR, ENOSYS]),
    known(libc::SYS_poll, "poll", &[EINTR, ENOMEM]),
    known(libc::SYS_ppoll, "ppoll", &[EINTR, ENOMEM]),
    known(libc::SYS_socket, "socket", &[EMFILE, ENFILE, ENOMEM, ENOBUFS, EACCES]),
    known(libc::SYS_socketpair, "socketpair", &[EMFILE, ENFILE, ENOMEM]),
    known(libc::SYS_bind, "bind", &[EADDRINUSE, EACCES, EROFS, ENOSPC]),
    known(libc::SYS_listen, "listen", &[EADDRINUSE]),
    known(libc::SYS_connect, "connect", &[EAGAIN, EINTR, ECONNREFUSED]),
    known(libc::SYS_accept4, "accept4", &[EMFILE, ENFILE, ENOMEM, ENOBUFS, ECONNABORTED, EINTR]),
    known(libc::SYS_shutdown, "shutdown", &[ENOTCONN]),
    known(libc::SYS_getsockname, "getsockname", &[ENOBUFS]),
    known(libc::SYS_getpeername, "getpeername", &[ENOTCONN, ENOBUFS]),
    known(libc::SYS_getsockopt, "getsockopt", &[ENOBUFS]),
    known(libc::SYS_setsockopt, "setsockopt", &[ENOMEM, ENOBUFS]),
    known(libc::SYS_clone, "clone", &[EAGAIN, ENOMEM]),
    known(libc::SYS_clone3, "clone3", &[EAGAIN, ENOMEM, ENOSYS]),
    known(libc::SYS_fork, "fork", &[EAGAIN, ENOMEM]),
    known(libc::SYS_vfork, "vfork", &[EAGAIN, ENOMEM]),
    known(libc::SYS_execve, "execve", &[EAGAIN, ENOMEM, EIO, EMFILE, E2BIG]),
    known(libc::SYS_execveat, "execveat", &[EAGAIN, ENOMEM, EIO, EMFILE, E2BIG]),
    known(libc::SYS_wait4, "wait4", &[EINTR]),
    known(libc::SYS_waitid, "waitid", &[EINTR]),
    known(libc::SYS_kill, "kill", &[EPERM]),
    known(libc::SYS_tgkill, "tgkill", &[EAGAIN]),
    known(libc::SYS_pidfd_open, "pidfd_open", &[EMFILE, ENFILE, ENOMEM, ENODEV]),
    known(libc::SYS_pidfd_send_signal, "pidfd_send_signal", &[EPERM, ESRCH]),
    known(libc::SYS_setsid, "setsid", &[EPERM]),
    known(libc::SYS_setpgid, "setpgid", &[EPERM]),
    known(libc::SYS_setgroups, "setgroups", &[EPERM, ENOMEM]),
    known(libc::SYS_setresuid, "setresuid", &[EPERM, EAGAIN]),
    known(libc::SYS_setresgid, "setresgid", &[EPERM]),
    known(libc::SYS_setpriority, "setpriority", &[EACCES]),
    known(libc::SYS_prlimit64, "prlimit64", &[EPERM]),
    known(libc::SYS_setrlimit, "setrlimit", &[EPERM]),
    known(libc::SYS_prctl, "prctl", &[EPERM, EINVAL]),
    known(libc::SYS_capset, "capset", &[EPERM]),
    known(libc::SYS_getrandom, "getrandom", &[ENOSYS]),
    known(libc::SYS_sched_getaffinity, "sched_getaffinity", &[ENOMEM]),
    known(libc::SYS_mmap, "mmap", &[ENOMEM]),
    known(libc::SYS_mremap, "mremap", &[ENOMEM]),
    known(libc::SYS_mprotect, "mprotect", &[ENOMEM]),
    known(libc::SYS_brk, "brk", &[ENOMEM]),
    known(libc::SYS_madvise, "madvise", &[ENOMEM, EAGAIN]),
    known(libc::SYS_munmap, "munmap", &[ENOMEM]),
    known(libc::SYS_uname, "uname", NEVER),
    known(libc::SYS_umask, "umask", NEVER),
    known(libc::SYS_getpid, "getpid", NEVER),
    known(libc::SYS_gettid, "gettid", NEVER),
    known(libc::SYS_getppid, "getppid", NEVER),
    known(libc::SYS_getuid, "getuid", NEVER),
    known(libc::SYS_geteuid, "geteuid", NEVER),
    known(libc::SYS_getgid, "getgid", NEVER),
    known(libc::SYS_getegid, "getegid", NEVER),
    known(libc::SYS_getrlimit, "getrlimit", NEVER),
    known(libc::SYS_rt_sigprocmask, "rt_sigprocmask", NEVER),
    known(libc::SYS_rt_sigaction, "rt_sigaction", NEVER),
    known(libc::SYS_rt_sigreturn, "rt_sigreturn", NEVER),
    known(libc::SYS_sigaltstack, "sigaltstack", NEVER),
    known(libc::SYS_set_tid_address, "set_tid_address", NEVER),
    known(libc::SYS_set_robust_list, "set_robust_list", NEVER),
    known(libc::SYS_arch_prctl, "arch_prctl", NEVER),
    known(libc::SYS_rseq, "rseq", NEVER),
    known(libc::SYS_futex, "futex", NEVER),
    known(libc::SYS_sched_yield, "sched_yield", NEVER),
    known(libc::SYS_clock_gettime, "clock_gettime", NEVER),
    known(libc::SYS_clock_nanosleep, "clock_nanosleep", NEVER),
    known(libc::SYS_restart_syscall, "restart_syscall", NEVER),
    known(libc::SYS_exit, "exit", NEVER),
    known(libc::SYS_exit_group, "exit_group", NEVER),
];

fn find(call: i64) -> Option<&'static Known> {
    KNOWN.iter().find(|known| known.call == call)
}

/// What people call it.
pub(super) fn name(call: i64) -> String {
    find(call).map_or_else(|| format!("call {call}"), |known| known.name.to_owned())
}

/// How it may be refused, the likeliest first.
pub(super) fn errors(call: i64) -> &'static [i32] {
    find(call).map_or(&[ENOMEM], |known| known.errors)
}

/// Whether the kernel could refuse the call in this way for this descriptor: `target` is what its link in `/proc` says.
/// Only files can be full or damaged; a wake-up can only be there already; only a file has anything to write at its end.
pub(super) fn fits(call: i64, errno: i32, target: &str, is_folder: bool) -> bool {
    let is_file = target.starts_with('/') && !is_folder;
    let is_wake_up = target.starts_with("anon_inode:");
    match call {
        libc::SYS_close => is_file,
        libc::SYS_read | libc::SYS_readv | libc::SYS_write | libc::SYS_writev => match errno {
            EAGAIN => !is_file,
            EINTR => !is_wake_up,
            _ => is_file,
        },
        _ => true,
    }
}

/// A call by which the process gets or gives back memory: when that fails the C library or Rust decides what happens.
pub(super) fn is_memory(call: i64) -> bool {
    [libc::SYS_mmap, libc::SYS_mremap, libc::SYS_mprotect, libc::SYS_brk, libc::SYS_madvise, libc::SYS_munmap]
        .contains(&call)
}

/// After such a failure svinit may leave a file that it wanted to remove.
pub(super) fn changes_directories(call: i64) -> bool {
    [libc::SYS_unlink, libc::SYS_unlinkat, libc::SYS_rmdir, libc::SYS_openat].contains(&call)
}

/// After such a failure svinit may be unable to end a process.
pub(super) fn sends_signals(call: i64) -> bool {
    [libc::SYS_kill, libc::SYS_tgkill, libc::SYS_pidfd_send_signal].contains(&call)
}
