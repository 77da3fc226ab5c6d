//! svmanager as a unit of svinit: its ports are held, and a restart of the gateway itself is noticed by nobody.

use std::net::{SocketAddr, TcpListener};

use crate::fixture::Service;
use crate::rush::Load;
use crate::supervisor::{Setup, Svinit, executable};

/// An address that is free now.
fn free_address() -> SocketAddr {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap().local_addr().unwrap()
}

/// As units/manager/svmanager.toml has it, with addresses of this test.
fn supervised(at: SocketAddr, service: &str) -> Svinit {
    let unit = format!(
        "type = \"notify\"\ncommand = [{executable:?}, \"--as\", \"svmanager\", \"--config\", \"{{dir}}/manager.toml\"]\n\
         sockets.http = \"{at}\"\nrestart.mode = \"start-first\"\n\
         [reload]\nsignal = \"HUP\"\n\
         test = [{executable:?}, \"--as\", \"svmanager\", \"check\", \"{{dir}}/manager.toml\"]\n",
        executable = executable(),
    );
    let setup = Setup::new().file(
        "manager.toml",
        &format!("listen = \"{at}\"\n[[route]]\nservice = \"app\"\n[service.app]\ntargets = [\"http://{service}\"]\n"),
    );
    let state = setup.path("state");
    let svinit = setup.env("SVMANAGER_STATE", state.to_str().unwrap()).unit("svmanager", &unit).start();
    svinit.wait_for("svmanager", "ready");
    svinit
}

/// What was said besides the requests.
fn notable(output: &str) -> String {
    output
        .lines()
        .filter(|line| !line.contains(" GET ") || !line.contains(" 200 "))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn a_restart_of_the_gateway_itself_fails_no_request() {
    let service = Service::named("app");
    let at = free_address();
    let svinit = supervised(at, &service.address.to_string());
    let load = Load::begin(&at.to_string(), "/");
    load.go_on_to(50);
    for _ in 0..5 {
        let old = svinit.wait_for("svmanager", "ready");
        let answer = svinit.svctl("restart svmanager");
        assert_eq!(answer.code, 0, "{answer:?}");
        svinit.wait_for_another("svmanager", "ready", old);
    }
    load.go_on_to(load.asked() + 50);
    let told = load.end();
    assert_eq!(told.failed, 0, "{:?}\n{}", told.why, notable(&svinit.output()));
}

#[test]
fn a_reload_is_over_when_the_file_is_in_force_and_a_wrong_file_is_refused() {
    let service = Service::named("app");
    let at = free_address();
    let svinit = supervised(at, &service.address.to_string());
    let pid = svinit.wait_for("svmanager", "ready");
    assert_eq!(svinit.svctl("reload svmanager").code, 0);
    std::fs::write(svinit.path("manager.toml"), "listen = 7\n").unwrap();
    let refused = svinit.svctl("reload svmanager");
    assert_ne!(refused.code, 0);
    assert_eq!(svinit.wait_for("svmanager", "ready"), pid, "the old file is in force");
}
