//! Stories of rare turns, which the walk through small worlds or a mistake that nobody saw has asked for.

use std::path::PathBuf;
use std::time::Duration;

use crate::lifecycle::stories::{argv, check, names, tcp, unit};
use crate::units::spec::{Kind, UnitSpec, WaitFor};

#[test]
fn what_a_unit_requires_is_looked_at_again_when_its_hooks_have_run() {
    let mut web = UnitSpec { requires: names(&["db"]), ..unit("web") };
    web.hooks.pre_start = vec![argv("prepare")];
    check(
        [unit("db"), web],
        "
        0  boot        => [db waiting], [web waiting], spawn #1 db, [db starting]
        1  spawned #1  => [db ready], prestart #2 web, [web starting]
        2  exit #1 1   => kill #1*, [db stopping]
        3  exit #2 0   => kill #2*
        4  gone #2     => [web waiting]
        5  gone #1     => [db waiting], spawn #3 db, [db starting]
        6  spawned #3  => [db ready], prestart #4 web, [web starting]
        7  exit #4 0   => kill #4*
        8  gone #4     => spawn #5 web
        9  spawned #5  => [web ready]
    ",
    );
}

#[test]
fn what_a_unit_requires_is_looked_at_again_when_the_outside_has_answered() {
    let wait_for =
        WaitFor { checks: vec![tcp()], timeout: Duration::from_secs(60), interval: Duration::from_secs(1) };
    check(
        [unit("db"), UnitSpec { requires: names(&["db"]), wait_for: Some(wait_for), ..unit("web") }],
        "
        0  boot        => [db waiting], [web waiting], spawn #1 db, [db starting]
        1  spawned #1  => [db ready], probe #2
        2  exit #1 1   => kill #1*, [db stopping]
        3  passed #2   => nothing
        4  gone #1     => [db waiting], spawn #3 db, [db starting]
        5  spawned #3  => [db ready], spawn #4 web, [web starting]
        6  spawned #4  => [web ready]
    ",
    );
}

#[test]
fn a_process_that_could_not_be_made_is_not_waited_for_although_it_was_to_be_killed() {
    check(
        [unit("web")],
        "
        0    boot       => [web waiting], spawn #1 web, [web starting]
        10   stop web   => TERM #1, [web stopping]
        8010 tick       => kill #1*
        9000 no-room #1 => [web inactive], job 1 web ok, job 1 done
        9001 start web  => [web waiting], spawn #2 web, [web starting]
    ",
    );
}

#[test]
fn a_pid_file_that_never_comes_is_looked_for_ever_more_rarely() {
    let kind = Kind::Forking { pid_file: PathBuf::from("/run/d.pid") };
    check(
        [UnitSpec { kind, ready_timeout: Duration::ZERO, ..unit("d") }],
        "
        0     boot       => [d waiting], spawn #1 d, [d starting]
        0     spawned #1 => nothing
        0     exit #1 0  => pidfile #1
        0     no-main #1 => nothing
        50    tick       => pidfile #1
        50    no-main #1 => nothing
        100   tick       => pidfile #1
        800   no-main #1 => nothing
        899   tick       => nothing
        900   tick       => pidfile #1
        60000 no-main #1 => nothing
        60999 tick       => nothing
        61000 tick       => pidfile #1
    ",
    );
}

#[test]
fn with_nothing_to_start_svinit_ends_at_once() {
    check([UnitSpec { enabled: false, ..unit("web") }], "0 boot => end 0");
}

#[test]
fn a_stop_command_is_for_a_process_that_is_there() {
    let mut web = unit("web");
    web.stop.command = Some(argv("quit"));
    check(
        [web],
        "
        0 boot       => [web waiting], spawn #1 web, [web starting]
        1 stop web   => TERM #1, [web stopping]
        2 spawned #1 => TERM #1
        3 exit #1 0  => kill #1*
        4 gone #1    => [web inactive], job 1 web ok, job 1 done
    ",
    );
}
