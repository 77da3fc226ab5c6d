//! How a command has ended is how svinit ends: all 256 codes and every signal that ends a process.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::fixture::Setup;

/// Runs `sh -c SCRIPT` for each of `endings` on two threads and compares the status.
fn each_ends_with(endings: &[(String, i32)], pid1: bool) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some((script, status)) = endings.get(next.fetch_add(1, Ordering::SeqCst)) {
                    let setup = if pid1 { Setup::new().pid1() } else { Some(Setup::new()) };
                    let Some(setup) = setup else { return };
                    // A core of what ends by QUIT and the like is of no use here.
                    let setup = setup.through(&["prlimit", "--core=0"]);
                    let svinit = setup.command(&["sh", "-c", script]).launch();
                    assert_eq!(svinit.wait_for_end(), *status, "{script}: {}", svinit.output());
                }
            });
        }
    });
}

fn codes() -> Vec<(String, i32)> {
    (0..=255).map(|code| (format!("exit {code}"), code)).collect()
}

/// Signals that end a process: not those whose default is to be ignored (CHLD, CONT, URG, WINCH), nor to stop (STOP,
/// TSTP, TTIN, TTOU); 32 and 33 the C library keeps from the shell.
fn signals() -> Vec<(String, i32)> {
    let others = [17, 18, 19, 20, 21, 22, 23, 28, 32, 33];
    let ending = (1..=64).filter(|number| !others.contains(number));
    ending.map(|number| (format!("kill -{number} $$; sleep 5"), 128 + number)).collect()
}

#[test]
fn all_256_codes_are_passed_on() {
    each_ends_with(&codes(), false);
}

#[test]
fn all_256_codes_are_passed_on_by_pid_1() {
    each_ends_with(&codes(), true);
}

#[test]
fn every_signal_that_ends_a_command_is_passed_on_as_128_and_its_number() {
    each_ends_with(&signals(), false);
    each_ends_with(&signals(), true);
}
