//! Several units from one file: they share a socket, take turns, and come and go while clients ask.

#![expect(
    clippy::disallowed_methods,
    reason = "commands that run while something else is done, and a plain client"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use crate::fixture::{Setup, Svinit, eventually, executable};
use crate::held_sockets::{Clients, address, get, python};

/// Serves HTTP on the one socket that it is handed and that others have as well, and answers with its number. It serves
/// when the file `go` is there, and not at all when there is one `bad`.
const SERVER: &str = r#"
import os, select, signal, socket, sys, time
here = os.path.dirname(os.path.abspath(__file__))
woken, wake = os.pipe(); os.set_blocking(wake, False); signal.set_wakeup_fd(wake)
ended = []; signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
if os.path.exists(here + "/bad"):
    print("cannot serve like this", flush=True)
    sys.exit(3)
while not os.path.exists(here + "/go") and not ended: select.select([woken], [], [], 0.02)
listener = socket.socket(fileno=3)
number = os.environ["SVINIT_INSTANCE"]
print("serving", number, *sys.argv[1:], flush=True)
while not ended:
    if listener not in select.select([listener, woken], [], [])[0]: continue
    try: client, _ = listener.accept()
    except BlockingIOError: continue
    client.setblocking(True)
    asked = b""
    while b"\r\n\r\n" not in asked:
        part = client.recv(4096)
        if not part: break
        asked += part
    client.sendall(b"HTTP/1.0 200 OK\r\n\r\n" + number.encode())
    client.close()
"#;

fn unit(at: &str, instances: u32, more: &str) -> String {
    format!(
        "command = [\"python3\", \"{{dir}}/server.py\", \"port 800${{SVINIT_INSTANCE}}\"]\n\
         instances = {instances}\naliases = [\"django\"]\n{more}\n\
         [restart]\ndelay = \"2s\"\n[ready]\nlog = \"^serving\"\n[stop]\ntimeout = \"20s\"\n\
         [sockets]\nhttp = {{ address = \"{at}\", nonblocking = true }}\n"
    )
}

/// `web` with three instances, which serve at `at`.
fn serving(setup: Setup, at: &str) -> Svinit {
    let svinit = setup.file("server.py", SERVER).file("go", "").unit("web", &unit(at, 3, "")).start();
    let waited = svinit.svctl("wait web --timeout 60s");
    assert_eq!(waited.code, 0, "{waited:?}");
    svinit
}

fn write(svinit: &Svinit, text: &str) {
    let here = svinit.path("").display().to_string();
    let new = svinit.path("web.new");
    fs::write(&new, text.replace("{dir}", here.trim_end_matches('/'))).unwrap();
    fs::rename(new, svinit.path("units/web.toml")).unwrap();
}

/// The PIDs of all instances, by name.
fn pids(svinit: &Svinit) -> BTreeMap<String, i64> {
    let units = svinit.get("/v1/units?units=web");
    let one = |unit: &Value| (unit["unit"].as_str().unwrap().to_owned(), unit["pid"].as_i64().unwrap_or(0));
    units.as_array().unwrap().iter().map(one).collect()
}

fn names(svinit: &Svinit) -> Vec<String> {
    pids(svinit).into_keys().collect()
}

fn asking(at: &str) -> Clients {
    let at = at.to_owned();
    Clients::start(4, move || get(&at))
}

fn none_failed(clients: Clients) {
    clients.go_on(50);
    let (good, failed) = clients.end();
    assert!(failed.is_empty() && good > 0, "{good} were answered, and of others: {failed:?}");
}

#[test]
fn a_rolling_restart_under_load_fails_no_request_and_keeps_all_but_one_up() {
    if !python() {
        return;
    }
    let at = address();
    let svinit = serving(Setup::new(), &at);
    let clients = asking(&at);
    clients.go_on(50);
    let before = pids(&svinit);
    let body = r#"{"verb":"restart","units":["web"]}"#;
    let mut away: BTreeMap<String, String> = BTreeMap::new();
    let mut lines = BufReader::new(svinit.request("POST", "/v1/jobs", body)).lines();
    let mut is_done = false;
    while let Some(Ok(line)) = lines.next().filter(|_| !is_done) {
        let Ok(Value::Object(line)) = serde_json::from_str::<Value>(&line) else { continue };
        if line["type"] == "progress" {
            let (unit, state) = (line["unit"].as_str().unwrap(), line["state"].as_str().unwrap());
            let _ = if state == "ready" { away.remove(unit) } else { away.insert(unit.into(), state.into()) };
            assert!(away.len() <= 1, "more than one is away: {away:?}");
        }
        is_done = line["type"] == "done";
        assert!(!is_done || line["ok"] == true, "{line:?}");
    }
    assert!(is_done, "the restart has no end");
    none_failed(clients);
    let after = pids(&svinit);
    assert_eq!(after.keys().collect::<Vec<_>>(), ["web@1", "web@2", "web@3"]);
    assert!(after.iter().all(|(name, pid)| *pid > 0 && before[name] != *pid), "{before:?} {after:?}");
}

#[test]
fn scaling_up_and_down_under_load_fails_no_request() {
    if !python() {
        return;
    }
    let at = address();
    let svinit = serving(Setup::new(), &at);
    let clients = asking(&at);
    let before = pids(&svinit);
    let dry = svinit.svctl("scale web=5 --dry-run");
    assert_eq!(dry.code, 0, "{dry:?}");
    assert!(
        dry.stdout.contains("+ web@4 starts\n+ web@5 starts\nwould change 2 units: 2 to start"),
        "{dry:?}"
    );
    let up = svinit.svctl("scale web=5");
    assert_eq!(up.code, 0, "{up:?}");
    assert_eq!(names(&svinit), ["web@1", "web@2", "web@3", "web@4", "web@5"]);
    clients.go_on(100);
    let down = svinit.svctl("scale django=1");
    assert_eq!(down.code, 0, "{down:?}");
    assert_eq!(pids(&svinit), BTreeMap::from([("web@1".to_owned(), before["web@1"])]));
    none_failed(clients);

    let nothing = svinit.svctl("scale web=1");
    assert_eq!((nothing.code, nothing.stdout.trim()), (0, "nothing to do: there are so many"));
    let none = svinit.svctl("scale web=0");
    assert!(none.code == 1 && none.stderr.contains("svctl stop web stops all of them"), "{none:?}");
    // A number that a person has asked for stands over an update, until the file says another one.
    write(&svinit, &unit(&at, 3, "description = \"x\""));
    assert_eq!(svinit.svctl("update").code, 0);
    assert_eq!(names(&svinit), ["web@1"]);
    write(&svinit, &unit(&at, 2, "description = \"x\""));
    assert_eq!(svinit.svctl("update").code, 0);
    assert_eq!(names(&svinit), ["web@1", "web@2"]);
    assert_eq!(pids(&svinit)["web@1"], before["web@1"]);
}

#[test]
fn one_that_does_not_come_up_leaves_the_others_serving() {
    if !python() {
        return;
    }
    let at = address();
    let svinit = serving(Setup::new(), &at);
    let before = pids(&svinit);
    let clients = asking(&at);
    fs::write(svinit.path("bad"), "").unwrap();
    let answer = svinit.svctl("restart web");
    assert_eq!(answer.code, 1, "{answer:?}");
    let said = format!("{}{}", answer.stdout, answer.stderr);
    assert!(said.contains("cannot serve like this"), "{said}");
    assert!(said.contains("web@1 did not come up"), "{said}");
    let after = pids(&svinit);
    assert_eq!((after["web@2"], after["web@3"]), (before["web@2"], before["web@3"]));
    let health = svinit.get("/v1/health/web");
    assert_eq!(health["status"], "warn", "{health}");
    none_failed(clients);
    fs::remove_file(svinit.path("bad")).unwrap();
    let again = svinit.svctl("restart web");
    assert_eq!(again.code, 0, "{again:?}");
}

#[test]
fn an_update_that_does_not_come_up_stops_at_the_first_and_leaves_the_others_as_they_were() {
    if !python() {
        return;
    }
    let at = address();
    let svinit = serving(Setup::new(), &at);
    let before = pids(&svinit);
    fs::write(svinit.path("bad"), "").unwrap();
    write(&svinit, &unit(&at, 3, "[environment]\nNEW = \"1\""));
    let answer = svinit.svctl("update");
    assert_eq!(answer.code, 1, "{answer:?}");
    let after = pids(&svinit);
    assert_eq!((after["web@2"], after["web@3"]), (before["web@2"], before["web@3"]));
    let variables = |unit: &str| svinit.get(&format!("/v1/units/{unit}/environment"))["variables"].clone();
    assert_eq!((&variables("web@1")["NEW"], &variables("web@2")["NEW"]), (&Value::from("1"), &Value::Null));
    fs::remove_file(svinit.path("bad")).unwrap();
    let again = svinit.svctl("update");
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(variables("web@3")["NEW"], "1");
}

fn waiting(svinit: &Svinit, words: &[&str]) -> Child {
    let mut command = Command::new(executable());
    command.args(["--as", "svctl", "--socket"]).arg(svinit.socket()).args(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn an_upgrade_of_svinit_in_the_middle_of_a_rolling_restart_changes_nothing_about_it() {
    if !python() {
        return;
    }
    let at = address();
    let svinit = serving(Setup::new().replaceable(), &at);
    let scaled = svinit.svctl("scale web=4");
    assert_eq!(scaled.code, 0, "{scaled:?}");
    let clients = asking(&at);
    let before = pids(&svinit);
    fs::remove_file(svinit.path("go")).unwrap();
    let restart = waiting(&svinit, &["restart", "web"]);
    let first = i32::try_from(before["web@1"]).unwrap();
    svinit.wait_for_another("web@1", "starting", Some(first));
    let upgrade = svinit.svctl("upgrade");
    assert_eq!(upgrade.code, 0, "{upgrade:?}");
    eventually("svinit is upgraded", || svinit.get("/v1/supervisor")["upgrades"] == 1);
    let waits = svinit.status("web@3");
    assert_eq!(waits["why"], "waits for its turn to be restarted");
    assert_eq!(waits["pid"], before["web@3"]);
    fs::write(svinit.path("go"), "").unwrap();
    let output = restart.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    none_failed(clients);
    let after = pids(&svinit);
    assert_eq!(after.len(), 4);
    assert!(after.iter().all(|(name, pid)| *pid > 0 && before[name] != *pid), "{before:?} {after:?}");
}

#[test]
fn a_group_can_be_named_wherever_a_unit_can() {
    if !python() {
        return;
    }
    let at = address();
    let svinit = serving(Setup::new().http(), &at);
    let units = |words: &str| -> Vec<String> {
        let answer = svinit.svctl(&format!("status --json {words}"));
        let Ok(Value::Array(units)) = serde_json::from_str(&answer.stdout) else { panic!("{answer:?}") };
        units.iter().map(|unit| unit["unit"].as_str().unwrap().to_owned()).collect()
    };
    let all = ["web@1", "web@2", "web@3"];
    for words in ["web", "django", "w?b", "web@*", "all", "web@3 web@2 web@1"] {
        assert_eq!(units(words), all, "{words}");
    }
    assert_eq!(units("web@2"), ["web@2"]);
    let one = svinit.status("web@2");
    assert_eq!((&one["group"], &one["instance"]), (&Value::from("web"), &Value::from(2)));
    assert_eq!(svinit.svctl("is-active web").stdout, "ready\nready\nready\n");
    let logs = svinit.svctl("logs web --raw").stdout;
    for number in 1..=3 {
        assert!(logs.contains(&format!("serving {number} port 800{number}\n")), "{logs}");
    }
    assert_eq!(svinit.svctl("show web --property instance --value").stdout, "1\n2\n3\n");
    assert!(svinit.svctl("cat web").stdout.contains("instances = 3\n"));
    let why = svinit.svctl("why web").stdout;
    assert!(all.iter().all(|name| why.contains(&format!("{name}: ready"))), "{why}");
    assert!(svinit.svctl("status --names").stdout.starts_with("web\nweb@1\ndjango\n"));
    assert!(svinit.svctl("env web@3").stdout.contains("SVINIT_INSTANCE=3\n"));
    let several = svinit.svctl("env web");
    assert!(several.code != 0 && several.stderr.contains("name one of web@1, web@2, web@3"), "{several:?}");
    let lone = svinit.svctl("scale web@1=2");
    assert!(lone.code == 1 && lone.stderr.contains("say how many of web"), "{lone:?}");

    let get = |path: &str| {
        let http = svinit.http();
        let answer = Command::new("python3")
            .args(["-c", "import sys,urllib.request as r\ntry: print(r.urlopen(sys.argv[1]).read().decode())\nexcept r.HTTPError as e: print(e.code)"])
            .arg(format!("http://{http}{path}"))
            .output()
            .unwrap();
        String::from_utf8_lossy(&answer.stdout).into_owned()
    };
    let report: Value = serde_json::from_str(&get("/health/web")).unwrap();
    assert_eq!(report["checks"].as_object().unwrap().keys().collect::<Vec<_>>(), all);
    assert!(get("/metrics").contains("svinit_unit_state{unit=\"web@2\",group=\"web\",state=\"ready\"} 1\n"));
    let stopped = svinit.svctl("stop web");
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert_eq!(svinit.svctl("is-active web").stdout, "inactive\ninactive\ninactive\n");
    let started = svinit.svctl("start web");
    assert_eq!(started.code, 0, "{started:?}");
    assert!(Path::new(&svinit.path("units/web.toml")).exists());
}
