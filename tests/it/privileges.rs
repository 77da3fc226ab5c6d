//! How a process loses the privileges of svinit: in which order, and what happens when one step fails. It never runs with
//! more than its unit says, least of all by mistake.

#![expect(clippy::disallowed_methods, reason = "a test asks whether strace is there")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::fixture::{Essential, Setup, is_root, skip};

const STAY: &str = "command = [\"sleep\", \"600\"]\n";

fn has_strace() -> bool {
    let has = Command::new("strace").arg("-V").output().is_ok();
    if !has {
        skip("strace is missing: scripts/setup test installs it", Essential::Yes);
    }
    has
}

fn is_allowed() -> bool {
    if !is_root() {
        skip("only root can run a service as somebody else", Essential::No);
    }
    is_root()
}

/// Anybody can leave a trace in `open`.
fn opened(setup: Setup) -> Setup {
    fs::set_permissions(setup.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(setup.path("open")).unwrap();
    fs::set_permissions(setup.path("open"), fs::Permissions::from_mode(0o777)).unwrap();
    setup
}

#[test]
fn groups_go_first_then_the_group_then_the_user_then_capabilities() {
    if !is_allowed() || !has_strace() {
        return;
    }
    let setup = opened(Setup::new())
        .unit("web", &format!("user = \"65534\"\n{STAY}[sandbox]\ncapabilities = [\"NET_BIND_SERVICE\"]\n"));
    let trace = setup.path("trace");
    let calls = "trace=setgroups,setresgid,setresuid,capset,prctl,execve";
    let words = ["strace", "-f", "-qq", "-e", calls, "-e", "signal=none", "-o", trace.to_str().unwrap()];
    let svinit = setup.through(&words).start();
    svinit.wait_for("web", "ready");
    assert_eq!(svinit.svctl("shutdown").code, 0);
    let _ = svinit.wait_for_end();
    let trace = fs::read_to_string(trace).unwrap();
    let started = trace
        .lines()
        .find(|line| line.contains("[\"sleep\", \"600\"]") && line.ends_with("= 0"))
        .expect(&trace);
    let pid = started.split(' ').next().unwrap();
    let own: Vec<&str> = trace.lines().filter(|line| line.split(' ').next() == Some(pid)).collect();
    let steps = [
        "PR_CAPBSET_DROP",
        "setgroups(0, ",
        "setresgid(65534, 65534, 65534)",
        "setresuid(65534, 65534, 65534)",
        "capset(",
        "PR_SET_NO_NEW_PRIVS, 1",
        "[\"sleep\", \"600\"]",
    ];
    let places: Vec<usize> = steps
        .iter()
        .map(|step| {
            own.iter().position(|line| line.contains(step)).unwrap_or_else(|| panic!("no {step}: {own:#?}"))
        })
        .collect();
    assert!(places.is_sorted(), "{places:?} {own:#?}");
}

#[test]
fn a_step_that_fails_is_no_start() {
    if !is_allowed() || !has_strace() {
        return;
    }
    for call in ["setgroups", "setresgid", "setresuid", "capset"] {
        let text = "user = \"65534\"\nrestart.policy = \"never\"\ncommand = [\"touch\", \"{dir}/open/started\"]\n\
                    [sandbox]\ncapabilities = [\"NET_BIND_SERVICE\"]\n";
        let inject = format!("inject={call}:error=EPERM");
        let setup = opened(Setup::new()).unit("web", text).unit("stay", STAY);
        let trace = setup.path("trace");
        let words =
            ["strace", "-f", "-qq", "-e", &inject, "-e", "signal=none", "-o", trace.to_str().unwrap()];
        let svinit = setup.through(&words).start();
        svinit.wait_for("web", "failed");
        assert!(
            fs::read_to_string(svinit.path("trace")).unwrap().contains("(INJECTED)"),
            "{call} was not called"
        );
        assert!(!svinit.path("open/started").exists(), "{call}");
        assert!(
            svinit.status("web")["why"].as_str().unwrap().contains("not permitted"),
            "{}",
            svinit.status("web")
        );
        assert_eq!(svinit.svctl("shutdown").code, 0);
    }
}

#[test]
fn a_user_who_is_not_there_is_an_error_and_never_root() {
    if !is_allowed() {
        return;
    }
    let unit = |who: &str| {
        format!("{who}\nrestart.policy = \"never\"\ncommand = [\"touch\", \"{{dir}}/open/started\"]\n")
    };
    for (who, why) in [
        ("user = \"no-such-user\"", "there is no such user"),
        ("group = \"no-such-group\"", "there is no such group"),
        ("groups = [\"no-such-group\"]", "there is no such group"),
        ("user = \"4294967295\"", "numbers go from 0 to 4294967294"),
        ("group = \"4294967295\"", "numbers go from 0 to 4294967294"),
        ("user = \"4294967296\"", "numbers go from 0 to 4294967294"),
        ("user = \"-1\"", "there is no such user"),
    ] {
        let svinit = opened(Setup::new()).unit("web", &unit(who)).unit("stay", STAY).launch();
        svinit.wait_for_line(why);
        assert!(!svinit.path("open/started").exists(), "{who}");
    }
}

#[test]
fn groups_of_svinit_do_not_reach_a_service_of_another_user() {
    if !is_allowed() {
        return;
    }
    let show = |user: &str| {
        format!(
            "{user}type = \"oneshot\"\nshell = \"echo $(id -u) $(id -g) $(id -G) $(grep NoNewPrivs /proc/self/status) $(grep CapEff /proc/self/status)\"\n"
        )
    };
    let svinit = opened(Setup::new())
        .through(&["setpriv", "--groups", "4,27,61005"])
        .unit("plain", &show("user = \"61004\"\n"))
        .unit("more", &show("user = \"61004\"\ngroup = \"61006\"\ngroups = [\"61007\"]\n"))
        .unit("stay", STAY)
        .start();
    svinit.wait_for_line("plain | 61004 61004 61004 NoNewPrivs: 1 CapEff: 0000000000000000");
    svinit.wait_for_line("more | 61004 61006 61006 61007 NoNewPrivs: 1 CapEff: 0000000000000000");
}

#[test]
fn what_was_promised_to_svinit_does_not_reach_a_service() {
    let svinit = Setup::new()
        .env("LISTEN_FDS", "3")
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDNAMES", "x")
        .env("NOTIFY_SOCKET", "/run/outside")
        .env("WATCHDOG_USEC", "1")
        .env("WATCHDOG_PID", "1")
        .env("LD_PRELOAD", "/nowhere/preloaded.so")
        .env("LD_LIBRARY_PATH", "/nowhere")
        .env("GCONV_PATH", "/nowhere")
        .env("FROM_OUTSIDE", "kept")
        .unit("show", "type = \"oneshot\"\ncommand = [\"env\"]\n")
        .unit("stay", STAY)
        .start();
    svinit.wait_for("show", "completed");
    svinit.wait_for_line("show | FROM_OUTSIDE=kept");
    let output = svinit.output();
    for gone in ["LISTEN_", "NOTIFY_SOCKET", "WATCHDOG_"] {
        assert!(!output.contains(&format!("show | {gone}")), "{output}");
    }
    // The container's own, for its services: svinit itself is static and has no loader that would obey it.
    svinit.wait_for_line("show | LD_PRELOAD=/nowhere/preloaded.so");
    assert!(!output.lines().any(|line| line.starts_with("ERROR: ld.so")), "{output}");
    let maps = fs::read_to_string(format!("/proc/{}/maps", svinit.pid())).unwrap();
    assert!(!maps.contains(".so"), "{maps}");
}
