//! The system two-tier: page and API in one container, which is scaled, and the database in another.

use std::collections::BTreeSet;

use crate::engine::{System, ask, docker, free_ports};
use crate::items;

#[test]
fn both_containers_answer_heal_and_restart_one_service_at_a_time() {
    let Some(system) = System::laid_out("two-tier") else { return };
    let system = system.watched_closely();
    system.start(&[]);
    let (app, mysql, at) = (system.container("app"), system.container("mysql"), system.at("HTTP_PORT"));
    items::answers_in_full(&at);
    assert_eq!(items::users(&app), ["1001", "101"]);
    assert_eq!(items::users(&mysql), ["999"]);
    assert_eq!(mysql.inspect("{{json .HostConfig.PortBindings}}"), "{}", "no port to the outside");

    items::is_restarted_alone(&app, "gunicorn", &at, "/api/items/");
    items::is_restarted_alone(&app, "nginx", &at, "/");
    items::survive_a_database_restart(&mysql, &at);

    items::heal_after_kill(&app, &["nginx", "gunicorn"]);
    items::heal_after_kill(&mysql, &["mysql"]);
    let hung = [(&app, "nginx"), (&app, "gunicorn"), (&mysql, "mysql")];
    for (container, unit, old) in
        hung.map(|(container, unit)| (container, unit, items::hang(container, unit)))
    {
        container.wait_for_successor(unit, old);
    }
    items::wait_for_answers(&system, &at);
    for container in [&app, &mysql] {
        container.wait_for_health("healthy");
        items::stops_in_order(container, 45);
    }
}

#[test]
fn the_application_is_scaled_and_the_data_outlives_it() {
    let Some(system) = System::laid_out("two-tier") else { return };
    let first = free_ports(3);
    let system = system.set("HTTP_PORT", &format!("{first}-{}", first + 2));
    system.start(&["--scale", "app=3"]);
    let all = system.published("app", 8080);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 3, "{all:?}");
    for (number, at) in all.iter().enumerate() {
        items::add(at, &format!("from {number}")).unwrap();
    }
    for at in &all {
        assert_eq!(items::texts(at), ["from 2", "from 1", "from 0"], "one database for all");
    }
    // Two of them go; the third does not notice.
    docker(&["kill", &system.containers("app")[2].name, &system.containers("app")[1].name]).well();
    assert_eq!(ask(&all[0], "/api/health").unwrap().status, 200);

    system.compose(&["down"]).well();
    system.start(&[]);
    assert_eq!(items::texts(&system.published("app", 8080)[0]), ["from 2", "from 1", "from 0"]);
}

#[test]
fn both_containers_run_without_root_and_without_a_capability() {
    let Some(system) = System::laid_out("two-tier") else { return };
    // With MySQL itself, which postures.rs shows as a user without a name only.
    let system = system.file("compose.rootless.yaml").set("DATABASE_IMAGE", "mysql");
    items::open_secrets(&system);
    system.start(&[]);
    let (app, mysql, at) = (system.container("app"), system.container("mysql"), system.at("HTTP_PORT"));
    items::answers_in_full(&at);
    assert_eq!((items::users(&app), items::users(&mysql)), (vec!["1001".to_owned()], vec!["999".to_owned()]));
    items::heal_after_kill(&app, &["nginx", "gunicorn"]);
    items::heal_after_kill(&mysql, &["mysql"]);
    items::stops_in_order(&app, 15);
    items::stops_in_order(&mysql, 45);
}
