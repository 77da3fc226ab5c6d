//! The guard in front of an engine that writes down what reaches it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;

use crate::manager::guard::rules::Call;
use crate::manager::guard::rules::Permits;
use crate::manager::guard::rules::VERBS;
use crate::manager::guard::rules::judge;
use crate::manager::guard::server::Guard;
use crate::manager::reach::docker::Docker;
use crate::manager::reach::docker::Which;
use crate::manager::reach::engine::Engine;
use crate::manager::reach::engine::SVCTL;
use crate::manager::reach::engine::UNTIL_EOF;
use crate::manager::reach::wire;
use crate::manager::reach::wire::Place;
use crate::manager::reach::wire::Request;

const OURS: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const EXEC: &str = "eeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeeee";

/// An engine with one container that may be touched, `backend`, and one that may not, `other`.
struct Fake {
    _dir: tempfile::TempDir,
    engine: PathBuf,
    guard: PathBuf,
    reached: Arc<Mutex<Vec<String>>>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    fn start(permits: Permits) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (engine, guard) = (dir.path().join("docker.sock"), dir.path().join("guard.sock"));
        let reached = Arc::new(Mutex::new(Vec::new()));
        let said = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(serve(UnixListener::bind(&engine).unwrap(), Arc::clone(&reached)));
        let heard = Arc::clone(&said);
        let say = Arc::new(move |line: &str| heard.lock().unwrap().push(line.to_owned()));
        let listener = UnixListener::bind(&guard).unwrap();
        tokio::spawn(Guard::new(engine.clone(), permits, say).serve(listener));
        Self { _dir: dir, engine, guard, reached, said }
    }

    async fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let place = Place::Unix(self.guard.clone());
        let body = Some(body.as_bytes()).filter(|body| !body.is_empty());
        let request = Request { method, path, body, token: None };
        let answer = wire::ask(&place, &request, Duration::from_secs(5)).await.unwrap();
        let status = answer.status;
        let bytes = answer.body.whole(1 << 20, Duration::from_secs(5)).await.unwrap();
        (status, String::from_utf8(bytes).unwrap())
    }

    fn reached(&self) -> Vec<String> {
        self.reached.lock().unwrap().clone()
    }
}

/// Answers every request and writes it down.
async fn serve(listener: UnixListener, reached: Arc<Mutex<Vec<String>>>) {
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let reached = Arc::clone(&reached);
        tokio::spawn(async move {
            let mut bytes = Vec::new();
            let (head, body) = loop {
                if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                    return;
                }
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
                let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
                if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                    break (head.to_owned(), body.to_owned());
                }
            };
            let line = head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned();
            reached.lock().unwrap().push(format!("{line} {body}").trim_end().to_owned());
            // Whoever asked may have gone.
            let _ = stream.write_all(&answer(&line)).await;
        });
    }
}

fn answer(line: &str) -> Vec<u8> {
    let inspected = |id: &str, managed: bool| {
        let labels = if managed { json!({"svinit.managed": "true", "secret.label": "x"}) } else { json!({}) };
        json!({
            "Id": id, "Name": "/backend", "Path": "gunicorn", "Args": ["--secret=hush"],
            "State": {"Status": "running", "Running": true, "Pid": 4242},
            "Config": {"Env": ["DB_PASSWORD=hush"], "Labels": labels, "Cmd": ["hush"]},
            "Mounts": [{"Source": "/etc/hush"}], "HostConfig": {"Binds": ["/etc/hush:/x"]},
            "NetworkSettings": {"Networks": {"net": {"IPAddress": "10.0.0.2", "MacAddress": "hush"}}}
        })
    };
    let path = line.split(' ').nth(1).unwrap();
    let (status, value) = match path {
        "/version" => (200, json!({"ApiVersion": "1.45", "MinAPIVersion": "1.24", "KernelVersion": "hush"})),
        "/containers/backend/json" => (200, inspected(OURS, true)),
        path if path == format!("/containers/{OURS}/json") => (200, inspected(OURS, true)),
        "/containers/other/json" => (200, inspected(&"b".repeat(64), false)),
        path if path.ends_with("/exec") => (201, json!({"Id": EXEC})),
        path if path.starts_with("/exec/") && path.ends_with("/json") => (
            200,
            json!({"ID": EXEC, "ExitCode": 0, "Running": false, "ProcessConfig": {"arguments": ["hush"]}}),
        ),
        path if path.starts_with("/containers/json") => {
            let one = json!({"Id": OURS, "Names": ["/backend"], "State": "running", "Command": "hush", "Mounts": ["hush"],
                "Labels": {"svinit.managed": "true", "com.docker.compose.service": "backend", "x": "hush"},
                "NetworkSettings": {"Networks": {"net": {"IPAddress": "10.0.0.2"}}}});
            (200, json!([one]))
        }
        path if path.starts_with("/events") => {
            let created = json!({"Type": "container", "Action": "exec_create: sh -c hush",
                "Actor": {"ID": OURS, "Attributes": {"execID": "hush", "svinit.managed": "true"}}});
            let image = json!({"Type": "image", "Action": "pull", "Actor": {"ID": "hush"}});
            return stream(&format!("{image}\n{created}\n"));
        }
        path if path.ends_with("/start") => {
            let outcome =
                json!([{"unit": "gunicorn", "ok": true, "state": "ready", "old_pid": 1, "new_pid": 2,
                "took_ms": 3.0, "why": ""}])
                .to_string();
            let length = u32::try_from(outcome.len()).unwrap().to_be_bytes();
            let mut bytes =
                b"HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n\x01\0\0\0"
                    .to_vec();
            bytes.extend(length);
            bytes.extend(outcome.into_bytes());
            return bytes;
        }
        path if path.contains("/restart") => return b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
        _ => (404, json!({"message": "no such thing"})),
    };
    let body = value.to_string();
    format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn stream(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
        .into_bytes()
}

fn exec(command: &[&str]) -> String {
    json!({ "AttachStdout": true, "AttachStderr": true, "Cmd": command }).to_string()
}

/// What must not be let through: method, target and body.
fn forbidden() -> Vec<(&'static str, String, String)> {
    let good = exec(&[SVCTL, "restart", "gunicorn"]);
    let with = |key: &str, value: Value| {
        let mut body: Value = serde_json::from_str(&good).unwrap();
        body[key] = value;
        body.to_string()
    };
    let at = || "/v1.45/containers/backend/exec".to_owned();
    let mut calls: Vec<(&'static str, String, String)> = [
        (
            "POST",
            "/v1.45/containers/create",
            r#"{"Image":"x","HostConfig":{"Binds":["/:/host"],"Privileged":true}}"#,
        ),
        ("POST", "/v1.45/containers/backend/start", ""),
        ("POST", "/v1.45/containers/backend/stop", ""),
        ("POST", "/v1.45/containers/backend/kill", ""),
        ("POST", "/v1.45/containers/backend/pause", ""),
        ("POST", "/v1.45/containers/backend/update", r#"{"Memory":1}"#),
        ("POST", "/v1.45/containers/backend/rename?name=x", ""),
        ("DELETE", "/v1.45/containers/backend?force=1", ""),
        ("GET", "/v1.45/containers/backend/archive?path=/etc", ""),
        ("PUT", "/v1.45/containers/backend/archive?path=/etc", ""),
        ("GET", "/v1.45/containers/backend/logs?stdout=1", ""),
        ("GET", "/v1.45/containers/backend/export", ""),
        ("POST", "/v1.45/containers/backend/attach?stream=1", ""),
        ("POST", "/v1.45/containers/backend/restart", ""),
        ("GET", "/v1.45/images/json", ""),
        ("POST", "/v1.45/images/create?fromImage=x", ""),
        ("POST", "/v1.45/build", ""),
        ("GET", "/v1.45/volumes", ""),
        ("GET", "/v1.45/secrets", ""),
        ("POST", "/v1.45/swarm/init", "{}"),
        ("GET", "/v1.45/info", ""),
        ("POST", "/v1.45/session", ""),
        ("POST", "/v1.45/networks/create", "{}"),
        ("GET", "/v1.45/containers/backend/json?size=1", ""),
        ("GET", "/v1.45/containers/json?filters=%7B%22name%22%3A%5B%22x%22%5D%7D", ""),
        ("GET", "/v1.45/containers/json?filters=%7B%22label%22%3A%5B%22secret%3Dx%22%5D%7D", ""),
        ("GET", "/v1.45/events?since=0", ""),
        ("GET", "/v1.45/containers/../images/json", ""),
        ("GET", "/v1.45//containers/json", ""),
        ("GET", "/v1.45/containers/a%2fb/json", ""),
        ("HEAD", "/v1.45/containers/json", ""),
        ("POST", "/v1.45/exec/cccccccccccccccccccccccccccccccc/start", "{}"),
        ("GET", "/v1.45/exec/cccccccccccccccccccccccccccccccc/json", ""),
        ("POST", "/v1.45/exec/cccccccccccccccccccccccccccccccc/resize?h=1&w=1", ""),
    ]
    .into_iter()
    .map(|(method, path, body)| (method, path.to_owned(), body.to_owned()))
    .collect();
    for body in [
        with("Privileged", json!(true)),
        with("privileged", json!(true)),
        with("User", json!("root")),
        with("Env", json!(["LD_PRELOAD=/tmp/x.so"])),
        with("WorkingDir", json!("/tmp")),
        with("AttachStdin", json!(true)),
        with("Tty", json!(true)),
        with("DetachKeys", json!("ctrl-p")),
        with("cmd", json!(["sh"])),
        with("Cmd", json!("svctl restart gunicorn")),
        good.replacen('{', r#"{"Cmd":["sh"],"#, 1),
        exec(&["sh", "-c", "id"]),
        exec(&["svctl", "restart", "gunicorn"]),
        exec(&["/usr/local/bin/../../bin/sh"]),
        exec(&[SVCTL]),
        exec(&[SVCTL, "exec", "gunicorn", "--", "sh"]),
        exec(&[SVCTL, "run", "sh"]),
        exec(&[SVCTL, "shutdown"]),
        exec(&[SVCTL, "upgrade"]),
        exec(&[SVCTL, "env", "gunicorn"]),
        exec(&[SVCTL, "--socket", "/tmp/x", "restart", "gunicorn"]),
        exec(&[SVCTL, "restart", "--socket", "/tmp/x", "gunicorn"]),
        exec(&[SVCTL, "restart", "--socket=/tmp/x", "gunicorn"]),
        exec(&[SVCTL, "restart", "all"]),
        exec(&[SVCTL, "restart", "gun*"]),
        exec(&[SVCTL, "restart"]),
        exec(&[SVCTL, "restart", "--timeout", "--socket", "gunicorn"]),
        exec(&[SVCTL, "restart", "$(id)"]),
        "[]".to_owned(),
        "{".to_owned(),
        String::new(),
    ] {
        calls.push(("POST", at(), body));
    }
    calls.push(("POST", "/v1.45/containers/other/exec".to_owned(), good.clone()));
    calls.push(("POST", "/v1.45/containers/backend/exec?x=1".to_owned(), good));
    calls.push(("GET", "/v1.45/containers/other/json".to_owned(), String::new()));
    calls
}

#[tokio::test]
async fn what_is_not_meant_for_repair_reaches_no_engine_and_leaves_a_line() {
    let fake = Fake::start(Permits::default());
    let calls = forbidden();
    assert!(calls.len() >= 25);
    for (method, target, body) in &calls {
        let before = fake.said.lock().unwrap().len();
        if *method == "HEAD" {
            // An answer without the body that it announces; the guard's judgement is looked at by itself.
            assert!(judge(method, target, body.as_bytes(), Permits::default()).is_err());
            continue;
        }
        let (status, text) = fake.ask(method, target, body).await;
        assert_eq!(status, 403, "{method} {target} {body}: {text}");
        let said = fake.said.lock().unwrap();
        assert!(
            said.len() == before + 1 && said[before].starts_with(&format!("refused {method} /v1.45/")),
            "{said:?}"
        );
    }
    // Only `other` was looked at, to see that it may not be touched.
    let reached = fake.reached();
    assert_eq!(reached, ["GET /containers/other/json", "GET /containers/other/json"]);
}

#[tokio::test]
async fn a_restart_of_a_unit_goes_through_and_nothing_secret_comes_back() {
    let fake = Fake::start(Permits::default());
    let engine = Arc::new(Engine::new(fake.guard.clone()));
    let docker = crate::manager::reach::Reach::Docker(Docker::new(
        Arc::clone(&engine),
        Which::Compose { service: "backend".to_owned(), project: Some("shop".to_owned()) },
    ));
    let instances = docker.instances().await.unwrap();
    assert_eq!((instances[0].name.as_str(), instances[0].state.as_str()), ("backend", "running"));
    assert_eq!(instances[0].address, Some("10.0.0.2".parse().unwrap()));
    let act = crate::manager::reach::Act::Restart;
    let outcome = docker.run(&instances[0].id, act, "gunicorn", Duration::from_secs(30)).await.unwrap();
    assert_eq!((outcome.ok, outcome.new_pid), (true, Some(2)));
    let reached = fake.reached();
    let filters = "%7B%22label%22%3A%5B%22com.docker.compose.service%3Dbackend%22,%22com.docker.compose.project%3Dshop%22,%22svinit.managed%3Dtrue%22%5D%7D";
    assert_eq!(
        reached,
        [
            "GET /version".to_owned(),
            format!("GET /containers/json?all=true&filters={filters}"),
            format!("GET /containers/{OURS}/json"),
            format!(
                "POST /containers/{OURS}/exec {}",
                exec(&[SVCTL, "restart", "--json", "--timeout", "28000ms", "gunicorn"])
            ),
            format!("POST /exec/{EXEC}/start {}", json!({"Detach": false, "Tty": false})),
            format!("GET /exec/{EXEC}/json"),
        ]
    );
    for path in
        ["/version", "/containers/json", "/containers/backend/json", &format!("/exec/{EXEC}/json"), "/events"]
    {
        let (status, text) = fake.ask("GET", path, "").await;
        assert!(status == 200 && !text.contains("hush"), "{path}: {text}");
        assert!(path == "/version" || text.contains("aaaa") || text.contains("eeee"), "{path}: {text}");
    }
    assert!(
        fake.said
            .lock()
            .unwrap()
            .iter()
            .any(|line| line.starts_with("svctl restart --json") && line.ends_with("in aaaaaaaaaaaa"))
    );
}

/// What an exec was made from, for `args` that are followed or waited for.
async fn exec_for(args: &[&str], is_followed: bool) -> Value {
    let fake = Fake::start(Permits::default());
    let engine = Engine::new(fake.guard.clone());
    if is_followed {
        drop(engine.follow_svctl("backend", args).await.unwrap());
    } else {
        engine.svctl("backend", args, Duration::from_secs(5)).await.unwrap();
    }
    let reached = fake.reached();
    let body = reached.iter().find_map(|line| line.split_once("/exec ")).expect("one was made").1;
    serde_json::from_str(body).unwrap()
}

#[tokio::test]
async fn what_listens_in_a_container_ends_with_its_stdin_and_nothing_else_has_one() {
    let listening = [SVCTL, "events", "--json", "gunicorn", UNTIL_EOF];
    assert_eq!(
        exec_for(&listening[1..4], true).await,
        json!({ "AttachStdin": true, "AttachStdout": true, "AttachStderr": true, "Cmd": listening })
    );
    assert_eq!(
        exec_for(&["status", "--json"], false).await,
        json!({ "AttachStdout": true, "AttachStderr": true, "Cmd": [SVCTL, "status", "--json"] })
    );
}

#[tokio::test]
async fn an_exec_is_started_once() {
    let fake = Fake::start(Permits::default());
    let body = exec(&[SVCTL, "status", "--json"]);
    assert_eq!(fake.ask("POST", "/containers/backend/exec", &body).await.0, 201);
    let start = format!("/exec/{EXEC}/start");
    assert_eq!(fake.ask("POST", &start, r#"{"Detach":true}"#).await.0, 403);
    assert_eq!(fake.ask("POST", &start, r#"{"Detach":false,"Tty":false}"#).await.0, 200);
    assert_eq!(fake.ask("POST", &start, r#"{"Detach":false,"Tty":false}"#).await.0, 403);
}

#[tokio::test]
async fn containers_are_restarted_only_where_that_is_permitted() {
    let fake = Fake::start(Permits { restart: true });
    assert_eq!(fake.ask("POST", "/v1.45/containers/backend/restart?t=5", "").await.0, 204);
    assert_eq!(fake.reached().last().unwrap(), &format!("POST /containers/{OURS}/restart?t=5"));
    for path in [
        "/containers/other/restart",
        "/containers/backend/restart?t=-1",
        "/containers/backend/restart?signal=KILL",
    ] {
        assert_eq!(fake.ask("POST", path, "").await.0, 403, "{path}");
    }
}

#[tokio::test]
async fn an_engine_that_is_gone_is_told_apart_from_a_refusal() {
    let fake = Fake::start(Permits::default());
    std::fs::remove_file(&fake.engine).unwrap();
    assert_eq!(fake.ask("GET", "/containers/backend/json", "").await.0, 502);
    assert_eq!(fake.ask("GET", "/containers/missing/logs", "").await.0, 403);
}

/// Words near to those that are let through, and far from them.
fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(SVCTL.to_owned()),
        proptest::sample::select(VERBS).prop_map(str::to_owned),
        proptest::sample::select(
            &[
                "--json",
                UNTIL_EOF,
                "--timeout",
                "5s",
                "gunicorn",
                "all",
                "exec",
                "sh",
                "-c",
                "--",
                "--socket"
            ][..]
        )
        .prop_map(str::to_owned),
        ".{0,12}",
    ]
}

fn body() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        proptest::sample::select(
            &[
                "Cmd",
                "cmd",
                "AttachStdin",
                "AttachStdout",
                "Tty",
                "Privileged",
                "privileged",
                "User",
                "Env",
                "WorkingDir"
            ][..]
        )
        .prop_map(str::to_owned),
        "[A-Za-z]{0,8}",
    ];
    let value =
        prop_oneof![any::<bool>().prop_map(|b| json!(b)), ".{0,8}".prop_map(|s| json!(s)), Just(json!(null))];
    let more = proptest::collection::vec((key, value), 0..3);
    (proptest::collection::vec(word(), 0..6), more, any::<bool>()).prop_map(|(command, more, is_first)| {
        let mut command = command;
        if is_first {
            command.insert(0, SVCTL.to_owned());
        }
        let mut body = json!({ "AttachStdout": true, "Cmd": command });
        for (key, value) in more {
            body[key] = value;
        }
        body
    })
}

proptest! {
    #[test]
    fn whatever_body_an_exec_has_only_svctl_with_a_known_verb_comes_of_it(body in body()) {
        let text = body.to_string();
        if let Ok(call) = judge("POST", "/containers/backend/exec", text.as_bytes(), Permits::default()) {
            let (method, path, sent) = call.request();
            prop_assert_eq!((method, path.as_str()), ("POST", "/containers/backend/exec"));
            let sent: Value = serde_json::from_slice(&sent.unwrap()).unwrap();
            let keys: Vec<&String> = sent.as_object().unwrap().keys().collect();
            // Stdin only for what ends with it, and reads nothing else from there.
            let is_until_eof = sent["Cmd"].as_array().unwrap().contains(&json!(UNTIL_EOF));
            prop_assert_eq!(&keys[..3], ["AttachStdout", "AttachStderr", "Cmd"]);
            prop_assert_eq!(keys.get(3).map(|key| key.as_str()), is_until_eof.then_some("AttachStdin"));
            prop_assert_eq!(&sent["Cmd"][0], SVCTL);
            prop_assert!(VERBS.contains(&sent["Cmd"][1].as_str().unwrap()));
            for word in sent["Cmd"].as_array().unwrap().iter().skip(2) {
                let word = word.as_str().unwrap();
                prop_assert!(!word.contains(['/', '*', '$', ';', ' ']) && word != "all" && word != "--socket", "{}", word);
            }
        }
    }

    #[test]
    fn whatever_is_asked_only_the_eight_calls_come_of_it(
        method in "(GET|POST|PUT|DELETE|[A-Z]{1,5})",
        target in "/(v1\\.4[0-9]/)?(containers|exec|events|version|images)(/[a-z0-9.%_-]{0,16}){0,2}(/(json|exec|start|restart|logs))?(\\?[a-z]{1,3}=[a-z0-9%]{0,5})?",
        body in ".{0,20}",
    ) {
        if let Ok(call) = judge(&method, &target, body.as_bytes(), Permits { restart: true }) {
            let (method, path, _) = call.request();
            let is_list = path.starts_with("/containers/json?") && path.contains("svinit.managed%3Dtrue");
            let is_known = match call {
                Call::Version => path == "/version",
                Call::List { .. } => is_list,
                Call::Inspect { .. } => path.starts_with("/containers/") && path.ends_with("/json"),
                Call::MakeExec { .. } => path.ends_with("/exec"),
                Call::StartExec { .. } => path.starts_with("/exec/") && path.ends_with("/start"),
                Call::InspectExec { .. } => path.starts_with("/exec/") && path.ends_with("/json"),
                Call::Restart { .. } => path.contains("/restart?t="),
                Call::Events => path.starts_with("/events?") && path.contains("svinit.managed%3Dtrue"),
            };
            prop_assert!(is_known, "{} {}", method, path);
            prop_assert!(!path.contains("/../") && !path.contains("//"));
        }
    }
}
