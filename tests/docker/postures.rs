//! The rootless images as a hardened platform runs them: a user without a name, another first process, nothing to write to.

use crate::engine::System;
use crate::items;

/// A user whom no image knows, in the group that all of them prepare for it; Docker's own init as PID 1; no capability.
fn any_user(images: &[(&str, &str)]) -> String {
    let service = |(service, image): &(&str, &str)| {
        format!(
            "  {service}:\n    image: {image}:${{SVINIT_TAG:-local}}-rootless\n    user: \"12345:0\"\n    init: true\n    \
             cap_add: !reset []\n"
        )
    };
    format!("services:\n{}", images.iter().map(service).collect::<String>())
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
    let Some(system) = System::laid_out("three-tier") else { return };
    let images = [("frontend", "svinit/frontend"), ("backend", "svinit/backend"), ("mysql", "svinit/mysql")];
    let system = system.overlay(&any_user(&images));
    items::open_secrets(&system);
    system.start(&[]);
    items::answers_in_full(&system.at("HTTP_PORT"));
    does_its_duty(&system, &[("frontend", "nginx"), ("backend", "gunicorn"), ("mysql", "mysql")]);
}

#[test]
fn flask_its_load_balancer_and_its_database_run_as_any_user_below_another_init() {
    let Some(system) = System::laid_out("flask") else { return };
    let images = [("lb", "svinit/lb"), ("webapp", "svinit/flask"), ("db", "svinit/postgres")];
    let system = system.overlay(&any_user(&images));
    items::open_secrets(&system);
    system.start(&[]);
    assert_eq!(system.http("HTTP_PORT", "/").unwrap().status, 200);
    does_its_duty(&system, &[("lb", "nginx"), ("webapp", "flask"), ("db", "postgres")]);
}

#[test]
fn the_monolith_runs_as_any_user_below_another_init() {
    let Some(system) = System::laid_out("monolith") else { return };
    let system = system.overlay(&any_user(&[("monolith", "svinit/monolith")]));
    system.start(&[]);
    items::answers_in_full(&system.at("HTTP_PORT"));
    does_its_duty(&system, &[("monolith", "gunicorn")]);
}
