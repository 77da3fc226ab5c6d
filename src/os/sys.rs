//! The system calls that nobody else wraps: the only `unsafe` of the program, one function a call.
//!
//! What the child of [`crate::os::spawn`] uses is written for it: no allocation, no lock, no panic, the error as a bare
//! number. It shares our memory until it executes, so the C library's wrappers that keep state (`setuid`, `setgroups`,
//! which also signal every thread of ours) are out of the question: these are the kernel's own calls.

use std::cell::Cell;
use std::ffi::{CStr, CString, c_char, c_int, c_long, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicUsize, Ordering};

use crate::lifecycle::event::{ExitStatus, Pid};

/// An error number, without the weight of `io::Error`: made in the child as well.
pub(super) type Errno = i32;

/// The last error number of this thread.
fn errno() -> Errno {
    // SAFETY: the C library's pointer to this thread's own number is always good. The child of `spawn` uses that of
    // the thread which waits for it.
    unsafe { *libc::__errno_location() }
}

fn checked(result: c_long) -> Result<c_long, Errno> {
    if result < 0 { Err(errno()) } else { Ok(result) }
}

/// As a descriptor; the kernel's descriptors fit.
#[expect(clippy::cast_possible_truncation, reason = "the kernel returned an int")]
fn int(value: c_long) -> c_int {
    value as c_int
}

fn io_error(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno)
}

// ---- processes -------------------------------------------------------------------------------------------------

/// A descriptor for the process `pid`.
pub(super) fn pidfd_open(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: two integers in, an integer out; touches no memory of ours.
    let fd = checked(unsafe { libc::syscall(libc::SYS_pidfd_open, pid.0, 0) }).map_err(io_error)?;
    // SAFETY: the kernel made this descriptor for us just now and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(int(fd)) })
}

/// Sends `signal` to the process that the descriptor stands for.
pub(super) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: the third argument may be null: the kernel then fills in the sender as kill(2) does.
    let result = unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, ptr::null::<c_void>(), 0)
    };
    checked(result).map(drop).map_err(io_error)
}

/// `kill(2)`; a negative number is a process group. Real-time signals pass, unlike through `nix`.
pub(super) fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: two integers in, an integer out.
    checked(c_long::from(unsafe { libc::kill(pid, signal) })).map(drop).map_err(io_error)
}

/// Whom [`wait`] waits for.
#[derive(Clone, Copy)]
pub(super) enum Child {
    Any,
    Only(Pid),
}

/// `waitid(2)` for ends, without waiting. With `keep` the zombie stays. `None`: nobody has ended.
pub(super) fn wait(child: Child, keep: bool) -> io::Result<Option<(Pid, ExitStatus)>> {
    let (kind, id) = match child {
        Child::Any => (libc::P_ALL, 0),
        Child::Only(pid) => (libc::P_PID, pid.0.unsigned_abs()),
    };
    let flags = libc::WEXITED | libc::WNOHANG | if keep { libc::WNOWAIT } else { 0 };
    loop {
        // SAFETY: all zeros is a value of this plain C structure.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        // SAFETY: `info` lives over the call and is of the type that the kernel fills in.
        match checked(c_long::from(unsafe { libc::waitid(kind, id, &raw mut info, flags) })) {
            Ok(_) => return Ok(ended(&info)),
            Err(libc::EINTR) => {}
            Err(errno) => return Err(io_error(errno)),
        }
    }
}

/// Waits until a child has ended, and reaps it. For children that never came to execute.
pub(super) fn wait_and_reap(pid: Pid) {
    // SAFETY: waitid accepts a null pointer for what it would tell.
    let wait = || unsafe { libc::waitid(libc::P_PID, pid.0.unsigned_abs(), ptr::null_mut(), libc::WEXITED) };
    while checked(c_long::from(wait())) == Err(libc::EINTR) {}
}

fn ended(info: &libc::siginfo_t) -> Option<(Pid, ExitStatus)> {
    // SAFETY: waitid fills in these fields when it succeeds, and they are zero as we made them when nobody has ended.
    let (pid, value) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return None;
    }
    let status = match info.si_code {
        libc::CLD_EXITED => ExitStatus::Code(u8::try_from(value & 0xff).unwrap_or(u8::MAX)),
        code => ExitStatus::Signal { number: value, core: code == libc::CLD_DUMPED },
    };
    Some((Pid(pid), status))
}

/// Makes the calling process the one that orphans below it fall to, as PID 1 is.
pub(super) fn set_child_subreaper() -> io::Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0).map(drop).map_err(io_error)
}

/// `prctl(2)` with up to two plain numbers.
pub(super) fn prctl(option: c_int, first: u64, second: u64) -> Result<i32, Errno> {
    // SAFETY: only used with options whose arguments are numbers, never pointers.
    checked(c_long::from(unsafe { libc::prctl(option, first, second, 0, 0) })).map(int)
}

/// Effective user of this process.
pub(super) fn geteuid() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::geteuid() }
}

/// Effective group of this process.
pub(super) fn getegid() -> u32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::getegid() }
}

/// Forgets which pages of our own program are mapped: its code and constants, which nobody can have changed. They come
/// back, from the page cache, as they are used.
pub(super) fn unmap_own_code() {
    unsafe extern "C" fn unmap(info: *mut libc::dl_phdr_info, _: libc::size_t, _: *mut c_void) -> c_int {
        // SAFETY: the C library passes a description of what is loaded, alive over the call.
        let info = unsafe { &*info };
        // SAFETY: so many headers are there.
        let headers = unsafe { std::slice::from_raw_parts(info.dlpi_phdr, usize::from(info.dlpi_phnum)) };
        let page = usize::try_from(page_size()).unwrap_or(1 << 16);
        for header in headers.iter().filter(|header| header.p_type == libc::PT_LOAD) {
            if header.p_flags & libc::PF_W != 0 {
                continue;
            }
            let place = |address: u64| usize::try_from(info.dlpi_addr + address).unwrap_or(0);
            // Whole pages only: what the first and the last share with others stays.
            let first = place(header.p_vaddr).next_multiple_of(page);
            let end = place(header.p_vaddr + header.p_filesz) / page * page;
            if let Some(length) = end.checked_sub(first).filter(|length| *length > 0) {
                let start = ptr::with_exposed_provenance_mut(first);
                // SAFETY: a private mapping of a file, never written to, so that each page is the file's; it may even be
                // the code that runs now.
                unsafe { libc::madvise(start, length, libc::MADV_DONTNEED) };
            }
        }
        // The first is the program itself, and there is no other in a static one.
        1
    }
    // SAFETY: the function looks at what it is given and nothing else.
    unsafe { libc::dl_iterate_phdr(Some(unmap), ptr::null_mut()) };
}

/// Gives free memory back to the kernel.
pub(super) fn trim_heap() {
    // SAFETY: the allocator's own function, which touches what is free only.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
}

/// Bytes of a page.
pub(super) fn page_size() -> u64 {
    // SAFETY: one integer in, one out.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

// ---- clone -----------------------------------------------------------------------------------------------------

/// Bytes of the stack of a child between clone and exec. It calls nothing deep; 16 KiB would do.
const STACK_SIZE: usize = 64 * 1024;

/// No page is larger on the machines that Linux runs on.
const GUARD_SIZE: usize = 64 * 1024;

/// A stack of its own for a child, with an unreadable guard below. Shared memory, so that a child which got a copy of
/// our memory instead of our memory can still be seen to fail.
pub(super) struct Stack {
    base: *mut c_void,
}

impl Stack {
    pub(super) fn new() -> io::Result<Self> {
        let flags = libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches nothing that exists.
        let base = unsafe { libc::mmap(ptr::null_mut(), GUARD_SIZE + STACK_SIZE, protection, flags, -1, 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let stack = Self { base };
        // SAFETY: the range is the lower part of the mapping made above, and nobody uses it.
        checked(c_long::from(unsafe { libc::mprotect(base, GUARD_SIZE, libc::PROT_NONE) }))
            .map_err(io_error)?;
        Ok(stack)
    }

    /// The lowest address of it that may be used.
    #[cfg(target_arch = "x86_64")]
    fn bottom(&self) -> *mut c_void {
        // SAFETY: stays inside of the mapping.
        unsafe { self.base.byte_add(GUARD_SIZE) }
    }

    /// Where the stack begins: it grows downwards from here, and the report lies above.
    fn top(&self) -> *mut c_void {
        // SAFETY: stays inside of the mapping; the upper end is left for the report, which keeps it aligned to 16.
        unsafe { self.base.byte_add(GUARD_SIZE + STACK_SIZE - REPORT_SIZE) }
    }

    /// The words through which the child reports.
    pub(super) fn report(&self) -> &[std::sync::atomic::AtomicU32; REPORT_WORDS] {
        // SAFETY: mapped, zeroed by the kernel, aligned to 16, as long as the mapping lives; atomics may be shared.
        unsafe { &*self.top().cast() }
    }
}

/// Words of the report at the top of a [`Stack`].
pub(super) const REPORT_WORDS: usize = 32;

const REPORT_SIZE: usize = REPORT_WORDS * 4;

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `new`, and no child runs on it: `clone` returns when the child has let go.
        unsafe { libc::munmap(self.base, GUARD_SIZE + STACK_SIZE) };
    }
}

/// How a child shares memory with us until it executes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sharing {
    /// Runs in our memory while the calling thread stands still.
    Memory,
    /// Gets a copy; the caller must find out by itself when it has executed.
    Copy,
}

/// How a child is made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Cloning {
    pub(super) sharing: Sharing,
    /// A descriptor for the child is wanted.
    pub(super) pidfd: bool,
    /// It uses our table of descriptors until it takes a copy of a part, by [`unshare_descriptors_below`].
    pub(super) shares_fds: bool,
}

impl Cloning {
    fn flags(self) -> c_int {
        let mut flags = 0;
        if self.sharing == Sharing::Memory {
            flags |= libc::CLONE_VM | libc::CLONE_VFORK;
        }
        if self.pidfd {
            flags |= libc::CLONE_PIDFD;
        }
        if self.shares_fds {
            flags |= libc::CLONE_FILES;
        }
        flags
    }
}

/// Where a child begins.
extern "C" fn enter<F: Fn() -> i32>(body: *mut c_void) -> c_int {
    // SAFETY: `clone` and `clone3` pass a reference to an `F` that outlives the child's use of our memory.
    let body = unsafe { &*body.cast_const().cast::<F>() };
    body()
}

/// Runs `body` in a new process on `stack`; it should execute and never come back. Its number, and a descriptor for it
/// when one is asked for.
pub(super) fn clone<F: Fn() -> i32>(
    stack: &Stack,
    cloning: Cloning,
    body: &F,
) -> Result<(Pid, Option<OwnedFd>), Errno> {
    let mut fd: c_int = -1;
    // SAFETY: the stack is mapped, large enough and used by no other child: each thread has its own, and with
    // CLONE_VFORK this thread goes on only after the child has executed or ended, without it the child has a copy.
    // `body` and `fd` live in this frame, which therefore outlives their use.
    let result = unsafe {
        libc::clone(
            enter::<F>,
            stack.top(),
            cloning.flags() | libc::SIGCHLD,
            ptr::from_ref(body).cast_mut().cast::<c_void>(),
            &raw mut fd,
        )
    };
    let pid = checked(c_long::from(result)).map(int)?;
    Ok((Pid(pid), made(fd)))
}

fn made(fd: c_int) -> Option<OwnedFd> {
    // SAFETY: with CLONE_PIDFD the kernel made this descriptor for us just now and nobody else has it.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// As [`clone`], by `clone3(2)`: the child is born in the control group `cgroup`, the descriptor of its directory.
/// Docker's seccomp profile answers ENOSYS.
#[cfg(target_arch = "x86_64")]
pub(super) fn clone3<F: Fn() -> i32>(
    stack: &Stack,
    cloning: Cloning,
    cgroup: Option<RawFd>,
    body: &F,
) -> Result<(Pid, Option<OwnedFd>), Errno> {
    /// `struct clone_args` of linux/sched.h in its third version.
    #[repr(C, align(8))]
    #[derive(Default)]
    struct Args {
        flags: u64,
        pidfd: u64,
        child_tid: u64,
        parent_tid: u64,
        exit_signal: u64,
        stack: u64,
        stack_size: u64,
        tls: u64,
        set_tid: u64,
        set_tid_size: u64,
        cgroup: u64,
    }
    /// `CLONE_INTO_CGROUP`, which does not fit into the flags of `clone`.
    const INTO_CGROUP: u64 = 1 << 33;

    let mut fd: c_int = -1;
    let bottom = stack.bottom();
    let args = Args {
        flags: u64::from(cloning.flags().unsigned_abs()) | if cgroup.is_some() { INTO_CGROUP } else { 0 },
        pidfd: (&raw mut fd).expose_provenance() as u64,
        exit_signal: u64::from(libc::SIGCHLD.unsigned_abs()),
        stack: bottom.expose_provenance() as u64,
        stack_size: (stack.top().addr() - bottom.addr()) as u64,
        cgroup: cgroup.map_or(0, |fd| u64::from(fd.unsigned_abs())),
        ..Args::default()
    };
    let entry: extern "C" fn(*mut c_void) -> c_int = enter::<F>;
    let result: i64;
    // SAFETY: as in `clone`. The child comes out of the call on its own stack, whose top is aligned to 16, calls `entry`
    // and ends; nothing of this frame but what `body` refers to is touched by it. The parent comes out with every
    // register but rax, rcx and r11 as it was.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "mov edi, eax",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "2:",
            exit = const libc::SYS_exit,
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") &raw const args,
            in("rsi") size_of::<Args>(),
            in("r12") ptr::from_ref(body),
            in("r13") entry,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    match Errno::try_from(-result) {
        Ok(errno) if errno > 0 => Err(errno),
        _ => Ok((Pid(int(result)), made(fd))),
    }
}

/// Nowhere but on x86-64: the child must leave the call on a stack of its own, which takes a few instructions of each
/// architecture. The others are served by [`clone`].
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn clone3<F: Fn() -> i32>(
    _stack: &Stack,
    _cloning: Cloning,
    _cgroup: Option<RawFd>,
    _body: &F,
) -> Result<(Pid, Option<OwnedFd>), Errno> {
    Err(libc::ENOSYS)
}

/// All 64 signals, as the kernel has them; the C library's own sets leave out 32 and 33.
pub(super) const ALL_SIGNALS: u64 = u64::MAX;

/// Sets the calling thread's signal mask, returns what it was.
pub(super) fn set_mask(mask: u64) -> Result<u64, Errno> {
    let mut before: u64 = 0;
    // SAFETY: both pointers are to 8 bytes, which is the kernel's set size and is told to it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const mask,
            &raw mut before,
            size_of::<u64>(),
        )
    };
    checked(result).map(|_| before)
}

/// Ignores every signal in `signals` in this process, 32 and 33 as well, which the C library does not let go.
pub(super) fn ignore_signals(signals: u64) {
    dispose(signals, libc::SIG_IGN as u64);
}

/// Default disposition for every signal in `signals`.
pub(super) fn default_signals(signals: u64) {
    dispose(signals, libc::SIG_DFL as u64);
}

/// Past the C library, and without it in a child. KILL and STOP cannot be disposed of.
fn dispose(signals: u64, handler: u64) {
    // Handler, then flags, restorer and mask in an order that differs between machines, but which are all zeros.
    let action = [handler, 0, 0, 0, 0];
    for signal in 1..=64 {
        if signals & signal_bit(signal) != 0 && signal != libc::SIGKILL && signal != libc::SIGSTOP {
            // SAFETY: the kernel reads a structure of at most 40 bytes from `action`; neither handler is code of ours.
            unsafe {
                libc::syscall(
                    libc::SYS_rt_sigaction,
                    signal,
                    action.as_ptr(),
                    ptr::null::<c_void>(),
                    size_of::<u64>(),
                )
            };
        }
    }
}

/// The bit of a signal in a set.
pub(super) const fn signal_bit(signal: i32) -> u64 {
    1 << (signal - 1)
}

/// A descriptor that is readable while one of `signals` is pending, and gives them one by one. They must be blocked.
pub(super) fn signal_fd(signals: u64) -> io::Result<OwnedFd> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the kernel reads the 8 bytes that it is told of.
    let fd = unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const signals, size_of::<u64>(), flags) };
    // SAFETY: made just now, and nobody else has it.
    checked(fd).map(|fd| unsafe { OwnedFd::from_raw_fd(int(fd)) }).map_err(io_error)
}

/// Bytes that a signal takes when it is read from a [`signal_fd`]; its number is in the first four.
pub(super) const SIGNAL_INFO: usize = size_of::<libc::signalfd_siginfo>();

/// Sends `signal` to the calling thread.
#[cfg(test)]
pub(super) fn signal_own_thread(signal: i32) -> io::Result<()> {
    signal_thread(own_thread(), signal)
}

// ---- what a child does to itself ----------------------------------------------------------------------------

/// A session of its own.
pub(super) fn setsid() -> Result<(), Errno> {
    // SAFETY: no arguments.
    checked(c_long::from(unsafe { libc::setsid() })).map(drop)
}

/// A process group of its own in the same session.
pub(super) fn own_group() -> Result<(), Errno> {
    // SAFETY: two integers.
    checked(c_long::from(unsafe { libc::setpgid(0, 0) })).map(drop)
}

/// The kernel's number for the calling process, past every cache.
pub(super) fn own_pid() -> i32 {
    // SAFETY: no arguments, cannot fail.
    int(unsafe { libc::syscall(libc::SYS_getpid) })
}

/// Makes descriptor 0 the controlling terminal of this session.
pub(super) fn take_terminal() -> Result<(), Errno> {
    // SAFETY: descriptor 0 and the number 0: no terminal is taken away from another session.
    checked(c_long::from(unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) })).map(drop)
}

/// Makes the group `group` the one that the terminal `fd` talks to.
pub(super) fn set_foreground(fd: RawFd, group: i32) -> Result<(), Errno> {
    // SAFETY: the kernel reads one int, which lives over the call.
    checked(c_long::from(unsafe { libc::ioctl(fd, libc::TIOCSPGRP, &raw const group) })).map(drop)
}

/// The group that the terminal `fd` talks to.
pub(super) fn foreground(fd: RawFd) -> Result<i32, Errno> {
    let mut group: c_int = 0;
    // SAFETY: the kernel writes one int, which lives over the call.
    checked(c_long::from(unsafe { libc::ioctl(fd, libc::TIOCGPGRP, &raw mut group) })).map(|_| group)
}

/// The session whose controlling terminal `fd` is.
pub(super) fn terminal_session(fd: RawFd) -> Result<i32, Errno> {
    let mut session: c_int = 0;
    // SAFETY: the kernel writes one int, which lives over the call.
    checked(c_long::from(unsafe { libc::ioctl(fd, libc::TIOCGSID, &raw mut session) })).map(|_| session)
}

/// The session of this process.
pub(super) fn own_session() -> i32 {
    // SAFETY: one integer; of itself it cannot fail.
    unsafe { libc::getsid(0) }
}

/// How nice the calling thread is, -20 (first) to 19. The system call, unlike the function, needs no look at `errno`.
pub(super) fn niceness() -> io::Result<i32> {
    // SAFETY: integers only.
    let turned = checked(unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, 0) });
    turned.map(|turned| 20 - int(turned)).map_err(io_error)
}

/// Makes a thread, 0 for the calling one, as nice as that.
pub(super) fn set_niceness(thread: i32, niceness: i32) -> io::Result<()> {
    // SAFETY: integers only.
    checked(unsafe { libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, thread, niceness) })
        .map(drop)
        .map_err(io_error)
}

/// The process group of this process.
pub(super) fn own_process_group() -> i32 {
    // SAFETY: no arguments, cannot fail.
    unsafe { libc::getpgrp() }
}

/// A copy of `fd` that is at least `lowest` and is closed at exec.
pub(super) fn dup_above(fd: RawFd, lowest: RawFd) -> Result<RawFd, Errno> {
    // SAFETY: integers only; makes a descriptor and closes none.
    checked(c_long::from(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, lowest) })).map(int)
}

/// Makes a copy of `fd` that is at least `lowest`, and closes it.
pub(super) fn touch_above(fd: RawFd, lowest: RawFd) {
    if let Ok(made) = dup_above(fd, lowest) {
        // SAFETY: made just now, and nobody else knows of it.
        drop(unsafe { OwnedFd::from_raw_fd(made) });
    }
}

/// Makes `target` a copy of `fd` that stays open at exec; what `target` was is closed.
pub(super) fn dup_onto(fd: RawFd, target: RawFd) -> Result<(), Errno> {
    // SAFETY: integers only. Called in the child, whose table of descriptors is its own copy.
    checked(unsafe { libc::syscall(libc::SYS_dup3, fd, target, 0) }).map(drop)
}

/// Lets `fd` stay open at exec.
pub(super) fn keep_at_exec(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: integers only.
    checked(c_long::from(unsafe { libc::fcntl(fd, libc::F_SETFD, 0) })).map(drop)
}

/// Lets `fd` be closed at exec.
pub(super) fn close_at_exec(fd: RawFd) -> Result<(), Errno> {
    // SAFETY: integers only.
    checked(c_long::from(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) })).map(drop)
}

/// Lets every descriptor from `first` on be closed at exec.
pub(super) fn close_range_at_exec(first: u32) -> Result<(), Errno> {
    // SAFETY: integers only; no descriptor is closed now.
    checked(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) })
        .map(drop)
}

/// Ends the sharing of descriptors with whoever made us: from here on there is a table of our own with those below
/// `first`. What is above is not even copied. Linux 5.9.
pub(super) fn unshare_descriptors_below(first: u32) -> Result<(), Errno> {
    /// `CLOSE_RANGE_UNSHARE` of linux/close_range.h.
    const UNSHARE: u64 = 2;
    // SAFETY: plain numbers; what is closed is closed in a copy of the table.
    checked(unsafe { libc::syscall(libc::SYS_close_range, u64::from(first), u64::from(u32::MAX), UNSHARE) })
        .map(drop)
}

/// Makes `target`, which is in use, a copy of `fd` that is closed at exec.
pub(super) fn dup_onto_at_exec(fd: RawFd, target: RawFd) -> Result<(), Errno> {
    // SAFETY: integers only; the caller owns `target`.
    checked(unsafe { libc::syscall(libc::SYS_dup3, fd, target, libc::O_CLOEXEC) }).map(drop)
}

/// Takes the descriptor of this number, if it is open, as our own. For those that were left to us by the program whose
/// place we took: nobody else in this one knows of them.
pub(super) fn adopt(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: integers only.
    checked(c_long::from(unsafe { libc::fcntl(fd, libc::F_GETFD) })).ok()?;
    // SAFETY: it is open, and the caller asks for each number once, before it opens anything itself.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Executes the program that `fd` stands for in place of this one; comes back only with an error.
pub(super) fn execute(fd: RawFd, argv: &CStrings, envp: &CStrings) -> Errno {
    let (argv, envp) = (argv.pointers.as_ptr(), envp.pointers.as_ptr());
    // SAFETY: NUL-ended strings in null-ended lists, all alive over the call; an empty path means the descriptor itself.
    unsafe { libc::syscall(libc::SYS_execveat, fd, c"".as_ptr(), argv, envp, libc::AT_EMPTY_PATH) };
    errno()
}

/// The number of the calling thread.
pub(super) fn own_thread() -> i32 {
    // SAFETY: no arguments, cannot fail.
    int(unsafe { libc::syscall(libc::SYS_gettid) })
}

/// Sends `signal` to one thread of ours.
pub(super) fn signal_thread(thread: i32, signal: i32) -> io::Result<()> {
    // SAFETY: plain numbers.
    let sent = unsafe { libc::syscall(libc::SYS_tgkill, own_pid(), thread, signal) };
    checked(sent).map(drop).map_err(io_error)
}

/// Has `signal` interrupt what a thread waits for, and do nothing else.
pub(super) fn interrupt_by(signal: i32) {
    extern "C" fn nothing(_: c_int) {}
    // SAFETY: all zeros is a value of this plain C structure: no flags, so that calls are not taken up again.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = nothing as *const () as usize;
    // SAFETY: the structure lives over the call, and the function does nothing, which is safe at any moment.
    unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
}

/// The signals whose disposition is the default.
pub(super) fn signals_at_default() -> u64 {
    (1..=64).filter(|signal| is_at_default(*signal)).fold(0, |all, signal| all | signal_bit(signal))
}

fn is_at_default(signal: i32) -> bool {
    let mut action = [0_u64; 5];
    // SAFETY: the kernel writes a structure of at most 40 bytes.
    let asked = unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            signal,
            ptr::null::<c_void>(),
            action.as_mut_ptr(),
            size_of::<u64>(),
        )
    };
    // The handler is the first word everywhere but on MIPS.
    checked(asked).is_ok() && action[0] == libc::SIG_DFL as u64
}

/// File mode creation mask; returns what it was.
pub(super) fn umask(mask: u32) -> u32 {
    // SAFETY: one integer; cannot fail.
    unsafe { libc::umask(mask) }
}

/// Working directory.
pub(super) fn chdir(path: &CStr) -> Result<(), Errno> {
    // SAFETY: a string with its NUL, alive over the call.
    checked(c_long::from(unsafe { libc::chdir(path.as_ptr()) })).map(drop)
}

/// One of the `RLIMIT_` numbers; the C libraries disagree about its type.
#[cfg(target_env = "gnu")]
pub(super) type Resource = u32;
#[cfg(not(target_env = "gnu"))]
pub(super) type Resource = i32;

/// `(soft, hard)` of a limit of this process.
pub(super) fn get_limit(resource: Resource) -> Result<(u64, u64), Errno> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes two 64-bit numbers into `limit`.
    checked(unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, ptr::null::<c_void>(), &raw mut limit)
    })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Sets `(soft, hard)` of a limit of this process.
pub(super) fn set_limit(resource: Resource, soft: u64, hard: u64) -> Result<(), Errno> {
    let limit = libc::rlimit64 { rlim_cur: soft, rlim_max: hard };
    // SAFETY: the kernel reads two 64-bit numbers from `limit`.
    checked(unsafe {
        libc::syscall(libc::SYS_prlimit64, 0, resource, &raw const limit, ptr::null::<c_void>())
    })
    .map(drop)
}

/// Niceness of this process.
pub(super) fn set_nice(nice: i32) -> Result<(), Errno> {
    // SAFETY: three integers.
    checked(unsafe { libc::syscall(libc::SYS_setpriority, 0, 0, nice) }).map(drop)
}

/// Supplementary groups of the calling thread.
pub(super) fn set_groups(groups: &[u32]) -> Result<(), Errno> {
    // SAFETY: the kernel reads `len` numbers of 32 bits.
    checked(unsafe { libc::syscall(libc::SYS_setgroups, groups.len(), groups.as_ptr()) }).map(drop)
}

/// Real, effective and saved group of the calling thread.
pub(super) fn set_gid(gid: u32) -> Result<(), Errno> {
    // SAFETY: integers only; the kernel's call changes this thread alone.
    checked(unsafe { libc::syscall(libc::SYS_setresgid, gid, gid, gid) }).map(drop)
}

/// Real, effective and saved user of the calling thread.
pub(super) fn set_uid(uid: u32) -> Result<(), Errno> {
    // SAFETY: integers only; the kernel's call changes this thread alone.
    checked(unsafe { libc::syscall(libc::SYS_setresuid, uid, uid, uid) }).map(drop)
}

/// What a thread may do: one bit a capability.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Capabilities {
    pub(super) effective: u64,
    pub(super) permitted: u64,
    pub(super) inheritable: u64,
}

/// The header of capget and capset, version 3, of the calling thread.
const CAPABILITY_HEADER: [u32; 2] = [0x2008_0522, 0];

/// Capabilities of the calling thread.
pub(super) fn get_capabilities() -> Result<Capabilities, Errno> {
    let mut header = CAPABILITY_HEADER;
    let mut data = [0_u32; 6];
    // SAFETY: version 3 writes two structures of three 32-bit numbers; the header may be written to as well.
    checked(unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), data.as_mut_ptr()) })?;
    let word = |low: usize| u64::from(data[low]) | (u64::from(data[low + 3]) << 32);
    Ok(Capabilities { effective: word(0), permitted: word(1), inheritable: word(2) })
}

/// Sets the capabilities of the calling thread.
#[expect(clippy::cast_possible_truncation, reason = "the halves of a 64-bit number are what is wanted")]
pub(super) fn set_capabilities(wanted: Capabilities) -> Result<(), Errno> {
    let mut header = CAPABILITY_HEADER;
    let Capabilities { effective, permitted, inheritable } = wanted;
    let data = [
        effective as u32,
        permitted as u32,
        inheritable as u32,
        (effective >> 32) as u32,
        (permitted >> 32) as u32,
        (inheritable >> 32) as u32,
    ];
    // SAFETY: version 3 reads two structures of three 32-bit numbers.
    checked(unsafe { libc::syscall(libc::SYS_capset, header.as_mut_ptr(), data.as_ptr()) }).map(drop)
}

/// Opens `path`, which begins in the directory `dir` unless it is absolute, writes `bytes` in one call, closes it. For
/// files of /proc and of control groups.
pub(super) fn write_to(dir: RawFd, path: &CStr, bytes: &[u8]) -> Result<(), Errno> {
    // SAFETY: a string with its NUL, alive over the call.
    let fd = checked(unsafe {
        libc::syscall(libc::SYS_openat, dir, path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC, 0)
    })?;
    let written = write(int(fd), bytes);
    // SAFETY: opened above and given to nobody.
    unsafe { libc::syscall(libc::SYS_close, fd) };
    written
}

/// Writes `bytes` in one call.
pub(super) fn write(fd: RawFd, bytes: &[u8]) -> Result<(), Errno> {
    // SAFETY: the kernel reads `len` bytes of a slice that lives over the call.
    checked(unsafe { libc::syscall(libc::SYS_write, fd, bytes.as_ptr(), bytes.len()) }).map(drop)
}

/// A list of C strings with a null at its end, as exec takes it. Holds the strings.
pub(super) struct CStrings {
    pointers: Vec<*const c_char>,
    texts: Vec<Box<[Cell<u8>]>>,
}

impl CStrings {
    pub(super) fn new(texts: Vec<CString>) -> Self {
        let texts: Vec<Box<[Cell<u8>]>> = texts
            .into_iter()
            .map(|text| text.into_bytes_with_nul().into_iter().map(Cell::new).collect())
            .collect();
        let pointers = texts.iter().map(|text| text.as_ptr().cast()).chain([ptr::null()]).collect();
        Self { pointers, texts }
    }

    /// Writes `bytes` and a NUL into a text from `at` on. In the child, so no panic: what does not fit is left out.
    pub(super) fn patch(&self, text: usize, at: usize, bytes: &[u8]) {
        let Some(text) = self.texts.get(text) else { return };
        for (cell, byte) in text.iter().skip(at).zip(bytes.iter().chain(&[0])) {
            cell.set(*byte);
        }
    }
}

/// Becomes another program; comes back only with an error.
pub(super) fn execve(path: &CStr, argv: &CStrings, envp: &CStrings) -> Errno {
    // SAFETY: NUL-ended strings in null-ended lists, all alive over the call.
    unsafe { libc::syscall(libc::SYS_execve, path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    errno()
}

// ---- our own faults --------------------------------------------------------------------------------------------

/// Faults of a program, and what it does when it gives itself up.
const FAULTS: [c_int; 5] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT];

/// What is executed after a fault: made before, since nothing can be made then.
pub(super) struct Lifeboat {
    /// Our own program.
    pub(super) program: RawFd,
    /// For each of the two states, the arguments that name it.
    pub(super) args: [CStrings; 2],
    /// Which of the arguments says why, and where in it, for each state; the rest of it is room.
    pub(super) why: (usize, [usize; 2]),
    pub(super) room: usize,
    pub(super) env: CStrings,
}

/// The one boat; null before there is one.
static LIFEBOAT: AtomicPtr<Lifeboat> = AtomicPtr::new(ptr::null_mut());

/// Which of the two states is whole: 0 or 1, or 2 for none yet.
static WHOLE_STATE: AtomicUsize = AtomicUsize::new(2);

/// Descriptors up to this one are left open.
static HIGHEST_FD: AtomicI32 = AtomicI32::new(0);

/// Somebody is getting into the boat.
static IS_SINKING: AtomicBool = AtomicBool::new(false);

/// From here on a fault of ours ends in the boat. Faults that others only say we have had change nothing.
pub(super) fn launch_lifeboat(boat: Lifeboat) {
    // It is never given back: a fault may come at any moment.
    LIFEBOAT.store(Box::into_raw(Box::new(boat)), Ordering::Release);
    // SAFETY: all zeros is a value of this plain C structure.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = on_fault as *const () as usize;
    // On the stack that every thread has for that: the fault may be the end of its own.
    action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
    // One at a time: that stack has no room for all of them, one upon the other.
    // SAFETY: a set of ours, alive over the call.
    unsafe { libc::sigfillset(&raw mut action.sa_mask) };
    for signal in FAULTS {
        // SAFETY: the structure lives over the call, and the function does nothing that a handler may not do.
        unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) };
    }
}

/// This state is whole from here on, and these descriptors are named in it at most.
pub(super) fn set_whole_state(state: usize, highest: RawFd) {
    HIGHEST_FD.store(highest, Ordering::Relaxed);
    WHOLE_STATE.store(state, Ordering::Release);
}

extern "C" fn on_fault(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    // SAFETY: the kernel passes a description that lives over the call.
    let info = unsafe { &*info };
    let is_sent = info.si_code <= 0;
    // SAFETY: of a signal that was sent the kernel fills in the sender.
    let is_own = is_sent && signal == libc::SIGABRT && unsafe { info.si_pid() } == own_pid();
    if is_sent && !is_own {
        return;
    }
    let name: &[u8] = match signal {
        libc::SIGSEGV => b"SIGSEGV",
        libc::SIGBUS => b"SIGBUS",
        libc::SIGILL => b"SIGILL",
        libc::SIGFPE => b"SIGFPE",
        _ => b"SIGABRT",
    };
    let mut words = [0_u8; 48];
    let mut len = 0;
    let mut put = |bytes: &[u8]| {
        for byte in bytes {
            if let Some(place) = words.get_mut(len) {
                *place = *byte;
                len += 1;
            }
        }
    };
    put(name);
    if !is_sent {
        put(b" at 0x");
        // SAFETY: a fault that the kernel has seen has an address.
        let address = unsafe { info.si_addr() }.addr();
        for shift in (0..16).rev() {
            put(&[b"0123456789abcdef"[(address >> (4 * shift)) & 15]]);
        }
    }
    take_to_lifeboat(words.get(..len).unwrap_or_default());
    // There is none, or it leaks: the fault takes its course.
    default_signals(signal_bit(signal));
}

/// Executes our own program with the last whole state. Comes back only when that cannot be. Allocates nothing.
pub(super) fn take_to_lifeboat(why: &[u8]) {
    // SAFETY: null, or what `launch_lifeboat` has put there for ever.
    let boat = unsafe { LIFEBOAT.load(Ordering::Acquire).as_ref() };
    let Some(boat) = boat else { return };
    let state = WHOLE_STATE.load(Ordering::Acquire);
    let (text, places) = boat.why;
    let (Some(args), Some(at)) = (boat.args.get(state), places.get(state)) else { return };
    if IS_SINKING.swap(true, Ordering::AcqRel) {
        // Another thread was first, and the end of all is a matter of microseconds.
        loop {
            // SAFETY: no arguments.
            unsafe { libc::pause() };
        }
    }
    let _ = set_mask(ALL_SIGNALS);
    for fd in 3..=HIGHEST_FD.load(Ordering::Relaxed) {
        let _ = keep_at_exec(fd);
    }
    args.patch(text, *at, why.get(..boat.room).unwrap_or(why));
    let _ = execute(boat.program, args, &boat.env);
    IS_SINKING.store(false, Ordering::Release);
}

/// Makes a mistake that ends a program.
pub(super) fn fault() {
    let nowhere: *mut u8 = ptr::without_provenance_mut(8);
    // SAFETY: none: this is for tests, which want to see what follows. The first page is never mapped.
    unsafe { nowhere.write_volatile(1) };
}

// ---- sockets ---------------------------------------------------------------------------------------------------

/// Lets so many connections wait to be accepted, or so many from now on.
pub(super) fn listen(fd: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
    // SAFETY: two integers.
    checked(c_long::from(unsafe { libc::listen(fd.as_raw_fd(), backlog) })).map(drop).map_err(io_error)
}

/// Owns descriptors that arrived in a message. To be called once for each message.
pub(super) fn own_received(fds: &[RawFd]) -> impl Iterator<Item = OwnedFd> {
    // SAFETY: the kernel installed them for this message just now, and nobody else has them.
    fds.iter().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) })
}
