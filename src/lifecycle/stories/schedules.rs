//! Stories of units that are run by the clock: what a moment means, by what the unit is doing when it comes.

use std::time::Duration;

use crate::lifecycle::state::{LastRun, Timing};
use crate::lifecycle::stories::{Story, check, check_updates, names, set, unit};
use crate::lifecycle::verdict::{Boot, Judgement, Verdict, of_unit};
use crate::units::spec::{Kind, Missed, Overlap, Policy, Restart, Schedule, UnitSpec, When};

fn by_clock(name: &str, overlap: Overlap) -> UnitSpec {
    let plain = unit(name);
    UnitSpec {
        kind: Kind::Oneshot,
        ready_timeout: Duration::ZERO,
        restart: Restart { policy: Policy::Never, ..plain.restart.clone() },
        schedule: Some(Schedule {
            when: When::Every(Duration::from_secs(10)),
            overlap,
            missed: Missed::Once,
            jitter: Duration::ZERO,
            at_start: false,
        }),
        ..plain
    }
}

fn change(spec: UnitSpec, change: impl FnOnce(&mut Schedule)) -> UnitSpec {
    let mut schedule = spec.schedule.clone().unwrap();
    change(&mut schedule);
    UnitSpec { schedule: Some(schedule), ..spec }
}

/// Plays these events and comes back with what is known of the runs of `backup`, and how it is judged.
fn play(specs: impl IntoIterator<Item = UnitSpec>, events: &str) -> (Timing, Judgement) {
    let mut story = Story::of(specs);
    for line in events.lines().map(str::trim).filter(|line| !line.is_empty()) {
        story.line(line);
    }
    let backup = story.machine.views().into_iter().find(|view| view.name.as_str() == "backup").unwrap();
    (backup.schedule.clone().unwrap(), of_unit(&backup, Boot::Enabled))
}

#[test]
fn a_unit_with_a_schedule_is_armed_at_boot_and_run_at_its_moments() {
    check(
        [by_clock("backup", Overlap::Skip)],
        "
        0      boot         => [backup scheduled]
        10000  due backup   => [backup waiting], spawn #1 backup, [backup starting]
        10001  spawned #1   => nothing
        10500  exit #1 0    => kill #1*, [backup stopping]
        10501  gone #1      => [backup scheduled]
        20000  due backup   => [backup waiting], spawn #2 backup, [backup starting]
        20001  spawned #2   => nothing
        20002  exit #2 1    => kill #2*, [backup stopping]
        20003  gone #2      => [backup scheduled]
        30000  due backup   => [backup waiting], spawn #3 backup, [backup starting]
    ",
    );
}

#[test]
fn at_start_it_is_run_when_it_is_armed() {
    check(
        [change(by_clock("backup", Overlap::Skip), |rule| rule.at_start = true)],
        "
        0  boot        => [backup waiting], spawn #1 backup, [backup starting]
        1  spawned #1  => nothing
        2  exit #1 0   => kill #1*, [backup stopping]
        3  gone #1     => [backup scheduled]
    ",
    );
}

#[test]
fn a_moment_that_comes_while_a_run_is_under_way_is_skipped_queued_or_ends_it() {
    check(
        [by_clock("backup", Overlap::Skip)],
        "
        0      boot         => [backup scheduled]
        10000  due backup   => [backup waiting], spawn #1 backup, [backup starting]
        10001  spawned #1   => nothing
        20000  due backup   => nothing
        20001  exit #1 0    => kill #1*, [backup stopping]
        20002  gone #1      => [backup scheduled]
    ",
    );
    check(
        [by_clock("backup", Overlap::Queue)],
        "
        0      boot         => [backup scheduled]
        10000  due backup   => [backup waiting], spawn #1 backup, [backup starting]
        10001  spawned #1   => nothing
        20000  due backup   => nothing
        30000  due backup   => nothing
        30001  exit #1 1    => kill #1*, [backup stopping]
        30002  gone #1      => [backup waiting], spawn #2 backup, [backup starting]
        30003  spawned #2   => nothing
        30004  exit #2 0    => kill #2*, [backup stopping]
        30005  gone #2      => [backup scheduled]
    ",
    );
    check(
        [by_clock("backup", Overlap::Kill)],
        "
        0      boot         => [backup scheduled]
        10000  due backup   => [backup waiting], spawn #1 backup, [backup starting]
        10001  spawned #1   => nothing
        20000  due backup   => TERM #1, [backup stopping]
        20010  killed #1 15 => kill #1*
        20011  gone #1      => [backup waiting], spawn #2 backup, [backup starting]
        20012  spawned #2   => nothing
        20013  exit #2 0    => kill #2*, [backup stopping]
        20014  gone #2      => [backup scheduled]
    ",
    );
}

#[test]
fn one_that_will_not_end_has_its_time_and_is_killed_before_the_next_begins() {
    check(
        [by_clock("backup", Overlap::Kill)],
        "
        0      boot         => [backup scheduled]
        10000  due backup   => [backup waiting], spawn #1 backup, [backup starting]
        10001  spawned #1   => nothing
        20000  due backup   => TERM #1, [backup stopping]
        28000  tick         => kill #1*
        28001  due backup   => nothing
        28002  killed #1 9  => kill #1*
        28003  gone #1      => [backup waiting], spawn #2 backup, [backup starting]
    ",
    );
}

#[test]
fn of_missed_moments_one_is_made_up_for_or_none() {
    check(
        [by_clock("backup", Overlap::Skip)],
        "
        0  boot             => [backup scheduled]
        1  missed backup 3  => [backup waiting], spawn #1 backup, [backup starting]
    ",
    );
    check(
        [change(by_clock("backup", Overlap::Skip), |rule| rule.missed = Missed::Skip)],
        "
        0  boot             => [backup scheduled]
        1  missed backup 3  => nothing
        2  due backup       => [backup waiting], spawn #1 backup, [backup starting]
    ",
    );
}

#[test]
fn a_person_runs_it_now_and_is_told_what_came_of_it() {
    check(
        [by_clock("backup", Overlap::Skip)],
        "
        0    boot          => [backup scheduled]
        100  start backup  => [backup waiting], spawn #1 backup, [backup starting]
        101  spawned #1    => nothing
        102  start backup  => nothing
        103  exit #1 0     => kill #1*, [backup stopping]
        104  gone #1       => [backup scheduled], job 1 backup ok, job 1 done, job 2 backup ok, job 2 done
        200  start backup  => [backup waiting], spawn #2 backup, [backup starting]
        201  spawned #2    => nothing
        202  exit #2 3     => kill #2*, [backup stopping]
        203  gone #2       => [backup scheduled], job 3 backup no, job 3 done
        300  restart backup => [backup waiting], spawn #3 backup, [backup starting]
        301  spawned #3    => nothing
        302  restart backup => TERM #3, [backup stopping]
        303  killed #3 15  => kill #3*
        304  gone #3       => [backup waiting], spawn #4 backup, [backup starting]
        305  spawned #4    => nothing
        306  exit #4 0     => kill #4*, [backup stopping]
        307  gone #4       => [backup scheduled], job 4 backup ok, job 4 done, job 5 backup ok, job 5 done
    ",
    );
}

#[test]
fn a_stop_ends_the_run_and_suspends_the_schedule_until_a_start() {
    check(
        [by_clock("backup", Overlap::Queue)],
        "
        0      boot         => [backup scheduled]
        10000  due backup   => [backup waiting], spawn #1 backup, [backup starting]
        10001  spawned #1   => nothing
        20000  due backup   => nothing
        20001  stop backup  => TERM #1, [backup stopping]
        20002  killed #1 15 => kill #1*
        20003  gone #1      => [backup inactive], job 1 backup ok, job 1 done
        30000  due backup   => nothing
        40000  missed backup 2 => nothing
        50000  start backup => [backup waiting], spawn #2 backup, [backup starting]
        50001  spawned #2   => nothing
        50002  exit #2 0    => kill #2*, [backup stopping]
        50003  gone #2      => [backup scheduled], job 2 backup ok, job 2 done
        60000  due backup   => [backup waiting], spawn #3 backup, [backup starting]
    ",
    );
}

#[test]
fn what_a_run_requires_is_started_for_it_but_not_what_a_person_has_stopped() {
    let backup = UnitSpec { requires: names(&["db"]), ..by_clock("backup", Overlap::Skip) };
    let db = UnitSpec { enabled: false, ..unit("db") };
    check(
        [backup, db],
        "
        0      boot         => [backup scheduled]
        10000  due backup   => [backup waiting], [db waiting], spawn #1 db, [db starting]
        10001  spawned #1   => [db ready], spawn #2 backup, [backup starting]
        10002  spawned #2   => nothing
        10003  exit #2 0    => kill #2*, [backup stopping]
        10004  gone #2      => [backup scheduled]
        15000  stop db      => TERM #1, [db stopping]
        15001  killed #1 15 => kill #1*
        15002  gone #1      => [db inactive], job 1 db ok, job 1 done
        20000  due backup   => [backup waiting]
        30000  due backup   => nothing
        35000  start db     => [db waiting], spawn #3 db, [db starting]
        35001  spawned #3   => [db ready], spawn #4 backup, [backup starting], job 2 db ok, job 2 done
    ",
    );
}

#[test]
fn a_run_starts_nothing_that_has_failed_or_that_builds_on_what_has() {
    let never = Restart { policy: Policy::Never, ..unit("db").restart };
    check(
        [
            UnitSpec { wants: names(&["app"]), ..by_clock("backup", Overlap::Skip) },
            UnitSpec { requires: names(&["db"]), enabled: false, ..unit("app") },
            UnitSpec { restart: never, ..unit("db") },
        ],
        "
        0      boot         => [backup scheduled], [db waiting], spawn #1 db, [db starting]
        1      spawned #1   => [db ready]
        2      exit #1 4    => kill #1*, [db stopping]
        3      gone #1      => [db failed]
        10000  due backup   => [backup waiting], spawn #2 backup, [backup starting]
    ",
    );
}

#[test]
fn a_schedule_does_not_hold_up_the_boot_and_keeps_svinit_alive() {
    let mut story = Story::of([by_clock("backup", Overlap::Skip), unit("web")]);
    for line in ["0 boot", "1 spawned #1"] {
        story.line(line);
    }
    assert_eq!(story.machine.phase(), crate::lifecycle::state::Phase::Running);
    check(
        [
            by_clock("backup", Overlap::Skip),
            UnitSpec { restart: Restart { policy: Policy::Never, ..unit("web").restart }, ..unit("web") },
        ],
        "
        0      boot         => [backup scheduled], [web waiting], spawn #1 web, [web starting]
        1      spawned #1   => [web ready]
        2      exit #1 1    => kill #1*, [web stopping]
        3      gone #1      => [web failed]
        10000  shutdown     => [backup inactive], end 0
    ",
    );
}

#[test]
fn without_what_it_requires_a_schedule_keeps_nobody_alive() {
    let never = Restart { policy: Policy::Never, ..unit("db").restart };
    check(
        [
            UnitSpec { requires: names(&["db"]), ..by_clock("backup", Overlap::Skip) },
            UnitSpec { restart: never, ..unit("db") },
        ],
        "
        0  boot        => [backup scheduled], [db waiting], spawn #1 db, [db starting]
        1  spawned #1  => [db ready]
        2  exit #1 4   => kill #1*, [db stopping]
        3  gone #1     => [db failed], [backup inactive], end 4
    ",
    );
}

#[test]
fn a_failed_run_is_tried_again_if_it_says_so_and_given_up_at_the_next_moment() {
    let backup = by_clock("backup", Overlap::Skip);
    let restart = Restart {
        policy: Policy::OnFailure,
        delay: Duration::from_secs(4),
        limit: 2,
        ..backup.restart.clone()
    };
    let events = "
        0      boot         => [backup scheduled]
        10000  due backup   => [backup waiting], spawn #1 backup, [backup starting]
        10001  spawned #1   => nothing
        10002  exit #1 1    => kill #1*, [backup stopping]
        10003  gone #1      => [backup backoff]
        14003  tick         => [backup waiting], spawn #2 backup, [backup starting]
        14004  spawned #2   => nothing
        14005  exit #2 1    => kill #2*, [backup stopping]
        14006  gone #2      => [backup backoff]
        15000  due backup   => [backup waiting], spawn #3 backup, [backup starting]
        15001  spawned #3   => nothing
        15002  exit #3 1    => kill #3*, [backup stopping]
        15003  gone #3      => [backup backoff]
        19003  tick         => [backup waiting], spawn #4 backup, [backup starting]
        19004  spawned #4   => nothing
        19005  exit #4 1    => kill #4*, [backup stopping]
        19006  gone #4      => [backup backoff]
        23006  tick         => [backup waiting], spawn #5 backup, [backup starting]
        23007  spawned #5   => nothing
        23008  exit #5 1    => kill #5*, [backup stopping]
        23009  gone #5      => [backup scheduled]
    ";
    check([UnitSpec { restart: restart.clone(), ..backup.clone() }], events);
    let (timing, judgement) = play([UnitSpec { restart, ..backup }], &events.replace("=>", "=> "));
    assert_eq!((timing.runs, timing.failed, timing.skipped), (2, 2, 0));
    assert_eq!(judgement.verdict, Verdict::Warn);
}

#[test]
fn a_queued_moment_takes_the_place_of_a_retry_and_the_reason_of_an_end_stays() {
    let backup = by_clock("backup", Overlap::Queue);
    let restart =
        Restart { policy: Policy::OnFailure, delay: Duration::from_secs(4), ..backup.restart.clone() };
    let backup = UnitSpec { restart, ..backup };
    let events = "
        0      boot         => [backup scheduled]
        10000  due backup   => [backup waiting], spawn #1 backup, [backup starting]
        10001  spawned #1   => nothing
        20000  due backup   => nothing
        20001  exit #1 1    => kill #1*, [backup stopping]
        20002  due backup   => nothing
        20003  gone #1      => [backup waiting], spawn #2 backup, [backup starting]
    ";
    check([backup.clone()], events);
    let (timing, _) = play([backup], events);
    assert_eq!((timing.runs, timing.failed, timing.skipped), (2, 1, 1));
    assert_eq!(timing.last.unwrap().why, "exited with code 1");
}

#[test]
fn a_random_delay_is_over_by_itself_and_further_moments_do_not_add_to_it() {
    let backup = change(by_clock("backup", Overlap::Skip), |rule| rule.jitter = Duration::from_secs(5));
    let mut story = Story::of([backup]);
    story.line("0 boot");
    story.line("10000 due backup");
    let at = story.machine.next_deadline().unwrap();
    assert!(at.0 > 10_000_000 && at.0 <= 15_000_000, "{at}");
    story.line("10000 due backup");
    assert_eq!(story.machine.next_deadline(), Some(at));
    story.line(&format!("{} tick", at.0.div_ceil(1000)));
    assert!(story.told.ends_with("[backup waiting], spawn #1 backup, [backup starting]\n"), "{}", story.told);
    let timing = story.machine.views()[0].schedule.clone().unwrap();
    assert_eq!((timing.runs, timing.skipped, timing.delayed), (1, 1, None));
}

#[test]
fn moments_that_come_during_a_pause_are_skipped() {
    let events = "
        0      boot
        1      pause backup
        10000  due backup
        11000  resume backup
        20000  due backup
        20001  spawned #1
        20002  exit #1 0
        20003  gone #1
    ";
    let (timing, judgement) = play([by_clock("backup", Overlap::Queue)], events);
    assert_eq!((timing.runs, timing.failed, timing.skipped), (1, 0, 1));
    assert_eq!(judgement, Judgement::pass());
}

#[test]
fn what_came_of_the_last_run_is_kept_and_a_failed_one_is_a_warning_until_it_is_reset() {
    let failed = "
        0      boot
        10000  due backup
        10001  spawned #1
        10500  exit #1 7
        10600  gone #1
        20000  due backup
        20100  due backup
    ";
    let (timing, judgement) = play([by_clock("backup", Overlap::Skip)], failed);
    let last = timing.last.unwrap();
    assert_eq!((last.ended.since(last.began), last.is_well), (Duration::from_millis(600), false));
    assert_eq!((last.why.as_str(), timing.skipped, timing.runs), ("exited with code 7", 1, 2));
    let expected = (Verdict::Warn, "its last run failed: exited with code 7");
    assert_eq!((judgement.verdict, judgement.why.as_str()), expected);
    let (timing, judgement) =
        play([by_clock("backup", Overlap::Skip)], &format!("{failed}\n20200 reset backup"));
    assert_eq!((timing.last, judgement), (None::<LastRun>, Judgement::pass()));
}

#[test]
fn another_definition_is_for_the_next_run_and_interrupts_none() {
    let backup = by_clock("backup", Overlap::Skip);
    let mut other = backup.clone();
    other.context.umask = Some(0o077);
    let mut third = change(other.clone(), |rule| rule.overlap = Overlap::Queue);
    third.description.push_str("nightly");
    check_updates(
        [backup],
        vec![set([other]), set([third])],
        "
        0      boot        => [backup scheduled]
        1      update 1    => define backup, job 1 backup ok, job 1 done
        10000  due backup  => [backup waiting], spawn #1 backup, [backup starting]
        10001  spawned #1  => nothing
        10002  update 2    => job 2 backup ok, job 2 done
        10003  exit #1 0   => kill #1*, [backup stopping]
        10004  gone #1     => define backup, [backup scheduled]
    ",
    );
}

#[test]
fn a_schedule_may_come_and_go_with_an_update() {
    let by_clock = by_clock("backup", Overlap::Skip);
    let plain = UnitSpec { schedule: None, ..by_clock.clone() };
    check_updates(
        [plain.clone(), unit("web")],
        vec![set([by_clock.clone(), unit("web")]), set([plain, unit("web")]), set([by_clock, unit("web")]), set([unit("web")])],
        "
        0      boot        => [backup waiting], [web waiting], spawn #1 backup, [backup starting], spawn #2 web, [web starting]
        1      spawned #1  => nothing
        2      spawned #2  => [web ready]
        3      exit #1 0   => kill #1*, [backup stopping]
        4      gone #1     => [backup completed]
        5      update 1    => define backup, [backup scheduled], job 1 backup ok, job 1 done
        10000  due backup  => [backup waiting], spawn #3 backup, [backup starting]
        10001  spawned #3  => nothing
        10002  exit #3 0   => kill #3*, [backup stopping]
        10003  gone #3     => [backup scheduled]
        10004  update 2    => define backup, [backup waiting], job 2 backup ok, job 2 done, spawn #4 backup, [backup starting]
        10005  spawned #4  => nothing
        10006  exit #4 0   => kill #4*, [backup stopping]
        10007  gone #4     => [backup completed]
        10008  update 3    => define backup, [backup scheduled], job 3 backup ok, job 3 done
        10009  update 4    => [backup inactive], job 4 backup ok, job 4 done, forget backup
        20000  due backup  => nothing
    ",
    );
}
