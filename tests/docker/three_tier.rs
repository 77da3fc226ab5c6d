//! The system three-tier: page, API and MySQL itself, a container each, and the development server in the page's place.

#![expect(clippy::disallowed_methods, reason = "measures by a clock, and kills from outside")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::engine::load::Load;
use crate::engine::{System, ask, docker, free_ports, root, wait_until};
use crate::items;

/// Longest wait for something to come over the websocket.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn every_tier_answers_heals_and_is_restarted_by_itself() {
    let Some(system) = System::laid_out("three-tier") else { return };
    let system = system.watched_closely();
    system.start(&[]);
    let [frontend, backend, mysql] = ["frontend", "backend", "mysql"].map(|tier| system.container(tier));
    let at = system.at("HTTP_PORT");
    items::answers_in_full(&at);
    assert_eq!(ask(&at, "/health").unwrap().body, "OK\n");
    let users = [(&frontend, "101"), (&backend, "1001"), (&mysql, "999")];
    for (container, user) in users {
        assert_eq!(items::users(container), [user]);
    }
    // The names by which others know these units.
    for (container, names) in
        [(&frontend, "app vite frontend"), (&backend, "django gunicorn"), (&mysql, "mysqld mariadb mysql")]
    {
        container.svctl(&format!("is-active {names}"));
    }

    items::is_restarted_alone(&frontend, "nginx", &at, "/");
    items::is_restarted_alone(&backend, "gunicorn", &at, "/api/items/");
    items::survive_a_database_restart(&mysql, &at);
    // By the words of those who wrote the three down first.
    for (container, unit, words) in
        [(&frontend, "nginx", "pm2 restart app"), (&mysql, "mysql", "systemctl restart mysql")]
    {
        let (before, old) = (container.identity(), container.pid(unit).expect("it runs"));
        container.exec(&words.split(' ').collect::<Vec<_>>()).well();
        container.wait_for_successor(unit, old);
        assert_eq!(container.identity(), before, "{words}");
    }
    items::wait_for_answers(&system, &at);

    let tiers = [(&frontend, "nginx"), (&backend, "gunicorn"), (&mysql, "mysql")];
    for (container, unit) in tiers {
        items::heal_after_kill(container, &[unit]);
    }
    for (container, unit, old) in
        tiers.map(|(container, unit)| (container, unit, items::hang(container, unit)))
    {
        container.wait_for_successor(unit, old);
    }
    items::wait_for_answers(&system, &at);
    for (container, _) in tiers {
        container.wait_for_health("healthy");
    }
}

#[test]
fn the_seeds_reload_of_gunicorn_by_pkill_costs_no_request() {
    let Some(system) = System::laid_out("three-tier") else { return };
    let system = system.set("DATABASE_IMAGE", "mariadb");
    system.start(&[]);
    let (backend, at) = (system.container("backend"), system.at("HTTP_PORT"));
    let workers = || {
        let master = backend.pid("gunicorn").expect("it runs");
        backend.exec(&["cat", &format!("/proc/{master}/task/{master}/children")]).well()
    };
    let (before, master, old) = (backend.identity(), backend.pid("gunicorn"), workers());
    let load = Load::begin(&at, "/api/items/");
    load.go_on_to(30);
    backend.exec(&["pkill", "-HUP", "gunicorn"]).well();
    wait_until(
        "every worker is another",
        || backend.words(),
        || workers().split_whitespace().all(|worker| !old.split_whitespace().any(|other| other == worker)),
    );
    load.go_on_to(load.asked() + 30);
    let told = load.end();
    assert_eq!(told.failed, 0, "{:?} of {} good", told.why, told.good);
    assert_eq!(
        (backend.identity(), backend.pid("gunicorn")),
        (before.clone(), master),
        "the master is the same"
    );

    // A worker hangs, and the database goes away: gunicorn replaces the one, and nobody replaces gunicorn for the other.
    let hung = workers().split_whitespace().next().expect("a worker").to_owned();
    backend.disaster(&["sh", "-c", &format!("kill -STOP {hung}")]).well();
    system.compose(&["stop", "mysql"]).well();
    wait_until(
        "it is said that the database is away",
        || system.words(),
        || ask(&at, "/api/items/").is_ok_and(|answer| answer.status == 503),
    );
    let began = Instant::now();
    let answer = ask(&at, "/api/items/").unwrap();
    assert_eq!((answer.status, answer.header("Retry-After")), (503, Some("1")), "{}", answer.body);
    assert!(began.elapsed() < Duration::from_secs(5), "nobody waits any more: {:?}", began.elapsed());
    assert_eq!(ask(&at, "/api/health").unwrap().status, 503);
    wait_until(
        "the worker is replaced",
        || backend.words(),
        || !workers().split_whitespace().any(|worker| worker == hung),
    );
    assert_eq!((backend.identity(), backend.pid("gunicorn")), (before, master), "the master is the same");
    system.compose(&["start", "mysql"]).well();
    items::wait_for_answers(&system, &at);

    // The first process of a container dies, as the machine sees it: Docker starts the container again.
    let frontend = system.container("frontend");
    let before = frontend.identity();
    Command::new("kill").args(["-9", &before.pid]).status().unwrap();
    wait_until(
        "the container is another run",
        || frontend.words(),
        || {
            let now = frontend.identity();
            now.pid != before.pid && now.pid != "0"
        },
    );
    assert_eq!(frontend.identity().restart_count, "1");
    frontend.wait_for_health("healthy");
    items::wait_for_answers(&system, &at);
}

/// What a monolith has written down and backs up: MariaDB's own SQL.
fn backup_of_a_monolith(file: &Path, text: &str) -> Option<()> {
    let monolith = System::up("monolith")?;
    items::add(&monolith.at("HTTP_PORT"), text).unwrap();
    monolith.shell(&format!("$COMPOSE exec -T monolith db-backup >'{}'", file.display())).well();
    Some(())
}

#[test]
fn mysql_keeps_its_data_and_its_doors() {
    let grown = tempfile::NamedTempFile::new().unwrap();
    let Some(()) = backup_of_a_monolith(grown.path(), "it's \"small\" \\ übrig") else { return };
    let Some(system) = System::laid_out("three-tier") else { return };
    let first = free_ports(3);
    let system = system.set("HTTP_PORT", &format!("{first}-{}", first + 2));
    system.start(&[]);
    let (mysql, at) = (system.container("mysql"), system.published("frontend", 8080).remove(0));
    // A monolith that has grown: MySQL takes over what MariaDB has backed up.
    system.shell(&format!("$COMPOSE exec -T mysql db-restore <'{}'", grown.path().display())).well();
    assert_eq!(items::texts(&at), ["it's \"small\" \\ übrig"]);
    mysql.exec(&["mysql", "app", "--execute=DELETE FROM items_item"]).well();
    items::add(&at, "kept").unwrap();
    let version =
        mysql.exec(&["mysql", "--batch", "--skip-column-names", "--execute=SELECT VERSION()"]).well();
    assert!(version.starts_with("9."), "{version}");

    // Nobody comes in as root over the network; a client that only connects is not counted as an error.
    let backend = system.container("backend");
    let python = |code: &str| backend.exec(&["python", "-c", code]);
    let as_root = "import pymysql; pymysql.connect(host='mysql', user='root', password='')";
    assert!(python(as_root).err.contains("Access denied for user 'root'"), "{}", python(as_root).err);
    let pings = "import socket\nfor _ in range(200): socket.create_connection(('mysql', 3306)).close()";
    python(pings).well();
    assert_eq!(ask(&at, "/api/health").unwrap().status, 200, "after 200 pings there is no lock-out");

    // A backup, and a database that has lost what was in it.
    let backup = system.own_file("backup.sql");
    let shell = |script: &str| system.shell(&format!("{script} '{}'", backup.display())).well();
    shell("$COMPOSE exec -T mysql db-backup >");
    let drop = "DROP DATABASE app; CREATE DATABASE app";
    mysql.exec(&["mysql", &format!("--execute={drop}")]).well();
    assert_eq!(ask(&at, "/api/items/").unwrap().status, 500);
    shell("$COMPOSE exec -T mysql db-restore <");
    assert_eq!(items::texts(&at), ["kept"]);

    // Another password: written into the file, not beside it, since that file is what Docker has mounted.
    fs::write(Path::new(system.get("SECRETS_DIR")).join("db_password"), "another'word").unwrap();
    mysql.svctl("restart mysql-setup");
    let log_in = |password: &str| {
        let code = "import pymysql, sys; pymysql.connect(host='mysql', user='app', password=sys.argv[1])";
        backend.exec(&["python", "-c", code, password])
    };
    assert!(system.container("backend").svctl("restart gunicorn --json").contains("true"));
    log_in("another'word").well();
    assert!(log_in("first").err.contains("Access denied"), "{}", log_in("first").err);
    assert_eq!(items::texts(&at), ["kept"]);

    // Data that is there is never touched.
    let again = mysql.svctl("restart mysql-init --json");
    assert!(again.contains("true"), "{again}");
    assert_eq!(items::texts(&at), ["kept"]);

    for tier in ["frontend", "backend", "mysql"] {
        items::stops_in_order(&system.container(tier), 45);
    }
    assert!(mysql.words().contains("Shutdown complete"), "{}", mysql.words());
    system.compose(&["down"]).well();
    system.start(&["--scale", "frontend=3", "--scale", "backend=2"]);
    let all = system.published("frontend", 8080);
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 3, "{all:?}");
    assert!(!system.container("mysql").words().contains("Initialization"), "the data was there");

    // Each frontend asks both backends, and one of those may go.
    let ask_all = || {
        for at in all.iter().cycle().take(30) {
            assert_eq!(items::texts(at), ["kept"]);
        }
    };
    ask_all();
    for frontend in system.containers("frontend") {
        let said = docker(&["logs", &frontend.name]).out;
        // The last word of each line is who was asked.
        let asked = said
            .lines()
            .filter(|line| line.contains("/api/items/"))
            .filter_map(|line| line.rsplit(' ').next());
        assert_eq!(asked.collect::<BTreeSet<_>>().len(), 2, "{said}");
    }
    docker(&["kill", &system.containers("backend")[1].name]).well();
    ask_all();
}

#[test]
fn a_change_of_the_page_reaches_the_browser_at_once_while_it_is_worked_on() {
    let Some(system) = System::laid_out("three-tier") else { return };
    let source = system.own_file("source");
    copy(&root().join("images/frontend/app/src"), &source.join("src"));
    fs::copy(root().join("images/frontend/app/index.html"), source.join("index.html")).unwrap();
    let system = system
        .file("compose.dev.yaml")
        .set("DATABASE_IMAGE", "mariadb")
        .set("FRONTEND_SOURCE", source.to_str().unwrap());
    system.start(&[]);
    let (frontend, at) = (system.container("frontend"), system.at("HTTP_PORT"));
    assert_eq!(ask(&at, "/health").unwrap().body, "OK\n");
    assert_eq!(ask(&at, "/api/health").unwrap().status, 200, "Vite asks the backend too");

    let mut page = Socket::open(&at);
    page.wait_for("\"connected\"");
    // What a browser would load; what nobody has loaded is not told of.
    for path in ["/src/main.jsx", "/src/App.jsx"] {
        assert_eq!(ask(&at, path).unwrap().status, 200);
    }
    let app = source.join("src/App.jsx");
    let text = fs::read_to_string(&app).unwrap();
    fs::write(&app, text.replace("Things to do", "Things to do, changed")).unwrap();
    let update = page.wait_for("\"update\"");
    assert!(update.contains("/src/App.jsx"), "{update}");
    assert!(ask(&at, "/src/App.jsx").unwrap().body.contains("Things to do, changed"));

    // The unit is restarted inside the container; whoever has the page open connects again.
    let (before, old) = (frontend.identity(), frontend.pid("vite").expect("it runs"));
    let restarted = frontend.svctl("restart app --json");
    let told: Value = serde_json::from_str(&restarted).unwrap();
    assert_ne!(frontend.pid("vite"), Some(old), "{told}");
    Socket::open(&at).wait_for("\"connected\"");
    assert_eq!(frontend.identity(), before, "the container is the same");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, to.join(path.file_name().expect("a name"))).unwrap();
    }
}

/// A page's websocket to Vite.
struct Socket {
    stream: TcpStream,
}

impl Socket {
    /// As `/@vite/client` opens it: with the token that it carries, so that no other page can.
    fn open(at: &str) -> Self {
        let client = ask(at, "/@vite/client").unwrap().body;
        let (_, rest) = client.split_once("wsToken = \"").expect("the client carries a token");
        let (token, _) = rest.split_once('"').expect("it ends");
        let mut stream = TcpStream::connect(at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let request = format!(
            "GET /?token={token} HTTP/1.1\r\nHost: {at}\r\nOrigin: http://{at}\r\nConnection: Upgrade\r\n\
             Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: vite-hmr\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("vite-hmr"), "{head}");
        Self { stream }
    }

    /// The next message that contains this.
    #[track_caller]
    fn wait_for(&mut self, word: &str) -> String {
        loop {
            let text = self.message();
            if text.contains(word) {
                return text;
            }
        }
    }

    /// One whole frame of the server's, which is not masked.
    fn message(&mut self) -> String {
        let mut take = |count: usize| {
            let mut bytes = vec![0; count];
            self.stream.read_exact(&mut bytes).unwrap();
            bytes
        };
        let length = match take(2)[1] {
            126 => usize::from(u16::from_be_bytes(take(2).try_into().expect("two bytes"))),
            127 => usize::try_from(u64::from_be_bytes(take(8).try_into().expect("eight bytes"))).unwrap(),
            short => usize::from(short),
        };
        String::from_utf8_lossy(&take(length)).into_owned()
    }
}
