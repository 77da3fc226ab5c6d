//! Thousands of processes that end at the same moment, and the one status among them that matters.

use std::fs;
use std::io::Read;

use serde_json::{Value, json};

use crate::fixture::{Setup, Svinit, eventually, rounds, zombies_of};

/// Orphans of one round: they are made, fall to svinit all together, and end all together.
const ORPHANS: usize = 1000;

/// argv[1] rounds of argv[2] orphans, each when the one before has ended.
const STORM: &str = "
import os, sys
for _ in range(int(sys.argv[1])):
    gate, opening = os.pipe()
    ended, ending = os.pipe()
    maker = os.fork()
    if maker == 0:
        os.close(opening)
        os.close(ended)
        for _ in range(int(sys.argv[2])):
            if os.fork() == 0:
                os.read(gate, 1)
                os._exit(3)
        os._exit(0)
    os.close(gate)
    os.close(ending)
    os.waitpid(maker, 0)
    os.close(opening)
    os.read(ended, 1)
    os.close(ended)
print('over', flush=True)
import signal
signal.pause()
";

/// Ends with a code of its round and its own number, so that a status of another run or unit is not its own.
const CODE: &str = "read round < $1/round; exit $(( (round * 7 + $2) % 256 ))\n";

/// Oneshots, and as many hooks, that run in each round.
const EACH: usize = 8;

/// With units whose process, or whose hook, ends at once and with another code each time.
fn ending(setup: Setup) -> Setup {
    let setup = setup.file("code.sh", CODE).file("round", "0");
    (0..EACH).fold(setup, |setup, number| {
        let script = |number: usize| format!("[\"sh\", \"{{dir}}/code.sh\", \"{{dir}}\", \"{number}\"]");
        let once = "type = \"oneshot\"\nenabled = false\nrestart.policy = \"never\"\n";
        let (own, hooks) = (script(number), script(number + EACH));
        setup.unit(&format!("code{number}"), &format!("{once}command = {own}")).unit(
            &format!("hook{number}"),
            &format!("{once}command = [\"true\"]\nhooks.pre_start = [{hooks}]"),
        )
    })
}

/// Starts `units` and returns what has become of each.
fn started(svinit: &Svinit, units: &[&str]) -> Vec<Value> {
    let body = json!({"verb": "start", "units": units}).to_string();
    let mut answer = String::new();
    svinit.request("POST", "/v1/jobs", &body).read_to_string(&mut answer).unwrap();
    let lines = answer.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line["type"] == "outcome").collect()
}

/// One round of all of them: each must have its own code.
fn every_code_is_right(svinit: &Svinit, round: usize) {
    fs::write(svinit.path("round"), format!("{round}\n")).unwrap();
    let outcomes = started(svinit, &["code*", "hook*"]);
    assert_eq!(outcomes.len(), 2 * EACH, "{outcomes:?}");
    for outcome in outcomes {
        let name = outcome["unit"].as_str().unwrap();
        let number: usize = name[4..].parse().unwrap();
        let number = if name.starts_with("hook") { number + EACH } else { number };
        let code = (round * 7 + number) % 256;
        let why = outcome["why"].as_str().unwrap();
        assert_eq!(outcome["ok"], code == 0, "round {round}: {outcome}");
        // A hook that went well is not spoken of.
        let said = if name.starts_with("hook") && code == 0 { 0 } else { code };
        assert!(why.ends_with(&format!("exited with code {said}")), "round {round}: {outcome}");
    }
}

fn survives(setup: Setup, storms: usize, rounds: usize) {
    let (storms, orphans) = (storms.to_string(), ORPHANS.to_string());
    let storm = format!("command = [\"python3\", \"-c\", {STORM:?}, \"{storms}\", \"{orphans}\"]");
    let svinit = ending(setup)
        .unit("storm", &format!("enabled = false\n{storm}"))
        .unit("web", "command = [\"sleep\", \"600\"]")
        .start();
    let web = svinit.wait_for("web", "ready");
    started(&svinit, &["storm"]);
    let mut round = 0;
    while round < rounds || !svinit.output().contains("storm | over") {
        every_code_is_right(&svinit, round);
        round += 1;
    }
    let pid = svinit.pid();
    eventually("no zombie is left", || zombies_of(pid) == 0);
    assert_eq!(svinit.wait_for("web", "ready"), web);
    assert_eq!(svinit.status("storm")["state"], "ready");
    eprintln!("{storms} times {orphans} orphans, {} statuses during that", round * 2 * EACH);
}

#[test]
fn in_a_storm_of_orphans_of_pid_1_no_zombie_stays_and_no_status_is_lost() {
    if let Some(setup) = Setup::new().pid1() {
        survives(setup, rounds(10), 63);
    }
}

#[test]
fn in_a_storm_of_orphans_of_a_subreaper_no_zombie_stays_and_no_status_is_lost() {
    survives(Setup::new(), rounds(1), 5);
}

#[test]
fn what_ends_at_once_has_its_status_recorded_each_time() {
    const UNITS: usize = 20;
    let once = |command: &str| {
        format!("type = \"oneshot\"\nenabled = false\nrestart.policy = \"never\"\ncommand = [\"{command}\"]")
    };
    let setup = (0..UNITS).fold(Setup::new(), |setup, number| {
        setup.unit(&format!("one{number}"), &once(if number % 4 == 0 { "false" } else { "true" }))
    });
    let svinit = setup.unit("web", "command = [\"sleep\", \"600\"]").start();
    for _ in 0..rounds(100) {
        let outcomes = started(&svinit, &["one*"]);
        assert_eq!(outcomes.len(), UNITS);
        for outcome in outcomes {
            let number: usize = outcome["unit"].as_str().unwrap()[3..].parse().unwrap();
            let code = usize::from(number.is_multiple_of(4));
            assert_eq!(outcome["ok"], code == 0, "{outcome}");
            assert_eq!(outcome["why"], format!("exited with code {code}"), "{outcome}");
        }
    }
}
