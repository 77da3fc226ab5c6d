//! Many who ask for different things at once, and some who do not wait for the answer: each request has one answer, and
//! what is left is what was asked for last.

#![expect(clippy::disallowed_methods, reason = "a test is many clients, and kills some")]

use std::collections::BTreeMap;
use std::io::Read;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;

use serde_json::Value;

use crate::fixture::{PATIENCE, Setup, Svinit, eventually, executable, processes_with, rounds};
use crate::observer;

/// Clients at a time.
const CLIENTS: usize = 32;

/// Requests of each.
const REQUESTS: usize = 12;

/// Numbers that look random and are the same each time (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 32).unwrap() % end
    }
}

const UNITS: [&str; 5] = ["db", "cache", "app", "web", "job"];

const VERBS: [&str; 8] = ["start", "stop", "restart", "reload", "reset", "pause", "resume", "signal"];

/// Units that depend on each other, each with a process that can be told from all others by `mark`.
fn units(setup: Setup, mark: &str) -> Setup {
    let stay = |more: &str| format!("{more}\ncommand = [\"sleep\", \"{mark}\"]\n");
    setup
        .unit("db", &stay(""))
        .unit("cache", &stay("reload.signal = \"SIGCONT\""))
        .unit("app", &stay("requires = [\"db\"]\nwants = [\"cache\"]"))
        .unit("web", &stay("requires = [\"app\"]\npart_of = [\"cache\"]"))
        .unit("job", "type = \"oneshot\"\nafter = [\"db\"]\ncommand = [\"sh\", \"-c\", \"exit 0\"]")
}

/// One request, and what is wrong with the answer to it.
fn ask(svinit: &Svinit, dice: &mut Dice) -> Result<(), String> {
    let verb = VERBS[dice.below(VERBS.len())];
    let mut units: Vec<&str> = UNITS.into_iter().filter(|_| dice.below(2) == 0).collect();
    if units.is_empty() {
        units.push("web");
    }
    let mut body = serde_json::json!({"verb": verb, "units": units});
    match verb {
        "signal" => body["signal"] = "CONT".into(),
        "restart" => body["with_dependants"] = (dice.below(2) == 0).into(),
        _ => {}
    }
    let mut answer = String::new();
    let mut stream = svinit.request("POST", "/v1/jobs", &body.to_string());
    stream.read_to_string(&mut answer).map_err(|error| format!("{body}: {error}, after {answer}"))?;
    judge(&answer, &units).map_err(|why| format!("{body}: {why} in\n{answer}"))
}

/// First that it was accepted, last that it is done, and between them one outcome a unit.
fn judge(answer: &str, units: &[&str]) -> Result<(), String> {
    if !answer.starts_with("HTTP/1.0 200") && !answer.starts_with("HTTP/1.1 200") {
        return Err("it was refused".to_owned());
    }
    let lines: Vec<Value> = answer.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let lines: Vec<Value> = lines.into_iter().filter(Value::is_object).collect();
    let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).count();
    if lines.first().is_none_or(|line| line["type"] != "accepted") || of("accepted") != 1 {
        return Err("it was not accepted once".to_owned());
    }
    if lines.last().is_none_or(|line| line["type"] != "done") || of("done") != 1 {
        return Err("it is not done once, at the end".to_owned());
    }
    let mut outcomes: BTreeMap<&str, usize> = BTreeMap::new();
    for line in lines.iter().filter(|line| line["type"] == "outcome") {
        *outcomes.entry(line["unit"].as_str().unwrap_or("?")).or_default() += 1;
    }
    match units.iter().find(|unit| outcomes.get(**unit) != Some(&1)) {
        Some(unit) => Err(format!("{unit} has not one outcome")),
        None => Ok(()),
    }
}

/// All units are as they should be when everybody has gone home, each with one process.
fn is_consistent(svinit: &Svinit, mark: &str) {
    for words in ["resume all", "reset all", "start all"] {
        let answer = svinit.svctl(words);
        assert_eq!(answer.code, 0, "{words}: {answer:?}\n{}", svinit.output());
    }
    let shown = svinit.get("/v1/units");
    let mut pids: Vec<i32> = Vec::new();
    for unit in shown.as_array().unwrap().iter().filter(|unit| UNITS.iter().any(|name| unit["unit"] == *name))
    {
        let expected = if unit["unit"] == "job" { "completed" } else { "ready" };
        assert_eq!(unit["state"], expected, "{unit}");
        pids.extend(unit["pid"].as_i64().map(|pid| i32::try_from(pid).unwrap()));
    }
    pids.sort_unstable();
    // The kernel lets svinit go on a moment before the new command line can be read.
    eventually("each unit has its process, and there is no other", || {
        let mut alive = processes_with(&format!("sleep {mark}"));
        alive.sort_unstable();
        pids == alive
    });
}

#[test]
fn each_of_many_contradicting_requests_has_one_answer_and_the_end_is_consistent() {
    let svinit = Arc::new(units(Setup::new(), "3600.0401").start());
    svinit.wait_for("web", "ready");
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let svinit = Arc::clone(&svinit);
            thread::spawn(move || {
                let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ (client as u64 + 1));
                (0..rounds(REQUESTS)).filter_map(|_| ask(&svinit, &mut dice).err()).collect::<Vec<_>>()
            })
        })
        .collect();
    let wrong: Vec<String> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    assert!(wrong.is_empty(), "{} wrong answers, such as {}", wrong.len(), wrong[0]);
    is_consistent(&svinit, "3600.0401");
}

#[test]
fn what_a_client_asked_for_is_done_although_the_client_was_killed() {
    let slow = "command = [\"sh\", \"-c\", \"trap 'exit 0' TERM; echo up; while :; do sleep 0.01; done\"]\nready.log = \"up\"";
    let svinit = units(Setup::new(), "3600.0402").unit("slow", slow).start();
    svinit.wait_for("web", "ready");
    svinit.wait_for("slow", "ready");
    let least = (0..50).map(|_| observer::descriptors(svinit.pid())).min().unwrap();
    let mut dice = Dice(42);
    for _ in 0..rounds(100) {
        let unit = ["web", "app", "slow", "db"][dice.below(4)];
        let after = format!("0.{:04}", dice.below(300));
        let mut command = Command::new("timeout");
        command.args(["-s", "KILL", &after, executable(), "--as", "svctl", "--socket"]).arg(svinit.socket());
        command.args(["restart", unit]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let _ = command.status().unwrap();
    }
    eventually("all have come to rest", || {
        let units = svinit.get("/v1/units");
        units.as_array().unwrap().iter().all(|unit| unit["state"] == "ready" || unit["state"] == "completed")
    });
    let slow = svinit.status("slow")["pid"].clone();
    is_consistent(&svinit, "3600.0402");
    assert_eq!(svinit.status("slow")["pid"], slow, "a start of what runs changes nothing");
    eventually("no connection is left", || observer::descriptors(svinit.pid()) <= least);
}

#[test]
fn a_request_to_stop_ends_everything_at_whatever_moment_it_comes() {
    let hook = "hooks.pre_start = [[\"sh\", \"-c\", \"sleep 0.02; echo prepared\"]]\n";
    let chatty = |more: &str| {
        format!(
            "{more}{hook}ready.log = \"up\"\ncommand = [\"sh\", \"-c\", \"echo up; exec sleep 3600.0403\"]"
        )
    };
    let bad = "command = [\"sh\", \"-c\", \"echo bad; exit 1\"]\nrestart.max_delay = \"100ms\"\n";
    for moment in 1..=rounds(24) {
        let svinit = Setup::new()
            .unit("db", &chatty(""))
            .unit("app", &chatty("requires = [\"db\"]\n"))
            .unit("web", &chatty("requires = [\"app\"]\n"))
            .unit("bad", bad)
            .start();
        let lines = || svinit.output().lines().count();
        let mut restart = None;
        eventually("it has come so far", || lines() >= moment.min(20));
        if moment % 2 == 0 {
            let mut command = Command::new(executable());
            command.args(["--as", "svctl", "--socket"]).arg(svinit.socket()).args(["restart", "db", "web"]);
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            restart = Some(child.unwrap());
            let told = lines();
            eventually("it does something", || lines() > told + moment % 5);
        }
        svinit.signal("TERM");
        let status = svinit.wait_for_end();
        assert_eq!(status, 0, "at line {moment}: {}", svinit.output());
        let said = svinit.output();
        let after = &said[said.find("stopping all units").unwrap_or(0)..];
        // What was being started at that moment may still come up before its turn to stop; what is down stays down.
        let mut down = Vec::new();
        for (unit, what) in after.lines().filter_map(|line| line.strip_prefix("svinit | ")?.split_once(": "))
        {
            if what.starts_with("stopped") {
                down.push(unit);
            }
            assert!(!what.starts_with("ready") || !down.contains(&unit), "{unit} is started again: {said}");
        }
        // It ended by itself: its units take no time at all to stop.
        assert!(!said.contains("had to be killed"), "{said}");
        if let Some(mut restart) = restart {
            let _ = restart.wait();
        }
    }
    assert!(processes_with("sleep 3600.0403").is_empty());
    assert!(PATIENCE.as_secs() > 10, "each of the ends was waited for longer than a shutdown may take");
}
