//! The numbers of the README: sizes, start times, and the restart of a service beside the restart of its container.
//!
//! One round in an ordinary run, which shows that all of it can be measured and that the promises hold; NUMBERS=10 takes the
//! median of ten, UPDATE=1 writes the tables (make numbers).

#![expect(clippy::disallowed_methods, reason = "measures by a clock")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::engine::load::{Load, PATIENCE, look_again};
use crate::engine::{Container, Single, System, TAG, ask, build, docker, root, wait_until};

/// Images whose size is told, as far as this run has built them.
const IMAGES: [&str; 19] = [
    "svinit",
    "svinit/manager",
    "svinit/base",
    "svinit/nginx",
    "svinit/lb",
    "svinit/postgres",
    "svinit/flask",
    "svinit/frontend",
    "svinit/backend",
    "svinit/mariadb",
    "svinit/mysql",
    "svinit/monolith",
    "svinit/redis",
    "svinit/redis-demo",
    "svinit/redis-exporter",
    "svinit/prometheus",
    "svinit/etcd",
    "svinit/patroni",
    "svinit/haproxy",
];

/// One service in one container.
struct Subject<'a> {
    container: &'a Container,
    unit: &'a str,
    /// What clients ask of it: an address, and a path.
    at: &'a str,
    path: &'a str,
    /// A keep-alive connection to this address shows whether a neighbour noticed.
    neighbour: Option<&'a str>,
}

/// What one restart has cost.
#[derive(Clone, Copy)]
struct Cost {
    /// Longest time in which none of the clients got a good answer: what waits on a held port is a part of it, and a port that
    /// refuses everybody too.
    gap: Duration,
    failed: u64,
    kept: Option<bool>,
}

/// How often each thing is measured.
pub(crate) fn rounds() -> usize {
    std::env::var("NUMBERS").ok().and_then(|count| count.parse().ok()).unwrap_or(1)
}

#[test]
fn restarting_a_service_is_cheaper_than_restarting_its_container() {
    let mut rows = String::new();
    {
        let Some(monolith) = System::up("monolith") else { return };
        let (container, at) = (monolith.container("monolith"), monolith.at("HTTP_PORT"));
        for (unit, path) in [("nginx", "/"), ("gunicorn", "/api/items/"), ("mysql", "/api/items/")] {
            let neighbour = (unit != "nginx").then_some(at.as_str());
            measure(
                "monolith",
                &Subject { container: &container, unit, at: &at, path, neighbour },
                &mut rows,
            );
        }
    }
    // One system shows that all of it can be measured; the others are for the table.
    if rounds() > 1 {
        measure_each(
            "three-tier",
            &[
                ("frontend", "nginx", "/"),
                ("backend", "gunicorn", "/api/items/"),
                ("mysql", "mysql", "/api/items/"),
            ],
            &mut rows,
        );
        measure_each("cluster", &[("lb", "nginx", "/"), ("web1", "nginx", "/")], &mut rows);
        measure_each(
            "flask",
            &[("lb", "nginx", "/"), ("webapp", "flask", "/"), ("db", "postgres", "/")],
            &mut rows,
        );
    }
    let table = format!(
        "| system: container, service | `svctl restart`: without a good answer | requests failed | neighbours' connections | \
         `docker restart`: without a good answer | requests failed | neighbours' connections |\n\
         |---|---:|---:|---|---:|---:|---|\n{rows}"
    );
    println!("{table}");
    publish("README.md", "restarts of a service", &table);
}

/// Services of a system, each in a container of its own: container, unit, and what clients ask for.
fn measure_each(name: &str, services: &[(&str, &str, &str)], rows: &mut String) {
    let Some(system) = System::up(name) else { return };
    let at = system.at("HTTP_PORT");
    for (service, unit, path) in services {
        let container = system.containers(service).remove(0);
        let subject = Subject { container: &container, unit, at: &at, path, neighbour: None };
        measure(&format!("{name}: {service}"), &subject, rows);
    }
}

#[test]
fn images_are_small_and_start_at_once() {
    let secret = tempfile::NamedTempFile::new().unwrap();
    fs::write(secret.path(), "first'word").unwrap();
    fs::set_permissions(secret.path(), fs::Permissions::from_mode(0o444)).unwrap();
    let secret = format!("--volume={}:/run/secrets/db_password:ro", secret.path().display());
    let postgres = [&secret, "--env=POSTGRES_PASSWORD_FILE=/run/secrets/db_password"];
    // Those that are of use by themselves. One shows that it can be measured; the others are for the table.
    let alone: [(&str, &[&str]); 5] = [
        ("monolith", &[]),
        ("nginx", &[]),
        ("postgres", &postgres),
        ("mariadb", &[&secret]),
        ("mysql", &[&secret]),
    ];
    if rounds() > 1 {
        build(&["manager"]);
    }
    let mut starts = BTreeMap::new();
    for (name, options) in &alone[..if rounds() > 1 { alone.len() } else { 1 }] {
        let Some(took) = start(name, options) else { return };
        starts.insert(*name, took);
    }
    let mut table =
        "| image | size | of it ours | from `docker run` until it is well |\n|---|---:|---:|---:|\n"
            .to_owned();
    let size = |image: &str| -> Option<f64> {
        let said = docker(&["image", "inspect", "--format", "{{.Size}}", image]);
        said.out.trim().parse().ok()
    };
    let base = size("debian:trixie-slim").unwrap_or_default();
    for name in IMAGES {
        let Some(bytes) = size(&format!("{name}:{TAG}")) else { continue };
        let ours =
            if ["svinit", "svinit/manager", "svinit/mysql"].contains(&name) { bytes } else { bytes - base };
        let short = name.trim_start_matches("svinit/");
        let start = starts.get(short).map_or("–".to_owned(), |took| format!("{} ms", took.as_millis()));
        let _ = writeln!(table, "| `{name}` | {:.1} MB | {:.1} MB | {start} |", bytes / 1e6, ours / 1e6);
        if name == "svinit" {
            assert!(bytes < 30e6, "the image svinit has {bytes} bytes");
        }
    }
    println!("{table}");
    publish("README.md", "images", &table);
}

/// From `docker run` until everything in the container is well, a new database's initialisation included.
fn start(name: &str, options: &[&str]) -> Option<Duration> {
    let mut times = Vec::new();
    for _ in 0..rounds() {
        build(&[name]);
        let began = Instant::now();
        let container = Single::run(name, options, &[])?;
        let is_well = || docker(&["exec", &container.name, "svctl", "health"]).code == 0;
        wait_until("it is well", || container.words(), is_well);
        times.push(began.elapsed());
    }
    Some(median(&mut times))
}

/// A row of the table: the same service both ways.
fn measure(name: &str, subject: &Subject, rows: &mut String) {
    let (container, unit) = (subject.container, subject.unit);
    let many = |how: &dyn Fn()| -> Vec<Cost> { (0..rounds()).map(|_| cost(subject, how)).collect() };
    let identity = container.identity();
    let surgical = many(&|| drop(container.svctl(&format!("restart {unit}"))));
    assert_eq!(container.identity(), identity, "{name}: {unit}");
    let whole = many(&|| drop(docker(&["restart", &container.name]).well()));
    container.wait_for_health("healthy");
    assert!(surgical.iter().all(|cost| cost.kept != Some(false)), "{name}: a neighbour of {unit} noticed");
    let _ = writeln!(rows, "| {name}, {unit} | {} | {} |", words(&surgical), words(&whole));
}

fn words(costs: &[Cost]) -> String {
    let gap = median(&mut costs.iter().map(|cost| cost.gap).collect::<Vec<_>>());
    let failed: u64 = costs.iter().map(|cost| cost.failed).sum();
    let kept = match costs[0].kept {
        None => "–",
        Some(_) if costs.iter().all(|cost| cost.kept == Some(true)) => "kept",
        Some(_) => "lost",
    };
    format!("{} ms | {failed} | {kept}", gap.as_millis())
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Restarts while clients ask, and waits until the service answers well again.
fn cost(subject: &Subject, how: &dyn Fn()) -> Cost {
    until_good(subject.at, subject.path);
    let neighbour = subject.neighbour.map(Neighbour::connect);
    let load = Load::begin(subject.at, subject.path);
    load.go_on_to(20);
    how();
    until_good(subject.at, subject.path);
    load.go_on_to(load.asked() + 20);
    let told = load.end();
    Cost { gap: told.gap, failed: told.failed, kept: neighbour.map(Neighbour::was_kept) }
}

/// Asks again and again on one connection, so that it is never idle.
struct Neighbour {
    is_over: Arc<AtomicBool>,
    asker: JoinHandle<bool>,
}

impl Neighbour {
    fn connect(at: &str) -> Self {
        let mut stream = TcpStream::connect(at).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let ended = Arc::clone(&is_over);
        let asker = thread::spawn(move || {
            while still_answers(&mut stream) {
                if ended.load(Ordering::Relaxed) {
                    return true;
                }
                thread::park_timeout(Duration::from_millis(100));
            }
            false
        });
        Self { is_over, asker }
    }

    /// Whether every answer came on the first connection.
    fn was_kept(self) -> bool {
        self.is_over.store(true, Ordering::Relaxed);
        self.asker.join().unwrap()
    }
}

fn until_good(at: &str, path: &str) {
    let given_up = Instant::now() + PATIENCE * 4;
    while !ask(at, path).is_ok_and(|answer| answer.status == 200) {
        assert!(Instant::now() < given_up, "{at}{path} does not answer");
        look_again();
    }
}

/// One more request on a connection that stays open.
fn still_answers(stream: &mut TcpStream) -> bool {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    if stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").is_err() {
        return false;
    }
    let mut said = Vec::new();
    let mut piece = [0; 4096];
    // The whole answer, by its length, so that the next one begins where this one ends.
    loop {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return false,
            Ok(count) => said.extend_from_slice(&piece[..count]),
        }
        let text = String::from_utf8_lossy(&said);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head
            .lines()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        if body.len() >= length.unwrap_or(0_usize) {
            return head.starts_with("HTTP/1.1 200");
        }
    }
}

/// With UPDATE=1, puts a table between its marks in a README.
pub(crate) fn publish(readme: &str, name: &str, table: &str) {
    if std::env::var_os("UPDATE").is_none() || std::env::var_os("NUMBERS").is_none() {
        return;
    }
    let path = root().join(readme);
    let text = fs::read_to_string(&path).unwrap();
    let (begin, end) = (format!("<!-- numbers: {name} -->\n"), format!("<!-- numbers: end of {name} -->"));
    let (before, rest) = text.split_once(&begin).unwrap_or_else(|| panic!("{readme} has no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("{readme} has no {end}"));
    fs::write(&path, format!("{before}{begin}{table}{end}{after}")).unwrap();
}
