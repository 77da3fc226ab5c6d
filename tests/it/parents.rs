//! svinit started by a parent that has spoilt everything a process inherits: its services get none of it.

use crate::fixture::{Setup, Svinit, both, eventually, kill, processes_with};

/// Blocks all 64 signals, ignores all that can be ignored (32 and 33 too, by the kernel's own call), leaves descriptors
/// open, timers running if there is a variable `timers`, closes the umask, lowers limits, and becomes what
/// follows.
const HOSTILE: &str = "
import ctypes, os, platform, resource, signal, struct, sys
libc = ctypes.CDLL(None)
number = {'x86_64': 13, 'aarch64': 134, 'riscv64': 134}.get(platform.machine())
if number:
    ignore = ctypes.create_string_buffer(struct.pack('QQQQQ', 1, 0, 0, 0, 0))
    for which in range(1, 65):
        libc.syscall(number, which, ignore, None, 8)
else:
    for which in set(range(1, 65)) - {9, 19, 32, 33}:
        signal.signal(which, signal.SIG_IGN)
mask = ctypes.c_uint64(2 ** 64 - 1)
rt_sigprocmask = {'x86_64': 14}.get(platform.machine(), 135)
libc.syscall(rt_sigprocmask, 2, ctypes.byref(mask), None, 8)
for fd in range(3, 40):
    os.dup2(2, fd)
os.dup2(2, 900)
os.umask(0o777)
os.chdir('/proc')
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
resource.setrlimit(resource.RLIMIT_STACK, (256 << 10, resource.RLIM_INFINITY))
resource.setrlimit(resource.RLIMIT_CORE, (0, resource.RLIM_INFINITY))
if 'timers' in os.environ:
    for timer in (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF):
        signal.setitimer(timer, 0.01, 0.01)
os.environ.update(NOTIFY_SOCKET='/nowhere', LISTEN_FDS='7', LISTEN_PID='1', WATCHDOG_USEC='1', MAINPID='1')
os.execvp(sys.argv[1], sys.argv[1:])
";

/// What a service finds.
const SHOW: &str = "grep -E '^(Sig(Blk|Ign|Pnd)|ShdPnd)' /proc/self/status; echo fds $(ls /proc/self/fd | wc -l); \
                    echo umask $(umask); echo dir $(pwd); echo told ${NOTIFY_SOCKET}${LISTEN_FDS}${WATCHDOG_USEC}none";

/// All signals let in, none ignored, none waiting, the three streams and the one that `ls` has opened.
const CLEAN: [&str; 8] = [
    "SigPnd:\t0000000000000000",
    "ShdPnd:\t0000000000000000",
    "SigBlk:\t0000000000000000",
    "SigIgn:\t0000000000000000",
    "fds 4",
    "umask 0022",
    "dir /",
    "told none",
];

/// svinit has all its senses: it replaces what dies, and ends in order when it is told to.
fn does_its_duty(svinit: &Svinit) {
    let pid = svinit.wait_for("web", "ready");
    assert_eq!(svinit.svctl("signal web --signal KILL").code, 0);
    assert!(svinit.wait_for_another("web", "ready", pid).is_some());
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0, "{}", svinit.output());
}

#[test]
fn nothing_of_a_hostile_parent_reaches_a_service() {
    both(|setup| {
        let show = format!("type = \"oneshot\"\ncommand = [\"sh\", \"-c\", {:?}]", SHOW.replace('$', "$$"));
        let svinit = setup
            .prepared(&["python3", "-c", HOSTILE])
            .env("timers", "run")
            .unit("show", &show)
            .unit(
                "hooked",
                &format!("{show}\nhooks.pre_start = [[\"sh\", \"-c\", {:?}]]", SHOW.replace('$', "$$")),
            )
            .unit("web", "command = [\"sleep\", \"600\"]")
            .start();
        svinit.wait_for("show", "completed");
        svinit.wait_for("hooked", "completed");
        for expected in CLEAN {
            svinit.wait_for_line(&format!("show | {expected}"));
            svinit.wait_for_line(&format!("hooked | {expected}"));
        }
        assert!(!svinit.output().contains("fds 5"), "{}", svinit.output());
        does_its_duty(&svinit);
    });
}

#[test]
fn nor_a_lone_command() {
    both(|setup| {
        let script = format!("{SHOW}; exit 4");
        let svinit = setup.prepared(&["python3", "-c", HOSTILE]).command(&["sh", "-c", &script]).launch();
        assert_eq!(svinit.wait_for_end(), 4, "{}", svinit.output());
        // It stays where svinit was started, and has the umask of its unit.
        for expected in &CLEAN[..6] {
            svinit.wait_for_line(expected);
        }
    });
}

#[test]
fn an_alarm_that_a_parent_has_set_is_for_the_lone_command() {
    // As in `perl -e 'alarm 10; exec @ARGV' COMMAND`: the command is what is to end.
    let alarm = "import os, signal, sys; signal.setitimer(signal.ITIMER_REAL, 0.3); os.execvp(sys.argv[1], sys.argv[1:])";
    let svinit = Setup::new().prepared(&["python3", "-c", alarm]).command(&["sleep", "600"]).launch();
    assert_eq!(svinit.wait_for_end(), 128 + 14, "{}", svinit.output());
}

#[test]
fn where_processes_cannot_be_tagged_a_session_is_still_stopped_as_a_whole() {
    // The tag is a limit that a parent can have lowered for good.
    let svinit = Setup::new()
        .prepared(&["setpriv", "--bounding-set", "-sys_resource", "prlimit", "--rttime=1000000:1000000"])
        .unit("web", "command = [\"sh\", \"-c\", \"sleep 3600.1401 & exec sleep 3600.1401\"]")
        .start();
    let pid = svinit.wait_for("web", "ready");
    assert_eq!(svinit.get("/v1/supervisor")["tracking"], "session");
    eventually("both sleep", || processes_with("sleep 3600.1401").len() == 2);
    kill(pid.unwrap(), "KILL");
    let pid = svinit.wait_for_another("web", "ready", pid);
    eventually("both sleep", || processes_with("sleep 3600.1401").len() == 2);
    assert!(pid.is_some());
    assert_eq!(svinit.svctl("stop web").code, 0);
    assert!(processes_with("sleep 3600.1401").is_empty());
}
