//! Processes on which a signal does not act: paused, traced, waiting in the kernel, frozen. None of them may hold up
//! others, or the end of everything.

#![expect(clippy::disallowed_methods, reason = "a test starts processes that hold others")]

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::fixture::{Essential, Setup, Svinit, both, eventually, kill, processes_with, skip};

const STAY: &str = "command = [\"sleep\", \"600\"]";

/// As PID 1 or not; `None` where that cannot be.
fn setup(pid1: bool) -> Option<Setup> {
    if pid1 { Setup::new().pid1() } else { Some(Setup::new()) }
}

#[test]
fn paused_processes_can_be_stopped_with_all_that_is_below_them() {
    for (seconds, pid1) in [("3600.1001", false), ("3600.1002", true)] {
        let Some(setup) = setup(pid1) else { return };
        let mark = format!("sleep {seconds}");
        let script = format!("{mark} & setsid {mark} & exec {mark}");
        let unit = format!("command = [\"sh\", \"-c\", {script:?}]\nstop.timeout = \"1h\"");
        let svinit =
            setup.config("shutdown_timeout = \"1h\"\n").unit("web", &unit).unit("stay", STAY).start();
        eventually("all three sleep", || processes_with(&mark).len() == 3);
        for pid in processes_with(&mark) {
            kill(pid, "STOP");
            eventually("it has stopped", || state_of(pid) == Some('T'));
        }
        assert_eq!(svinit.svctl("stop web").code, 0);
        assert!(processes_with(&mark).is_empty());
        assert_eq!(svinit.status("web")["last_exit"]["signal"], "TERM", "CONT follows the signal");
        assert_eq!(svinit.status("stay")["state"], "ready");
    }
}

/// The state of a process as `ps` shows it.
fn state_of(pid: i32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

/// Attaches to argv[1], which stands still from then on; lets it go on with each signal if there is an argv[2], else
/// takes no notice of anything.
const TRACER: &str = "
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
pid = int(sys.argv[1])
ATTACH, CONT = 16, 7
def ptrace(what, data):
    if libc.ptrace(what, pid, None, ctypes.c_void_p(data)) != 0:
        print('refused', os.strerror(ctypes.get_errno()), flush=True)
        os._exit(1)
ptrace(ATTACH, 0)
os.waitpid(pid, 0x40000000)
print('attached', flush=True)
if len(sys.argv) == 2:
    signal.pause()
ptrace(CONT, 0)
while True:
    _, status = os.waitpid(pid, 0x40000000)
    if not os.WIFSTOPPED(status):
        break
    ptrace(CONT, os.WSTOPSIG(status))
";

/// A process that traces `pid`; `None`, with the reason, where that is forbidden.
fn traced(pid: i32, more: &[&str]) -> Option<Child> {
    let mut command = Command::new("python3");
    command.args(["-c", TRACER, &pid.to_string()]).args(more).stdout(Stdio::piped());
    let mut tracer = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(tracer.stdout.take().unwrap()).read_line(&mut line).unwrap();
    if line.trim() == "attached" {
        return Some(tracer);
    }
    skip(&format!("processes cannot be traced here: {}", line.trim()), Essential::No);
    let _ = tracer.wait();
    None
}

#[test]
fn a_process_under_a_debugger_that_works_is_stopped_like_any_other() {
    both(|setup| {
        let svinit = setup.unit("web", STAY).unit("stay", STAY).start();
        svinit.wait_for("web", "ready");
        let Some(mut tracer) = traced(outer_pid(&svinit, "web"), &["goes on"]) else { return };
        assert_eq!(svinit.svctl("stop web").code, 0);
        assert_eq!(svinit.status("web")["last_exit"]["signal"], "TERM");
        tracer.wait().unwrap();
    });
}

#[test]
fn a_process_that_a_debugger_holds_is_killed_and_told_of_and_holds_up_no_one() {
    both(|setup| {
        let unit = format!("{STAY}\nstop.timeout = \"200ms\"");
        let svinit =
            setup.config("shutdown_timeout = \"2s\"\n").unit("web", &unit).unit("stay", STAY).start();
        svinit.wait_for("web", "ready");
        let stay = svinit.wait_for("stay", "ready");
        let pid = outer_pid(&svinit, "web");
        let Some(mut tracer) = traced(pid, &[]) else { return };
        assert_eq!(svinit.svctl("stop web --no-wait").code, 0);
        // Dead, but only its tracer may know of it as long as that holds on.
        eventually("it was killed", || state_of(pid) == Some('Z'));
        assert_eq!(svinit.status("web")["state"], "stopping");
        // Meanwhile everything else goes its way.
        assert_eq!(svinit.svctl("restart stay").code, 0);
        svinit.wait_for_another("stay", "ready", stay);
        svinit.wait_for_event("web", "to be said to resist", |event| {
            event["why"].as_str().is_some_and(|why| why.contains("KILL"))
        });
        tracer.kill().unwrap();
        tracer.wait().unwrap();
        svinit.wait_for("web", "inactive");
    });
}

#[test]
fn the_end_of_everything_does_not_wait_for_what_cannot_be_killed() {
    let unit = format!("{STAY}\nstop.timeout = \"200ms\"");
    let svinit =
        Setup::new().config("shutdown_timeout = \"1s\"\n").unit("web", &unit).unit("stay", STAY).start();
    svinit.wait_for("web", "ready");
    let Some(mut tracer) = traced(outer_pid(&svinit, "web"), &[]) else { return };
    svinit.signal("TERM");
    svinit.wait_for_end();
    let said = svinit.output();
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("web"), "the last line names what was left behind:\n{said}");
    tracer.kill().unwrap();
    tracer.wait().unwrap();
}

/// Has a child by vfork that never executes anything, and waits for it in the kernel, where a handler of TERM is not
/// called; KILL ends it.
const VFORK: &str = "#include <signal.h>\n#include <unistd.h>\nstatic void note(int signal) { (void)signal; }\n\
    int main(void) { signal(SIGTERM, note); if (vfork() == 0) for (;;) pause(); return 0; }\n";

#[test]
fn a_process_in_an_uninterruptible_sleep_is_killed_after_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let (source, program) = (dir.path().join("held.c"), dir.path().join("held"));
    fs::write(&source, VFORK).unwrap();
    let made = Command::new("cc").arg("-o").arg(&program).arg(&source).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    for pid1 in [false, true] {
        let Some(setup) = setup(pid1) else { return };
        let unit = format!("command = [{program:?}]\nstop.timeout = \"200ms\"");
        let svinit = setup.unit("web", &unit).unit("stay", STAY).start();
        svinit.wait_for("web", "ready");
        let pid = outer_pid(&svinit, "web");
        eventually("it is in D", || state_of(pid) == Some('D'));
        assert_eq!(svinit.svctl("stop web").code, 0);
        assert_eq!(svinit.status("web")["last_exit"]["signal"], "KILL");
        let mark = program.to_str().unwrap();
        assert!(processes_with(mark).is_empty(), "its child is not left behind");
        assert_eq!(svinit.status("stay")["state"], "ready");
    }
}

/// A freezer of version 1: what is in there cannot even be killed until it thaws.
struct Freezer {
    dir: PathBuf,
}

impl Freezer {
    fn new() -> std::io::Result<Self> {
        let dir = PathBuf::from(format!("/sys/fs/cgroup/freezer/svinit-test-{}", std::process::id()));
        fs::create_dir(&dir)?;
        Ok(Self { dir })
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.dir.join(file), text).unwrap();
    }
}

impl Drop for Freezer {
    fn drop(&mut self) {
        let _ = fs::write(self.dir.join("freezer.state"), "THAWED");
        eventually("the freezer is empty", || {
            fs::read_to_string(self.dir.join("cgroup.procs")).unwrap_or_default().is_empty()
        });
        let _ = fs::remove_dir(&self.dir);
    }
}

#[test]
fn a_frozen_service_is_told_of_and_holds_up_neither_others_nor_the_end() {
    let freezer = match Freezer::new() {
        Ok(freezer) => freezer,
        Err(why) => return skip(&format!("no freezer of control groups version 1: {why}"), Essential::No),
    };
    let unit = format!("{STAY}\nstop.timeout = \"200ms\"");
    let setup = Setup::new().config("shutdown_timeout = \"1s\"\n");
    let svinit = setup.unit("web", &unit).unit("stay", STAY).start();
    let pid = svinit.wait_for("web", "ready").unwrap();
    let stay = svinit.wait_for("stay", "ready");
    freezer.write("cgroup.procs", &pid.to_string());
    freezer.write("freezer.state", "FROZEN");
    assert_eq!(svinit.svctl("stop web --no-wait").code, 0);
    svinit.wait_for_event("web", "to be said to resist", |event| {
        event["why"].as_str().is_some_and(|why| why.contains("KILL"))
    });
    assert_eq!(svinit.svctl("restart stay").code, 0);
    svinit.wait_for_another("stay", "ready", stay);
    svinit.signal("TERM");
    svinit.wait_for_end();
    let said = svinit.output();
    let last = said.lines().last().unwrap_or_default();
    assert!(last.contains("web"), "the last line names what was left behind:\n{said}");
}

/// The number of a unit's main process as the test sees it, not as svinit does.
fn outer_pid(svinit: &Svinit, unit: &str) -> i32 {
    let inner = svinit.status(unit)["pid"].as_i64().unwrap().to_string();
    let own = svinit.pid();
    let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap();
    let is_it = |pid: &&str| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:")).unwrap_or_default();
        numbers.split_whitespace().last() == Some(inner.as_str())
    };
    children.split_whitespace().find(is_it).and_then(|pid| pid.parse().ok()).expect("it is a child of svinit")
}
