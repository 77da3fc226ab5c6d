//! svinit itself crashes, and no service notices: it goes on from the last state that was whole.
//!
//! `CRASHES=100 cargo test --test it crash` makes the long form. The bound of three a minute is set higher for it.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::fixture::{Setup, Svinit, both, eventually, processes_with, rounds};

/// Crashes in an ordinary run, of each kind.
fn crashes() -> usize {
    let asked = std::env::var("CRASHES").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or_else(|| rounds(3))
}

/// As svinit is asked to make a mistake.
fn faulty(setup: Setup) -> Setup {
    setup.env("SVINIT_FAULTS", "1")
}

fn crash(svinit: &Svinit, kind: &str) {
    let mut nothing = String::new();
    // The connection ends with what it was made to.
    let _ = svinit.request("POST", &format!("/v1/fault/{kind}"), "").read_to_string(&mut nothing);
    assert_eq!(nothing, "", "there is nobody to answer");
}

/// How often svinit has said that it has crashed.
fn recoveries(svinit: &Svinit) -> usize {
    svinit.output().lines().filter(|line| line.contains("has crashed (")).count()
}

#[test]
fn a_panic_a_bad_address_and_an_abort_change_no_process_and_no_state() {
    both(|setup| {
        let svinit = faulty(setup)
            .env("SVINIT_CRASHES_MAX", "1000")
            .unit("web", r#"command = ["sleep", "600"]"#)
            .unit("held", r#"command = ["sleep", "600"]"#)
            .unit("bad", "command = [\"false\"]\n[restart]\ndelay = \"1h\"\nmax_delay = \"1h\"")
            .start();
        let web = svinit.wait_for("web", "ready");
        svinit.wait_for("bad", "backoff");
        assert_eq!(svinit.svctl("stop held").code, 0);
        let (pid, before) = (svinit.pid(), svinit.get("/v1/units"));
        for round in 0..crashes() {
            for (nth, kind) in ["panic", "segv", "abort"].into_iter().enumerate() {
                crash(&svinit, kind);
                eventually("svinit goes on", || recoveries(&svinit) == 3 * round + nth + 1);
                assert_eq!((svinit.pid(), svinit.wait_for("web", "ready")), (pid, web), "{kind}");
                let after = svinit.get("/v1/units");
                for (one, other) in before.as_array().unwrap().iter().zip(after.as_array().unwrap()) {
                    for key in
                        ["unit", "state", "pid", "since", "restarts", "last_exit", "why", "held", "wanted"]
                    {
                        assert_eq!(one[key], other[key], "{kind}: {key} of {}", one["unit"]);
                    }
                }
            }
        }
        let said = svinit.output();
        assert!(said.contains("a fault on purpose)"), "{said}");
        assert!(said.contains("has crashed (SIGSEGV at 0x0000000000000008)"), "{said}");
        assert!(said.contains("has crashed (SIGABRT)"), "{said}");
        // It is in charge.
        assert_eq!(svinit.svctl("restart web").code, 0);
        svinit.wait_for_another("web", "ready", web);
        svinit.signal("TERM");
        assert_eq!(svinit.wait_for_end(), 0, "{}", svinit.output());
    });
}

#[test]
fn what_ends_right_after_a_crash_is_restarted_and_lines_go_on() {
    let svinit = faulty(Setup::new())
        .unit("count", "command = [\"sh\", \"-c\", \"i=0; while :; do echo $i; i=$((i+1)); sleep 0.01; done\"]")
        .unit("brief", "command = [\"sh\", \"-c\", \"while [ ! -e {dir}/go ]; do sleep 0.01; done; rm {dir}/go; exit 7\"]")
        .start();
    let (brief, count) = (svinit.wait_for("brief", "ready"), svinit.wait_for("count", "ready"));
    fs::write(svinit.path("go"), "").unwrap();
    crash(&svinit, "segv");
    svinit.wait_for_another("brief", "ready", brief);
    let line = svinit.wait_for_line("has crashed (");
    let told = svinit.output();
    let before = told
        .lines()
        .take_while(|other| **other != line)
        .filter(|other| other.starts_with("count | "))
        .count();
    svinit.wait_for_line(&format!("count | {}", before + 50));
    assert_eq!(svinit.wait_for("count", "ready"), count);
}

#[test]
fn the_fourth_crash_within_a_minute_leads_to_safe_mode_which_stops_all_on_term() {
    let Some(setup) = Setup::new().pid1() else { return };
    let svinit = faulty(setup)
        .http()
        .unit("web", "command = [\"sh\", \"-c\", \"echo up; while [ ! -e {dir}/go ]; do sleep 0.01; done; echo said; exec sleep 6177\"]")
        .unit("brief", r#"command = ["sleep", "6178"]"#)
        .start();
    let web = svinit.wait_for("web", "ready");
    let http = svinit.http();
    for kind in ["segv", "panic", "abort"] {
        let before = recoveries(&svinit);
        crash(&svinit, kind);
        eventually("svinit goes on", || recoveries(&svinit) == before + 1);
        assert_eq!(svinit.wait_for("web", "ready"), web, "{kind}");
    }
    crash(&svinit, "segv");
    svinit.wait_for_line("safe mode: services go on, nothing is restarted");
    let answer = svinit.svctl("status");
    assert!(answer.code != 0 && answer.stderr.contains("is in safe mode"), "{answer:?}");
    let health = health(&http);
    assert!(health.starts_with("HTTP/1.1 503 ") && health.contains("degraded: "), "{health}");
    // Lines are passed on, and who ends is reaped.
    fs::write(svinit.path("go"), "").unwrap();
    svinit.wait_for_line("web | said");
    let pid = svinit.pid();
    for child in processes_with("sleep 6178") {
        crate::fixture::kill(child, "KILL");
    }
    eventually("the dead are reaped", || crate::fixture::zombies_of(pid) == 0);
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 1, "{}", svinit.output());
    assert_eq!(processes_with("sleep 6177"), [] as [i32; 0]);
}

/// The files in memory that hold the state of svinit.
fn states(pid: i32) -> Vec<PathBuf> {
    let all = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten().map(|entry| entry.path());
    let is_state = |path: &PathBuf| {
        fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains("memfd:svinit-state"))
            && fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"svinit-state "))
    };
    all.filter(is_state).collect()
}

#[test]
fn a_state_that_cannot_be_read_leads_to_safe_mode_that_answers_and_stops_all() {
    let Some(setup) = Setup::new().pid1() else { return };
    let svinit = faulty(setup).http().unit("web", r#"command = ["sleep", "6181"]"#).start();
    svinit.wait_for("web", "ready");
    let (http, pid) = (svinit.http(), svinit.pid());
    let states = states(pid);
    assert!(!states.is_empty(), "they are found");
    for path in &states {
        let mut bytes = fs::read(path).unwrap();
        let head = bytes.iter().position(|byte| *byte == b'\n').unwrap();
        bytes[head + 1..].fill(b'x');
        fs::write(path, bytes).unwrap();
    }
    crash(&svinit, "segv");
    svinit.wait_for_line("the state is not what it should be");
    assert!(svinit.output().contains("safe mode: services go on, nothing is restarted"));
    let answer = svinit.svctl("status");
    assert!(answer.code != 0 && answer.stderr.contains("is in safe mode"), "{answer:?}");
    let health = health(&http);
    assert!(health.starts_with("HTTP/1.1 503 ") && health.contains("degraded: "), "{health}");
    assert_eq!(processes_with("sleep 6181").len(), 1);
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 1, "{}", svinit.output());
    assert_eq!(processes_with("sleep 6181"), [] as [i32; 0]);
}

fn health(http: &str) -> String {
    let mut health = String::new();
    let mut stream = std::net::TcpStream::connect(http).unwrap();
    std::io::Write::write_all(&mut stream, b"GET /health HTTP/1.0\r\n\r\n").unwrap();
    stream.read_to_string(&mut health).unwrap();
    health
}

/// As it would be if a svinit that knows more had written it.
fn add_what_is_unknown(state: &Path) {
    let bytes = fs::read(state).unwrap();
    let (mut text, rest) = parse(&bytes);
    for at in PLACES {
        text.pointer_mut(at).unwrap_or_else(|| panic!("there is no {at}"))["later"] = at.into();
    }
    let text = text.to_string();
    let head = format!("svinit-state 1 {} {}\n", text.len(), rest.len());
    fs::write(state, [head.as_bytes(), text.as_bytes(), rest].concat()).unwrap();
}

const PLACES: [&str; 8] =
    ["", "/header", "/machine", "/machine/units/web", "/machine/common", "/hands/runs/0", "/logs", "/place"];

/// What is in a file of the state: the text, and the bytes behind it.
fn parse(bytes: &[u8]) -> (serde_json::Value, &[u8]) {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let head = std::str::from_utf8(&bytes[..at]).unwrap();
    let numbers: Vec<usize> = head.split_whitespace().skip(2).map(|word| word.parse().unwrap()).collect();
    let (text, rest) = bytes[at..].split_at(numbers[0]);
    (serde_json::from_slice(text).unwrap(), &rest[..numbers[1]])
}

/// Where the newest state of svinit says what this one does not know.
fn unknown_in(svinit: &Svinit) -> Vec<&'static str> {
    let texts = states(svinit.pid()).into_iter().map(|path| parse(&fs::read(path).unwrap()).0);
    let newest = texts.max_by_key(|text| text["header"]["heard"][1].as_u64()).unwrap();
    let is_there = |at: &&str| newest.pointer(at).is_some_and(|value| value["later"].as_str() == Some(at));
    PLACES.into_iter().filter(is_there).collect()
}

#[test]
fn what_only_a_later_svinit_knows_survives_crashes_and_upgrades() {
    let svinit = faulty(Setup::new())
        .replaceable()
        .unit("web", r#"command = ["sleep", "600"]"#)
        .unit("other", r#"command = ["sleep", "600"]"#)
        .start();
    let web = svinit.wait_for("web", "ready");
    svinit.wait_for("other", "ready");
    states(svinit.pid()).iter().for_each(|state| add_what_is_unknown(state));
    crash(&svinit, "segv");
    eventually("svinit goes on", || recoveries(&svinit) == 1);
    assert_eq!(svinit.wait_for("web", "ready"), web);
    assert_eq!(unknown_in(&svinit), PLACES);
    assert_eq!(svinit.svctl("upgrade").code, 0, "{}", svinit.output());
    assert_eq!(svinit.wait_for("web", "ready"), web);
    assert_eq!(unknown_in(&svinit), PLACES);
    // What was said of a run goes with it.
    assert_eq!(svinit.svctl("restart web other").code, 0);
    let others: Vec<&str> = PLACES.into_iter().filter(|at| *at != "/hands/runs/0").collect();
    assert_eq!(unknown_in(&svinit), others);
}

/// Whatever it was that kept svinit from going on, it does not end with all that it looks after.
#[test]
fn a_fault_while_it_goes_on_after_a_crash_leads_to_safe_mode_with_every_service() {
    let Some(setup) = Setup::new().pid1() else { return };
    let svinit = setup
        .env("SVINIT_FAULTS", "recovery")
        .unit("web", "command = [\"sh\", \"-c\", \"echo up; while [ ! -e {dir}/go ]; do sleep 0.01; done; echo said; exec sleep 6179\"]")
        .start();
    svinit.wait_for("web", "ready");
    crash(&svinit, "segv");
    svinit.wait_for_line("safe mode: services go on, nothing is restarted");
    let answer = svinit.svctl("status");
    assert!(answer.code != 0 && answer.stderr.contains("is in safe mode"), "{answer:?}");
    fs::write(svinit.path("go"), "").unwrap();
    svinit.wait_for_line("web | said");
    eventually("the same one goes on", || !processes_with("sleep 6179").is_empty());
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 1, "{}", svinit.output());
    assert_eq!(processes_with("sleep 6179"), [] as [i32; 0]);
}

#[test]
fn a_fault_that_others_say_svinit_has_had_changes_nothing() {
    both(|setup| {
        let svinit = setup.unit("web", r#"command = ["sleep", "600"]"#).start();
        let web = svinit.wait_for("web", "ready");
        for name in ["SEGV", "BUS", "ILL", "FPE", "ABRT"] {
            svinit.signal(name);
        }
        assert_eq!(svinit.svctl("restart web").code, 0);
        svinit.wait_for_another("web", "ready", web);
        assert_eq!(recoveries(&svinit), 0, "{}", svinit.output());
    });
}

#[test]
fn what_was_heard_in_the_turn_of_a_crash_is_heard_again() {
    both(|setup| {
        let svinit = faulty(setup).unit("web", "command = [\"sleep\", \"6391\"]").start();
        let web = svinit.wait_for("web", "ready").unwrap();
        // Its number here, which is another where svinit is PID 1.
        eventually("it is executed", || processes_with("sleep 6391").len() == 1);
        let [old] = processes_with("sleep 6391")[..] else { panic!("one process: {}", svinit.output()) };
        arm(&svinit);
        crate::fixture::kill(old, "KILL");
        // Not by events: a crash ends their stream.
        svinit.wait_for_line("was made while svinit crashed; it is killed");
        eventually("another is up", || {
            let status = svinit.status("web");
            status["state"] == "ready" && status["pid"] != web
        });
        assert_eq!(recoveries(&svinit), 1, "{}", svinit.output());
        let status = svinit.status("web");
        // How it ended is known, and it is one restart.
        assert_eq!(
            (&status["last_exit"]["signal"], &status["restarts"]),
            (&"KILL".into(), &1.into()),
            "{status}"
        );
        // The one that was made in that turn is gone.
        eventually("the other one is the only one", || {
            let living = processes_with("sleep 6391");
            living.len() == 1 && living != [old]
        });
    });
}

#[test]
fn a_job_that_was_over_in_the_turn_of_a_crash_is_not_done_again() {
    let svinit = faulty(Setup::new())
        .unit("job", "command = [\"sh\", \"-c\", \"echo done; while [ ! -e {dir}/go ]; do sleep 0.01; done\"]\ntype = \"oneshot\"")
        .unit("stays", r#"command = ["sleep", "600"]"#)
        .start();
    svinit.wait_for_line("job | done");
    svinit.wait_for("stays", "ready");
    arm(&svinit);
    fs::write(svinit.path("go"), "").unwrap();
    eventually("svinit goes on", || recoveries(&svinit) == 1);
    svinit.wait_for("job", "completed");
    assert_eq!(svinit.output().matches("job | done").count(), 1, "{}", svinit.output());
    assert_eq!(svinit.status("job")["last_exit"]["code"], 0);
}

#[test]
fn an_order_to_stop_that_svinit_crashes_by_is_carried_out() {
    both(|setup| {
        let svinit = faulty(setup).unit("web", r#"command = ["sleep", "6392"]"#).start();
        svinit.wait_for("web", "ready");
        // The second time nothing else is heard again.
        crash(&svinit, "panic");
        eventually("svinit goes on", || recoveries(&svinit) == 1);
        arm(&svinit);
        svinit.signal("TERM");
        assert_eq!(svinit.wait_for_end(), 0, "{}", svinit.output());
        assert_eq!(recoveries(&svinit), 2, "{}", svinit.output());
        assert_eq!(processes_with("sleep 6392"), [] as [i32; 0]);
    });
}

#[test]
fn safe_mode_carries_out_the_order_that_was_given_before_it() {
    let svinit = faulty(Setup::new())
        .env("SVINIT_CRASHES_MAX", "0")
        .unit("web", r#"command = ["sleep", "6393"]"#)
        .start();
    svinit.wait_for("web", "ready");
    arm(&svinit);
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 1, "{}", svinit.output());
    assert!(svinit.output().contains("safe mode"), "{}", svinit.output());
    assert_eq!(processes_with("sleep 6393"), [] as [i32; 0]);
}

#[test]
fn the_beginning_of_an_old_line_does_not_come_before_the_end_of_a_new_one() {
    let says = "printf 'be'; touch {dir}/begun; while [ ! -e {dir}/on ]; do sleep 0.01; done; echo fore; \
                while [ ! -e {dir}/after ]; do sleep 0.01; done; echo behind; exec sleep 600";
    let svinit = faulty(Setup::new())
        .unit("says", &format!("command = [\"sh\", \"-c\", \"{says}\"]"))
        .unit("other", r#"command = ["sleep", "600"]"#)
        .start();
    svinit.wait_for("says", "ready");
    eventually("half a line is said", || svinit.path("begun").exists());
    // The state is written down while half a line is known.
    assert_eq!(svinit.svctl("restart other").code, 0);
    fs::write(svinit.path("on"), "").unwrap();
    svinit.wait_for_line("says | before");
    crash(&svinit, "segv");
    eventually("svinit goes on", || recoveries(&svinit) == 1);
    fs::write(svinit.path("after"), "").unwrap();
    svinit.wait_for_line("says | behind");
}

/// From here on svinit crashes at the end of the turn in which it is next told anything about a unit.
fn arm(svinit: &Svinit) {
    let mut said = String::new();
    let _ = svinit.request("POST", "/v1/fault/turn", "").read_to_string(&mut said);
    assert!(said.starts_with("HTTP/1.0 200"), "{said}");
}
