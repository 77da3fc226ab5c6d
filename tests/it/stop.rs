//! What ends, in which order, and that nothing is left behind.

use crate::fixture::{Setup, eventually, processes_with};

#[test]
fn an_orderly_shutdown_stops_dependants_first_and_ends_with_0() {
    let unit = |name: &str, more: &str| {
        let script = format!("trap 'echo {name} stops; exit 0' TERM; echo up; while :; do sleep 0.05; done");
        format!("{more}ready.log = \"up\"\ncommand = [\"sh\", \"-c\", {script:?}]")
    };
    let svinit =
        Setup::new().unit("db", &unit("db", "")).unit("web", &unit("web", "requires = [\"db\"]\n")).start();
    svinit.wait_for("web", "ready");
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0);
    let said = svinit.output();
    let position = |part: &str| said.find(part).unwrap_or_else(|| panic!("no {part:?} in\n{said}"));
    assert!(position("web | web stops") < position("db | db stops"), "{said}");
}

#[test]
fn a_daemon_that_has_forked_twice_into_its_own_session_ends_with_its_unit() {
    let script =
        "setsid sh -c 'setsid sleep 3600.0101 & setsid sleep 3600.0101' & echo up; exec sleep 3600.0101";
    let text = format!("ready.log = \"up\"\ncommand = [\"sh\", \"-c\", {script:?}]");
    let svinit = Setup::new().unit("web", &text).unit("stay", "command = [\"sleep\", \"600\"]").start();
    svinit.wait_for("web", "ready");
    eventually("all three sleep", || processes_with("sleep 3600.0101").len() >= 3);
    let stopped = svinit.svctl("stop web");
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert!(processes_with("sleep 3600.0101").is_empty());
    assert_eq!(svinit.status("stay")["state"], "ready");
}

#[test]
fn what_a_crashed_service_has_left_is_gone_before_its_replacement_starts() {
    let script =
        "pgrep -f '^sleep 3600[.]0102' && echo leftovers; setsid sleep 3600.0102 & echo up; exec sleep 600";
    let text = format!("ready.log = \"up\"\ncommand = [\"sh\", \"-c\", {script:?}]");
    let svinit = Setup::new().unit("web", &text).start();
    let pid = svinit.wait_for("web", "ready");
    assert_eq!(svinit.svctl("signal web --signal KILL").code, 0);
    svinit.wait_for_another("web", "ready", pid);
    eventually("one of them sleeps", || processes_with("sleep 3600.0102").len() == 1);
    assert!(!svinit.output().contains("web | leftovers"), "{}", svinit.output());
}

#[test]
fn a_service_that_ignores_term_is_killed_after_its_timeout() {
    let text = "stop.timeout = \"300ms\"\nready.log = \"up\"\n\
                command = [\"sh\", \"-c\", \"trap '' TERM; echo up; while :; do sleep 0.05; done\"]";
    let svinit = Setup::new().unit("web", text).unit("stay", "command = [\"sleep\", \"600\"]").start();
    svinit.wait_for("web", "ready");
    let stopped = svinit.svctl("stop web");
    assert_eq!(stopped.code, 0, "{stopped:?}");
    assert_eq!(svinit.status("web")["last_exit"]["signal"], "KILL");
}

#[test]
fn a_paused_service_can_be_stopped() {
    let svinit = Setup::new()
        .unit("web", "command = [\"sleep\", \"600\"]")
        .unit("stay", "command = [\"sleep\", \"600\"]")
        .start();
    svinit.wait_for("web", "ready");
    assert_eq!(svinit.svctl("signal web --signal STOP").code, 0);
    assert_eq!(svinit.svctl("stop web").code, 0);
    assert_eq!(svinit.status("web")["last_exit"]["signal"], "TERM");
}

#[test]
fn a_second_order_to_stop_kills_at_once() {
    let text = "stop.timeout = \"1h\"\nready.log = \"up\"\n\
                command = [\"sh\", \"-c\", \"trap 'echo asked' TERM; echo up; while :; do sleep 0.05; done\"]";
    let svinit = Setup::new().config("shutdown_timeout = \"1h\"\n").unit("web", text).start();
    svinit.wait_for("web", "ready");
    svinit.signal("TERM");
    svinit.wait_for_line("web | asked");
    svinit.signal("TERM");
    svinit.wait_for_end();
}

#[test]
fn nothing_is_left_when_svinit_has_ended() {
    let script =
        "setsid sh -c 'trap \"\" TERM; while :; do sleep 3600.0103; done' & echo up; exec sleep 3600.0103";
    let text = format!("ready.log = \"up\"\ncommand = [\"sh\", \"-c\", {script:?}]");
    let svinit = Setup::new().unit("web", &text).start();
    svinit.wait_for("web", "ready");
    eventually("both sleep", || processes_with("sleep 3600.0103").len() >= 2);
    svinit.signal("TERM");
    svinit.wait_for_end();
    assert!(processes_with("sleep 3600.0103").is_empty());
}
