//! Services that are repaired: real processes under a real svinit, reached by its socket and over TCP.

use std::net::SocketAddr;
use std::net::TcpListener;

use crate::fixture::Manager;
use crate::supervisor::Setup;
use crate::supervisor::Svinit;
use crate::supervisor::kill;

const TOKEN: &str = "correct-horse-battery-staple";

/// Answers every GET with its own number.
const SERVER: &str = r#"
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = str(os.getpid()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

/// A port that is free now.
fn free_port() -> u16 {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap().local_addr().unwrap().port()
}

/// A web server as the unit `web`, which svinit does not start again by itself.
fn web(port: u16, more: &str) -> Svinit {
    let unit = format!(
        "command = [\"python3\", \"{{dir}}/server.py\", \"{port}\"]\nready.http = \"http://127.0.0.1:{port}/\"\n[restart]\npolicy = \"never\"\n"
    );
    // With nothing left to run svinit itself would end.
    let setup = Setup::new().file("server.py", SERVER).file("token", TOKEN).unit("web", &unit);
    let setup = setup.unit("beside", "command = [\"sleep\", \"600\"]");
    let more = more.replace("{dir}", setup.path("").to_str().unwrap().trim_end_matches('/'));
    let svinit = setup.config(&more).start();
    svinit.wait_for("web", "ready");
    svinit
}

fn manager(port: u16, control: &str) -> Manager {
    let manager = Manager::start(&format!(
        "[[route]]\nservice = \"app\"\n[service.app]\ntargets = [\"http://127.0.0.1:{port}\"]\ncontrol = {control}\n\
         health = {{ http = \"/\", interval = \"1s\", unhealthy_interval = \"500ms\", timeout = \"1s\", retries = 2 }}\n\
         park = {{ max_requests = 200, timeout = \"30s\" }}\n\
         recovery = {{ ladder = [\"reload\", \"restart-unit\", \"alert\"], cooldown = \"1s\" }}\n"
    ));
    manager.wait_for("recovery: all services: leader");
    assert_eq!(manager.get("/").status, 200);
    manager
}

fn by_socket(svinit: &Svinit) -> String {
    format!("{{ driver = \"socket\", path = \"{}\", unit = \"web\" }}", svinit.socket().display())
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
