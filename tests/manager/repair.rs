//! Services that are repaired: real processes under a real svinit, reached by its socket and over TCP.

use nix::sys::signal::Signal;

use crate::backend::TOKEN;
use crate::backend::by_socket;
use crate::backend::file;
use crate::backend::free_port;
use crate::backend::manager;
use crate::backend::web;
use crate::fixture::Manager;
use crate::fixture::eventually;
use crate::supervisor::Svinit;
use crate::supervisor::kill;

fn pid(svinit: &Svinit) -> i32 {
    i32::try_from(svinit.status("web")["pid"].as_i64().unwrap()).unwrap()
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
