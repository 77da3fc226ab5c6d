//! The rootless images as a hardened platform runs them: a user without a name, another first process, nothing to write to.
//!
//! As the users that they are made for they run in the tests of two-tier and cluster.

use crate::engine::System;
use crate::items;

/// A system by its overlay for everybody, `compose.rootless.yaml`: each service as a user whom no image knows, in the group
/// that all of them prepare for it, and with Docker's own init as PID 1.
fn of_any_user(name: &str, services: &[&str]) -> Option<System> {
    let service = |service: &&str| format!("  {service}: {{ user: \"12345:0\", init: true }}\n");
    let overlay = format!("services:\n{}", services.iter().map(service).collect::<String>());
    let system = System::laid_out(name)?.file("compose.rootless.yaml").overlay(&overlay);
    items::open_secrets(&system);
    system.start(&[]);
    Some(system)
}

/// Nothing of its own is run by anybody else; each service is healed and ends in order.
fn does_its_duty(system: &System, services: &[(&str, &str)]) {
    for (service, unit) in services {
        let container = system.containers(service).remove(0);
        assert_eq!(items::users(&container), ["12345"], "{service}");
        items::heal_after_kill(&container, &[unit]);
        items::stops_in_order(&container, 45);
    }
}

#[test]
fn the_three_tiers_run_as_any_user_below_another_init() {
    let Some(system) = of_any_user("three-tier", &["frontend", "backend", "mysql"]) else { return };
    items::answers_in_full(&system.at("HTTP_PORT"));
    does_its_duty(&system, &[("frontend", "nginx"), ("backend", "gunicorn"), ("mysql", "mysql")]);
}

#[test]
fn flask_its_load_balancer_and_its_database_run_as_any_user_below_another_init() {
    let Some(system) = of_any_user("flask", &["lb", "webapp", "db"]) else { return };
    assert_eq!(system.http("HTTP_PORT", "/").unwrap().status, 200);
    does_its_duty(&system, &[("lb", "nginx"), ("webapp", "flask"), ("db", "postgres")]);
}

#[test]
fn the_monolith_runs_as_any_user_below_another_init() {
    let Some(system) = of_any_user("monolith", &["monolith"]) else { return };
    items::answers_in_full(&system.at("HTTP_PORT"));
    let monolith = system.container("monolith");
    items::heal_after_kill(&monolith, &["nginx", "mysql"]);
    does_its_duty(&system, &[("monolith", "gunicorn")]);
}
