//! A web server under a real svinit, and a manager that looks after it.

#![allow(dead_code, unreachable_pub, reason = "a tool for every module, of which each uses a part")]

use std::net::SocketAddr;
use std::net::TcpListener;

use crate::fixture::Manager;
use crate::supervisor::Setup;
use crate::supervisor::Svinit;

/// Of the API over TCP.
pub const TOKEN: &str = "correct-horse-battery-staple";

/// Answers every GET with its own number.
const SERVER: &str = r#"
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = str(os.getpid()).encode()
        # In one piece, so that nobody sees half an answer when it is killed.
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    def log_message(self, *args):
        pass
class Server(http.server.ThreadingHTTPServer):
    # All that have waited come at once; of more than the queue holds the kernel drops some, for seconds.
    request_queue_size = 1024
Server(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"#;

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap().local_addr().unwrap().port()
}

/// A web server as the unit `web`, which svinit does not start again by itself.
pub fn web(port: u16, more: &str) -> Svinit {
    web_and(port, more, &[])
}

/// The same, with these units besides.
pub fn web_and(port: u16, more: &str, units: &[(&str, &str)]) -> Svinit {
    let unit = format!(
        "command = [\"python3\", \"{{dir}}/server.py\", \"{port}\"]\nready.http = \"http://127.0.0.1:{port}/\"\n[restart]\npolicy = \"never\"\n"
    );
    // With nothing left to run svinit itself would end.
    let setup = Setup::new().file("server.py", SERVER).file("token", TOKEN).unit("web", &unit);
    let setup = setup.unit("beside", "command = [\"sleep\", \"600\"]");
    let setup = units.iter().fold(setup, |setup, (name, text)| setup.unit(name, text));
    let more = more.replace("{dir}", setup.path("").to_str().unwrap().trim_end_matches('/'));
    let svinit = setup.config(&more).start();
    svinit.wait_for("web", "ready");
    svinit
}

/// A manager in front of it, which is reached by `control`. Its checks are quick.
pub fn manager(port: u16, control: &str) -> Manager {
    manager_with(port, control, "")
}

/// The same, with this at the top of its file.
pub fn manager_with(port: u16, control: &str, top: &str) -> Manager {
    let manager = Manager::start(&format!("{top}{}", file(port, control)));
    manager.wait_for("recovery: all services: leader");
    assert_eq!(manager.get("/").status, 200);
    manager
}

/// What its file says of the service.
pub fn file(port: u16, control: &str) -> String {
    format!(
        "[[route]]\nservice = \"app\"\n[service.app]\ntargets = [\"http://127.0.0.1:{port}\"]\ncontrol = {control}\n\
         health = {{ http = \"/\", interval = \"1s\", unhealthy_interval = \"500ms\", timeout = \"1s\", retries = 2 }}\n\
         park = {{ max_requests = 200, timeout = \"30s\" }}\n\
         recovery = {{ ladder = [\"reload\", \"restart-unit\", \"alert\"], cooldown = \"1s\" }}\n"
    )
}

/// Reached by its control socket.
pub fn by_socket(svinit: &Svinit) -> String {
    format!("{{ driver = \"socket\", path = \"{}\", unit = \"web\" }}", svinit.socket().display())
}
