//! Runs svinit under our eyes and lets one system call fail.
//!
//! A thread of its own traces svinit, its threads, and its children until they have executed; services run untraced.
//! Each call is counted by who makes it and which it is. The one that is to fail is not carried out (but for `close`,
//! which gives the descriptor back whatever it returns, and so does here), and returns the error.
//!
//! What is easy to get wrong: other tests of this process have children too, so only what belongs to this thread is
//! waited for (`__WNOTHREAD`). The news of a new process and its own first stop come in either order.

#![expect(
    clippy::disallowed_methods,
    reason = "a test starts svinit as a user would, and what traces is a thread"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::libc::SYS_brk;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::calls;

/// Who makes a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    /// One of svinit's threads.
    Svinit,
    /// A process that svinit has made, before it executes.
    Child,
}

/// The call that is to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// Whose.
    pub(super) who: Who,
    /// Which, as the kernel counts them.
    pub(super) call: i64,
    /// The how manieth, from 1.
    pub(super) nth: u32,
    /// All that follow fail as well.
    pub(super) lasting: bool,
    /// What it returns.
    pub(super) errno: i32,
}

/// How often each call was made.
pub(super) type Calls = BTreeMap<(Who, i64), u32>;

/// What a run came to.
pub(super) struct Run {
    /// The calls that were made.
    pub(super) calls: Calls,
    /// The fault has happened.
    pub(super) met: bool,
    /// How svinit, or what stands in front of it, has ended.
    pub(super) status: ExitStatus,
}

/// A run that goes on.
pub(super) struct Tracing {
    /// What was started; killing it ends everything.
    root: Pid,
    end: Receiver<Result<Run, Errno>>,
}

/// What a tracee is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// What stands in front of svinit.
    Prelude,
    Part(Who),
}

struct Tracer {
    program: PathBuf,
    root: Pid,
    fault: Option<Fault>,
    tracees: BTreeMap<Pid, Role>,
    /// Have stopped before we were told what they are.
    early: BTreeSet<Pid>,
    /// What their present call is to return.
    refused: BTreeMap<Pid, u64>,
    /// What `brk` has told last.
    end_of_heap: u64,
    calls: Calls,
    met: bool,
}

/// Starts `command`, which becomes `program` sooner or later, and lets `fault` happen in that.
pub(super) fn start(mut command: Command, program: PathBuf, fault: Option<Fault>) -> Tracing {
    let (tell, end) = channel();
    let (tell_root, root) = channel();
    thread::spawn(move || {
        let root = Pid::from_raw(i32::try_from(command.spawn().unwrap().id()).unwrap());
        tell_root.send(root).unwrap();
        let mut tracer = Tracer {
            program,
            root,
            fault,
            tracees: BTreeMap::from([(root, Role::Prelude)]),
            early: BTreeSet::new(),
            refused: BTreeMap::new(),
            end_of_heap: 0,
            calls: Calls::new(),
            met: false,
        };
        let status = tracer.run();
        let Tracer { calls, met, .. } = tracer;
        // Whoever has lost patience does not want to know.
        let _ = tell.send(status.map(|status| Run { calls, met, status }));
    });
    Tracing { root: root.recv().unwrap(), end }
}

/// The words of a shell that stops until it is traced, and then becomes what follows.
pub(super) const STOPPED: [&str; 3] = ["sh", "-c", "kill -STOP $$; exec \"$0\" \"$@\""];

impl Tracing {
    /// The process that was started.
    pub(super) fn root(&self) -> i32 {
        self.root.as_raw()
    }

    /// Why nothing can be traced here, if so.
    pub(super) fn refusal() -> Option<String> {
        let mut nothing = Command::new(STOPPED[0]);
        nothing.args(&STOPPED[1..]).arg("true");
        let tracing = start(nothing, PathBuf::from("/nowhere"), None);
        let why = tracing.end.recv().expect("the thread tells before it ends").err();
        why.inspect(|_| tracing.kill()).map(|errno| errno.desc().to_owned())
    }

    /// What it came to, if it comes to that in time.
    pub(super) fn end_within(&self, patience: Duration) -> Option<Run> {
        match self.end.recv_timeout(patience) {
            Ok(run) => Some(run.expect("what we have started can be traced")),
            Err(RecvTimeoutError::Timeout) => None,
            Err(error @ RecvTimeoutError::Disconnected) => panic!("the tracing thread is gone: {error}"),
        }
    }

    /// Kills everything.
    pub(super) fn kill(&self) {
        let _ = kill(self.root, Signal::SIGKILL);
    }
}

impl Tracer {
    fn run(&mut self) -> Result<ExitStatus, Errno> {
        let own = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        waitpid(self.root, Some(own | WaitPidFlag::WUNTRACED))?;
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_EXITKILL;
        ptrace::seize(self.root, options)?;
        kill(self.root, Signal::SIGCONT)?;
        loop {
            let status = match waitpid(None, Some(own)) {
                // A real-time signal, which has no name there; nobody sends any.
                Err(Errno::EINTR | Errno::EINVAL) => continue,
                status => status?,
            };
            match status {
                WaitStatus::Exited(pid, code) if pid == self.root => {
                    return Ok(ExitStatus::from_raw(code << 8));
                }
                WaitStatus::Signaled(pid, signal, _) if pid == self.root => {
                    return Ok(ExitStatus::from_raw(signal as i32));
                }
                WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => {
                    self.tracees.remove(&pid);
                    self.refused.remove(&pid);
                }
                WaitStatus::PtraceEvent(pid, signal, event) => self.on_event(pid, signal, event),
                WaitStatus::PtraceSyscall(pid) => {
                    self.on_call(pid);
                    self.go_on(pid, None);
                }
                WaitStatus::Stopped(pid, signal) => self.go_on(pid, Some(signal)),
                WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
            }
        }
    }

    /// Whoever was killed meanwhile cannot be told to go on, and need not.
    fn go_on(&self, pid: Pid, signal: Option<Signal>) {
        let _ = match self.tracees.get(&pid) {
            Some(Role::Part(_)) => ptrace::syscall(pid, signal),
            Some(Role::Prelude) | None => ptrace::cont(pid, signal),
        };
    }

    fn on_event(&mut self, pid: Pid, _signal: Signal, event: i32) {
        let is = |known: Event| event == known as i32;
        if is(Event::PTRACE_EVENT_CLONE) || is(Event::PTRACE_EVENT_FORK) || is(Event::PTRACE_EVENT_VFORK) {
            self.on_new(pid, is(Event::PTRACE_EVENT_CLONE));
        } else if is(Event::PTRACE_EVENT_EXEC) {
            if self.on_exec(pid) {
                return;
            }
        } else if is(Event::PTRACE_EVENT_STOP) && !self.tracees.contains_key(&pid) {
            self.early.insert(pid);
            return;
        }
        self.go_on(pid, None);
    }

    fn on_new(&mut self, parent: Pid, is_thread: bool) {
        let Ok(number) = ptrace::getevent(parent) else { return };
        let new = Pid::from_raw(i32::try_from(number).expect("the kernel tells a PID"));
        let role = match self.tracees.get(&parent) {
            Some(Role::Part(Who::Svinit)) if is_thread => Role::Part(Who::Svinit),
            Some(Role::Part(_)) => Role::Part(Who::Child),
            Some(Role::Prelude) | None => Role::Prelude,
        };
        self.tracees.insert(new, role);
        if self.early.remove(&new) {
            self.go_on(new, None);
        }
    }

    /// Services are let go; the program is what is looked at. True when nobody is left to go on.
    fn on_exec(&mut self, pid: Pid) -> bool {
        match self.tracees.get(&pid) {
            Some(Role::Part(Who::Child)) => {
                self.tracees.remove(&pid);
                let _ = ptrace::detach(pid, None);
                return true;
            }
            Some(Role::Prelude)
                if fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == self.program) =>
            {
                self.tracees.insert(pid, Role::Part(Who::Svinit));
            }
            Some(_) | None => {}
        }
        false
    }

    fn on_call(&mut self, pid: Pid) {
        let (Some(Role::Part(who)), Ok(info)) = (self.tracees.get(&pid).copied(), ptrace::syscall_info(pid))
        else {
            return;
        };
        let Ok(mut regs) = ptrace::getregs(pid) else { return };
        if info.op == nix::libc::PTRACE_SYSCALL_INFO_ENTRY {
            let call = i64::try_from(regs.orig_rax).unwrap_or(-1);
            let count = self.calls.entry((who, call)).or_default();
            *count += 1;
            let Some(fault) = self.fault.filter(|fault| (fault.who, fault.call) == (who, call)) else {
                return;
            };
            let is_due = *count == fault.nth || fault.lasting && *count > fault.nth;
            if is_due
                && is_possible(pid, call, regs.rdi, fault.errno)
                && (call != SYS_brk || self.end_of_heap > 0)
            {
                self.met = true;
                // The kernel refuses more memory by telling where it ends now.
                let result =
                    if call == SYS_brk { self.end_of_heap } else { i64::from(-fault.errno).cast_unsigned() };
                self.refused.insert(pid, result);
                if call != nix::libc::SYS_close {
                    regs.orig_rax = u64::MAX;
                    let _ = ptrace::setregs(pid, regs);
                }
            }
        } else if let Some(result) = self.refused.remove(&pid) {
            regs.rax = result;
            let _ = ptrace::setregs(pid, regs);
        } else if regs.orig_rax == SYS_brk.cast_unsigned() {
            self.end_of_heap = regs.rax;
        }
    }
}

/// Whether the kernel could say so of the descriptor that is the call's first argument, if that is one.
fn is_possible(pid: Pid, call: i64, descriptor: u64, errno: i32) -> bool {
    let link = PathBuf::from(format!("/proc/{pid}/fd/{}", descriptor & 0xffff_ffff));
    let target = fs::read_link(&link).unwrap_or_default();
    calls::fits(call, errno, &target.to_string_lossy(), fs::metadata(&link).is_ok_and(|about| about.is_dir()))
}
