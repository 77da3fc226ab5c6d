//! The system monolith: page, API and database in one container.

use crate::engine::{System, ask, wait_until};
use crate::items;

const SERVICES: [&str; 3] = ["nginx", "gunicorn", "mysql"];

#[test]
fn one_container_answers_heals_and_restarts_one_service_at_a_time() {
    let Some(system) = System::laid_out("monolith") else { return };
    let system = system.watched_closely();
    system.start(&[]);
    let (monolith, at) = (system.container("monolith"), system.at("HTTP_PORT"));
    assert_eq!(system.services().len(), 1, "one container it is");
    items::answers_in_full(&at);
    assert_eq!(items::users(&monolith), ["1001", "101", "999"]);

    items::is_restarted_alone(&monolith, "gunicorn", &at, "/api/items/");
    items::is_restarted_alone(&monolith, "nginx", &at, "/");
    items::survive_a_database_restart(&monolith, &at);

    // One address says how all of it is, and what is not there because somebody wanted it so.
    let health = || ask(&at, "/health").unwrap();
    monolith.svctl("stop gunicorn");
    assert!(health().body.contains("gunicorn: inactive: stop was asked for"), "{}", health().body);
    monolith.svctl("start gunicorn");
    assert!(health().body.starts_with("{\"status\":\"pass\""), "{}", health().body);

    items::heal_after_kill(&monolith, &SERVICES);
    let before = monolith.identity();
    let hung = SERVICES.map(|unit| (unit, items::hang(&monolith, unit)));
    for (unit, old) in hung {
        monolith.wait_for_successor(unit, old);
    }
    items::wait_for_answers(&system, &at);
    assert_eq!(monolith.identity(), before, "the container is the same");
    monolith.wait_for_health("healthy");
}

#[test]
fn what_was_backed_up_is_there_after_everything_is_gone() {
    let Some(system) = System::up("monolith") else { return };
    let at = system.at("HTTP_PORT");
    let monolith = system.container("monolith");
    items::add(&at, "it's \"kept\" \\ übrig").unwrap();
    // A change of container keeps the data.
    items::stops_in_order(&monolith, 45);
    assert!(monolith.words().contains("Shutdown complete"), "{}", monolith.words());
    system.compose(&["down"]).well();
    system.start(&[]);
    assert_eq!(items::texts(&at), ["it's \"kept\" \\ übrig"]);

    let backup = system.own_file("backup.tar.gz");
    let to_file = |script: &str| system.shell(&format!("{script} '{}'", backup.display()));
    to_file("$COMPOSE exec -T monolith backup >").well();
    system.compose(&["down", "--volumes"]).well();
    system.start(&[]);
    assert_eq!(items::texts(&at), [""; 0], "a new volume is empty");
    items::add(&at, "made since").unwrap();
    to_file("$COMPOSE exec -T monolith restore <").well();
    wait_until("what was restored is served", || system.words(), || items::answers(&at));
    assert_eq!(items::texts(&at), ["it's \"kept\" \\ übrig"]);
    // The password came along, and holds for the next start too.
    system.compose(&["restart"]).well();
    items::wait_for_answers(&system, &at);
    assert_eq!(items::texts(&at), ["it's \"kept\" \\ übrig"]);
}
