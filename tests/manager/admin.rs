//! The admin listener and the commands that ask it: a real manager in front of a real svinit.

#![expect(clippy::disallowed_methods, reason = "a test runs promtool and the manager's own commands")]

use std::io::BufRead;
use std::io::BufReader;
use std::io::Write;
use std::net::SocketAddr;
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::backend::TOKEN;
use crate::backend::by_socket;
use crate::backend::file;
use crate::backend::free_port;
use crate::backend::manager_with;
use crate::backend::web;
use crate::fixture::Manager;
use crate::fixture::PATIENCE;
use crate::fixture::Reply;
use crate::fixture::eventually;
use crate::fixture::svmanager;
use crate::supervisor::Essential;
use crate::supervisor::Svinit;
use crate::supervisor::kill;
use crate::supervisor::skip;

/// A manager with an admin listener, and what it looks after.
struct Both {
    manager: Manager,
    svinit: Svinit,
    at: SocketAddr,
}

impl Both {
    fn start() -> Self {
        let port = free_port();
        let svinit = web(port, "");
        let token = svinit.path("token");
        let top = format!("admin = {{ listen = \"127.0.0.1:0\", token_file = \"{}\" }}\n", token.display());
        let manager = manager_with(port, &by_socket(&svinit), &top);
        let line = manager.wait_for("admin listener on ");
        let at = line.rsplit(' ').next().unwrap().parse().unwrap();
        Self { manager, svinit, at }
    }

    /// Sends a head with these lines, and leaves the connection to be read.
    fn open(&self, asked: &str, lines: &str, body: &str) -> BufReader<TcpStream> {
        let mut stream = TcpStream::connect(self.at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let head =
            format!("{asked} HTTP/1.1\r\nHost: {}\r\nContent-Length: {length}\r\n{lines}\r\n{body}", self.at);
        stream.write_all(head.as_bytes()).unwrap();
        BufReader::new(stream)
    }

    fn ask(&self, asked: &str, body: &str) -> Reply {
        let token = format!("Authorization: Bearer {TOKEN}\r\n");
        Reply::read(&mut self.open(asked, &token, body), false).unwrap()
    }

    /// An answer that has to be 200 and as the description says.
    fn json(&self, asked: &str, body: &str) -> Value {
        let reply = self.ask(asked, body);
        assert_eq!(reply.status, 200, "{asked}: {}", reply.text());
        let value: Value = serde_json::from_slice(&reply.body).unwrap();
        check(asked, &value);
        value
    }

    fn command(&self, words: &[&str]) -> Output {
        let (at, token) = (self.at.to_string(), self.svinit.path("token"));
        svmanager().args(words).args(["--admin", &at, "--token-file"]).arg(token).output().unwrap()
    }
}

/// Holds an answer against docs/openapi-manager.json.
fn check(asked: &str, value: &Value) {
    let file = include_str!("../../docs/openapi-manager.json");
    let file: Value = serde_json::from_str(file).unwrap();
    let (method, target) = asked.split_once(' ').unwrap();
    let target: Vec<&str> = target.split('?').next().unwrap().split('/').collect();
    let matches = |path: &str| {
        let parts: Vec<&str> = path.split('/').collect();
        parts.len() == target.len()
            && parts.iter().zip(&target).all(|(own, other)| own.starts_with('{') || own == other)
    };
    let (_, path) = file["paths"].as_object().unwrap().iter().find(|(path, _)| matches(path)).unwrap();
    let content = path[method.to_ascii_lowercase()]["responses"]["200"]["content"].as_object().unwrap();
    let mut schema = content.values().next().unwrap()["schema"].clone();
    schema["components"] = file["components"].clone();
    let validator = jsonschema::validator_for(&schema).unwrap();
    validator.validate(value).unwrap_or_else(|error| panic!("{asked}: {error}: {value}"));
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn everything_that_is_can_be_read_by_who_has_the_token() {
    let both = Both::start();
    both.manager.wait_for("app 127.0.0.1");
    let services = both.json("GET /api/services", "");
    let app = &services[0];
    assert_eq!((app["service"].as_str(), app["state"].as_str()), (Some("app"), Some("up")), "{app}");
    assert_eq!(app["control"]["unit"], "web");
    let units = app["containers"][0]["units"].as_array().unwrap();
    let web = units.iter().find(|unit| unit["unit"] == "web").unwrap();
    assert_eq!((web["state"].as_str(), web["memory"].is_u64()), (Some("ready"), true), "{web}");
    assert_eq!(both.json("GET /api/services/app", "")["recovery"]["phase"], "at rest");
    let status = both.json("GET /api/status", "");
    assert_eq!((status["leader"].as_bool(), status["services"]["up"].as_u64()), (Some(true), Some(1)));
    for _ in 0..5 {
        assert_eq!(both.manager.get("/").status, 200);
    }
    let routes = both.json("GET /api/routes", "");
    assert!(routes[0]["requests"].as_u64().unwrap() >= 5, "{routes}");
    assert!(routes[0]["minute"]["p99_ms"].as_f64().unwrap() > 0.0, "{routes}");
    both.json("GET /api/openapi.json", "");
    let page = Reply::read(&mut both.open("GET /", "", ""), false).unwrap();
    assert_eq!((page.status, page.value("x-frame-options")), (200, Some("DENY")));
    let health = Reply::read(&mut both.open("GET /health", "", ""), false).unwrap();
    assert_eq!(health.text(), "{\"status\":\"pass\"}");
    assert_eq!(both.ask("GET /api/services/nope", "").status, 404);
    assert_eq!(both.ask("GET /api/nope", "").status, 404);
    assert_eq!(both.ask("POST /api/services", "").status, 405);
}

#[test]
fn nobody_else_gets_in() {
    let both = Both::start();
    let status =
        |asked: &str, lines: &str| Reply::read(&mut both.open(asked, lines, ""), false).unwrap().status;
    let right = format!("Authorization: Bearer {TOKEN}\r\n");
    assert_eq!(status("GET /api/services", ""), 401);
    assert_eq!(
        status("POST /api/services/app/restart", "Authorization: Bearer correct-horse-battery-stapl\r\n"),
        401
    );
    assert_eq!(status("GET /metrics", ""), 401);
    assert_eq!(status("GET /api/services", &format!("{right}Origin: http://evil.example\r\n")), 400);
    assert_eq!(status("GET /api/services", &format!("{right}Sec-Fetch-Site: cross-site\r\n")), 400);
    assert_eq!(status("GET /api/services", &right), 200);
    both.manager.wait_for("admin: POST /api/services/app/restart was refused to 127.0.0.1:");
    assert!(!both.manager.said().contains(TOKEN));
}

#[test]
fn the_admin_listener_follows_the_file_and_whoever_had_the_old_token_is_out() {
    let both = Both::start();
    let old = format!("Authorization: Bearer {TOKEN}\r\n");
    let mut events = both.open("GET /api/events", &old, "");
    let mut line = String::new();
    events.read_line(&mut line).unwrap();
    assert!(line.contains("200"), "{line}");
    std::fs::write(both.svinit.path("token"), "a-new-token-for-everybody").unwrap();
    both.manager.signal(Signal::SIGHUP);
    both.manager.wait_for("taken over: 1 routes, 1 services");
    // A stream that was begun with the old one ends.
    std::io::copy(&mut events, &mut std::io::sink()).unwrap();
    let status =
        |asked: &str, lines: &str| Reply::read(&mut both.open(asked, lines, ""), false).unwrap().status;
    eventually("the old one is refused", || status("GET /api/status", &old) == 401);
    assert_eq!(status("GET /api/status", "Authorization: Bearer a-new-token-for-everybody\r\n"), 200);

    let port = free_port();
    let (elsewhere, token) = (free_port(), both.svinit.path("token"));
    let admin = |at: &str| format!("admin = {{ listen = \"{at}\", token_file = \"{}\" }}\n", token.display());
    let rest = file(port, &by_socket(&both.svinit));
    both.manager.rewrite(&format!("{}{rest}", admin(&format!("127.0.0.1:{elsewhere}"))));
    both.manager.signal(Signal::SIGHUP);
    both.manager.wait_for(&format!("admin listener on 127.0.0.1:{elsewhere}"));
    assert!(TcpStream::connect(("127.0.0.1", elsewhere)).is_ok());
    eventually("the old one is closed", || TcpStream::connect(both.at).is_err());
    both.manager.rewrite(&format!("{}{rest}", admin("off")));
    both.manager.signal(Signal::SIGHUP);
    eventually("it is off", || TcpStream::connect(("127.0.0.1", elsewhere)).is_err());
}

#[test]
fn what_recovery_finds_and_does_is_counted() {
    let both = Both::start();
    let count = |line: &str| {
        let body = both.ask("GET /metrics", "").text();
        let found = body.lines().find_map(|found| found.strip_prefix(line)?.trim().parse::<f64>().ok());
        found.unwrap_or_else(|| panic!("{line}\n{body}"))
    };
    let healed = "svmanager_recovery_actions_total{service=\"app\",step=\"restart-unit\",result=\"healed\"}";
    let pushed = "svmanager_recovery_detections_total{service=\"app\",by=\"push\"}";
    let polled = "svmanager_recovery_detections_total{service=\"app\",by=\"poll\"}";
    let tokens = "svmanager_recovery_tokens{service=\"app\"}";
    assert_eq!([healed, pushed, polled, tokens].map(count), [0.0, 0.0, 0.0, 3.0]);
    let pid = || i32::try_from(both.svinit.status("web")["pid"].as_i64().unwrap()).unwrap();
    kill(pid(), "KILL");
    eventually("it is healed", || count(healed) >= 1.0);
    assert_eq!([healed, pushed, polled, tokens].map(count), [1.0, 1.0, 0.0, 2.0]);
    // svinit has no check of it: that it hangs is found by the gateway's.
    kill(pid(), "STOP");
    eventually("it is healed once more", || count(healed) >= 2.0);
    assert_eq!([pushed, polled, tokens].map(count), [1.0, 1.0, 1.0]);
    assert_eq!(count("svmanager_recovery_quarantines_total{service=\"app\"}"), 0.0);
    assert_eq!(count("svmanager_recovery_freezes_total"), 0.0);
}

#[test]
fn a_restart_goes_the_way_of_recovery_and_no_request_fails() {
    let both = Both::start();
    let before = both.svinit.status("web")["pid"].clone();
    let action = both.json("POST /api/services/app/restart", "");
    assert_eq!((action["ok"].as_bool(), &action["old_pid"]), (Some(true), &before), "{action}");
    let reply = both.manager.get("/");
    assert_eq!((reply.status, reply.text()), (200, action["new_pid"].to_string()));
    both.manager.wait_for("recovery: app: asked: restart-unit of");
    both.manager.wait_for("recovery: app: healed:");
    // Not even a second unit goes another way when it is the one that serves.
    assert_eq!(both.ask("POST /api/services/app/units/web/restart", "").status, 400);
    let beside = both.json("POST /api/services/app/units/beside/restart", "");
    assert_eq!((beside["ok"].as_bool(), beside["unit"].as_str()), (Some(true), Some("beside")));
    assert_eq!(both.ask("POST /api/services/app/units/nope/restart", "").status, 404);
    assert_eq!(both.ask("POST /api/services/app/explode", "").status, 404);
    let stopped = both.json("POST /api/services/app/stop", "");
    assert_eq!(stopped["ok"], true);
    both.svinit.wait_for("web", "inactive");
    let started = both.json("POST /api/services/app/start", "");
    assert_eq!((started["ok"].as_bool(), started["state"].as_str()), (Some(true), Some("ready")));
    let audit = std::fs::read_to_string(both.manager.path("audit.jsonl")).unwrap();
    assert!(audit.contains("stop of unit web in") && audit.contains(", by 127.0.0.1:"), "{audit}");
}

#[test]
fn events_and_lines_of_output_are_streams() {
    let both = Both::start();
    let token = format!("Authorization: Bearer {TOKEN}\r\n");
    let mut events = both.open("GET /api/events?last=256", &token, "");
    let pid = both.svinit.status("web")["pid"].as_i64().unwrap();
    kill(i32::try_from(pid).unwrap(), "KILL");
    let mut seen = Vec::new();
    while !seen.contains(&("recovery".to_owned(), "healed".to_owned())) {
        let mut line = String::new();
        assert!(events.read_line(&mut line).unwrap() > 0, "{seen:?}");
        // Heads and sizes of chunks are between the values.
        let Ok(event) = serde_json::from_str::<Value>(&line) else { continue };
        if event.is_object() {
            check("GET /api/events", &event);
            let word = |key: &str| event[key].as_str().unwrap().to_owned();
            seen.push((word("kind"), word("state")));
        }
    }
    for expected in [("recovery", "leader"), ("unit", "stopping"), ("unit", "ready"), ("recovery", "act")] {
        assert!(seen.contains(&(expected.0.to_owned(), expected.1.to_owned())), "{expected:?} in {seen:?}");
    }
    let sse = format!("{token}Accept: text/event-stream\r\n");
    let mut logs = both.open("GET /api/logs?service=app&lines=5&follow=true", &sse, "");
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        logs.read_line(&mut head).unwrap();
    }
    assert!(head.to_lowercase().contains("content-type: text/event-stream"), "{head}");
    loop {
        let mut line = String::new();
        assert!(logs.read_line(&mut line).unwrap() > 0);
        if let Some(data) = line.strip_prefix("data: ") {
            let value: Value = serde_json::from_str(data).unwrap();
            check("GET /api/logs", &value);
            assert_eq!(value["unit"], "web");
            break;
        }
    }
}

#[test]
fn a_paused_service_is_left_alone_until_it_is_resumed() {
    let both = Both::start();
    let paused = both.command(&["pause", "app", "30m"]);
    assert_eq!(
        (paused.status.code(), words(&paused).trim()),
        (Some(0), "app: recovery does nothing for 30m")
    );
    let pid = both.svinit.status("web")["pid"].as_i64().unwrap();
    kill(i32::try_from(pid).unwrap(), "KILL");
    both.manager.wait_for("recovery: app: held: it is paused by a person");
    let why = both.command(&["why", "app"]);
    assert_eq!(why.status.code(), Some(3));
    assert!(
        words(&why).contains("a person has paused it for") && words(&why).contains("was killed by SIGKILL"),
        "{}",
        words(&why)
    );
    assert!(!both.manager.said().contains("recovery: app: act"), "{}", both.manager.said());
    let resumed = both.command(&["resume", "app"]);
    assert_eq!(resumed.status.code(), Some(0), "{}", words(&resumed));
    both.manager.wait_for("recovery: app: healed:");
    eventually("status says that all is well", || both.command(&["status"]).status.code() == Some(0));
    let status = words(&both.command(&["status"]));
    assert!(status.starts_with("SERVICE") && status.contains("app") && status.contains("1/1"), "{status}");
    assert_eq!(both.json("POST /api/pause", "{\"for\":\"7d\"}")["service"], Value::Null);
    assert!(both.json("GET /api/status", "")["paused_ms"].is_u64());
    assert_eq!(both.ask("POST /api/pause", "{\"for\":\"8d\"}").status, 400);
    assert_eq!(both.ask("POST /api/pause", "{\"until\":\"8d\"}").status, 400);
    assert_eq!(both.json("POST /api/resume", "")["paused_ms"], Value::Null);
}

#[test]
fn the_commands_say_what_is_wrong() {
    let both = Both::start();
    assert_eq!(both.command(&["why", "nope"]).status.code(), Some(4));
    let unshown = svmanager().args(["status", "--admin", &both.at.to_string()]).output().unwrap();
    assert_eq!(unshown.status.code(), Some(5), "{}", words(&unshown));
    let nobody =
        svmanager().args(["status", "--admin", &format!("127.0.0.1:{}", free_port())]).output().unwrap();
    assert_eq!(nobody.status.code(), Some(6), "{}", words(&nobody));
}

#[test]
fn promtool_finds_nothing_wrong_with_the_metrics_of_the_manager() {
    let unpacked = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/tools/promtool");
    let promtool = [PathBuf::from("promtool"), unpacked].into_iter().find(|program| {
        let tried =
            Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        tried.is_ok_and(|status| status.success())
    });
    let Some(promtool) = promtool else {
        return skip("promtool is not there: scripts/setup test unpacks it", Essential::Yes);
    };
    let both = Both::start();
    assert_eq!(both.manager.get("/").status, 200);
    let body = both.ask("GET /metrics", "").text();
    for line in ["svmanager_leader 1", "svmanager_service_requests_total{service=\"app\"} 2"] {
        assert!(body.lines().any(|found| found == line), "{line}\n{body}");
    }
    let mut child = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && words(&output).is_empty(), "{}\n{body}", words(&output));
}
