//! compose/manager: one entry, and a manager that restarts one service inside its container.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use serde_json::Value;

use crate::engine::load::Load;
use crate::engine::{Container, System, ask, docker};
use crate::items;

/// What the manager heals: the service of the Compose file, its unit, and what shows that it serves.
const SERVICES: [(&str, &str, &str); 3] = [
    ("frontend", "nginx", "/health"),
    ("backend", "gunicorn", "/api/items/"),
    ("database", "mysql", "/api/items/"),
];

/// MariaDB in MySQL's place: it starts sooner, and nothing here depends on which of the two it is.
fn laid_out() -> Option<System> {
    Some(System::laid_out("manager")?.set("DATABASE_IMAGE", "mariadb"))
}

fn up() -> Option<System> {
    begun(laid_out()?)
}

fn begun(system: System) -> Option<System> {
    system.start(&[]);
    let at = system.at("HTTP_PORT");
    items::wait_for_answers(&system, &at);
    Some(system)
}

/// What the manager has said.
fn said(system: &System) -> String {
    let logs = system.compose(&["logs", "--no-color", "--no-log-prefix", "manager"]);
    format!("{}{}", logs.out, logs.err)
}

fn wait_for_line(system: &System, words: &str) {
    system.wait_until(&format!("the manager says {words:?}"), || said(system).contains(words));
}

/// No request for `path` fails while `act` is done; then 40 more are answered.
fn nobody_notices(at: &str, path: &str, what: &str, act: impl FnOnce()) {
    let load = Load::begin(at, path);
    load.go_on_to(20);
    act();
    load.go_on_to(load.asked() + 40);
    let told = load.end();
    assert_eq!(told.failed, 0, "{what}: {:?} of {} good", told.why, told.good);
}

#[test]
fn the_lines_of_the_first_document_work_as_they_are_written() {
    let Some(system) = up() else { return };
    let at = system.at("HTTP_PORT");
    let lines = [
        ("frontend", "nginx", "frontend_container pm2 restart app", true),
        ("backend", "gunicorn", "backend_container pkill -HUP gunicorn", false),
        ("database", "mysql", "database_container systemctl restart mysql", true),
    ];
    for (service, unit, line, is_another) in lines {
        let container = system.container(service);
        let (before, old) = (container.identity(), container.pid(unit));
        docker(&[&["exec"], &line.split(' ').collect::<Vec<_>>()[..]].concat()).well();
        system.wait_until(&format!("{unit} serves"), || container.unit(unit)["state"] == "ready");
        assert_eq!(container.pid(unit) != old, is_another, "{line}: a reload keeps the master process");
        assert_eq!(container.identity(), before, "{line}: the container is the same");
        items::wait_for_answers(&system, &at);
    }
    let shell = system.compose(&[
        "exec",
        "-T",
        "manager",
        "/bin/sh",
        "-c",
        "ps && wget -qO- http://frontend:8080/health",
    ]);
    assert!(shell.well().ends_with("OK\n"));
    assert_eq!(system.http("HTTP_PORT", "/health").unwrap().body, "OK\n", "of the frontend");
    let health = system.http("HTTP_PORT", "/api/health").unwrap();
    assert_eq!(health.body, r#"{"status": "pass", "database": "pass"}"#, "of the backend's /health");
    items::answers_in_full(&at);

    // From outside there is one way in, for requests.
    for service in ["frontend", "backend", "database", "guard"] {
        let ports = system.container(service).inspect("{{json .HostConfig.PortBindings}}");
        assert!(ports == "{}" || ports == "null", "{service}: {ports}");
    }
    let manager = system.container("manager");
    let took = manager.stop();
    assert_eq!(manager.exit_code(), 0, "{}", manager.words());
    assert!(took.as_secs() < 15, "{took:?}");
}

#[test]
fn what_is_killed_is_healed_while_its_requests_wait() {
    let Some(system) = up() else { return };
    let at = system.at("HTTP_PORT");
    let identities = || SERVICES.map(|(service, _, _)| system.container(service).identity());
    let before = identities();
    // Behind the gateway: page and API.
    for (service, unit, path) in &SERVICES[..2] {
        let container = system.container(service);
        nobody_notices(&at, path, &format!("{unit} is killed"), || {
            let old = container.kill(unit);
            container.wait_for_successor(unit, old);
        });
        nobody_notices(&at, path, &format!("{unit} is restarted"), || {
            drop(container.svctl(&format!("restart {unit}")));
        });
    }
    // Behind the API, which says 503 after a while: MySQL looks through what a killed one has left.
    let database = system.container("database");
    let old = database.kill("mysql");
    database.wait_for_successor("mysql", old);
    items::wait_for_answers(&system, &at);
    nobody_notices(&at, "/api/items/", "mysql is restarted", || drop(database.svctl("restart mysql")));
    assert_eq!(identities(), before, "no container was restarted");
}

#[test]
fn what_svinit_has_given_up_is_started_again_by_the_manager_and_a_dead_database_restarts_no_backend() {
    let Some(system) = laid_out().map(System::watched_closely).and_then(begun) else { return };
    let at = system.at("HTTP_PORT");
    let backend = system.container("backend");
    let (identity, old) = (backend.identity(), backend.pid("gunicorn"));

    // A person has stopped the database: it is left alone, and so is who needs it.
    let database = system.container("database");
    database.svctl("stop mysql");
    system.wait_until("the backend says so", || {
        ask(&at, "/api/health").is_ok_and(|answer| answer.status == 503)
    });
    wait_for_line(&system, "backend: held");
    assert_eq!(backend.pid("gunicorn"), old, "a backend cannot mend its database");
    database.svctl("start mysql");
    items::wait_for_answers(&system, &at);
    assert_eq!(backend.pid("gunicorn"), old);

    // A hung one: its check finds it, svinit's own or the manager's, whichever is first. From then on requests wait.
    let hung = items::hang(&backend, "gunicorn");
    system.wait_until("it is known", || backend.unit("gunicorn")["state"] != "ready");
    nobody_notices(&at, "/api/items/", "gunicorn hangs", || {
        backend.wait_for_successor("gunicorn", hung);
    });
    assert_eq!(backend.identity(), identity);
}

#[test]
fn instances_come_and_go_and_the_managers_themselves_and_nobody_notices() {
    let Some(system) = laid_out() else { return };
    let system = system.file("compose.scale.yaml");
    system.start(&[]);
    let at = system.at("HTTP_PORT");
    items::wait_for_answers(&system, &at);
    let scale = |count: &str| {
        system
            .compose(&["up", "--detach", "--wait", "--no-recreate", "--scale", count, "--pull", "never"])
            .well()
    };
    nobody_notices(&at, "/api/items/", "1 -> 3 -> 1", || {
        scale("backend=3");
        let asked = || -> BTreeSet<String> {
            let said = said(&system);
            said.lines()
                .filter_map(|line| line.split("backend=").nth(1)?.split(' ').next().map(str::to_owned))
                .collect()
        };
        system.wait_until("all three are asked", || asked().len() >= 3);
        scale("backend=1");
    });
    let manager = system.container("manager");
    let old = manager.pid("svmanager").unwrap();
    nobody_notices(&at, "/api/items/", "svmanager is restarted", || drop(manager.svctl("restart svmanager")));
    assert_ne!(manager.pid("svmanager"), Some(old));
    // Without the guard nothing is healed, and everything serves.
    nobody_notices(&at, "/", "the guard is gone", || {
        system.compose(&["stop", "guard"]).well();
        system.compose(&["start", "guard"]).well();
        wait_for_line(&system, "recovery:");
    });
}

#[test]
fn the_guard_lets_through_what_recovery_needs_and_nothing_else() {
    let Some(system) = up() else { return };
    let guard = system.container("guard");
    let volume =
        guard.inspect("{{range .Mounts}}{{if eq .Destination \"/run/guard\"}}{{.Source}}{{end}}{{end}}");
    let socket = PathBuf::from(volume).join("guard.sock");
    let (backend, manager) = (system.container("backend"), system.container("manager"));
    let seen: Value = serde_json::from_str(&send(&socket, "GET", "/containers/json", "").1).unwrap();
    let names: Vec<&str> =
        seen.as_array().unwrap().iter().filter_map(|one| one["Names"][0].as_str()).collect();
    assert_eq!(names.len(), 3, "those with the label, not the manager and not the guard: {names:?}");
    let exec = |more: &str, command: &str| {
        format!("{{\"Cmd\":{command},\"AttachStdout\":true,\"AttachStderr\":true{more}}}")
    };
    let svctl = "[\"/usr/local/bin/svctl\",\"status\",\"--json\"]";
    let make = format!("/containers/{}/exec", backend.name);
    let forbidden = [
        ("GET", "/info".to_owned(), String::new()),
        ("GET", "/images/json".to_owned(), String::new()),
        ("GET", "/secrets".to_owned(), String::new()),
        ("GET", "/volumes".to_owned(), String::new()),
        ("GET", format!("/containers/{}/logs?stdout=1", backend.name), String::new()),
        ("GET", format!("/containers/{}/archive?path=/run/secrets", backend.name), String::new()),
        ("GET", format!("/containers/{}/json", manager.name), String::new()),
        (
            "POST",
            "/containers/create".to_owned(),
            "{\"Image\":\"svinit/base:test\",\"HostConfig\":{\"Binds\":[\"/:/host\"]}}".to_owned(),
        ),
        ("POST", "/build".to_owned(), String::new()),
        ("POST", format!("/containers/{}/kill", backend.name), String::new()),
        ("POST", format!("/containers/{}/stop", backend.name), String::new()),
        ("POST", format!("/containers/{}/restart", backend.name), String::new()),
        ("POST", format!("/containers/{}/update", backend.name), "{}".to_owned()),
        ("DELETE", format!("/containers/{}?force=1", backend.name), String::new()),
        ("POST", format!("/containers/{}/exec", manager.name), exec("", svctl)),
        ("POST", make.clone(), exec("", "[\"/bin/sh\",\"-c\",\"id\"]")),
        ("POST", make.clone(), exec("", "[\"svctl\",\"status\"]")),
        ("POST", make.clone(), exec("", "[\"/usr/local/bin/svctl\",\"exec\",\"gunicorn\",\"--\",\"id\"]")),
        ("POST", make.clone(), exec("", "[\"/usr/local/bin/svctl\",\"shutdown\"]")),
        ("POST", make.clone(), exec(",\"Privileged\":true", svctl)),
        ("POST", make.clone(), exec(",\"privileged\":true", svctl)),
        ("POST", make.clone(), exec(",\"User\":\"0\"", svctl)),
        ("POST", make.clone(), exec(",\"Env\":[\"LD_PRELOAD=/tmp/x.so\"]", svctl)),
        ("POST", make.clone(), exec(",\"WorkingDir\":\"/\"", svctl)),
        ("POST", format!("/exec/{}/start", "0".repeat(64)), "{\"Detach\":false,\"Tty\":false}".to_owned()),
    ];
    for (method, path, body) in &forbidden {
        let (status, answer) = send(&socket, method, path, body);
        assert_eq!(status, 403, "{method} {path} {body}: {answer}");
    }
    let words = guard.words();
    assert!(words.contains("403") || words.contains("refused"), "each leaves a line: {words}");
    let (status, answer) = send(&socket, "POST", &make, &exec("", svctl));
    assert_eq!(status, 201, "what recovery needs is let through: {answer}");
    assert!(is_without_network(&guard));
}

fn is_without_network(guard: &Container) -> bool {
    guard.inspect("{{.HostConfig.NetworkMode}} {{json .HostConfig.CapAdd}}").starts_with("none")
}

/// One request over a socket: status and body.
fn send(socket: &PathBuf, method: &str, path: &str, body: &str) -> (u16, String) {
    let mut stream = UnixStream::connect(socket).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} /v1.41{path} HTTP/1.1\r\nHost: guard\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
    (status, body.to_owned())
}
