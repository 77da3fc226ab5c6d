//! Two managers on one directory, as processes: one acts, the other looks on, and takes over when the first ends.

use std::path::Path;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::backend::by_socket;
use crate::backend::file;
use crate::backend::free_port;
use crate::backend::web;
use crate::fixture::Manager;
use crate::fixture::eventually;
use crate::supervisor::Svinit;
use crate::supervisor::kill;

const LEADS: &str = "recovery: all services: leader: this manager acts";

fn pid(svinit: &Svinit) -> i32 {
    i32::try_from(svinit.status("web")["pid"].as_i64().unwrap()).unwrap()
}

/// What both have written, each line following from the one before, whoever wrote that.
fn decisions(state: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(state.join("audit.jsonl")).unwrap();
    svinit::manager::audit::verify(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    let decision =
        |line: &str| serde_json::from_str::<Value>(line).unwrap()["decision"].as_str().unwrap().to_owned();
    text.lines().map(decision).collect()
}

/// An action begins only when the one before is over, or when who began it is gone.
fn one_at_a_time(decisions: &[String]) {
    let mut is_acting = false;
    for decision in decisions {
        match decision.as_str() {
            "act" => assert!(!std::mem::replace(&mut is_acting, true), "two repairs at once: {decisions:?}"),
            "healed" | "no-help" | "skipped" | "left-alone" | "leader" => is_acting = false,
            _ => {}
        }
    }
}

#[test]
fn one_acts_and_the_other_takes_over_when_it_ends_also_within_a_repair() {
    let port = free_port();
    let svinit = web(port, "");
    let state = tempfile::tempdir().unwrap();
    let start = || Manager::beside(&file(port, &by_socket(&svinit)), "", Some(state.path()));
    let mut first = start();
    first.wait_for(LEADS);
    let mut second = start();
    for manager in [&first, &second] {
        eventually("it serves", || manager.get("/").status == 200);
    }

    // What the first heals the second does not touch, and serves all the same.
    kill(pid(&svinit), "KILL");
    first.wait_for("recovery: app: healed:");
    for _ in 0..20 {
        assert_eq!(second.get("/").status, 200, "{}", second.said());
    }
    assert!(!second.said().contains("recovery: app: act"), "{}", second.said());

    // It is killed, or told to end, while nothing is to be done or in the midst of a repair: each time the other one goes on.
    for (signal, status, is_within) in [
        (Signal::SIGKILL, None, false),
        (Signal::SIGKILL, None, true),
        (Signal::SIGTERM, Some(0), false),
        (Signal::SIGTERM, Some(0), true),
    ] {
        if is_within {
            let before = first.lines_with("recovery: app: act: ");
            kill(pid(&svinit), "KILL");
            eventually("it begins to act", || first.lines_with("recovery: app: act: ") > before);
        }
        first.signal(signal);
        assert_eq!(first.wait(), status);
        second.wait_for(LEADS);
        eventually("the service is served", || second.get("/").status == 200);
        let before = (pid(&svinit), second.lines_with("recovery: app: healed:"));
        kill(before.0, "KILL");
        eventually("it heals", || second.lines_with("recovery: app: healed:") > before.1);
        assert_eq!(second.get("/").status, 200, "{}", second.said());
        first = std::mem::replace(&mut second, start());
        eventually("the next one serves", || second.get("/").status == 200);
    }
    assert!(!second.said().contains(LEADS));
    let decisions = decisions(state.path());
    one_at_a_time(&decisions);
    assert_eq!(decisions.iter().filter(|decision| *decision == "leader").count(), 5, "{decisions:?}");
}
