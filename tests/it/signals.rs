//! Every signal there is, from everywhere, at every moment: which act, which do nothing, and that none is the end of
//! svinit.

#![expect(clippy::disallowed_methods, reason = "a test asks the clock how long it has tried")]

use std::fs;
use std::ops::Range;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::fixture::{PATIENCE, Setup, Svinit, both, eventually, is_root, kill, processes_with, rounds};

const STAY: &str = "command = [\"sleep\", \"600\"]";

/// Ends at once, again and again: so svinit makes processes all the time, and blocks signals while it does.
const RESTLESS: &str =
    "command = [\"true\"]\n[restart]\nlimit = 0\ndelay = \"1ms\"\nfactor = 1.0\nmax_delay = \"100ms\"";

/// How often each signal is sent.
const TIMES: usize = 100;

/// Those that order svinit to stop.
const ORDERS: [&str; 5] = ["TERM", "INT", "QUIT", "PWR", "RTMIN+3"];

/// Sends argv[2:] to process argv[1], each in turn, until there is a file `enough`; says how often. It pauses, since it
/// can send faster than a debug build looks.
const FLOOD: &str = "
import os, sys, time
count = 0
while count < 100 or not os.path.exists('enough'):
    for number in sys.argv[2:]:
        os.kill(int(sys.argv[1]), int(number))
    count += 1
    time.sleep(0.005)
open('sent', 'w').write(str(count))
";

/// With enough units that several threads make processes.
fn restless(mut setup: Setup) -> Setup {
    for number in 0..20 {
        setup = setup.unit(&format!("restless{number}"), RESTLESS);
    }
    setup.unit("web", STAY).config("fork_rate = 10000\n")
}

/// 1 to 64 without the orders to stop and without `spared`.
fn numbers(spared: &[i32]) -> Vec<String> {
    // INT, QUIT, TERM, PWR and RTMIN+3.
    let orders = [2, 3, 15, 30, 37];
    (1..=64).filter(|n| !orders.contains(n) && !spared.contains(n)).map(|n: i32| n.to_string()).collect()
}

/// A unit that floods `pid` with these, in its own time: it ends when [`enough`].
fn flood(pid: &str, numbers: &[String]) -> String {
    let words: Vec<String> = ["python3", "-c", FLOOD, pid]
        .into_iter()
        .chain(numbers.iter().map(String::as_str))
        .map(|word| format!("{word:?}"))
        .collect();
    format!("working_dir = \"{{dir}}\"\ntype = \"oneshot\"\ncommand = [{}]", words.join(", "))
}

/// Lets the flood end when svinit has made some more processes under it, and sees that all is as it was.
fn endures(svinit: &Svinit) {
    let web = svinit.wait_for("web", "ready");
    let restarts = || {
        let status = svinit.status("restless0");
        status["restarts"].as_u64().unwrap_or_else(|| panic!("{status}"))
    };
    let before = restarts();
    eventually("processes are made under the flood", || restarts() >= before + 30);
    fs::write(svinit.path("enough"), "").unwrap();
    svinit.wait_for("flood", "completed");
    let sent: usize = fs::read_to_string(svinit.path("sent")).unwrap().parse().unwrap();
    assert!(sent >= TIMES, "each was sent {sent} times");
    assert_eq!(svinit.wait_for("web", "ready"), web);
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0);
}

#[test]
fn no_signal_from_inside_ends_pid_1_while_it_makes_processes() {
    let Some(setup) = Setup::new().pid1() else { return };
    // The kernel lets no default action end PID 1, unless its main thread blocks the signal and another does not.
    endures(&restless(setup).unit("flood", &flood("1", &numbers(&[]))).start());
}

#[test]
fn no_signal_but_kill_stop_and_faults_ends_a_svinit_that_is_not_pid_1() {
    // QUIT is an order; ILL, TRAP, ABRT, BUS, FPE, KILL, SEGV, STOP and SYS are for the kernel and for debuggers.
    let numbers = numbers(&[4, 5, 6, 7, 8, 9, 11, 19, 31]);
    let svinit = restless(Setup::new()).start();
    let mut flood = Command::new("python3");
    flood.args(["-c", FLOOD, &svinit.pid().to_string()]).args(&numbers).current_dir(svinit.path(""));
    let mut flooding = flood.spawn().unwrap();
    let web = svinit.wait_for("web", "ready");
    let restarts = || {
        let status = svinit.status("restless0");
        status["restarts"].as_u64().unwrap_or_else(|| panic!("{status}"))
    };
    eventually("processes are made under the flood", || restarts() >= 30);
    fs::write(svinit.path("enough"), "").unwrap();
    assert!(flooding.wait().unwrap().success());
    assert_eq!(svinit.wait_for("web", "ready"), web);
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0);
}

#[test]
fn each_order_to_stop_stops_from_inside_and_from_outside() {
    for order in ORDERS {
        both(|setup| {
            let svinit = setup.unit("web", STAY).start();
            svinit.wait_for("web", "ready");
            svinit.signal(order);
            assert_eq!(svinit.wait_for_end(), 0, "{order}");
            assert!(svinit.output().contains("web: stopped"), "{order}: {}", svinit.output());
        });
        if let Some(setup) = Setup::new().pid1() {
            let svinit = setup.unit("web", STAY).start();
            svinit.wait_for("web", "ready");
            svinit.inside(&["kill", "-s", order, "1"]);
            assert_eq!(svinit.wait_for_end(), 0, "{order}");
        }
    }
}

#[test]
fn signals_at_any_point_of_the_start_do_not_disturb_it() {
    // From inside, by the first unit, while the others are started: 25 signals a start.
    let signals =
        [1, 6, 10, 11, 12, 14, 16, 18, 20, 21, 22, 23, 24, 26, 27, 28, 29, 32, 33, 34, 36, 38, 50, 63, 64];
    let kills: Vec<String> = signals.iter().map(|number| format!("kill -{number} 1")).collect();
    let sender = format!("type = \"oneshot\"\ncommand = [\"sh\", \"-c\", {:?}]", kills.join("; "));
    for _ in 0..rounds(40) {
        let Some(setup) = Setup::new().pid1() else { return };
        let setup = (0..10).fold(setup, |setup, number| setup.unit(&format!("web{number}"), STAY));
        let svinit = setup.unit("a-sender", &sender).start();
        svinit.wait_for("a-sender", "completed");
        for number in 0..10 {
            svinit.wait_for(&format!("web{number}"), "ready");
        }
        svinit.signal("TERM");
        assert_eq!(svinit.wait_for_end(), 0, "{}", svinit.output());
    }
}

/// What is slow to come up in each way there is: hooks, oneshots, lines, dependencies.
fn slow(setup: Setup, mark: &str) -> Setup {
    let sleep = format!("sleep {mark}");
    let up = format!("[ready]\nlog = \"up\"\n[hooks]\npre_start = [\"true\", \"sh -c '({sleep} &)'\"]");
    let unit = |requires: &str| {
        format!(
            "requires = [{requires}]\ncommand = [\"sh\", \"-c\", \"sh -c true; echo up; {sleep} & exec {sleep}\"]\n{up}"
        )
    };
    let setup = setup
        .unit("prepare", "type = \"oneshot\"\ncommand = [\"sh\", \"-c\", \"sh -c true; sh -c true\"]")
        .unit("db", &unit("\"prepare\""))
        .unit("web", &unit("\"db\""))
        .unit("last", &unit("\"web\""));
    (0..8).fold(setup, |setup, number| setup.unit(&format!("side{number}"), &unit("")))
}

/// TERM waits for svinit to take it: from here on the kernel does not drop it, and it does not end svinit by itself.
/// USR1 as well, since `unshare` blocks TERM for a moment of its own, before it executes svinit.
fn listens(pid: i32) -> bool {
    const BOTH: u64 = 1 << 9 | 1 << 14;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:\t"));
    blocked.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask & BOTH == BOTH)
}

/// svinit, started and caught at the moment from which signals count.
fn caught_early(setup: Setup, is_pid1: bool) -> (Svinit, i32) {
    let svinit = setup.launch();
    let until = Instant::now() + PATIENCE;
    loop {
        let pid = if is_pid1 { svinit.child_pid() } else { Some(svinit.pid()) };
        if let Some(pid) = pid.filter(|pid| listens(*pid)) {
            return (svinit, pid);
        }
        assert!(Instant::now() < until, "svinit takes no signals: {}", svinit.output());
        std::thread::yield_now();
    }
}

/// The moment is what is tested here, so this waits for nothing but time.
fn wait(moment: Duration) {
    let (_sender, receiver) = mpsc::channel::<()>();
    let _ = receiver.recv_timeout(moment);
}

/// Ends svinit at these moments of its start, in half milliseconds.
fn stopped_at(moments: Range<usize>, mark: &str, is_pid1: bool) {
    for moment in moments {
        let setup = if is_pid1 { Setup::new().pid1() } else { Some(Setup::new()) };
        let Some(setup) = setup else { return };
        let (svinit, pid) = caught_early(slow(setup, mark), is_pid1);
        wait(Duration::from_micros(500) * u32::try_from(moment).unwrap());
        kill(pid, "TERM");
        assert_eq!(svinit.wait_for_end(), 0, "after {moment} half ms: {}", svinit.output());
        let left = processes_with(&format!("sleep {mark}"));
        assert!(left.is_empty(), "after {moment} half ms {left:?} are left: {}", svinit.output());
    }
}

#[test]
fn term_at_each_moment_of_the_start_is_an_orderly_end() {
    stopped_at(0..rounds(100), "3600.0301", false);
}

#[test]
fn term_at_each_moment_of_the_start_is_an_orderly_end_of_pid_1() {
    stopped_at(0..rounds(100), "3600.0302", true);
}

#[test]
fn term_at_each_moment_of_the_start_of_a_lone_command_is_for_it() {
    for moment in 0..rounds(40) {
        for is_pid1 in [false, true] {
            let setup = if is_pid1 { Setup::new().pid1() } else { Some(Setup::new()) };
            let Some(setup) = setup else { return };
            let (svinit, pid) = caught_early(setup.command(&["sleep", "3600.0303"]), is_pid1);
            wait(Duration::from_micros(250) * u32::try_from(moment).unwrap());
            kill(pid, "TERM");
            let code = svinit.wait_for_end();
            // Before there is a command, the order is svinit's own.
            assert!(code == 143 || code == 0, "{code} after {moment} quarter ms: {}", svinit.output());
        }
    }
    assert!(processes_with("sleep 3600.0303").is_empty());
}

#[test]
fn no_service_dies_with_the_thread_or_the_process_that_made_it() {
    let script = "import ctypes; n = ctypes.c_int(-1); ctypes.CDLL(None).prctl(2, ctypes.byref(n)); print('pdeathsig', n.value)";
    let show = format!("type = \"oneshot\"\ncommand = [\"python3\", \"-c\", {script:?}]");
    let mut setup = Setup::new().unit("show", &show);
    if is_root() {
        setup = setup.unit("nobody", &format!("user = \"65534\"\n{show}"));
    }
    // Several, so that those threads make processes that only help at the start.
    let setup = (0..10).fold(setup, |setup, number| setup.unit(&format!("show{number}"), &show));
    // svinit itself may have one from its parent; that is its parent's wish and ends with svinit.
    let svinit = setup.prepared(&["setpriv", "--pdeathsig", "KILL"]).unit("web", STAY).start();
    for number in 0..10 {
        svinit.wait_for_line(&format!("show{number} | pdeathsig 0"));
    }
    svinit.wait_for_line("show | pdeathsig 0");
    if is_root() {
        svinit.wait_for_line("nobody | pdeathsig 0");
    }
}
