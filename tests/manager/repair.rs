//! Services that are repaired: real processes under a real svinit, reached by its socket and over TCP.

use std::fs;
use std::io;
use std::io::Read;
use std::sync::mpsc;

use nix::sys::signal::Signal;
use serde_json::Value;
use serde_json::json;

use crate::backend::TOKEN;
use crate::backend::by_socket;
use crate::backend::file;
use crate::backend::free_port;
use crate::backend::manager;
use crate::backend::web;
use crate::backend::web_and;
use crate::fixture::Manager;
use crate::fixture::PATIENCE;
use crate::fixture::Service;
use crate::fixture::eventually;
use crate::fixture::value;
use crate::supervisor::Svinit;
use crate::supervisor::kill;

fn pid(svinit: &Svinit) -> i32 {
    i32::try_from(svinit.status("web")["pid"].as_i64().unwrap()).unwrap()
}

/// The file of a manager that tries these rungs.
fn by_ladder(port: u16, svinit: &Svinit, rungs: &str) -> String {
    let file = file(port, &by_socket(svinit));
    file.replace("\"reload\", \"restart-unit\", \"alert\"", rungs)
}

/// A manager that serves, and leads, with these variables in its environment.
fn leading(file: &str, env: &[(&str, &str)]) -> Manager {
    let manager = Manager::with_env(file, env);
    manager.wait_for("recovery: all services: leader");
    assert_eq!(manager.get("/").status, 200);
    manager
}

#[test]
fn a_killed_service_is_known_at_once_and_no_request_fails_while_it_is_started_again() {
    let port = free_port();
    let svinit = web(port, "");
    let manager = manager(port, &by_socket(&svinit));
    let before = svinit.status("web")["pid"].as_i64().unwrap();
    kill(i32::try_from(before).unwrap(), "KILL");
    manager.wait_for("recovery: app: act: restart-unit of");
    for _ in 0..20 {
        let reply = manager.get("/");
        assert_eq!(reply.status, 200, "{}", manager.said());
        assert_ne!(reply.text(), before.to_string());
    }
    manager.wait_for("recovery: app: healed:");
}

#[test]
fn a_service_that_hangs_is_looked_at_twice_and_restarted() {
    let port = free_port();
    let svinit = web(port, "");
    let manager = manager(port, &by_socket(&svinit));
    let before = svinit.status("web")["pid"].as_i64().unwrap();
    kill(i32::try_from(before).unwrap(), "STOP");
    manager.wait_for("recovery: app: confirmed:");
    manager.wait_for("recovery: app: skipped: reload");
    manager.wait_for("recovery: app: act: restart-unit of");
    let reply = manager.get("/");
    assert_eq!(reply.status, 200, "{}", manager.said());
    assert_ne!(reply.text(), before.to_string());
    manager.wait_for("recovery: app: healed:");
}

#[test]
fn what_a_person_has_stopped_stays_stopped() {
    let port = free_port();
    let svinit = web(port, "");
    let manager = manager(port, &by_socket(&svinit));
    assert_eq!(svinit.svctl("stop web").code, 0);
    // The gateway's own check fails soon, and is no reason to do anything.
    crate::fixture::eventually("requests are refused", || manager.get("/").status == 503);
    assert!(!manager.said().contains("recovery: app: act"), "{}", manager.said());
    assert_eq!(svinit.svctl("start web").code, 0);
    crate::fixture::eventually("requests are answered", || manager.get("/").status == 200);
    assert!(!manager.said().contains("recovery: app: act"), "{}", manager.said());
}

#[test]
fn a_service_is_repaired_over_tcp_with_a_token() {
    let port = free_port();
    let api = free_port();
    let svinit =
        web(port, &format!("[control]\nlisten = \"127.0.0.1:{api}\"\ntoken_file = \"{{dir}}/token\"\n"));
    let token = svinit.path("token");
    let control = format!(
        "{{ driver = \"api\", url = \"http://127.0.0.1:{api}\", token_file = \"{}\", unit = \"web\" }}",
        token.display()
    );
    let manager = manager(port, &control);
    let before = svinit.status("web")["pid"].as_i64().unwrap();
    kill(i32::try_from(before).unwrap(), "KILL");
    manager.wait_for("recovery: app: healed:");
    assert_eq!(manager.get("/").status, 200);
    assert!(!manager.said().contains(TOKEN));
}

#[test]
fn a_service_is_looked_after_as_the_file_says_from_the_moment_it_is_taken_over() {
    let port = free_port();
    let svinit = web(port, "");
    // It is served, and nobody may touch it.
    let manager = Manager::start(&file(port, "{ driver = \"socket\", path = \"/nowhere/control.sock\" }"));
    eventually("it is served", || manager.get("/").status == 200);
    let rest = file(port, &by_socket(&svinit));
    manager.rewrite(&rest);
    manager.signal(Signal::SIGHUP);
    manager.wait_for("taken over: 1 routes, 1 services");
    kill(pid(&svinit), "KILL");
    manager.wait_for("recovery: app: act: restart-unit of");
    manager.wait_for("recovery: app: healed:");
    assert_eq!(manager.get("/").status, 200);

    // Nothing but the alert is left on its ladder.
    manager.rewrite(&rest.replace("\"reload\", \"restart-unit\", ", ""));
    manager.signal(Signal::SIGHUP);
    manager.wait_for(
        "recovery: app: ruled: looked after by alert; grace 5000 ms, cooldown 1000 ms, needs nobody",
    );
    kill(pid(&svinit), "KILL");
    manager.wait_for("recovery: app: quarantined: nothing on its ladder has helped");
    assert_eq!(manager.lines_with("recovery: app: act: "), 1, "{}", manager.said());

    // And then it is not looked after at all.
    let is_of_the_gateway = |line: &&str| !line.starts_with("control") && !line.starts_with("recovery");
    let served: Vec<&str> = rest.lines().filter(is_of_the_gateway).collect();
    manager.rewrite(&served.join("\n"));
    manager.signal(Signal::SIGHUP);
    manager.wait_for("recovery: app: ruled: it is not looked after any more");
    assert_eq!(svinit.svctl("start web").code, 0);
    eventually("it is served as ever", || manager.get("/").status == 200);
}

#[test]
fn a_token_is_read_again_and_a_file_whose_token_is_none_is_not_taken_over() {
    let (port, api) = (free_port(), free_port());
    let svinit =
        web(port, &format!("[control]\nlisten = \"127.0.0.1:{api}\"\ntoken_file = \"{{dir}}/token\"\n"));
    let own = tempfile::tempdir().unwrap();
    let token = own.path().join("token");
    std::fs::write(&token, "another-token-than-the-right-one").unwrap();
    let control = format!(
        "{{ driver = \"api\", url = \"http://127.0.0.1:{api}\", token_file = \"{}\", unit = \"web\" }}",
        token.display()
    );
    let manager = manager(port, &control);
    std::fs::write(&token, "short").unwrap();
    manager.signal(Signal::SIGHUP);
    manager.wait_for("is too short: 16 characters or more");
    assert!(!manager.said().contains("taken over: "), "{}", manager.said());
    std::fs::write(&token, TOKEN).unwrap();
    manager.signal(Signal::SIGHUP);
    manager.wait_for("taken over: 1 routes, 1 services");
    kill(pid(&svinit), "KILL");
    manager.wait_for("recovery: app: act: restart-unit of");
    manager.wait_for("recovery: app: healed:");
    assert_eq!(manager.get("/").status, 200);
    assert!(!manager.said().contains(TOKEN));
}

#[test]
fn who_takes_alerts_is_told_which_service_is_given_up_and_why() {
    let port = free_port();
    let svinit = web(port, "");
    let (told, alerts) = mpsc::channel();
    let desk = Service::new(move |asked| {
        let mut body = vec![0; value(&asked.head, "content-length").unwrap().parse().unwrap()];
        asked.stream.read_exact(&mut body)?;
        told.send((asked.head.clone(), body)).map_err(io::Error::other)?;
        asked.ok("")
    });
    let url = format!("http://{}/alerts?of=tests", desk.address);
    let manager = leading(&by_ladder(port, &svinit, "\"alert\""), &[("SVMANAGER_WEBHOOK", &url)]);
    kill(pid(&svinit), "KILL");
    let (head, body) = alerts.recv_timeout(PATIENCE).expect("the alert is posted");
    assert!(head.starts_with("POST /alerts?of=tests HTTP/1.1\r\n"), "{head}");
    assert_eq!(value(&head, "content-type"), Some("application/json"));
    let instance = svinit.socket().display().to_string();
    let ails = "failed: was killed by SIGKILL";
    let why = format!("nothing on its ladder has helped {instance}; it is down: {ails}; nothing was tried");
    let ailing = json!([{ "service": "app", "instance": instance, "sign": "down", "why": ails }]);
    let told: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(told, json!({ "service": "app", "why": why, "ailing": ailing, "tried": [] }));
    manager.wait_for(&format!("ALERT: app: {why}"));
    manager.wait_for(&format!("recovery: app: quarantined: {why}"));
    assert!(!manager.said().contains("recovery: app: act"), "{}", manager.said());
    assert_eq!(desk.count(), 1);
}

#[test]
fn a_service_that_no_restart_heals_is_given_up_when_its_budget_is_spent() {
    let port = free_port();
    let svinit = web(port, "");
    let manager = leading(&by_ladder(port, &svinit, &["\"restart-unit\""; 9].join(", ")), &[]);
    // From here on it refuses its arguments, and leaves a mark each time.
    let refusing = "import sys\nopen(sys.path[0] + '/starts', 'a').write('x')\nsys.exit('no such option')\n";
    fs::write(svinit.path("server.py"), refusing).unwrap();
    kill(pid(&svinit), "KILL");
    let line = manager.wait_for("ALERT: app: ");
    assert!(line.contains(": 3 actions in 600 s have not helped "), "{line}");
    assert!(
        line.contains("; it is down: failed: ") && line.contains("; tried: restart-unit (no-help: "),
        "{line}"
    );
    manager.wait_for("recovery: app: quarantined: ");
    assert_eq!(manager.lines_with("recovery: app: act: restart-unit of"), 3, "{}", manager.said());
    assert_eq!(manager.lines_with("recovery: app: no-help: "), 3, "{}", manager.said());
    assert_eq!(fs::read_to_string(svinit.path("starts")).unwrap().len(), 3);
}

#[test]
fn what_requires_a_service_is_restarted_with_it_only_where_the_ladder_says_so() {
    let port = free_port();
    let svinit = web_and(port, "", &[("behind", "command = [\"sleep\", \"600\"]\nrequires = [\"web\"]")]);
    let before = svinit.wait_for("behind", "ready");
    let manager = leading(&by_ladder(port, &svinit, "\"restart-unit\", \"alert\""), &[]);
    kill(pid(&svinit), "KILL");
    manager.wait_for("recovery: app: healed:");
    assert_eq!(svinit.wait_for("behind", "ready"), before);
    drop(manager);

    let manager = leading(&by_ladder(port, &svinit, "\"restart-dependents\", \"alert\""), &[]);
    kill(pid(&svinit), "KILL");
    manager.wait_for("recovery: app: healed:");
    svinit.wait_for_another("behind", "ready", before);
    assert_eq!(manager.lines_with("recovery: app: act: "), 1, "{}", manager.said());
    assert_eq!(manager.get("/").status, 200);
}
