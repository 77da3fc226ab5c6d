//! Containers that end, are stopped, paused and restarted: a real manager and a real guard beside an engine that tells what happens.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

use serde_json::Value;
use serde_json::json;

use crate::backend::file;
use crate::backend::free_port;
use crate::backend::web;
use crate::engine::Engine;
use crate::engine::ID;
use crate::fixture::Manager;
use crate::fixture::eventually;
use crate::fixture::run;
use crate::supervisor::Svinit;
use crate::supervisor::kill;

/// A service in a container, and who looks after it.
struct World {
    manager: Manager,
    engine: Engine,
    /// What runs in the container, while it does.
    inside: Arc<Mutex<Option<Svinit>>>,
    port: u16,
}

impl World {
    fn start(ladder: &str, options: &[&str]) -> Self {
        let port = free_port();
        let svinit = web(port, "");
        let socket = svinit.socket();
        let inside = Arc::new(Mutex::new(Some(svinit)));
        let own = Arc::clone(&inside);
        let engine = Engine::start(socket, options, move || {
            let svinit = web(port, "");
            let socket: PathBuf = svinit.socket();
            *own.lock().unwrap() = Some(svinit);
            socket
        });
        let control = "{ driver = \"docker\", container = \"backend\", unit = \"web\" }";
        let text = file(port, control).replace("\"reload\", \"restart-unit\", \"alert\"", ladder);
        let text = format!("admin = {{ listen = \"127.0.0.1:0\" }}\n{text}");
        let manager = Manager::with_env(&text, &[("DOCKER_HOST", &engine.host())]);
        manager.wait_for("recovery: all services: leader");
        assert_eq!(manager.get("/").status, 200);
        let world = Self { manager, engine, inside, port };
        eventually("the engine's events are followed", || world.engine.count(EVENTS) > 0);
        world
    }

    /// The container ends, and all that is in it. The engine knows first: it has no process that tells of its end otherwise.
    fn end_as(&self, events: &[(&str, Value)]) {
        self.engine.turn("exited", events);
        drop(self.inside.lock().unwrap().take());
    }

    /// What a person is told of the service.
    fn why(&self) -> String {
        let line = self.manager.wait_for("admin listener on ");
        let output = run(&["why", "app", "--admin", line.rsplit(' ').next().unwrap()]);
        String::from_utf8(output.stdout).unwrap()
    }

    fn restarts(&self) -> usize {
        self.engine.count(&format!("POST /containers/{ID}/restart?t=10"))
    }
}

/// As the guard asks for them.
const EVENTS: &str = "GET /events?filters=%7B%22type%22%3A%5B%22container%22%5D,%22label%22%3A%5B%22svinit.managed%3Dtrue%22%5D%7D";

const LADDER: &str = "\"restart-unit\", \"restart-container\", \"alert\"";

#[test]
fn a_container_that_ends_by_itself_is_restarted_where_ladder_and_guard_permit_it() {
    let world = World::start(LADDER, &["--allow-restart"]);
    world.end_as(&[("die", json!({ "exitCode": "139" }))]);
    // In it nothing can be done any more.
    world.manager.wait_for("recovery: app: skipped: restart-unit of ");
    let line = world.manager.wait_for("recovery: app: act: restart-container of ");
    assert!(line.ends_with("its container has ended by itself: exit status 139"), "{line}");
    world.manager.wait_for("recovery: app: healed: ");
    assert_eq!(world.restarts(), 1);
    assert_eq!(world.manager.get("/").status, 200);
    assert!(!world.manager.said().contains("ALERT"), "{}", world.manager.said());
}

#[test]
fn without_the_guards_permission_people_are_told_and_no_container_is_restarted() {
    let world = World::start(LADDER, &[]);
    world.end_as(&[("oom", json!({})), ("die", json!({ "exitCode": "137" }))]);
    let line = world.manager.wait_for("ALERT: app: ");
    assert!(
        line.contains(
            "; it is down: its container has ended by itself: exit status 137, out of memory; tried: "
        ),
        "{line}"
    );
    assert!(line.contains("restart-container (skipped: the guard does not let this through: "), "{line}");
    let why = world.why();
    assert!(why.contains(line.split_once("ALERT: app: ").unwrap().1), "{why}");
    assert_eq!(world.restarts(), 0);
}

#[test]
fn a_container_that_a_person_stops_is_left_alone_and_serves_when_it_is_started_again() {
    let world = World::start(LADDER, &["--allow-restart"]);
    world.engine.turn("running", &[("kill", json!({ "signal": "15" }))]);
    world.end_as(&[("die", json!({ "exitCode": "0" })), ("stop", json!({}))]);
    world.manager.wait_for(": gone: its container is exited: a person has s");
    let why = world.why();
    assert!(why.contains(" looks held: its container is exited: a person has s"), "{why}");
    assert!(!world.manager.said().contains("recovery: app: act"), "{}", world.manager.said());
    assert_eq!(world.restarts(), 0);
    let svinit = web(world.port, "");
    world.engine.put(svinit.socket());
    *world.inside.lock().unwrap() = Some(svinit);
    world.engine.turn("running", &[("start", json!({}))]);
    assert_eq!(world.manager.get("/").status, 200);
}

#[test]
fn a_paused_container_is_left_alone_and_requests_for_it_wait() {
    let world = World::start(LADDER, &["--allow-restart"]);
    let pid = world.inside.lock().unwrap().as_ref().unwrap().status("web")["pid"].as_i64().unwrap();
    let pid = i32::try_from(pid).unwrap();
    kill(pid, "STOP");
    world.engine.turn("paused", &[("pause", json!({}))]);
    world.manager.wait_for(": gone: its container is paused");
    thread::scope(|scope| {
        let waiting = scope.spawn(|| world.manager.get("/"));
        // Meanwhile its check fails again and again, which says nothing new.
        let looks = world.engine.count("GET /containers/backend/json");
        eventually("it is looked at again", || world.engine.count("GET /containers/backend/json") > looks);
        assert!(!waiting.is_finished(), "{}", world.manager.said());
        let why = world.why();
        assert!(why.contains(" looks held: its container is paused\n"), "{why}");
        assert!(why.contains(" is gone: its container is paused\n"), "{why}");
        kill(pid, "CONT");
        world.engine.turn("running", &[("unpause", json!({}))]);
        assert_eq!(waiting.join().unwrap().status, 200);
    });
    assert_eq!(world.restarts(), 0);
    assert_eq!(world.manager.lines_with("recovery: app: "), 0, "{}", world.manager.said());
}
