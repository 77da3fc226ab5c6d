//! A command in the foreground of a terminal, as `docker run -it` gives one to svinit.

use crate::fixture::{Setup, Svinit};

/// Says what it has, counts its SIGINTs, reads a line and ends with 7.
const PROGRAM: &str = r#"
import os, signal, sys
count = 0
def interrupted(number, frame):
    global count
    count += 1
    print("interrupt", count, flush=True)
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
