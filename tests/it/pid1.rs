//! The duties of PID 1, as PID 1 of a namespace and as a subreaper.

use crate::fixture::{Setup, both, eventually, zombies_of};

#[test]
fn a_lone_command_gives_svinit_its_status() {
    both(|setup| {
        let svinit = setup.command(&["sh", "-c", "exit 7"]).launch();
        assert_eq!(svinit.wait_for_end(), 7);
    });
    for (words, status) in [
        (vec!["true"], 0),
        (vec!["sh", "-c", "kill -TERM $$"], 143),
        (vec!["sh", "-c", "kill -KILL $$"], 137),
        (vec!["/no/such/program"], 127),
        (vec!["no-such-program-anywhere"], 127),
        (vec!["/etc/passwd"], 126),
        (vec!["/"], 126),
    ] {
        let svinit = Setup::new().command(&words).launch();
        assert_eq!(svinit.wait_for_end(), status, "{words:?}: {}", svinit.output());
    }
}

#[test]
fn a_lone_command_gets_the_signals_itself() {
    both(|setup| {
        let script = "trap 'echo usr1' USR1; trap 'echo hup' HUP; trap 'exit 5' TERM; echo up; \
                      while :; do sleep 0.05; done";
        let svinit = setup.command(&["sh", "-c", script]).launch();
        svinit.wait_for_line("up");
        svinit.signal("USR1");
        svinit.wait_for_line("usr1");
        svinit.signal("HUP");
        svinit.wait_for_line("hup");
        svinit.signal("TERM");
        assert_eq!(svinit.wait_for_end(), 5);
    });
}

#[test]
fn orphans_are_reaped() {
    both(|setup| {
        let script = "for i in $(seq 100); do (setsid sh -c 'true' &); done; echo made; exec sleep 600";
        let svinit = setup.unit("web", &format!("command = [\"sh\", \"-c\", {script:?}]")).start();
        svinit.wait_for_line("web | made");
        let pid = svinit.pid();
        eventually("no zombie is left", || zombies_of(pid) == 0);
        assert_eq!(svinit.status("web")["state"], "ready");
    });
}

#[test]
fn signals_that_mean_nothing_change_nothing() {
    both(|setup| {
        let svinit = setup.unit("web", "command = [\"sleep\", \"600\"]").start();
        let pid = svinit.wait_for("web", "ready");
        for name in ["HUP", "USR1", "USR2", "ALRM", "PIPE", "WINCH", "CONT", "TSTP", "TTOU", "VTALRM", "IO"] {
            svinit.signal(name);
        }
        svinit.wait_for_line("SIGHUP: nothing differs");
        assert_eq!(svinit.wait_for("web", "ready"), pid);
    });
}

#[test]
fn a_service_starts_with_a_clean_slate() {
    both(|setup| {
        let script = "grep -E '^Sig(Blk|Ign)' /proc/self/status; echo fds $(ls /proc/self/fd | wc -l)";
        let text = format!("type = \"oneshot\"\ncommand = [\"sh\", \"-c\", {script:?}]");
        let svinit = setup.unit("show", &text).unit("stay", "command = [\"sleep\", \"600\"]").start();
        svinit.wait_for("show", "completed");
        for expected in ["SigBlk:\t0000000000000000", "SigIgn:\t0000000000000000", "fds 4"] {
            svinit.wait_for_line(&format!("show | {expected}"));
        }
    });
}

#[test]
fn a_service_that_dies_is_replaced_at_once() {
    both(|setup| {
        let svinit = setup.unit("web", "command = [\"sleep\", \"600\"]").start();
        let pid = svinit.wait_for("web", "ready");
        assert_eq!(svinit.svctl("signal web --signal KILL").code, 0);
        assert!(svinit.wait_for_another("web", "ready", pid).is_some());
        assert_eq!(svinit.status("web")["last_exit"]["signal"], "KILL");
    });
}

#[test]
fn an_essential_unit_gives_svinit_its_status() {
    let svinit = Setup::new()
        .unit("web", "command = [\"sleep\", \"600\"]")
        .unit("core", "essential = true\nrestart.policy = \"never\"\ncommand = [\"sh\", \"-c\", \"exit 9\"]")
        .launch();
    assert_eq!(svinit.wait_for_end(), 9);
}

#[test]
fn nothing_of_svinit_stays_in_the_file_system() {
    let svinit = Setup::new().unit("web", "command = [\"sleep\", \"600\"]").start();
    svinit.wait_for("web", "ready");
    let own = format!("/run/svinit/{}", svinit.pid());
    svinit.signal("TERM");
    assert_eq!(svinit.wait_for_end(), 0);
    assert!(!svinit.socket().exists());
    assert!(!std::path::Path::new(&own).exists());
}

#[test]
fn units_of_the_same_name_below_another_pid_1_are_left_alone() {
    let unit = "command = [\"sleep\", \"600\"]";
    let (Some(one), Some(other)) = (Setup::new().pid1(), Setup::new().pid1()) else { return };
    let (one, other) = (one.unit("web", unit).start(), other.unit("web", unit).start());
    let web = other.wait_for("web", "ready");
    one.wait_for("web", "ready");
    assert_eq!(one.svctl("stop web").code, 0);
    one.signal("TERM");
    assert_eq!(one.wait_for_end(), 0);
    let status = other.status("web");
    assert_eq!((&status["restarts"], other.wait_for("web", "ready")), (&0.into(), web), "{}", other.output());
}
