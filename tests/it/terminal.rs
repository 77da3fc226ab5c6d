//! A command in the foreground of a terminal, as `docker run -it` gives one to svinit.

use crate::fixture::{Setup, Svinit, both, eventually};

/// Says what it has, counts its SIGINTs, reads a line and ends with 7.
const PROGRAM: &str = r#"
import os, signal, sys
count = 0
def interrupted(number, frame):
    global count
    count += 1
    os.write(1, b"interrupt %d\n" % count)
signal.signal(signal.SIGINT, interrupted)
print("terminal", os.isatty(0), os.isatty(1), os.isatty(2), flush=True)
print("foreground", os.tcgetpgrp(0) == os.getpgrp(), flush=True)
print("leader", os.getpid() == os.getpgrp(), flush=True)
print("it read", sys.stdin.readline().strip(), flush=True)
sys.exit(7)
"#;

/// svinit with `command`, below a shell that uses the terminal itself afterwards.
fn below_a_shell(command: &[&str]) -> Svinit {
    let script = "\"$@\"; echo \"the status is $?\"; read -r line; echo \"the shell read $line\"";
    Setup::new().terminal().through(&["sh", "-c", script, "sh"]).command(command).launch()
}

/// The shell can read from the terminal, which it could not from the background.
fn is_the_shells_again(svinit: &Svinit) {
    svinit.types("hello\n");
    svinit.wait_for_line("the shell read hello");
    assert_eq!(svinit.wait_for_end(), 0);
}

#[test]
fn a_lone_command_has_the_terminal_and_svinit_takes_it_back() {
    let svinit = below_a_shell(&["python3", "-c", PROGRAM]);
    svinit.wait_for_line("terminal True True True");
    svinit.wait_for_line("foreground True");
    svinit.wait_for_line("leader True");
    svinit.types("a line\n");
    svinit.wait_for_line("it read a line");
    svinit.wait_for_line("the status is 7");
    is_the_shells_again(&svinit);
}

#[test]
fn ctrl_c_reaches_a_lone_command_once() {
    let svinit = below_a_shell(&["python3", "-c", PROGRAM]);
    svinit.wait_for_line("leader True");
    for round in ["interrupt 1", "interrupt 2"] {
        svinit.types("\x03");
        svinit.wait_for_line(round);
    }
    svinit.types("go on\n");
    svinit.wait_for_line("the status is 7");
    assert!(!svinit.output().contains("interrupt 3"), "{}", svinit.output());
    is_the_shells_again(&svinit);
}

#[test]
fn a_lone_command_that_dies_of_ctrl_c_gives_130() {
    let svinit = below_a_shell(&["sh", "-c", "echo up; exec sleep 600"]);
    svinit.wait_for_line("up");
    svinit.types("\x03");
    svinit.wait_for_line("the status is 130");
    is_the_shells_again(&svinit);
}

#[test]
fn a_command_beside_units_has_the_terminal_too() {
    let svinit = Setup::new()
        .terminal()
        .unit("web", "command = [\"sleep\", \"600\"]")
        .command(&["python3", "-c", PROGRAM])
        .launch();
    svinit.wait_for_line("terminal True True True");
    svinit.wait_for_line("foreground True");
    svinit.types("\x03");
    svinit.wait_for_line("interrupt 1");
    assert_eq!(svinit.status("web")["state"], "ready", "the units are not the command");
    svinit.types("a line\n");
    assert_eq!(svinit.wait_for_end(), 7);
}

#[test]
fn ctrl_c_without_a_command_stops_everything() {
    let svinit = Setup::new().terminal().unit("web", "command = [\"sleep\", \"600\"]").start();
    svinit.wait_for("web", "ready");
    svinit.types("\x03");
    assert_eq!(svinit.wait_for_end(), 0);
    assert!(svinit.output().contains("web: stopped"), "{}", svinit.output());
}

/// Counts its INTs and HUPs; a service must get none of the terminal's.
const SERVICE: &str = "trap 'echo got INT' INT; trap 'echo got HUP' HUP; trap 'echo got QUIT' QUIT; trap 'exit 0' TERM; \
                       echo up; while :; do sleep 0.05; done";

/// A unit of it, which takes its time to end when it is told to.
fn service() -> String {
    format!("command = [\"sh\", \"-c\", {SERVICE:?}]\nready.log = \"up\"")
}

#[test]
fn services_get_no_signal_of_the_terminal() {
    both(|setup| {
        let svinit = setup.terminal().unit("web", &service()).start();
        svinit.wait_for("web", "ready");
        // INT is the one order to stop.
        svinit.types("\x03");
        assert_eq!(svinit.wait_for_end(), 0);
        assert!(!svinit.output().contains("got "), "{}", svinit.output());
        assert!(svinit.output().contains("web: stopped"), "{}", svinit.output());
    });
}

#[test]
fn a_second_ctrl_c_kills_at_once() {
    both(|setup| {
        let deaf = "trap 'echo asked' TERM; echo up; while :; do sleep 0.05; done";
        let unit = format!("command = [\"sh\", \"-c\", {deaf:?}]\nready.log = \"up\"\nstop.timeout = \"1h\"");
        let svinit = setup.config("shutdown_timeout = \"1h\"\n").terminal().unit("web", &unit).start();
        svinit.wait_for("web", "ready");
        svinit.types("\x03");
        svinit.wait_for_line("web | asked");
        svinit.types("\x03");
        svinit.wait_for_end();
    });
}

#[test]
fn svinit_writes_from_the_background_of_a_terminal_that_forbids_it() {
    both(|setup| {
        let chatty = "i=0; while :; do i=$((i + 1)); echo line $i; sleep 0.05; done";
        let unit = format!("command = [\"sh\", \"-c\", {:?}]", chatty.replace("$", "$$"));
        // tostop: who is not in the foreground and writes is stopped by TTOU, unless it ignores that.
        let svinit = setup
            .terminal()
            .prepared(&["sh", "-c", "stty tostop; exec \"$@\"", "sh"])
            .unit("chatty", &unit)
            .command(&["python3", "-c", PROGRAM])
            .launch();
        svinit.wait_for_line("foreground True");
        // The command has the foreground; these come through svinit.
        svinit.wait_for_line("chatty | line 1");
        let seen = svinit.output().matches("chatty | line").count();
        svinit.wait_for_line(&format!("chatty | line {}", seen + 10));
        svinit.types("a line\n");
        assert_eq!(svinit.wait_for_end(), 7);
    });
}

/// Gives svinit, argv[1:], a terminal, and hangs up when it reads `boot finished`. Then says how svinit has ended.
const HANG_UP: &str = "
import os, pty, sys
pid, master = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
said = b''
while b'boot finished' not in said:
    said += os.read(master, 4096)
os.close(master)
print('hung up', flush=True)
_, status = os.waitpid(pid, 0)
print('ended', os.waitstatus_to_exitcode(status), flush=True)
";

/// PID 1 of a namespace, and the leader of the terminal's session in place of `unshare`, which would die of it.
const IN_A_NAMESPACE: &[&str] =
    &["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--", "setsid", "--ctty"];

#[test]
fn a_terminal_that_goes_away_takes_nothing_with_it() {
    for unshare in [&[][..], IN_A_NAMESPACE] {
        if !unshare.is_empty() && Setup::new().pid1().is_none() {
            return;
        }
        let words = [&["python3", "-c", HANG_UP][..], unshare].concat();
        let svinit = Setup::new()
            .config("control.allow_other_namespaces = true\n")
            .through(&words)
            .unit("web", &service())
            .unit("chatty", "command = [\"sh\", \"-c\", \"while :; do echo line; sleep 0.05; done\"]")
            .launch();
        svinit.wait_for_line("hung up");
        let (web, chatty) = (svinit.wait_for("web", "ready"), svinit.wait_for("chatty", "ready"));
        let lines = || svinit.svctl("logs -n 100000 chatty").stdout.lines().count();
        let before = lines();
        eventually("svinit reads on", || lines() >= before + 10);
        assert_eq!((svinit.wait_for("web", "ready"), svinit.wait_for("chatty", "ready")), (web, chatty));
        assert!(!svinit.svctl("logs web").stdout.contains("got "), "the service got a signal");
        assert_eq!(svinit.svctl("shutdown").code, 0);
        svinit.wait_for_line("ended 0");
    }
}
