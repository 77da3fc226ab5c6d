//! Stories: facts in, wishes out, as tables. A line is a time, what has happened, and what follows; a line with `tick` is
//! a deadline that the machine has named itself.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use crate::manager::recovery::fact::Attempt;
use crate::manager::recovery::fact::Fact;
use crate::manager::recovery::fact::Failure;
use crate::manager::recovery::fact::Sign;
use crate::manager::recovery::fact::Time;
use crate::manager::recovery::fact::Wish;
use crate::manager::recovery::machine::Recovery;
use crate::manager::recovery::policy::Policy;
use crate::manager::recovery::policy::Rung;
use crate::manager::recovery::tally::Came;

/// `backend` with two rungs before the alert, `frontend`, and `database`, which `backend` needs.
fn shop() -> BTreeMap<Arc<str>, Policy> {
    let all = [Rung::Reload, Rung::RestartUnit, Rung::Alert];
    let policy = |needs: &[&str]| Policy {
        ladder: all.to_vec(),
        needs: needs.iter().map(|need| Arc::from(*need)).collect(),
        ..Policy::default()
    };
    [
        ("backend", policy(&["database"])),
        ("database", policy(&[])),
        ("frontend", policy(&[])),
        ("mail", policy(&[])),
    ]
    .map(|(name, policy)| (Arc::from(name), policy))
    .into()
}

/// Tells the first lines of `table` from the second by what is behind ` -> `, and compares all of it.
fn check(services: BTreeMap<Arc<str>, Policy>, table: &str) {
    let mut machine = Recovery::new(services, 7);
    let mut told = String::new();
    drop(machine.step(Fact::Led(true), Time(0)));
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (input, _) = line.split_once("->").unwrap_or((line, ""));
        let (at, words) = input.trim().split_once(' ').unwrap();
        let at = Time(at.parse().unwrap());
        if words.trim() == "tick" {
            continue;
        }
        run_until(&mut machine, at, &mut told);
        let wishes = machine.step(fact(words.trim(), at), at);
        write_line(&mut told, at, words.trim(), &wishes, true);
    }
    let last =
        table.lines().filter_map(|line| line.trim().split(' ').next()?.parse().ok()).max().unwrap_or(0);
    run_until(&mut machine, Time(last + 1), &mut told);
    let expected: Vec<&str> = table.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let told: Vec<&str> = told.lines().collect();
    assert!(told == expected, "what happened:\n{}\n", told.join("\n"));
}

/// Lets deadlines before `until` pass.
fn run_until(machine: &mut Recovery, until: Time, told: &mut String) {
    while let Some(due) = machine.next_deadline().filter(|due| *due < until) {
        let wishes = machine.step(Fact::Tick, due);
        write_line(told, due, "tick", &wishes, false);
        assert!(
            machine.next_deadline() > Some(due) || machine.next_deadline().is_none(),
            "it stands still at {due:?}"
        );
    }
}

fn write_line(told: &mut String, at: Time, words: &str, wishes: &[Wish], always: bool) {
    let all: Vec<String> = wishes.iter().filter_map(wish).collect();
    if !all.is_empty() {
        writeln!(told, "{} {words} -> {}", at.0, all.join(", ")).unwrap();
    } else if always {
        writeln!(told, "{} {words}", at.0).unwrap();
    }
}

/// Notes are told by their word alone, and what only describes is left out.
fn wish(wish: &Wish) -> Option<String> {
    Some(match wish {
        Wish::Confirm { service, instance, attempt } => {
            format!("look at {service}/{instance} #{}", attempt.0)
        }
        Wish::Act { service, instance, rung, attempt } => {
            format!("{} {service}/{instance} #{}", rung.as_str(), attempt.0)
        }
        Wish::Park(service) => format!("park {service}"),
        Wish::Unpark(service) => format!("unpark {service}"),
        Wish::Alert { service, .. } => format!("alert {}", service.as_deref().unwrap_or("all")),
        Wish::Note { decision: "ill" | "act" | "confirmed", .. } => return None,
        Wish::Note { service, decision, .. } => {
            format!("[{} {decision}]", service.as_deref().unwrap_or("all"))
        }
    })
}

fn fact(words: &str, now: Time) -> Fact {
    let words: Vec<&str> = words.split(' ').collect();
    let (service, instance) = words[0].split_once('/').unwrap_or((words[0], "1"));
    let (service, instance): (Arc<str>, Arc<str>) = (service.into(), instance.into());
    let attempt = || Attempt(words.iter().find_map(|word| word.strip_prefix('#')).unwrap().parse().unwrap());
    let sign = |sign| Fact::Seen { service: Arc::clone(&service), instance: Arc::clone(&instance), sign };
    match words[1] {
        "well" => sign(Sign::Well),
        "ill" => sign(Sign::Ill("503".into())),
        "coming" => sign(Sign::Coming("killed".into())),
        "down" => sign(Sign::Down("failed".into())),
        "held" => sign(Sign::Held("stopped by a person".into())),
        "unseen" => sign(Sign::Unseen("no route".into())),
        "lost" => sign(Sign::Lost("no engine".into())),
        "gone" => sign(Sign::Gone),
        "is-ill" => Fact::Confirmed { service, attempt: attempt(), ill: Some("still".into()) },
        "is-well" => Fact::Confirmed { service, attempt: attempt(), ill: None },
        "done" => Fact::Done { service, attempt: attempt(), result: Ok(()) },
        "failed" => Fact::Done { service, attempt: attempt(), result: Err(Failure::Failed("no".into())) },
        "cannot" => {
            Fact::Done { service, attempt: attempt(), result: Err(Failure::NotApplicable("no".into())) }
        }
        "was-held" => {
            Fact::Done { service, attempt: attempt(), result: Err(Failure::Held("stopped".into())) }
        }
        "pause" => {
            Fact::Paused { service: Some(service), until: Time(now.0 + words[2].parse::<u64>().unwrap()) }
        }
        "resume" => Fact::Resumed { service: Some(service) },
        "ask" => Fact::Asked { service, rung: Rung::RestartUnit, who: "ann".into() },
        "ruled" => {
            let all = [Rung::Reload, Rung::RestartUnit, Rung::RestartContainer];
            let named = |word: &str| all.into_iter().find(|rung| rung.as_str() == word).unwrap();
            let ladder = words[2].split(',').map(named).chain([Rung::Alert]).collect();
            Fact::Ruled { service, policy: Some(Policy { ladder, grace: 2_000, ..Policy::default() }) }
        }
        "dismissed" => Fact::Ruled { service, policy: None },
        "follows" => Fact::Led(false),
        "leads" => Fact::Led(true),
        other => panic!("no such fact: {other}"),
    }
}

/// Every service but the one a story is about is well.
fn with_others_well(table: &str) -> String {
    format!("0 database well\n0 frontend well\n0 mail well\n{table}")
}

#[test]
fn an_ill_service_is_looked_at_twice_and_then_climbs_its_ladder() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend well
            1000 backend ill
            6000 tick -> look at backend/1 #1
            6100 backend is-ill #1 -> reload backend/1 #2
            6200 backend done #2
            66200 tick -> [backend no-help]
            96200 tick -> park backend, restart-unit backend/1 #3
            96300 backend done #3
            96400 backend well -> [backend healed], unpark backend
            ",
        ),
    );
}

#[test]
fn what_becomes_well_by_itself_is_not_touched() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend well
            1000 backend ill
            3000 backend well -> [backend recovered]
            9000 backend ill
            14000 tick -> look at backend/1 #1
            14100 backend is-well #1 -> [backend doubted]
            15000 backend well -> [backend recovered]
            ",
        ),
    );
}

#[test]
fn a_crash_that_svinit_heals_itself_only_makes_requests_wait() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend well
            1000 backend coming -> park backend
            1300 backend well -> [backend recovered], unpark backend
            9000 backend well
            ",
        ),
    );
}

#[test]
fn a_unit_that_nobody_brings_up_is_restarted_at_once() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend well
            1000 backend down -> park backend, restart-unit backend/1 #1
            1400 backend done #1
            1401 backend well -> [backend healed], unpark backend
            ",
        ),
    );
}

#[test]
fn what_does_not_come_back_is_acted_upon_after_its_grace() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend well
            1000 backend coming -> park backend
            6000 tick -> restart-unit backend/1 #1
            6500 backend done #1
            6600 backend well -> [backend healed], unpark backend
            ",
        ),
    );
}

#[test]
fn a_dead_database_never_restarts_the_backend() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend well
            1000 database down -> park database, restart-unit database/1 #1
            1100 backend ill
            6100 tick -> [backend held]
            9000 database done #1
            9500 database well -> [database healed], unpark database
            9600 backend well -> [backend recovered]
            ",
        ),
    );
}

#[test]
fn nor_does_one_that_a_person_has_stopped() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend well
            1000 database held
            1100 backend ill
            6100 tick -> [backend held]
            9500 database well
            10100 tick -> look at backend/1 #1
            12200 backend is-ill #1 -> reload backend/1 #2
            ",
        ),
    );
}

#[test]
fn a_backend_that_stays_ill_behind_a_healed_database_is_looked_after() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend well
            1000 database down -> park database, restart-unit database/1 #1
            1100 backend ill
            6100 tick -> [backend held]
            9000 database done #1
            9500 database well -> [database healed], unpark database
            10100 tick -> look at backend/1 #2
            12200 backend is-ill #2 -> reload backend/1 #3
            ",
        ),
    );
}

#[test]
fn a_service_that_a_person_has_stopped_is_left_alone() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend well
            1000 backend held
            60000 backend well
            61000 backend ill
            62000 backend held -> [backend left-alone]
            ",
        ),
    );
}

#[test]
fn a_stop_by_a_person_ends_a_repair() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend well
            1000 backend down -> park backend, restart-unit backend/1 #1
            1050 backend was-held #1 -> [backend left-alone], unpark backend
            60000 backend held
            ",
        ),
    );
}

#[test]
fn during_maintenance_nothing_is_touched_and_after_it_what_is_due_is_done() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend well
            1000 backend pause 100000 -> [backend paused]
            2000 backend down -> [backend held]
            101000 tick -> [backend resumed], park backend, restart-unit backend/1 #1
            101001 backend done #1
            101002 backend well -> [backend healed], unpark backend
            ",
        ),
    );
}

#[test]
fn an_early_end_of_maintenance_hurries() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend well
            1000 backend pause 100000 -> [backend paused]
            2000 backend down -> [backend held]
            3000 backend resume -> [backend resumed], park backend, restart-unit backend/1 #1
            ",
        ),
    );
}

#[test]
fn half_of_everything_ill_freezes_all_and_tells_people_once() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend well
            1000 frontend down -> park frontend, restart-unit frontend/1 #1
            1100 mail down -> [all frozen], alert all, [mail held]
            1150 frontend failed #1 -> [frontend no-help]
            1200 database well
            31150 tick -> [frontend held], unpark frontend
            40000 mail well -> [mail recovered], [all thawed]
            ",
        ),
    );
}

#[test]
fn two_instances_are_repaired_one_after_the_other() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend/1 well
            0 backend/2 well
            0 backend/3 well
            1000 backend/1 down -> restart-unit backend/1 #1
            1001 backend/2 down
            1500 backend done #1
            1600 backend/1 well -> [backend healed], [backend held]
            31600 tick -> restart-unit backend/2 #2
            40000 backend done #2
            ",
        ),
    );
}

#[test]
fn when_nothing_on_its_ladder_helps_people_are_told_and_it_is_left_alone() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend well
            1000 backend down -> park backend, restart-unit backend/1 #1
            1100 backend failed #1 -> [backend no-help]
            31100 tick -> [backend quarantined], alert backend, unpark backend
            631100 tick -> [backend released], park backend, restart-unit backend/1 #3
            691100 tick -> [backend no-help]
            700000 backend ill -> unpark backend
            ",
        ),
    );
}

#[test]
fn a_budget_that_is_spent_ends_in_quarantine() {
    check(
        shop(),
        &with_others_well(
            "
            0 mail/1 well
            0 mail/2 well
            1000 mail/1 down -> restart-unit mail/1 #1
            1010 mail/1 done #1
            1020 mail/1 well -> [mail healed]
            40000 mail/1 down -> restart-unit mail/1 #2
            40010 mail/1 done #2
            40020 mail/1 well -> [mail healed]
            80000 mail/1 down -> restart-unit mail/1 #3
            80010 mail/1 done #3
            80020 mail/1 well -> [mail healed]
            120000 mail/1 down -> [mail quarantined], alert mail
            ",
        ),
    );
}

#[test]
fn what_goes_up_and_down_is_not_restarted_for_ever() {
    check(
        shop(),
        &with_others_well(
            "
            0 mail well
            1000 mail ill
            2000 mail well -> [mail recovered]
            3000 mail ill
            4000 mail well -> [mail recovered]
            5000 mail ill
            6000 mail well -> [mail recovered]
            7000 mail down -> [mail quarantined], alert mail
            ",
        ),
    );
}

#[test]
fn who_is_not_the_leader_looks_on_and_takes_over() {
    check(
        shop(),
        &with_others_well(
            "
            0 mail well
            500 mail follows -> [all leader]
            1000 mail down -> [mail held]
            4000 mail leads -> [all leader], park mail, restart-unit mail/1 #1
            ",
        ),
    );
}

#[test]
fn a_late_answer_to_an_old_try_changes_nothing() {
    check(
        shop(),
        &with_others_well(
            "
            0 mail well
            1000 mail down -> park mail, restart-unit mail/1 #1
            61000 tick -> [mail no-help]
            61001 mail done #1
            61002 mail is-ill #1
            ",
        ),
    );
}

#[test]
fn a_person_may_ask_for_a_restart_but_not_for_two() {
    check(
        shop(),
        &with_others_well(
            "
            0 mail well
            1000 mail ask -> [mail asked], park mail, restart-unit mail/1 #1
            1100 mail ask -> [mail refused]
            1200 mail coming
            1300 mail well
            1400 mail done #1 -> [mail healed], unpark mail
            ",
        ),
    );
}

#[test]
fn what_cannot_be_looked_at_is_not_taken_for_ill() {
    check(
        shop(),
        &with_others_well(
            "
            0 mail well
            1000 mail unseen
            70000 mail well
            ",
        ),
    );
}

#[test]
fn an_instance_that_is_gone_is_not_waited_for() {
    check(
        shop(),
        &with_others_well(
            "
            0 mail/1 well
            0 mail/2 well
            1000 mail/1 down -> restart-unit mail/1 #1
            1001 mail/1 gone -> [mail gone]
            2000 mail done #1
            ",
        ),
    );
}

#[test]
fn a_rung_that_cannot_be_done_is_passed_over_and_does_not_count() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend well
            1000 backend ill
            6000 tick -> look at backend/1 #1
            6100 backend is-ill #1 -> reload backend/1 #2
            6200 backend cannot #2 -> [backend skipped], park backend, restart-unit backend/1 #3
            6300 backend done #3
            6400 backend well -> [backend healed], unpark backend
            ",
        ),
    );
}

#[test]
fn a_ladder_may_end_with_the_container() {
    let ladder = vec![Rung::RestartUnit, Rung::RestartContainer, Rung::Alert];
    let policy = Policy { ladder, ..Policy::default() };
    check(
        [(Arc::from("mail"), policy)].into(),
        "
        0 mail well
        1000 mail down -> park mail, restart-unit mail/1 #1
        2000 mail failed #1 -> [mail no-help]
        32000 tick -> restart-container mail/1 #2
        33000 mail failed #2 -> [mail no-help]
        ",
    );
}

#[test]
fn the_last_of_several_that_is_well_is_not_taken_away_by_anybody() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend/1 well
            0 backend/2 well
            1000 backend/1 held
            2000 backend ask -> [backend refused]
            3000 backend/1 well
            4000 backend ask -> [backend asked], restart-unit backend/1 #1
            ",
        ),
    );
}

#[test]
fn another_file_is_gone_by_at_once_and_what_was_spent_stays_spent() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend well
            1000 backend ill
            6000 tick -> look at backend/1 #1
            6100 backend is-ill #1 -> reload backend/1 #2
            6200 backend done #2
            10000 backend ruled restart-container -> [backend ruled]
            10001 backend ruled restart-container
            66200 tick -> [backend no-help]
            96200 tick -> [backend quarantined], alert backend
            97000 backend ruled restart-unit -> [backend ruled]
            98000 backend well -> [backend released]
            99000 backend ill
            101000 tick -> look at backend/1 #4
            101500 backend is-ill #4 -> park backend, restart-unit backend/1 #5
            ",
        ),
    );
}

#[test]
fn who_is_dismissed_keeps_nobody_waiting_and_who_is_new_is_looked_after() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend well
            1000 backend coming -> park backend
            1500 backend dismissed -> [backend ruled], unpark backend
            60000 backend down
            61000 backend ruled restart-unit -> [backend ruled]
            62000 backend down -> park backend, restart-unit backend/1 #1
            ",
        ),
    );
}

#[test]
fn what_came_of_each_action_is_counted() {
    let mut machine = Recovery::new(shop(), 7);
    let mut tell = |at: u64, words: &str| drop(machine.step(fact(words, Time(at)), Time(at)));
    tell(0, "all leads");
    for name in ["backend", "database", "frontend", "mail"] {
        tell(0, &format!("{name} well"));
    }
    for (at, words) in [
        (1_000, "mail down"),
        (1_100, "mail done #1"),
        (1_200, "mail well"),
        (2_000, "backend down"),
        (2_100, "backend cannot #2"),
        (3_000, "frontend down"),
    ] {
        tell(at, words);
    }
    let views = machine.views();
    let counts = |name: &str| {
        let view = views.iter().find(|view| &*view.service == name).unwrap();
        let one = |((rung, came), count): (&(Rung, Came), &u64)| {
            format!("{} {} {count}", rung.as_str(), came.as_str())
        };
        (view.tally.actions.iter().map(one).collect::<Vec<_>>().join(", "), view.tally.quarantines)
    };
    // What backend's ladder holds next is the alert.
    assert_eq!(counts("backend"), ("restart-unit skipped 1".to_owned(), 1));
    assert_eq!(counts("mail"), ("restart-unit healed 1".to_owned(), 0));
    assert_eq!(counts("frontend"), (String::new(), 0));
    assert_eq!(machine.freezes(), 1);
}

#[test]
fn what_cannot_be_reached_costs_nothing_and_is_acted_upon_when_it_can() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend well
            1000 backend lost
            6000 tick -> [backend held], alert backend
            600000 backend down -> park backend, restart-unit backend/1 #1
            600400 backend done #1
            600401 backend well -> [backend healed], unpark backend
            ",
        ),
    );
}

#[test]
fn another_instance_that_can_be_reached_does_not_wait_for_one_that_cannot() {
    check(
        shop(),
        &with_others_well(
            "
            0 backend/1 well
            0 backend/2 well
            1000 backend/1 lost
            6000 tick -> [backend held], alert backend
            7000 backend/2 down -> park backend, restart-unit backend/2 #1
            ",
        ),
    );
}

#[test]
fn an_alert_says_what_ails_and_what_was_tried() {
    let mut machine = Recovery::new(shop(), 7);
    let mut alerts = Vec::new();
    let mut tell = |at: u64, words: &str| {
        for wish in machine.step(fact(words, Time(at)), Time(at)) {
            if let Wish::Alert { service, why, ailing, tried } = wish {
                let ailing: Vec<String> =
                    ailing.iter().map(|one| format!("{}/{}", one.service, one.instance)).collect();
                let tried: Vec<String> =
                    tried.iter().map(|one| format!("{} {}", one.rung.as_str(), one.came.as_str())).collect();
                alerts.push((service, why, ailing.join(" "), tried.join(" ")));
            }
        }
    };
    tell(0, "all leads");
    for name in ["backend", "database", "frontend", "mail"] {
        tell(0, &format!("{name} well"));
    }
    tell(1_000, "mail down");
    tell(1_100, "mail failed #1");
    tell(400_000, "mail down");
    tell(500_000, "mail well");
    tell(2_000_001, "frontend down");
    tell(2_000_002, "backend ill");
    let told = |at: usize| -> (Option<&str>, &str, &str, &str) {
        let (service, why, ailing, tried) = &alerts[at];
        (service.as_deref(), why, ailing, tried)
    };
    assert_eq!(
        told(0),
        (
            Some("mail"),
            "nothing on its ladder has helped 1; it is down: failed; tried: restart-unit (no-help: no)",
            "mail/1",
            "restart-unit no-help"
        )
    );
    assert_eq!(
        told(1),
        (
            None,
            "2 of 4 services are ill at once: this is the host or the network, nothing is touched; \
             backend (1) is ill: 503, frontend (1) is down: failed",
            "backend/1 frontend/1",
            ""
        )
    );
    assert_eq!(alerts.len(), 2);
}
