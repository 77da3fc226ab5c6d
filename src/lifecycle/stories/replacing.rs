//! Stories of units that are replaced without a gap: the new one beside the old one, and what may come between.

use std::time::Duration;

use super::{check, names, tcp, unit};
use crate::lifecycle::stories::argv;
use crate::lifecycle::stories::words::reads;
use crate::units::spec::{Health, KillMode, Mode, OnFailure, Policy, Ready, ReadySign, UnitSpec};

/// Two of it may run at once, and each says when it is ready.
fn web() -> UnitSpec {
    let mut web = unit("web");
    web.restart.mode = Mode::StartFirst;
    web.ready = Some(Ready { sign: ReadySign::Notify, interval: Duration::from_millis(100) });
    web
}

fn healthy() -> UnitSpec {
    let health = Health {
        check: tcp(),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(3),
        retries: 1,
        start_period: Duration::ZERO,
        on_failure: OnFailure::Restart,
    };
    UnitSpec { health: Some(health), ..web() }
}

#[test]
fn the_old_one_is_told_to_stop_when_the_new_one_is_ready() {
    check(
        [web()],
        "
        0    boot        => [web waiting], spawn #1 web, [web starting]
        1    spawned #1  => nothing
        2    ready #1    => [web ready]
        1000 restart web => spawn #2 web
        1001 spawned #2  => nothing
        1200 ready #2    => TERM #1, job 1 web ok, job 1 done
        1300 exit #1 0   => kill #1*
        1301 gone #1     => nothing
        2000 exit #2 1   => kill #2*, [web stopping]
        2001 gone #2     => [web waiting], spawn #3 web, [web starting]
        ",
    );
}

#[test]
fn a_new_one_that_ends_before_it_is_ready_changes_nothing() {
    check(
        [web()],
        "
        0    boot        => [web waiting], spawn #1 web, [web starting]
        1    spawned #1  => nothing
        2    ready #1    => [web ready]
        1000 restart web => spawn #2 web
        1001 spawned #2  => nothing
        1200 exit #2 1   => kill #2*
        1201 gone #2     => job 1 web no, job 1 done
        1300 restart web => spawn #3 web
        1301 missing #3  => job 2 web no, job 2 done
        1400 restart web => spawn #4 web
        1401 spawned #4  => nothing
        31400 tick       => TERM #4
        31401 exit #4 0  => kill #4*
        31402 gone #4    => job 3 web no, job 3 done
        ",
    );
}

#[test]
fn a_new_one_takes_over_when_its_health_check_has_passed_once() {
    check(
        [healthy()],
        "
        0    boot        => [web waiting], spawn #1 web, [web starting]
        1    spawned #1  => nothing
        2    ready #1    => probe #2, [web ready]
        3    passed #2   => [web pass]
        1000 restart web => spawn #3 web
        1001 spawned #3  => nothing
        1002 ready #3    => probe #4
        1003 passed #4   => TERM #1, job 1 web ok, job 1 done
        1004 exit #1 0   => kill #1*
        1005 gone #1     => nothing
        2000 restart web => spawn #5 web
        2001 spawned #5  => nothing
        2002 ready #5    => probe #6
        2003 refused #6  => TERM #5
        2004 exit #5 0   => kill #5*
        2005 gone #5     => job 2 web no, job 2 done
        ",
    );
}

#[test]
fn an_ill_new_one_that_becomes_the_unit_is_judged_as_such() {
    check(
        [healthy()],
        "
        0    boot        => [web waiting], spawn #1 web, [web starting]
        1    spawned #1  => nothing
        2    ready #1    => probe #2, [web ready]
        3    passed #2   => [web pass]
        1000 restart web => spawn #3 web
        1001 spawned #3  => nothing
        1002 ready #3    => probe #4
        1003 refused #4  => TERM #3
        1004 exit #1 1   => kill #1*, [web stopping]
        1005 gone #1     => nothing
        1006 exit #3 0   => kill #3*
        1007 gone #3     => [web waiting], spawn #5 web, [web starting]
        ",
    );
}

#[test]
fn a_stop_takes_the_new_one_along() {
    check(
        [web()],
        "
        0    boot        => [web waiting], spawn #1 web, [web starting]
        1    spawned #1  => nothing
        2    ready #1    => [web ready]
        1000 restart web => spawn #2 web
        1001 spawned #2  => nothing
        1002 stop web    => TERM #2, TERM #1, [web stopping], job 1 web no, job 1 done
        1003 exit #1 0   => kill #1*
        1004 gone #1     => nothing
        1005 exit #2 0   => kill #2*
        1006 gone #2     => [web inactive], job 2 web ok, job 2 done
        ",
    );
}

#[test]
fn a_stop_is_over_when_the_old_one_is_gone_as_well() {
    check(
        [web()],
        "
        0    boot        => [web waiting], spawn #1 web, [web starting]
        1    spawned #1  => nothing
        2    ready #1    => [web ready]
        1000 restart web => spawn #2 web
        1001 spawned #2  => nothing
        1200 ready #2    => TERM #1, job 1 web ok, job 1 done
        1201 stop web    => TERM #2, [web stopping]
        1202 exit #2 0   => kill #2*
        1203 gone #2     => nothing
        9200 tick        => kill #1*
        9201 killed #1 9 => kill #1*
        9202 gone #1     => [web inactive], job 2 web ok, job 2 done
        ",
    );
}

#[test]
fn svinit_ends_when_all_of_a_unit_is_gone() {
    check(
        [web()],
        "
        0    boot        => [web waiting], spawn #1 web, [web starting]
        1    spawned #1  => nothing
        2    ready #1    => [web ready]
        1000 restart web => spawn #2 web
        1001 spawned #2  => nothing
        1100 shutdown    => job 1 web no, job 1 done, TERM #2, TERM #1, [web stopping]
        1101 exit #1 0   => kill #1*
        1102 gone #1     => nothing
        9100 tick        => kill #2*
        9101 killed #2 9 => kill #2*
        9102 gone #2     => [web inactive], end 0
        ",
    );
}

#[test]
fn the_last_of_two_restarts_counts() {
    check(
        [web()],
        "
        0    boot        => [web waiting], spawn #1 web, [web starting]
        1    spawned #1  => nothing
        2    ready #1    => [web ready]
        1000 restart web => spawn #2 web
        1001 spawned #2  => nothing
        1002 restart web => TERM #2, spawn #3 web
        1003 ready #2    => nothing
        1004 spawned #3  => nothing
        1005 exit #2 0   => kill #2*
        1006 gone #2     => nothing
        1007 ready #3    => TERM #1, job 1 web ok, job 1 done, job 2 web ok, job 2 done
        ",
    );
}

#[test]
fn when_the_old_one_ends_the_new_one_takes_its_place_wherever_it_is() {
    check(
        [web()],
        "
        0    boot        => [web waiting], spawn #1 web, [web starting]
        1    spawned #1  => nothing
        2    ready #1    => [web ready]
        1000 restart web => spawn #2 web
        1001 spawned #2  => nothing
        1002 exit #1 1   => kill #1*, [web starting]
        1003 gone #1     => nothing
        1100 ready #2    => [web ready], job 1 web ok, job 1 done
        2000 restart web => spawn #3 web
        2001 spawned #3  => nothing
        2002 exit #2 1   => kill #2*, [web starting]
        2003 exit #3 1   => kill #3*, [web stopping]
        2004 gone #2     => nothing
        2005 gone #3     => [web waiting], spawn #4 web, [web starting]
        ",
    );
}

#[test]
fn an_ill_old_one_makes_room() {
    check(
        [healthy()],
        "
        0     boot        => [web waiting], spawn #1 web, [web starting]
        1     spawned #1  => nothing
        2     ready #1    => probe #2, [web ready]
        3     passed #2   => [web pass]
        9000  restart web => spawn #3 web
        9001  spawned #3  => nothing
        10003 tick        => probe #4
        10004 refused #4  => TERM #1, [web starting]
        10005 ready #3    => probe #5, [web ready], job 1 web ok, job 1 done
        10006 exit #1 0   => kill #1*
        10007 gone #1     => nothing
        10008 passed #5   => [web pass]
        ",
    );
}

#[test]
fn its_test_comes_first() {
    let mut web = web();
    web.reload.test = Some(argv("test"));
    check(
        [web],
        "
        0    boot        => [web waiting], spawn #1 web, [web starting]
        1    spawned #1  => nothing
        2    ready #1    => [web ready]
        1000 restart web => test #2 web
        1001 exit #2 1   => kill #2*, job 1 web no, job 1 done
        1002 gone #2     => nothing
        1003 restart web => test #3 web
        1004 exit #3 0   => kill #3*, spawn #4 web
        ",
    );
}

#[test]
fn what_is_part_of_it_follows_when_the_new_one_is_there() {
    let part = UnitSpec { part_of: names(&["web"]), ..unit("part") };
    let client = UnitSpec { requires: names(&["web"]), ..unit("client") };
    check(
        [web(), part, client],
        "
        0    boot        => [client waiting], [web waiting], [part waiting], spawn #1 part, [part starting], spawn #2 web, [web starting]
        1    spawned #1  => [part ready]
        2    spawned #2  => nothing
        3    ready #2    => [web ready], spawn #3 client, [client starting]
        4    spawned #3  => [client ready]
        1000 restart web => spawn #4 web
        1001 spawned #4  => nothing
        1002 ready #4    => TERM #2, TERM #1, [part stopping], job 1 web ok, job 1 done
        2000 restart-all web => spawn #5 web
        2001 spawned #5  => nothing
        2002 ready #5    => TERM #4, TERM #3, [client stopping], job 2 web ok, job 2 done
        ",
    );
}

#[test]
fn a_successor_does_not_wait_for_what_does_not_come() {
    let mut db = unit("db");
    db.restart.policy = Policy::Never;
    check(
        [db, UnitSpec { requires: names(&["db"]), ..web() }],
        "
        0    boot        => [db waiting], [web waiting], spawn #1 db, [db starting]
        1    spawned #1  => [db ready], spawn #2 web, [web starting]
        2    spawned #2  => nothing
        3    ready #2    => [web ready]
        10   exit #1 1   => kill #1*, [db stopping]
        11   gone #1     => [db failed]
        20   restart web => [db waiting], spawn #3 db, [db starting]
        21   missing #3  => [db failed], job 1 web no, job 1 done
        ",
    );
}

#[test]
fn a_reload_that_was_under_way_is_done_to_the_new_one() {
    let mut web = web();
    web.reload.how = Some(crate::units::spec::ReloadHow::Command(argv("reload")));
    check(
        [web],
        "
        0    boot        => [web waiting], spawn #1 web, [web starting]
        1    spawned #1  => nothing
        2    ready #1    => [web ready]
        1000 restart web => spawn #2 web
        1001 spawned #2  => nothing
        1002 reload web  => reloadcommand #3 web, [web reloading]
        1003 ready #2    => kill #3*, TERM #1, reloadcommand #4 web, job 1 web ok, job 1 done
        1004 exit #4 0   => kill #4*, [web ready], job 2 web ok, job 2 done
        ",
    );
}

#[test]
fn what_was_left_of_the_one_before_goes_before_the_next_start() {
    let mut web = web();
    web.stop.kill = KillMode::Process;
    check(
        [web],
        "
        0    boot        => [web waiting], spawn #1 web, [web starting]
        1    spawned #1  => nothing
        2    ready #1    => [web ready]
        1000 restart web => spawn #2 web
        1001 spawned #2  => nothing
        1002 ready #2    => TERM #1, job 1 web ok, job 1 done
        1003 exit #1 0   => nothing
        2000 restart web => kill #1*
        2001 gone #1     => spawn #3 web
        ",
    );
}

#[test]
fn a_paused_unit_is_replaced_without_a_check() {
    check(
        [healthy()],
        "
        0    boot        => [web waiting], spawn #1 web, [web starting]
        1    spawned #1  => nothing
        2    ready #1    => probe #2, [web ready]
        3    passed #2   => [web pass]
        1000 restart web => spawn #3 web
        1001 spawned #3  => nothing
        1002 ready #3    => probe #4
        1003 pause web   => cancel #4, TERM #1, [web unknown], job 2 web ok, job 2 done, job 1 web ok, job 1 done
        ",
    );
}

#[test]
fn too_much_memory_is_a_reason_for_a_new_one_and_not_for_a_gap() {
    let mut web = web();
    web.limits.memory_high = Some(1 << 20);
    web.limits.memory_for = Duration::ZERO;
    check(
        [web],
        "
        0    boot          => [web waiting], spawn #1 web, [web starting]
        1    spawned #1    => nothing
        2    ready #1      => [web ready]
        1002 tick          => measure #1
        1003 measured #1 2000000 => spawn #2 web
        1004 spawned #2    => nothing
        1005 ready #2      => TERM #1
        ",
    );
}

#[test]
fn what_is_said_of_a_replacement() {
    reads(
        "replacing",
        [web()],
        "
        0 boot
        1 spawned #1
        2 ready #1
        1000 restart web
        1001 spawned #2
        1002 ready #2
        1003 exit #1 0
        1004 gone #1
        2000 restart web
        2001 spawned #3
        2002 said #3 1 broken
        2003 gone #3
        3000 restart web
        3001 spawned #4
        3002 stop web
        3003 exit #2 0
        3004 gone #2
        3005 exit #4 0
        3006 gone #4
        ",
    );
}

#[test]
fn an_old_one_that_says_that_it_stops_makes_room_at_once_and_does_not_come_back() {
    check(
        [web()],
        "
        0    boot        => [web waiting], spawn #1 web, [web starting]
        1    spawned #1  => nothing
        2    ready #1    => [web ready]
        1000 restart web => spawn #2 web
        1001 leaving #1  => [web starting]
        1002 exit #1 0   => kill #1*
        1003 gone #1     => nothing
        1004 spawned #2  => nothing
        1005 ready #2    => [web ready], job 1 web ok, job 1 done
        ",
    );
}

#[test]
fn what_a_new_one_has_left_that_did_not_come_up_is_cleared_away_before_the_next() {
    let mut web = web();
    web.stop.kill = KillMode::Process;
    check(
        [web],
        "
        0 boot => [web waiting], spawn #1 web, [web starting]
        1 spawned #1 => nothing
        2 ready #1 => [web ready]
        10 restart web => spawn #2 web
        11 spawned #2 => nothing
        12 exit #2 1 => job 1 web no, job 1 done
        20 restart web => kill #2*
        21 gone #2 => spawn #3 web
        ",
    );
}
