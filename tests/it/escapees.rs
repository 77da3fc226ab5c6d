//! Processes that get away from the one that svinit has made, by every way there is, and what becomes of them; and
//! those that were never a unit's.

#![expect(
    clippy::disallowed_methods,
    reason = "a test asks the machine what it permits, and how long it took"
)]

use std::fs;
use std::process::Command;
use std::time::Instant;

use crate::fixture::{
    Essential, PATIENCE, Setup, Svinit, both, eventually, is_root, processes_with, rounds, skip, zombies_of,
};

const STAY: &str = "command = [\"sleep\", \"600\"]";

/// As PID 1 or not; `None` where that cannot be.
fn setup(pid1: bool) -> Option<Setup> {
    if pid1 { Setup::new().pid1() } else { Some(Setup::new()) }
}

/// Becomes daemons that sleep for argv[1]: in a session of their own after two forks, without an environment, in
/// another directory, without descriptors, deaf to every signal, of another user where that is possible.
const DAEMONS: &str = "
import os, signal, sys
def daemon(prepare):
    if os.fork():
        return
    os.setsid()
    if os.fork():
        os._exit(0)
    os.setpgid(0, 0)
    prepare()
    os.execve('/bin/sleep', ['sleep', sys.argv[1]], {})
def deaf():
    for number in range(1, 65):
        if number not in (9, 19, 32, 33):
            signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
def elsewhere():
    os.chdir('/')
    os.closerange(0, 100)
def stranger():
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
for prepare in (lambda: None, deaf, elsewhere, stranger):
    daemon(prepare)
os.execv('/bin/sleep', ['sleep', sys.argv[1]])
";

/// Five processes that sleep for `seconds`, four of them daemons.
fn daemons(seconds: &str) -> String {
    format!("command = [\"python3\", \"-c\", {DAEMONS:?}, \"{seconds}\"]")
}

#[test]
fn daemons_of_every_kind_end_with_their_unit() {
    for (seconds, pid1) in [("3600.0601", false), ("3600.0602", true)] {
        let Some(setup) = setup(pid1) else { return };
        let mark = format!("sleep {seconds}");
        let svinit = setup.unit("web", &daemons(seconds)).unit("stay", STAY).start();
        let stay = svinit.wait_for("stay", "ready");
        eventually("five sleep", || processes_with(&mark).len() == 5);
        assert_eq!(svinit.svctl("stop web").code, 0);
        assert!(processes_with(&mark).is_empty());
        assert_eq!(svinit.wait_for("stay", "ready"), stay);
    }
}

#[test]
fn daemons_of_a_killed_main_process_are_gone_before_the_next_one_comes() {
    for (seconds, pid1) in [("3600.0603", false), ("3600.0604", true)] {
        let Some(setup) = setup(pid1) else { return };
        let mark = format!("sleep {seconds}");
        // Says what is there of the run before.
        let look =
            format!("echo before: $(pgrep -c -f '^sleep {}'); exec \"$@\"", seconds.replace('.', "[.]"));
        let unit = daemons(seconds)
            .replace("\"python3\"", &format!("\"sh\", \"-c\", {look:?}, \"sh\", \"python3\""));
        let svinit = setup.unit("web", &unit).start();
        let mut pid = svinit.wait_for("web", "ready");
        for round in 1..=rounds(3) {
            eventually("five sleep", || processes_with(&mark).len() == 5);
            assert_eq!(svinit.svctl("signal web --signal KILL").code, 0);
            pid = svinit.wait_for_another("web", "ready", pid);
            eventually("it has looked", || svinit.output().matches("web | before: ").count() == round + 1);
        }
        assert!(!svinit.output().replace("before: 0", "").contains("before: "), "{}", svinit.output());
    }
}

/// Forks for ever, each child into a session of its own.
const BOMB: &str = "
import os
while True:
    try:
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
    except OSError:
        pass
";

#[test]
fn a_fork_bomb_of_sessions_is_stopped_and_its_neighbours_live() {
    if !is_root() {
        return skip(
            "only root can give a unit a user of its own, whose processes are bounded",
            Essential::No,
        );
    }
    // A number that no other test and no account has: the bound counts all processes of it.
    for (user, pid1) in [(2_000_000 + std::process::id(), false), (6_000_000 + std::process::id(), true)] {
        let Some(setup) = setup(pid1) else { return };
        let mark = format!("bomb-{user}");
        let bomb = format!(
            "user = \"{user}\"\ngroup = \"{user}\"\ncommand = [\"python3\", \"-c\", {BOMB:?}, \"{mark}\"]\n\
             limits.nproc = 150\nstop.timeout = \"300ms\"\nenabled = false"
        );
        let svinit = setup.unit("bomb", &bomb).unit("web", STAY).start();
        let web = svinit.wait_for("web", "ready");
        assert_eq!(svinit.svctl("start bomb").code, 0);
        eventually("it is as large as it can be", || processes_with(&mark).len() >= 100);
        let began = Instant::now();
        let stopped = svinit.svctl("stop bomb");
        let took = began.elapsed();
        eprintln!("a fork bomb of 150 processes was stopped in {took:?}");
        assert_eq!(stopped.code, 0, "{stopped:?}");
        assert!(processes_with(&mark).is_empty());
        assert_eq!(svinit.wait_for("web", "ready"), web);
        // And with everything else at the end.
        assert_eq!(svinit.svctl("start bomb").code, 0);
        eventually("it is as large as it can be", || processes_with(&mark).len() >= 100);
        svinit.signal("TERM");
        assert_eq!(svinit.wait_for_end(), 0, "{}", svinit.output());
        eventually("nothing of it is left", || processes_with(&mark).is_empty());
    }
}

#[test]
fn what_comes_from_outside_is_reaped_and_is_nobodys() {
    let Some(setup) = Setup::new().pid1() else { return };
    let svinit = setup.unit("web", STAY).unit("job", "type = \"oneshot\"\ncommand = [\"true\"]").start();
    svinit.wait_for("job", "completed");
    let web = svinit.wait_for("web", "ready");
    for _ in 0..5 {
        let made = svinit.inside(&[
            "sh",
            "-c",
            "for i in $(seq 100); do (sleep 0 &); done; sleep 3600.0801 >/dev/null 2>&1 &",
        ]);
        assert_eq!(made.code, 0, "{made:?}");
    }
    let pid = svinit.pid();
    eventually("no zombie is left", || zombies_of(pid) == 0);
    assert_eq!(svinit.wait_for("web", "ready"), web);
    // What such a process has left behind belongs to no unit, so no unit's end is its own.
    assert_eq!(svinit.svctl("restart web").code, 0);
    assert_eq!(svinit.svctl("stop web").code, 0);
    assert_eq!(processes_with("sleep 3600.0801").len(), 5);
    assert_eq!(svinit.status("job")["state"], "completed");
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0);
    eventually("they end with PID 1", || processes_with("sleep 3600.0801").is_empty());
}

/// As many checks as there are units run at once, of three processes each.
const CHECKED: usize = 10;

#[test]
fn checks_and_hooks_that_time_out_leave_no_process_behind() {
    for (seconds, pid1) in [("3600.0901", false), ("3600.0902", true)] {
        let Some(setup) = setup(pid1) else { return };
        let sleep = format!("sleep {seconds}");
        let stuck = format!("echo checked >> $0; setsid {sleep} & {sleep} & exec {sleep}");
        let checked = (0..CHECKED).fold(setup, |setup, number| {
            let unit = format!(
                "{STAY}\n[health]\nexec = [\"sh\", \"-c\", {stuck:?}, \"{{dir}}/checks\"]\ninterval = \"100ms\"\n\
                 timeout = \"100ms\"\non_failure = \"none\"\nstart_period = \"0s\""
            );
            setup.unit(&format!("web{number}"), &unit)
        });
        let hooked = format!(
            "{STAY}\n[hooks]\npost_start = [[\"sh\", \"-c\", {stuck:?}, \"/dev/null\"]]\ntimeout = \"100ms\""
        );
        let svinit = checked.unit("hooked", &hooked).start();
        let checks = || fs::read_to_string(svinit.path("checks")).unwrap_or_default().lines().count();
        let wanted = rounds(100);
        let mut most = 0;
        let until = Instant::now() + PATIENCE;
        while checks() < wanted {
            assert!(Instant::now() < until, "{} checks: {}", checks(), svinit.output());
            most = most.max(processes_with(&sleep).len());
        }
        // Those under way, and those of the round before that are being cleared away.
        assert!(most <= 3 * 2 * (CHECKED + 1), "{most} processes at once");
        assert_eq!(svinit.svctl("stop all").code, 0);
        eventually("nothing is left of them", || processes_with(&sleep).is_empty());
        assert_eq!(zombies_of(svinit.pid()), 0);
    }
}

/// A master that listens and four workers that serve, as gunicorn has them; each worker in its own session.
const PREFORK: &str = "
import os, signal, socket, sys
listener = socket.socket()
try:
    listener.bind(('0.0.0.0', 8000))
except OSError as error:
    print('cannot bind:', error, flush=True)
    os._exit(9)
listener.listen()
for number in range(4):
    if os.fork() == 0:
        if number % 2:
            os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True:
            listener.accept()
print('serving', flush=True)
signal.pause()
";

#[test]
fn the_next_server_finds_its_port_free_when_the_last_one_was_killed() {
    let net = Command::new("unshare").args(["--net", "true"]).output();
    if !net.is_ok_and(|output| output.status.success()) {
        return skip("no network namespace can be made here", Essential::No);
    }
    for pid1 in [false, true] {
        let Some(setup) = setup(pid1) else { return };
        let unit = format!(
            "command = [\"python3\", \"-c\", {PREFORK:?}]\n[ready]\nlog = \"serving\"\n\
             [restart]\nlimit = 0\nmax_delay = \"100ms\"\n[stop]\ntimeout = \"100ms\""
        );
        let svinit = setup.through(&["unshare", "--net"]).unit("web", &unit).start();
        let mut pid = svinit.wait_for("web", "ready");
        for round in 0..rounds(10) {
            if round % 2 == 0 {
                kill_main(&svinit);
            } else {
                let restarted = svinit.svctl("restart web");
                assert_eq!(restarted.code, 0, "{restarted:?} {}", svinit.output());
            }
            pid = svinit.wait_for_another("web", "ready", pid);
        }
        assert!(!svinit.output().contains("cannot bind"), "{}", svinit.output());
    }
}

/// As somebody else would: not through svinit.
fn kill_main(svinit: &Svinit) {
    let pid = svinit.status("web")["pid"].as_i64().unwrap().to_string();
    svinit.inside(&["kill", "-KILL", &pid]);
}

#[test]
fn zombies_that_a_service_has_left_are_its_own_and_hold_up_nothing() {
    both(|setup| {
        let script = "import os, signal\nfor _ in range(100):\n    if os.fork() == 0:\n        os._exit(0)\nprint('made', flush=True)\nsignal.pause()";
        let unit = format!("command = [\"python3\", \"-c\", {script:?}]\nready.log = \"made\"");
        let svinit = setup.unit("web", &unit).unit("stay", STAY).start();
        svinit.wait_for("web", "ready");
        let main = svinit.status("web")["pid"].as_i64().unwrap().to_string();
        let count = format!("grep -l '^PPid:.*\\b{main}$' /proc/[0-9]*/status 2>/dev/null | wc -l");
        eventually("it has a hundred zombies", || {
            svinit.inside(&["sh", "-c", &count]).stdout.trim() == "100"
        });
        assert_eq!(svinit.svctl("stop web").code, 0);
        let pid = svinit.pid();
        eventually("they are gone with it", || zombies_of(pid) == 0);
        assert_eq!(svinit.status("stay")["state"], "ready");
    });
}
