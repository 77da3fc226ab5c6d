//! Stories of other definitions that come while units run.

use std::time::Duration;

use crate::lifecycle::stories::{argv, check_updates, names, ready_by, set, tcp, unit};
use crate::units::spec::{Health, Mode, OnFailure, Policy, UnitSpec};

fn changed(spec: &UnitSpec) -> UnitSpec {
    UnitSpec { command: argv("run otherwise"), ..spec.clone() }
}

fn on(text: &str, requires: &[&str]) -> UnitSpec {
    UnitSpec { requires: names(requires), ..unit(text) }
}

#[test]
fn only_what_differs_restarts_and_its_neighbours_stay() {
    let (db, web, api) = (unit("db"), on("web", &["db"]), on("api", &["db"]));
    check_updates(
        [db.clone(), web.clone(), api.clone()],
        vec![set([db, changed(&web), api])],
        "
        0 boot => [api waiting], [db waiting], [web waiting], spawn #1 db, [db starting]
        1 spawned #1 => [db ready], spawn #2 api, [api starting], spawn #3 web, [web starting]
        2 spawned #2 => [api ready]
        3 spawned #3 => [web ready]
        10 update 1 => TERM #3, [web stopping]
        11 exit #3 0 => kill #3*
        12 gone #3 => define web, [web waiting], spawn #4 web, [web starting]
        13 spawned #4 => [web ready], job 1 web ok, job 1 done
        ",
    );
}

#[test]
fn what_is_new_starts_if_it_is_enabled_and_what_is_gone_is_stopped_and_forgotten() {
    let old = on("old", &["web"]);
    let idle = UnitSpec { enabled: false, ..unit("idle") };
    check_updates(
        [unit("web"), old],
        vec![set([unit("web"), idle, on("new", &["web"])])],
        "
        0 boot => [old waiting], [web waiting], spawn #1 web, [web starting]
        1 spawned #1 => [web ready], spawn #2 old, [old starting]
        2 spawned #2 => [old ready]
        10 update 1 => define idle, define new, job 1 idle ok, [new waiting], spawn #3 new, [new starting], TERM #2, [old stopping]
        11 spawned #3 => [new ready], job 1 new ok
        12 exit #2 0 => kill #2*
        13 gone #2 => [old inactive], job 1 old ok, job 1 done, forget old
        14 start old => job 2 old no, job 2 done
        15 exit #2 0 => nothing
        ",
    );
}

#[test]
fn one_that_is_defined_again_before_it_has_begun_to_go_stays() {
    let mut db = unit("db");
    db.restart.mode = Mode::StartFirst;
    check_updates(
        [db.clone(), on("web", &["db"]), unit("other")],
        vec![set([unit("other")]), set([db, unit("other")])],
        "
        0 boot => [db waiting], [other waiting], [web waiting], spawn #1 db, [db starting], spawn #2 other, [other starting]
        1 spawned #1 => [db ready], spawn #3 web, [web starting]
        2 spawned #3 => [web ready]
        10 update 1 => TERM #3, [web stopping]
        11 update 2 => define db, spawn #4 db, job 1 db no
        12 spawned #4 => TERM #1, job 2 db ok, job 2 done
        13 exit #3 0 => kill #3*
        14 gone #3 => [web inactive], job 1 web ok, job 1 done, forget web
        ",
    );
}

#[test]
fn one_that_comes_back_has_what_it_requires_brought_back_too() {
    let db = UnitSpec { enabled: false, ..unit("db") };
    check_updates(
        [db.clone(), on("web", &["db"]), unit("other")],
        vec![set([unit("other")]), set([db, on("web", &["db"]), unit("other")])],
        "
        0 boot => [other waiting], [web waiting], [db waiting], spawn #1 db, [db starting], spawn #2 other, [other starting]
        1 spawned #1 => [db ready], spawn #3 web, [web starting]
        2 spawned #3 => [web ready]
        10 update 1 => TERM #3, [web stopping]
        11 update 2 => job 1 db no, job 1 web no, job 1 done
        12 exit #3 0 => kill #3*
        13 gone #3 => define web, [web waiting], TERM #1, [db stopping]
        14 exit #1 0 => kill #1*
        15 gone #1 => define db, [db waiting], spawn #4 db, [db starting]
        16 spawned #4 => [db ready], spawn #5 web, [web starting], job 2 db ok
        17 spawned #5 => [web ready], job 2 web ok, job 2 done
        ",
    );
}

#[test]
fn what_no_process_notices_is_in_force_at_once_and_a_health_check_begins_anew() {
    let rule = Health {
        check: tcp(),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(3),
        retries: 1,
        start_period: Duration::ZERO,
        on_failure: OnFailure::Restart,
    };
    let watched = UnitSpec { health: Some(rule), ..unit("web") };
    check_updates(
        [unit("web")],
        vec![set([watched.clone()]), set([UnitSpec { description: "x".to_owned(), ..unit("web") }])],
        "
        0 boot => [web waiting], spawn #1 web, [web starting]
        1 spawned #1 => [web ready]
        10 update 1 => define web, job 1 web ok, job 1 done
        11 update 1 => job 2 done
        12 pause web => job 3 web ok, job 3 done
        13 resume web => probe #2, job 4 web ok, job 4 done
        14 update 2 => define web, cancel #2, job 5 web ok, job 5 done
        ",
    );
}

#[test]
fn what_is_in_force_at_once_waits_for_a_new_one_that_is_on_its_way() {
    let mut web = unit("web");
    web.restart.mode = Mode::StartFirst;
    let new = UnitSpec { description: "x".to_owned(), ..web.clone() };
    check_updates(
        [web],
        vec![set([new])],
        "
        0 boot => [web waiting], spawn #1 web, [web starting]
        1 spawned #1 => [web ready]
        10 restart web => spawn #2 web
        11 update 1 => job 2 web ok, job 2 done
        12 spawned #2 => TERM #1, define web, job 1 web ok, job 1 done
        13 exit #1 0 => kill #1*
        14 gone #1 => nothing
        15 update 1 => job 3 done
        ",
    );
}

#[test]
fn a_unit_that_is_down_is_as_it_was_defined_last_when_it_is_started() {
    let web = unit("web");
    check_updates(
        [web.clone(), unit("other")],
        vec![set([changed(&web), unit("other")])],
        "
        0 boot => [other waiting], [web waiting], spawn #1 other, [other starting], spawn #2 web, [web starting]
        1 spawned #2 => [web ready]
        2 stop web => TERM #2, [web stopping]
        3 update 1 => job 2 web ok, job 2 done
        4 exit #2 0 => kill #2*
        5 gone #2 => define web, [web inactive], job 1 web ok, job 1 done
        6 start web => [web waiting], spawn #3 web, [web starting]
        ",
    );
}

#[test]
fn a_test_that_refuses_the_new_definition_leaves_the_old_one() {
    let web = unit("web");
    let mut new = changed(&web);
    new.reload.test = Some(argv("test"));
    check_updates(
        [web],
        vec![set([new])],
        "
        0 boot => [web waiting], spawn #1 web, [web starting]
        1 spawned #1 => [web ready]
        10 update 1 => test #2 web
        11 exit #2 1 => kill #2*, job 1 web no, job 1 done
        12 gone #2 => nothing
        13 update 1 => test #3 web
        14 exit #3 0 => kill #3*, TERM #1, [web stopping]
        15 gone #3 => nothing
        16 exit #1 0 => kill #1*
        17 gone #1 => define web, [web waiting], spawn #4 web, [web starting]
        18 spawned #4 => [web ready], job 2 web ok, job 2 done
        ",
    );
}

#[test]
fn one_that_comes_up_begins_anew_and_one_that_has_failed_is_tried_again() {
    let web = UnitSpec { ready: ready_by(tcp()), ..unit("web") };
    let mut bad = unit("bad");
    bad.restart.policy = Policy::Never;
    check_updates(
        [web.clone(), bad.clone()],
        vec![set([changed(&web), changed(&bad)])],
        "
        0 boot => [bad waiting], [web waiting], spawn #1 bad, [bad starting], spawn #2 web, [web starting]
        1 missing #1 => [bad failed]
        3 spawned #2 => probe #3
        10 update 1 => define bad, [bad waiting], spawn #4 bad, [bad starting], cancel #3, TERM #2, [web stopping]
        11 spawned #4 => [bad ready], job 1 bad ok
        12 exit #2 0 => kill #2*
        13 gone #2 => define web, [web waiting], spawn #5 web, [web starting]
        ",
    );
}

#[test]
fn an_update_during_an_update_changes_its_mind() {
    let (web, other) = (unit("web"), unit("other"));
    check_updates(
        [web.clone(), other.clone()],
        vec![set([other.clone()]), set([changed(&web), other])],
        "
        0 boot => [other waiting], [web waiting], spawn #1 other, [other starting], spawn #2 web, [web starting]
        1 spawned #2 => [web ready]
        10 update 1 => TERM #2, [web stopping]
        11 update 2 => job 1 web no, job 1 done
        12 exit #2 0 => kill #2*
        13 gone #2 => define web, [web waiting], spawn #3 web, [web starting]
        14 spawned #3 => [web ready], job 2 web ok, job 2 done
        ",
    );
}

#[test]
fn old_and_new_order_together_make_no_circle() {
    let (a, b) = (unit("a"), on("b", &["a"]));
    check_updates(
        [a, b],
        vec![set([on("a", &["b"]), changed(&unit("b"))])],
        "
        0 boot => [a waiting], [b waiting], spawn #1 a, [a starting]
        1 spawned #1 => [a ready], spawn #2 b, [b starting]
        2 spawned #2 => [b ready]
        10 update 1 => define a, job 1 a ok, TERM #2, [b stopping]
        11 exit #2 0 => kill #2*
        12 gone #2 => define b, [b waiting], spawn #3 b, [b starting]
        13 spawned #3 => [b ready], job 1 b ok, job 1 done
        14 shutdown => TERM #1, [a stopping]
        ",
    );
}

#[test]
fn beside_the_old_one_a_new_definition_comes_up_and_is_given_up_if_it_does_not() {
    let mut web = UnitSpec { ready: ready_by(tcp()), ..unit("web") };
    web.restart.mode = Mode::StartFirst;
    let (bad, good) = (changed(&web), UnitSpec { command: argv("run well"), ..web.clone() });
    check_updates(
        [web],
        vec![set([bad]), set([good])],
        "
        0 boot => [web waiting], spawn #1 web, [web starting]
        1 spawned #1 => probe #2
        2 passed #2 => [web ready]
        10 update 1 => define web, spawn #3 web
        11 missing #3 => define web, job 1 web no, job 1 done
        20 update 2 => define web, spawn #4 web
        21 spawned #4 => probe #5
        22 passed #5 => TERM #1, job 2 web ok, job 2 done
        23 exit #1 0 => kill #1*
        24 gone #1 => nothing
        25 update 2 => job 3 done
        30 update 1 => define web, spawn #6 web
        31 stop web => define web, TERM #6, TERM #4, [web stopping], job 4 web no, job 4 done
        32 spawned #6 => TERM #6
        33 exit #6 0 => kill #6*
        34 gone #6 => nothing
        35 exit #4 0 => kill #4*
        36 gone #4 => define web, [web inactive], job 5 web ok, job 5 done
        ",
    );
}
