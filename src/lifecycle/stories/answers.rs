//! Stories about requests that come or go at an odd moment, and about rules that hold only there.

use std::time::Duration;

use crate::lifecycle::stories::words::{reads, seconds};
use crate::lifecycle::stories::{argv, check, names, tcp, unit};
use crate::units::spec::{Health, KillMode, Kind, OnFailure, ReloadHow, Restart, SignalName, UnitSpec};

#[test]
fn who_waits_for_an_answer_when_svinit_ends_gets_one() {
    reads(
        "answers_at_the_end",
        [UnitSpec { enabled: false, ..unit("web") }, unit("stuck")],
        "
        0 boot
        1 spawned #1
        2 start web
        3 stop stuck
        4 shutdown
        5 shutdown
        6 killed #2 9
        7 gone #2
        9504 tick
        9904 tick
        ",
    );
}

#[test]
fn a_start_that_has_to_pause_is_answered_at_once() {
    let mut web = UnitSpec { enabled: false, ..unit("web") };
    web.restart = Restart { delay: seconds(1), ..web.restart };
    reads(
        "answers_at_a_pause",
        [web, unit("other")],
        "
        0 boot
        1 spawned #1
        2 start web
        3 exit #2 1
        4 gone #2
        1004 tick
        1005 spawned #3
        ",
    );
}

#[test]
fn a_hook_without_a_timeout_may_take_for_ever() {
    let mut web = unit("web");
    web.hooks.pre_start = vec![argv("long")];
    web.hooks.timeout = Duration::ZERO;
    reads(
        "no_timeout",
        [web],
        "
        0 boot
        900000 tick
        900001 exit #1 0
        900002 gone #1
        ",
    );
}

#[test]
fn after_a_reload_it_is_checked_at_once() {
    let mut web = unit("web");
    web.reload.how = Some(ReloadHow::Signal(SignalName("HUP".to_owned())));
    web.health = Some(Health {
        check: tcp(),
        interval: seconds(10),
        timeout: seconds(3),
        retries: 1,
        start_period: Duration::ZERO,
        on_failure: OnFailure::Restart,
    });
    check(
        [web],
        "
        0    boot       => [web waiting], spawn #1 web, [web starting]
        0    spawned #1 => probe #2, [web ready]
        1    passed #2  => [web pass]
        1000 reload web => HUP #1, job 1 web ok, job 1 done
        1000 tick       => probe #3
        1001 passed #3  => nothing
    ",
    );
}

#[test]
fn a_restart_that_waits_for_a_hook_is_not_lost_when_the_unit_ends_by_itself() {
    let mut web = unit("web");
    web.restart.policy = crate::units::spec::Policy::Never;
    web.reload.test = Some(argv("test"));
    web.hooks.post_start = vec![argv("warm")];
    check(
        [web],
        "
        0 boot        => [web waiting], spawn #1 web, [web starting]
        0 spawned #1  => poststart #2 web, [web ready]
        1 restart web => nothing
        2 exit #1 1   => kill #2*, kill #1*, [web stopping]
        3 gone #2     => nothing
        4 gone #1     => [web waiting], spawn #3 web, [web starting]
    ",
    );
}

#[test]
fn time_in_ready_beyond_the_window_wipes_the_slate() {
    check(
        [unit("web")],
        "
        0     boot       => [web waiting], spawn #1 web, [web starting]
        0     spawned #1 => [web ready]
        10    exit #1 1  => kill #1*, [web stopping]
        10    gone #1    => [web waiting], spawn #2 web, [web starting]
        10    spawned #2 => [web ready]
        20    exit #2 1  => kill #2*, [web stopping]
        20    gone #2    => [web waiting], spawn #3 web, [web starting]
        20    spawned #3 => [web ready]
        60021 exit #3 1  => kill #3*, [web stopping]
        60021 gone #3    => [web waiting], spawn #4 web, [web starting]
        60021 spawned #4 => [web ready]
        60030 exit #4 1  => kill #4*, [web stopping]
        60030 gone #4    => [web waiting], spawn #5 web, [web starting]
        60030 spawned #5 => [web ready]
        60040 exit #5 1  => kill #5*, [web stopping]
        60040 gone #5    => [web backoff]
    ",
    );
}

#[test]
fn what_is_left_of_a_group_is_killed_with_the_unit_that_waits_for_nobody() {
    let mut job = UnitSpec { kind: Kind::Oneshot, ..unit("job") };
    job.stop.kill = KillMode::Group;
    let web = UnitSpec { after: names(&["job"]), ..unit("web") };
    reads(
        "group_and_order",
        [job, web],
        "
        0 boot
        1 spawned #1
        2 exit #1 0
        8002 tick
        8003 gone #1
        8004 spawned #2
        8005 start job
        8006 spawned #3
        8007 restart web
        8008 exit #2 0
        8009 gone #2
        8010 exit #3 0
        8011 gone #3
        ",
    );
}

#[test]
fn who_waits_for_one_that_has_failed_for_good_keeps_nobody_alive() {
    let mut db = unit("db");
    db.restart.policy = crate::units::spec::Policy::Never;
    reads(
        "waiting_for_nobody",
        [db, UnitSpec { requires: names(&["db"]), ..unit("web") }],
        "
        0 boot
        1 exit #1 3
        2 gone #1
        ",
    );
}

#[test]
fn a_stop_reaches_all_that_builds_on_it_and_a_shutdown_cuts_it_short() {
    let mut top = UnitSpec { requires: names(&["middle"]), ..unit("top") };
    top.stop.timeout = seconds(60);
    let middle = UnitSpec { requires: names(&["base"]), ..unit("middle") };
    reads(
        "chain",
        [unit("base"), middle, top],
        "
        0 boot
        1 spawned #1
        2 spawned #2
        3 spawned #3
        4 stop base
        10 shutdown
        3176 tick
        3177 killed #3 9
        3178 gone #3
        3179 exit #2 0
        3180 gone #2
        3181 exit #1 0
        3182 gone #1
        ",
    );
}
