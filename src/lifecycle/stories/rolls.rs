//! Stories of groups: what is done to one instance after the other, and when the next has its turn.

use std::time::Duration;

use crate::lifecycle::stories::{argv, check, check_updates, name, names, set, tcp, unit};
use crate::units::spec::{Health, Instance, Mode, OnFailure, Policy, ReloadHow, SignalName, UnitSpec};

fn instance(number: u32) -> UnitSpec {
    let group = name("web");
    let plain = unit(group.instance(number).as_str());
    UnitSpec { instance: Some(Instance { group, number }), ..plain }
}

fn group(change: impl Fn(&mut UnitSpec)) -> Vec<UnitSpec> {
    let changed = |number| {
        let mut spec = instance(number);
        change(&mut spec);
        spec
    };
    (1..=3).map(changed).collect()
}

const UP: &str = "
    0 boot => [web@1 waiting], [web@2 waiting], [web@3 waiting], spawn #1 web@1, [web@1 starting], spawn #2 web@2, [web@2 starting], spawn #3 web@3, [web@3 starting]
    1 spawned #1 => [web@1 ready]
    1 spawned #2 => [web@2 ready]
    1 spawned #3 => [web@3 ready]
";

fn told(specs: Vec<UnitSpec>, table: &str) {
    check(specs, &format!("{UP}{table}"));
}

#[test]
fn a_restart_of_a_group_takes_one_instance_away_at_a_time() {
    told(
        group(|_| ()),
        "
        10 restart web@1 web@2 web@3 => TERM #1, [web@1 stopping]
        11 exit #1 0 => kill #1*
        12 gone #1 => [web@1 waiting], spawn #4 web@1, [web@1 starting]
        13 spawned #4 => [web@1 ready], TERM #2, [web@2 stopping], job 1 web@1 ok
        14 exit #2 0 => kill #2*
        15 gone #2 => [web@2 waiting], spawn #5 web@2, [web@2 starting]
        16 spawned #5 => [web@2 ready], TERM #3, [web@3 stopping], job 1 web@2 ok
        17 exit #3 0 => kill #3*
        18 gone #3 => [web@3 waiting], spawn #6 web@3, [web@3 starting]
        19 spawned #6 => [web@3 ready], job 1 web@3 ok, job 1 done
        ",
    );
}

#[test]
fn one_that_does_not_come_up_leaves_the_others_as_they_are() {
    told(
        group(|spec| spec.restart.policy = Policy::Never),
        "
        10 restart web@1 web@2 web@3 => TERM #1, [web@1 stopping]
        11 exit #1 0 => kill #1*
        12 gone #1 => [web@1 waiting], spawn #4 web@1, [web@1 starting]
        13 missing #4 => [web@1 failed], job 1 web@2 no, job 1 web@3 no, job 1 web@1 no, job 1 done
        20 restart web@1 web@2 web@3 => [web@1 waiting], spawn #5 web@1, [web@1 starting]
        21 spawned #5 => [web@1 ready], TERM #2, [web@2 stopping], job 2 web@1 ok
        ",
    );
}

#[test]
fn a_crash_of_another_instance_is_waited_for() {
    told(
        group(|_| ()),
        "
        10 restart web@1 web@2 => TERM #1, [web@1 stopping]
        11 exit #1 0 => kill #1*
        12 gone #1 => [web@1 waiting], spawn #4 web@1, [web@1 starting]
        13 exit #3 1 => kill #3*, [web@3 stopping]
        14 spawned #4 => [web@1 ready], job 1 web@1 ok
        15 gone #3 => [web@3 waiting], spawn #5 web@3, [web@3 starting]
        16 spawned #5 => [web@3 ready], TERM #2, [web@2 stopping]
        ",
    );
}

#[test]
fn one_that_crashes_before_its_turn_comes_first() {
    told(
        group(|_| ()),
        "
        10 restart web@1 web@2 web@3 => TERM #1, [web@1 stopping]
        11 exit #3 1 => kill #3*, [web@3 stopping]
        12 exit #1 0 => kill #1*
        13 gone #1 => [web@1 waiting], spawn #4 web@1, [web@1 starting]
        14 spawned #4 => [web@1 ready], job 1 web@1 ok
        15 gone #3 => [web@3 waiting], spawn #5 web@3, [web@3 starting]
        16 spawned #5 => [web@3 ready], TERM #2, [web@2 stopping], job 1 web@3 ok
        ",
    );
}

#[test]
fn a_stop_stands_before_a_turn() {
    told(
        group(|_| ()),
        "
        10 restart web@1 web@2 web@3 => TERM #1, [web@1 stopping]
        11 stop web@2 => TERM #2, [web@2 stopping], job 1 web@2 no
        12 exit #2 0 => kill #2*
        13 gone #2 => [web@2 inactive], job 2 web@2 ok, job 2 done
        14 exit #1 0 => kill #1*
        15 gone #1 => [web@1 waiting], spawn #4 web@1, [web@1 starting]
        16 spawned #4 => [web@1 ready], TERM #3, [web@3 stopping], job 1 web@1 ok
        17 stop web@1 web@3 => TERM #4, [web@1 stopping], job 1 web@3 no, job 1 done
        ",
    );
}

#[test]
fn those_that_are_down_begin_at_once_and_the_others_wait_for_them() {
    told(
        group(|_| ()),
        "
        10 stop web@1 web@2 => TERM #1, [web@1 stopping], TERM #2, [web@2 stopping]
        11 exit #1 0 => kill #1*
        11 exit #2 0 => kill #2*
        12 gone #1 => [web@1 inactive], job 1 web@1 ok
        12 gone #2 => [web@2 inactive], job 1 web@2 ok, job 1 done
        20 restart web@1 web@2 web@3 => [web@1 waiting], [web@2 waiting], spawn #4 web@1, [web@1 starting], spawn #5 web@2, [web@2 starting]
        21 spawned #5 => [web@2 ready], job 2 web@2 ok
        22 spawned #4 => [web@1 ready], TERM #3, [web@3 stopping], job 2 web@1 ok
        ",
    );
}

#[test]
fn a_second_restart_joins_those_who_wait_and_follows_them() {
    told(
        group(|_| ()),
        "
        10 restart web@1 web@2 => TERM #1, [web@1 stopping]
        11 restart web@1 web@2 => nothing
        12 exit #1 0 => kill #1*
        13 gone #1 => [web@1 waiting], spawn #4 web@1, [web@1 starting]
        14 spawned #4 => [web@1 ready], TERM #2, [web@2 stopping], job 1 web@1 ok, job 2 web@1 ok
        15 exit #2 0 => kill #2*
        16 gone #2 => [web@2 waiting], spawn #5 web@2, [web@2 starting]
        17 spawned #5 => [web@2 ready], job 1 web@2 ok, job 1 done, job 2 web@2 ok, job 2 done
        ",
    );
}

#[test]
fn a_reload_of_a_group_is_one_after_the_other_too_and_ends_where_one_fails() {
    let by_command = |spec: &mut UnitSpec| spec.reload.how = Some(ReloadHow::Command(argv("reload")));
    told(
        group(by_command),
        "
        10 reload web@1 web@2 web@3 => reloadcommand #4 web@1, [web@1 reloading]
        11 exit #4 0 => kill #4*, [web@1 ready], job 1 web@1 ok, reloadcommand #5 web@2, [web@2 reloading]
        12 exit #5 1 => kill #5*, [web@2 ready], job 1 web@2 no, job 1 web@3 no, job 1 done
        ",
    );
    let by_signal =
        |spec: &mut UnitSpec| spec.reload.how = Some(ReloadHow::Signal(SignalName("HUP".to_owned())));
    told(
        group(by_signal),
        "10 reload web@1 web@2 web@3 => HUP #1, job 1 web@1 ok, HUP #2, job 1 web@2 ok, HUP #3, job 1 web@3 ok, job 1 done",
    );
}

#[test]
fn the_next_has_its_turn_when_the_one_before_has_passed_its_check_once() {
    let rule = Health {
        check: tcp(),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(3),
        retries: 1,
        start_period: Duration::ZERO,
        on_failure: OnFailure::Restart,
    };
    check(
        group(|spec| spec.health = Some(rule.clone())),
        "
        0 boot => [web@1 waiting], [web@2 waiting], [web@3 waiting], spawn #1 web@1, [web@1 starting], spawn #2 web@2, [web@2 starting], spawn #3 web@3, [web@3 starting]
        1 spawned #1 => probe #4, [web@1 ready]
        1 spawned #2 => probe #5, [web@2 ready]
        1 spawned #3 => probe #6, [web@3 ready]
        2 passed #4 => [web@1 pass]
        2 passed #5 => [web@2 pass]
        2 passed #6 => [web@3 pass]
        10 restart web@1 web@2 web@3 => TERM #1, [web@1 stopping]
        11 exit #1 0 => kill #1*
        12 gone #1 => [web@1 waiting], spawn #7 web@1, [web@1 starting]
        13 spawned #7 => probe #8, [web@1 ready], job 1 web@1 ok
        14 passed #8 => [web@1 pass], TERM #2, [web@2 stopping]
        15 exit #2 0 => kill #2*
        16 gone #2 => [web@2 waiting], spawn #9 web@2, [web@2 starting]
        17 spawned #9 => probe #10, [web@2 ready], job 1 web@2 ok
        18 refused #10 => TERM #9, [web@2 stopping]
        ",
    );
}

#[test]
fn start_first_goes_by_turns_as_well_and_a_new_one_that_fails_ends_it() {
    told(
        group(|spec| spec.restart.mode = Mode::StartFirst),
        "
        10 restart web@1 web@2 web@3 => spawn #4 web@1
        11 spawned #4 => TERM #1, spawn #5 web@2, job 1 web@1 ok
        12 missing #5 => job 1 web@2 no, job 1 web@3 no, job 1 done
        ",
    );
}

#[test]
fn an_update_goes_by_turns_and_who_has_had_none_keeps_its_definition() {
    let old = group(|spec| spec.restart.policy = Policy::OnFailure);
    let new = || {
        let new = |spec: &mut UnitSpec| {
            spec.restart.policy = Policy::OnFailure;
            spec.command = argv("run otherwise");
        };
        set(group(new))
    };
    check_updates(
        old.clone(),
        vec![new(), set(old)],
        &format!(
            "{UP}
            10 update 1 => TERM #1, [web@1 stopping]
            11 exit #3 1 => kill #3*, [web@3 stopping]
            12 gone #3 => [web@3 waiting], spawn #4 web@3, [web@3 starting]
            13 spawned #4 => [web@3 ready]
            14 exit #1 0 => kill #1*
            15 gone #1 => define web@1, [web@1 waiting], spawn #5 web@1, [web@1 starting]
            16 exit #5 1 => kill #5*, [web@1 stopping]
            17 gone #5 => [web@1 waiting], spawn #6 web@1, [web@1 starting]
            18 exit #6 1 => kill #6*, [web@1 stopping]
            19 gone #6 => [web@1 waiting], spawn #7 web@1, [web@1 starting]
            20 exit #7 1 => kill #7*, [web@1 stopping]
            21 gone #7 => [web@1 backoff], job 1 web@2 no, job 1 web@3 no, job 1 web@1 no, job 1 done
            30 update 1 => nothing
            121 tick => [web@1 waiting], spawn #8 web@1, [web@1 starting]
            122 spawned #8 => [web@1 ready], TERM #2, [web@2 stopping]
            123 update 2 => define web@3, job 2 web@3 no, job 3 web@3 ok
            "
        ),
    );
}

#[test]
fn what_requires_the_group_waits_for_all_of_it_and_stays_while_it_is_restarted() {
    let mut specs = group(|_| ());
    specs.push(UnitSpec { requires: names(&["web@1", "web@2", "web@3"]), ..unit("z") });
    check(
        specs,
        "
        0 boot => [web@1 waiting], [web@2 waiting], [web@3 waiting], [z waiting], spawn #1 web@1, [web@1 starting], spawn #2 web@2, [web@2 starting], spawn #3 web@3, [web@3 starting]
        1 spawned #1 => [web@1 ready]
        1 spawned #2 => [web@2 ready]
        1 spawned #3 => [web@3 ready], spawn #4 z, [z starting]
        2 spawned #4 => [z ready]
        10 restart web@1 web@2 web@3 => TERM #1, [web@1 stopping]
        11 exit #1 0 => kill #1*
        12 gone #1 => [web@1 waiting], spawn #5 web@1, [web@1 starting]
        13 spawned #5 => [web@1 ready], TERM #2, [web@2 stopping], job 1 web@1 ok
        14 stop z => TERM #4, [z stopping]
        ",
    );
}

#[test]
fn one_that_was_tested_is_not_taken_away_while_another_is_down() {
    told(
        group(|spec| spec.reload.test = Some(argv("test"))),
        "
        10 restart web@1 web@2 => test #4 web@1
        11 exit #3 1 => kill #3*, [web@3 stopping]
        12 exit #4 0 => kill #4*
        13 gone #4 => nothing
        14 gone #3 => [web@3 waiting], spawn #5 web@3, [web@3 starting]
        15 spawned #5 => [web@3 ready], TERM #1, [web@1 stopping]
        ",
    );
}

#[test]
fn a_stop_that_has_not_begun_is_withdrawn_and_the_restart_goes_by_turns() {
    let mut specs = group(|spec| spec.reload.test = Some(argv("test")));
    specs.push(UnitSpec { after: names(&["web@1", "web@2", "web@3"]), ..unit("z") });
    check(
        specs,
        "
        0 boot => [web@1 waiting], [web@2 waiting], [web@3 waiting], [z waiting], spawn #1 web@1, [web@1 starting], spawn #2 web@2, [web@2 starting], spawn #3 web@3, [web@3 starting]
        1 spawned #1 => [web@1 ready]
        1 spawned #2 => [web@2 ready]
        1 spawned #3 => [web@3 ready], spawn #4 z, [z starting]
        2 spawned #4 => [z ready]
        10 stop web@1 web@2 z => TERM #4, [z stopping]
        11 restart web@1 web@2 => test #5 web@1, job 1 web@1 no, job 1 web@2 no
        12 exit #5 0 => kill #5*
        13 gone #5 => nothing
        14 exit #4 0 => kill #4*
        15 gone #4 => [z inactive], TERM #1, [web@1 stopping], job 1 z ok, job 1 done
        16 exit #1 0 => kill #1*
        17 gone #1 => [web@1 waiting], spawn #6 web@1, [web@1 starting]
        18 spawned #6 => [web@1 ready], test #7 web@2, job 2 web@1 ok
        ",
    );
}

#[test]
fn what_goes_with_another_unit_goes_for_that_and_not_in_its_turn() {
    let mut specs = group(|spec| (spec.requires, spec.part_of) = (names(&["a"]), names(&["a"])));
    specs.push(unit("a"));
    check(
        specs,
        "
        0 boot => [a waiting], [web@1 waiting], [web@2 waiting], [web@3 waiting], spawn #1 a, [a starting]
        1 spawned #1 => [a ready], spawn #2 web@1, [web@1 starting], spawn #3 web@2, [web@2 starting], spawn #4 web@3, [web@3 starting]
        1 spawned #2 => [web@1 ready]
        1 spawned #3 => [web@2 ready]
        1 spawned #4 => [web@3 ready]
        10 restart a web@1 web@2 => TERM #2, [web@1 stopping], TERM #3, [web@2 stopping], TERM #4, [web@3 stopping]
        ",
    );
}

#[test]
fn one_that_is_reloaded_by_itself_is_waited_for_before_the_next_is() {
    told(
        group(|spec| {
            spec.reload.how = Some(ReloadHow::Command(argv("again")));
            spec.reload.test = Some(argv("test"));
        }),
        "
        10 reload web@2 => test #4 web@2, [web@2 reloading]
        11 reload web@1 web@2 web@3 => nothing
        12 exit #4 0 => kill #4*, reloadcommand #5 web@2
        13 gone #4 => nothing
        14 exit #5 0 => kill #5*, [web@2 ready], job 1 web@2 ok, job 1 done, test #6 web@1, [web@1 reloading]
        15 gone #5 => nothing
        ",
    );
}

#[test]
fn one_that_was_reloaded_in_its_turn_is_checked_at_once() {
    let rule = Health {
        check: tcp(),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(3),
        retries: 1,
        start_period: Duration::ZERO,
        on_failure: OnFailure::Restart,
    };
    check(
        group(|spec| {
            spec.health = Some(rule.clone());
            spec.reload.how = Some(ReloadHow::Signal(SignalName("HUP".to_owned())));
        }),
        "
        0 boot => [web@1 waiting], [web@2 waiting], [web@3 waiting], spawn #1 web@1, [web@1 starting], spawn #2 web@2, [web@2 starting], spawn #3 web@3, [web@3 starting]
        1 spawned #1 => probe #4, [web@1 ready]
        1 spawned #2 => probe #5, [web@2 ready]
        1 spawned #3 => probe #6, [web@3 ready]
        2 passed #4 => [web@1 pass]
        2 passed #5 => [web@2 pass]
        2 passed #6 => [web@3 pass]
        10 reload web@1 web@2 => HUP #1, probe #7, job 1 web@1 ok, HUP #2, probe #8, job 1 web@2 ok, job 1 done
        11 passed #7 => nothing
        ",
    );
}

#[test]
fn a_new_one_whose_definition_another_update_replaces_is_withdrawn() {
    let start_first = |command: &'static str| {
        group(move |spec| {
            spec.restart.mode = Mode::StartFirst;
            spec.command = argv(command);
        })
    };
    check_updates(
        start_first("run"),
        vec![set(start_first("run otherwise")), set(start_first("run well"))],
        &format!(
            "{UP}
            10 update 1 => define web@1, spawn #4 web@1
            11 update 2 => define web@1, TERM #4, define web@2, spawn #5 web@2, job 1 web@1 no
            12 upgrade => nothing
            13 spawned #4 => TERM #4
            14 spawned #5 => TERM #2, define web@3, spawn #6 web@3, job 1 web@2 ok, job 2 web@2 ok
            15 spawned #6 => TERM #3, define web@1, spawn #7 web@1, job 1 web@3 ok, job 1 done, job 2 web@3 ok
            16 spawned #7 => TERM #1, job 2 web@1 ok, job 2 done
            "
        ),
    );
}
