//! compose/manager, whose services are killed again and again while nobody but the manager brings them up, and svmanager itself.
//!
//! `MANAGER_KILLS=20` is how often each of them is promised to be; without it each is killed twice.

#![expect(clippy::disallowed_methods, reason = "what stands for the engine is a thread for each connection")]

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use serde_json::Value;

use crate::engine::load::{Answers, Load};
use crate::engine::{Answer, Container, System};
use crate::items;

/// Service, unit, and what its clients ask for.
const SERVICES: [(&str, &str, &str); 3] = [
    ("frontend", "nginx", "/health"),
    ("backend", "gunicorn", "/api/items/"),
    ("database", "mysql", "/api/items/"),
];

/// svinit does not bring it up again by itself, nor end it for a check that is late,
const NEVER: &str = "[restart]\npolicy = \"never\"\n[health]\non_failure = \"none\"\n";

/// and has something left to run.
const BESIDE: &str = "command = [\"sleep\", \"infinity\"]\n";

/// Clients of a [`Load`], of whom each can have one request within the gateway when that is killed.
const CLIENTS: u64 = 8;

/// Descriptors that may come and go: connections that are kept, and a question that is just asked.
const DESCRIPTORS: u64 = 12;

/// And memory, in KiB: what an allocator keeps.
const MEMORY: u64 = 6 << 10;

fn kills() -> usize {
    std::env::var("MANAGER_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(2)
}

/// The system, with these texts as further files of units: service, unit, text.
fn up(units: &[(&str, &str, &str)]) -> Option<System> {
    let system = with_units(System::laid_out("manager")?.set("DATABASE_IMAGE", "mariadb"), units);
    system.start(&[]);
    items::wait_for_answers(&system, &system.at("HTTP_PORT"));
    Some(system)
}

fn with_units(system: System, units: &[(&str, &str, &str)]) -> System {
    let mut overlay = "services:\n".to_owned();
    for (service, _, _) in units {
        if overlay.contains(&format!("  {service}:\n")) {
            continue;
        }
        overlay.push_str(&format!("  {service}:\n    volumes:\n"));
        for (_, unit, text) in units.iter().filter(|(of, _, _)| of == service) {
            let path = system.own_file(&format!("{service}-{unit}.toml"));
            std::fs::write(&path, text).unwrap();
            overlay.push_str(&format!("      - {}:/etc/svinit/local/{unit}.toml:ro\n", path.display()));
        }
    }
    system.overlay(&overlay)
}

/// A question to the admin listener, with the token.
pub(crate) fn admin(system: &System, method: &str, path: &str) -> Answer {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(system.at("ADMIN_PORT")).unwrap();
    let token = system.secret("admin_token");
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {}\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n",
        token.trim()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let (head, body) = said.split_once("\r\n\r\n").expect("an answer");
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
    Answer { status, head: head.to_owned(), body: body.to_owned() }
}

/// The value of one line of the manager's metrics.
pub(crate) fn metric(system: &System, line: &str) -> u64 {
    let body = admin(system, "GET", "/metrics").body;
    let found = body.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {line} in\n{body}"))
}

fn healed(system: &System, service: &str) -> u64 {
    metric(
        system,
        &format!(
            "svmanager_recovery_actions_total{{service=\"{service}\",step=\"restart-unit\",result=\"healed\"}}"
        ),
    )
}

/// Descriptors and KiB of memory of a process in a container.
#[derive(Clone, Copy, Debug)]
struct Footprint {
    descriptors: u64,
    memory: u64,
}

impl Footprint {
    fn of(container: &Container, pid: u64) -> Self {
        let script = format!("ls /proc/{pid}/fd | wc -l; sed -n 's/^VmRSS: *//p' /proc/{pid}/status");
        let said = container.disaster(&["sh", "-c", &script]).well();
        let mut numbers = said.split_whitespace().filter_map(|word| word.parse().ok());
        let mut next = || numbers.next().unwrap_or_else(|| panic!("{said}"));
        Self { descriptors: next(), memory: next() }
    }

    fn is_within(self, before: Self) -> bool {
        self.descriptors <= before.descriptors + DESCRIPTORS && self.memory <= before.memory + MEMORY
    }
}

/// Processes in a container that were begun by a manager, to listen there.
fn listeners(container: &Container) -> usize {
    let script = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n' | grep -c -x -e '--until-eo[f]'";
    container.disaster(&["sh", "-c", script]).out.trim().parse().unwrap_or(0)
}

/// svmanager, and the svinit of each container.
fn footprints(system: &System, manager: u64) -> Vec<Footprint> {
    let of = |name: &str, pid| Footprint::of(&system.container(name), pid);
    let inits = ["manager", "guard", "frontend", "backend", "database"].map(|name| of(name, 1));
    [of("manager", manager)].into_iter().chain(inits).collect()
}

#[track_caller]
fn come_down(system: &System, manager: u64, before: &[Footprint]) {
    let mut now = Vec::new();
    // What is kept for the next request is closed after half a minute.
    system.wait_until(&format!("nothing has grown: {before:?}"), || {
        now = footprints(system, manager);
        now.iter().zip(before).all(|(now, before)| now.is_within(*before))
    });
    println!("descriptors and KiB before {before:?}\nand after {now:?}");
}

/// What clients of `path` see while `act` is done.
fn during(at: &str, path: &str, act: impl FnOnce()) -> Answers {
    let load = Load::begin(at, path);
    load.go_on_to(20);
    act();
    load.go_on_to(load.asked() + 40);
    load.end()
}

/// The decisions of the audit log, which has to be one chain.
fn decisions(system: &System) -> Vec<String> {
    let text = system.container("manager").disaster(&["cat", "/var/lib/svmanager/audit.jsonl"]).well();
    svinit::manager::audit::verify(&text).unwrap_or_else(|why| panic!("{why}\n{text}"));
    let word =
        |line: &str| serde_json::from_str::<Value>(line).unwrap()["decision"].as_str().unwrap().to_owned();
    text.lines().map(word).collect()
}

#[test]
fn each_service_is_healed_by_the_manager_as_often_as_it_is_killed_and_nothing_leaks() {
    let units = SERVICES.map(|(service, unit, _)| [(service, unit, NEVER), (service, "beside", BESIDE)]);
    let Some(system) = up(units.as_flattened()) else { return };
    let at = system.at("HTTP_PORT");
    let manager = system.container("manager").pid("svmanager").expect("it runs");
    let identities = || {
        ["manager", "guard", "frontend", "backend", "database"].map(|name| system.container(name).identity())
    };
    let before = identities();
    let mut footprints_before = None;
    for (service, unit, path) in SERVICES {
        let container = system.container(service);
        let mut away = 0;
        for round in 0..kills() {
            let healed_before = healed(&system, service);
            let seen = during(&at, path, || {
                let old = container.kill(unit);
                system.wait_until(&format!("{service} is healed, round {round}"), || {
                    healed(&system, service) > healed_before
                });
                assert_ne!(container.pid(unit), Some(old));
                if unit == "mysql" {
                    items::wait_for_answers(&system, &at);
                }
            });
            if unit == "mysql" {
                // The API says itself that it has no database. The gateway has nothing to do with that.
                let is_own = |why: &String| why.contains("HTTP/1.1 503") && why.contains("database");
                assert!(seen.why.iter().all(is_own), "round {round}: {:?}", seen.why);
                away += seen.failed;
            } else {
                assert_eq!(seen.failed, 0, "{unit}, round {round}: {:?} of {} good", seen.why, seen.good);
            }
            // A person says after each that it is looked after as before: else it were flapping, and its budget spent.
            assert_eq!(admin(&system, "POST", &format!("/api/services/{service}/resume")).status, 200);
        }
        println!(
            "{unit}: killed {} times, healed by the manager each time; {away} times 503 of the API",
            kills()
        );
        footprints_before.get_or_insert_with(|| footprints(&system, manager));
    }
    assert_eq!(identities(), before, "no container was restarted");
    come_down(&system, manager, &footprints_before.expect("there are services"));
    let decided = decisions(&system);
    let acts = decided.iter().filter(|word| *word == "act").count();
    let skipped = decided.iter().filter(|word| *word == "skipped").count();
    assert_eq!(acts - skipped, SERVICES.len() * kills(), "one repair for each: {decided:?}");
}

#[test]
fn svmanager_itself_may_be_killed_as_often_as_anybody_likes() {
    // It is not made to wait longer each time, as somebody who crashes by themselves would be.
    let patient = "[restart]\nlimit = 0\nfactor = 1.0\n";
    let Some(system) = up(&[("manager", "svmanager", patient)]) else { return };
    let at = system.at("HTTP_PORT");
    let container = system.container("manager");
    let (identity, mut old) = (container.identity(), container.pid("svmanager").expect("it runs"));
    let (mut before, mut failed) = (None, 0);
    for round in 0..kills() {
        let seen = during(&at, "/health", || {
            container.kill("svmanager");
            old = container.wait_for_successor("svmanager", old);
        });
        // Those that were within it, and no others: the port is svinit's, and who comes waits.
        assert!(seen.failed <= CLIENTS, "round {round}: {} of {}: {:?}", seen.failed, seen.good, seen.why);
        assert!(!seen.why.iter().any(|why| why.contains("refused")), "round {round}: {:?}", seen.why);
        failed += seen.failed;
        before.get_or_insert_with(|| footprints(&system, old));
    }
    println!("svmanager: killed {} times, {failed} requests that were within it failed", kills());
    // What the dead ones had listening in the containers has ended with them.
    for (service, _, _) in SERVICES {
        let container = system.container(service);
        system.wait_until(&format!("one listens in {service}"), || listeners(&container) == 1);
    }
    assert_eq!(container.identity(), identity);
    // It does its work as before.
    let gunicorn = system.container("backend");
    let killed = gunicorn.kill("gunicorn");
    gunicorn.wait_for_successor("gunicorn", killed);
    items::wait_for_answers(&system, &at);
    come_down(&system, old, &before.expect("it was killed"));
    assert_eq!(decisions(&system).iter().filter(|word| *word == "leader").count(), kills() + 1);
}

/// A socket in front of the engine's, which can go away and come back as the engine's does when it is restarted. Every call passes.
struct Before {
    path: PathBuf,
    open: Arc<Mutex<Vec<UnixStream>>>,
    is_over: Arc<AtomicBool>,
    accepting: JoinHandle<()>,
}

impl Before {
    fn open(path: &Path) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let (open, is_over): (Arc<Mutex<Vec<UnixStream>>>, Arc<AtomicBool>) = Default::default();
        let (streams, over) = (Arc::clone(&open), Arc::clone(&is_over));
        let accepting = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let host = std::env::var("DOCKER_HOST").unwrap_or_default();
                let engine = host.strip_prefix("unix://").unwrap_or("/var/run/docker.sock");
                let engine = UnixStream::connect(engine).unwrap();
                for (from, to) in [(&stream, &engine), (&engine, &stream)] {
                    streams.lock().unwrap().push(from.try_clone().unwrap());
                    let (mut from, mut to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                    thread::spawn(move || {
                        // Whichever side ends it, the other is told.
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Write);
                    });
                }
            }
        });
        Self { path: path.to_owned(), open, is_over, accepting }
    }

    /// The engine ends, with every connection.
    fn close(self) {
        self.is_over.store(true, Ordering::SeqCst);
        drop(UnixStream::connect(&self.path));
        self.accepting.join().unwrap();
        std::fs::remove_file(&self.path).unwrap();
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// How recovery sees the only instance of a service.
fn sign(system: &System, service: &str) -> String {
    let seen: Value =
        serde_json::from_str(&admin(system, "GET", &format!("/api/services/{service}")).body).unwrap();
    seen["recovery"]["signs"][0]["sign"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn while_the_engine_is_restarted_everything_serves_and_after_it_what_has_died_meanwhile_is_healed() {
    let Some(system) = System::laid_out("manager") else { return };
    let dir = system.own_file("engine");
    std::fs::create_dir(&dir).unwrap();
    let socket = dir.join("docker.sock");
    let engine = Before::open(&socket);
    let guard = system.own_file("guard.toml");
    let unit =
        std::fs::read_to_string(crate::engine::root().join("images/manager/guard/guard.toml")).unwrap();
    let moved = unit.replace("\"guard\", ", "\"guard\", \"--engine\", \"/run/engine/docker.sock\", ");
    assert_ne!(moved, unit);
    std::fs::write(&guard, moved).unwrap();
    let system = system.set("DATABASE_IMAGE", "mariadb").overlay(&format!(
        "services:\n  guard:\n    volumes:\n      - {}:/run/engine\n      - {}:/etc/svinit/guard/guard.toml:ro\n",
        dir.display(),
        guard.display()
    ));
    let system = with_units(system, &[("backend", "gunicorn", NEVER), ("backend", "beside", BESIDE)]);
    system.start(&[]);
    let at = system.at("HTTP_PORT");
    items::wait_for_answers(&system, &at);
    system.wait_until("everything is seen", || {
        SERVICES.iter().all(|(service, _, _)| sign(&system, service) == "well")
    });
    let backend = system.container("backend");
    let identity = backend.identity();

    let seen = during(&at, "/api/items/", || {
        engine.close();
        // What passes its check is well, whoever cannot be asked.
        system.wait_until("the manager knows", || {
            let why = admin(&system, "GET", "/api/why/backend").body;
            why.contains("was not asked: the engine is out of reach")
        });
    });
    assert_eq!(seen.failed, 0, "without an engine: {:?} of {} good", seen.why, seen.good);
    let said = system.compose(&["logs", "--no-color", "--no-log-prefix", "manager"]).out;
    assert!(said.contains("its svinit cannot be asked: the engine is out of reach"), "{said}");

    // Now one dies, and nobody can do anything about it. The page goes on.
    let old = backend.kill("gunicorn");
    system.wait_until("it is known", || sign(&system, "backend") == "lost");
    assert_eq!(during(&at, "/health", || ()).failed, 0);
    let engine = Before::open(&socket);
    system.wait_until("it is healed", || healed(&system, "backend") == 1);
    assert_ne!(backend.pid("gunicorn"), Some(old));
    items::wait_for_answers(&system, &at);
    system.wait_until("everything is seen again", || {
        SERVICES.iter().all(|(service, _, _)| sign(&system, service) == "well")
    });
    assert_eq!(
        metric(&system, "svmanager_recovery_tokens{service=\"backend\"}"),
        2,
        "nothing was spent in vain"
    );
    assert_eq!(backend.identity(), identity);
    // And what dies from now on is known at once, as before.
    let (pushed, old) = ("svmanager_recovery_detections_total{service=\"frontend\",by=\"push\"}", "nginx");
    let before = metric(&system, pushed);
    system.container("frontend").kill(old);
    system.wait_until("it is pushed", || metric(&system, pushed) > before);
    items::wait_for_answers(&system, &at);
    engine.close();
}
