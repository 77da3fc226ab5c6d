//! Services that are repaired: real processes under a real svinit, reached by its socket and over TCP.

use crate::backend::TOKEN;
use crate::backend::by_socket;
use crate::backend::free_port;
use crate::backend::manager;
use crate::backend::web;
use crate::supervisor::kill;

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
