//! The main job on the real programs: nginx, Django under gunicorn and PostgreSQL as units of one svinit.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::stack::{As, SERVICES, Stack, children, nobody_can_run, post, signal};

/// In the order in which they come up.
const IN_ORDER: [&str; 7] =
    ["postgres-init", "postgres", "postgres-setup", "migrate", "gunicorn", "nginx", "welcome"];

/// Docker's patience with `docker stop` is 10 s.
const STOP_DEADLINE: Duration = Duration::from_millis(9_500);

#[test]
fn the_three_come_up_in_order_and_health_answers_through_nginx() {
    let Some(stack) = Stack::start() else { return };
    let since = IN_ORDER.map(|unit| stack.status(unit)["since"].as_str().unwrap_or_default().to_owned());
    assert!(
        since.iter().all(|moment| !moment.is_empty()) && since.is_sorted(),
        "{IN_ORDER:?} since {since:?}"
    );
    for unit in SERVICES {
        assert_eq!(stack.state_of(unit), "ready");
    }
    let health = stack.get("/health").expect("nginx answers");
    assert_eq!((health.status, health.body.as_str()), (200, r#"{"status": "pass", "database": "pass"}"#));
    assert!(stack.get("/").expect("nginx answers").body.contains("Leave a note"));
}

#[test]
fn they_end_in_reverse_order_within_the_deadline_and_with_status_0() {
    let Some(stack) = Stack::start() else { return };
    let (status, took, output) = stack.stop();
    assert_eq!(status.code(), Some(0), "{output}");
    assert!(took < STOP_DEADLINE, "took {took:?}\n{output}");
    let said = |what: &str| output.find(what).unwrap_or_else(|| panic!("nobody said {what:?}\n{output}"));
    assert!(said("Handling signal: term") < said("received fast shutdown request"), "{output}");
    assert!(said("Shutting down: Master") < said("received fast shutdown request"), "{output}");
    assert!(said("database system is shut down") > 0);
}

#[test]
fn the_stack_runs_without_root() {
    if !nobody_can_run() {
        println!(
            "skipped: takes root, and a directory that others can enter; without root the other tests show it"
        );
        return;
    }
    let Some(stack) = Stack::start_with(As::Nobody, &[]) else { return };
    assert_eq!(stack.get("/health").expect("nginx answers").status, 200);
    let (status, _, output) = stack.stop();
    assert_eq!(status.code(), Some(0), "{output}");
}

#[test]
fn a_killed_nginx_is_replaced_and_the_others_stay() {
    kill_and_see("nginx");
}

#[test]
fn a_killed_gunicorn_is_replaced_with_all_its_workers_and_the_others_stay() {
    kill_and_see("gunicorn");
}

#[test]
fn a_killed_postgres_is_replaced_and_the_others_stay() {
    kill_and_see("postgres");
}

fn kill_and_see(unit: &str) {
    let Some(mut stack) = Stack::start() else { return };
    let (old, neighbours) = (stack.pid(unit), stack.neighbours(unit));
    let workers = children(old);
    assert!(!workers.is_empty(), "{unit} has workers");
    let note = post(stack.http_port, "written before").expect("nginx answers");
    assert_eq!(note.status, 201);

    signal(old, Signal::SIGKILL);
    stack.wait_for_successor(unit, old);

    assert_eq!(stack.neighbours(unit), neighbours);
    assert_eq!(stack.status(unit)["restarts"], 1);
    for (other, _) in &neighbours {
        assert_eq!(stack.status(other)["restarts"], 0, "{other}");
    }
    for worker in workers {
        assert!(
            !Path::new(&format!("/proc/{worker}")).exists(),
            "process {worker} of the old {unit} is still there"
        );
    }
    stack.wait_until("/health is good again", |stack| {
        stack.get("/health").is_ok_and(|answer| answer.status == 200)
    });
    let notes = stack.get("/api/notes").expect("nginx answers");
    assert!(notes.body.contains("written before"), "{}", notes.body);
}

#[test]
fn a_restart_of_one_under_load_leaves_the_others_alone() {
    let Some(stack) = Stack::start() else { return };
    for unit in SERVICES {
        let (old, neighbours) = (stack.pid(unit), stack.neighbours(unit));
        let load = stack.load(4, "/api/notes");
        load.wait_for(50);
        stack.does(&["restart", unit]);
        load.wait_for(50);
        let tally = load.end();
        assert_ne!(stack.pid(unit), old);
        assert_eq!(stack.neighbours(unit), neighbours, "restarting {unit}");
        // The sockets of the other two are held. That of the database is closed in between, so some requests must fail;
        // what matters is that it is soon over.
        if unit != "postgres" {
            assert_eq!(
                tally.failed,
                [] as [&str; 0],
                "restarting {unit}; {} were answered",
                tally.good.len()
            );
        }
        println!("restart {unit}: {} requests answered, {} failed", tally.good.len(), tally.failed.len());
    }
}

#[test]
fn a_reload_under_load_fails_no_request() {
    let Some(stack) = Stack::start() else { return };
    for unit in SERVICES {
        let (old, neighbours) = (stack.pid(unit), stack.neighbours(unit));
        let load = stack.load(4, "/api/notes");
        for _ in 0..3 {
            load.wait_for(50);
            stack.does(&["reload", unit]);
        }
        load.wait_for(200);
        let tally = load.end();
        assert_eq!(tally.failed, [] as [&str; 0], "reloading {unit}; {} were answered", tally.good.len());
        assert_eq!(stack.pid(unit), old, "a reload keeps the process of {unit}");
        assert_eq!(stack.neighbours(unit), neighbours, "reloading {unit}");
    }
}

#[test]
fn a_hung_gunicorn_is_found_by_its_health_check_and_replaced() {
    let sooner = "[health]\ninterval = \"500ms\"\ntimeout = \"1s\"\n[stop]\ntimeout = \"2s\"\n";
    let Some(mut stack) = Stack::start_with(As::Self_, &[("gunicorn", sooner)]) else { return };
    let (old, neighbours) = (stack.pid("gunicorn"), stack.neighbours("gunicorn"));
    // The master first, or it would take its stopped workers for dead ones.
    signal(old, Signal::SIGSTOP);
    let workers = children(old);
    for worker in &workers {
        signal(*worker, Signal::SIGSTOP);
    }
    stack.wait_for_successor("gunicorn", old);
    assert_eq!(stack.neighbours("gunicorn"), neighbours);
    assert_eq!(stack.get("/health").expect("nginx answers").status, 200);
    for worker in workers {
        assert!(
            !Path::new(&format!("/proc/{worker}")).exists(),
            "the stopped worker {worker} is still there"
        );
    }
}

#[test]
fn twenty_restarts_of_postgres_under_write_load_lose_no_acknowledged_write() {
    let Some(mut stack) = Stack::start() else { return };
    let load = stack.write_load(4);
    for _ in 0..20 {
        load.wait_for(10);
        stack.does(&["restart", "postgres"]);
    }
    load.wait_for(10);
    let tally = load.end();
    let kept = stack.query("SELECT id FROM notes_note");
    let lost: Vec<&u64> = tally.good.iter().filter(|id| !kept.contains(&id.to_string())).collect();
    assert_eq!(lost, [] as [&u64; 0], "acknowledged and lost, of {}", tally.good.len());
    println!("{} writes acknowledged, {} failed, none lost", tally.good.len(), tally.failed.len());

    // Each start finds what a clean shutdown left: the first that of initdb.
    stack.wait_until("postgres has said how it started", |stack| {
        stack.output().matches(CLEAN_START).count() >= 21
    });
    let output = stack.output();
    assert_eq!(output.matches(CLEAN_START).count(), 21);
    for recovery in ["database system was interrupted", "automatic recovery in progress", "redo starts"] {
        assert!(!output.contains(recovery), "postgres said {recovery:?}\n{output}");
    }
}

/// In postgres' log when it had ended in order before.
const CLEAN_START: &str = "database system was shut down at";

#[test]
fn a_bad_nginx_configuration_is_refused_and_the_old_nginx_serves_on() {
    let Some(stack) = Stack::start() else { return };
    let file = stack.file("nginx/nginx.conf");
    let good = fs::read_to_string(&file).expect("scripts/stack made it");
    let old = stack.pid("nginx");

    fs::write(&file, format!("{good}\nno_such_directive on;\n")).expect("it is ours");
    for verb in ["reload", "restart"] {
        let answer = stack.svctl(&[verb, "nginx"]);
        assert_eq!(answer.code, Some(1), "{answer:?}");
        let said = answer.out + &answer.err;
        assert!(said.contains("unknown directive \"no_such_directive\""), "svctl {verb} nginx says {said}");
        assert_eq!(stack.pid("nginx"), old);
        assert_eq!(stack.get("/health").expect("nginx answers").status, 200);
    }

    fs::write(&file, good).expect("it is ours");
    stack.does(&["reload", "nginx"]);
    assert_eq!(stack.pid("nginx"), old);
}
