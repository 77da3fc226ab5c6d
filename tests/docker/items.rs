//! The list of things to do, which the systems monolith, two-tier and three-tier have in common: its clients, and what
//! is done to each of its services.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Builder, JoinHandle};
use std::time::Duration;

use serde_json::{Value, json};

use crate::engine::load::Load;
use crate::engine::{Answer, Container, System, ask, wait_until};

/// Nobody waits longer for an answer.
const PATIENCE: Duration = Duration::from_secs(40);

/// Between two requests of a writer whose last one failed.
const REFUSED_PAUSE: Duration = Duration::from_millis(20);

/// One request with a JSON body, on a connection of its own.
pub(crate) fn send(at: &str, method: &str, path: &str, body: &Value) -> Result<Answer, String> {
    let to_text = |why: std::io::Error| why.to_string();
    let body = body.to_string();
    let mut stream = TcpStream::connect(at).map_err(to_text)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(to_text)?;
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all((head + &body).as_bytes()).map_err(to_text)?;
    let mut said = String::new();
    stream.read_to_string(&mut said).map_err(to_text)?;
    let (head, body) = said.split_once("\r\n\r\n").ok_or("the answer ended early")?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or("no status")?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

/// Adds an item and gives its number; else why it was not acknowledged.
pub(crate) fn add(at: &str, text: &str) -> Result<u64, String> {
    let answer = send(at, "POST", "/api/items/", &json!({ "text": text }))?;
    let item: Value = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
    let number = item["id"].as_u64().filter(|_| answer.status == 201);
    number.ok_or_else(|| format!("status {}", answer.status))
}

/// The texts of the newest items, the newest first.
#[track_caller]
pub(crate) fn texts(at: &str) -> Vec<String> {
    let answer = ask(at, "/api/items/?limit=10000").unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let page: Value = serde_json::from_str(&answer.body).unwrap();
    let items = page["results"].as_array().expect("a page");
    items.iter().map(|item| item["text"].as_str().expect("a text").to_owned()).collect()
}

/// Whether page, API and database answer.
pub(crate) fn answers(at: &str) -> bool {
    ["/", "/api/health"].iter().all(|path| ask(at, path).is_ok_and(|answer| answer.status == 200))
}

/// The page, its parts, its own paths, the API, and the two healths.
pub(crate) fn answers_in_full(at: &str) {
    let get = |path: &str| ask(at, path).unwrap();
    let page = get("/");
    assert!(page.body.contains("<div id=\"root\">"), "{}", page.body);
    let script = page.body.split('"').find(|word| word.ends_with(".js")).expect("the page has a script");
    let script = get(script);
    assert_eq!((script.status, script.header("Content-Type")), (200, Some("application/javascript")));
    assert!(script.header("Cache-Control").is_some_and(|value| value.contains("immutable")));
    assert_eq!(get("/some/path/of/the/page").body, page.body, "every path is the page's own");
    assert_eq!(get("/assets/missing.js").status, 404);

    let number = add(at, "wash").unwrap();
    assert_eq!(texts(at), ["wash"]);
    let path = format!("/api/items/{number}/");
    let done = send(at, "PATCH", &path, &json!({ "done": true })).unwrap();
    assert!(done.status == 200 && done.body.contains("\"done\":true"), "{done:?}");
    assert_eq!(send(at, "DELETE", &path, &Value::Null).unwrap().status, 204);
    assert_eq!(texts(at), [""; 0]);
    assert_eq!(add(at, "").unwrap_err(), "status 400");
    assert_eq!(get("/api/static/rest_framework/css/default.css").status, 200, "styles of the browsable API");

    assert_eq!(get("/api/health").body, r#"{"status": "pass", "database": "pass"}"#);
    assert_eq!(get("/health").status, 200);
}

/// `svctl restart` replaces this unit, and neither the container nor a neighbour; no request for `path` fails.
pub(crate) fn is_restarted_alone(container: &Container, unit: &str, at: &str, path: &str) {
    let (before, mut pids) = (container.identity(), container.pids());
    let load = Load::begin(at, path);
    load.go_on_to(30);
    container.svctl(&format!("restart {unit}"));
    load.go_on_to(load.asked() + 30);
    let told = load.end();
    assert_eq!(told.failed, 0, "{unit}: {:?} of {} good", told.why, told.good);
    assert_eq!(container.identity(), before, "the container is the same");
    let mut now = container.pids();
    assert_ne!(now.remove(unit), pids.remove(unit), "{unit} is another");
    assert_eq!(now, pids, "the neighbours are the same");
}

/// Each of these units is killed, and another takes its place; nothing else is touched.
pub(crate) fn heal_after_kill(container: &Container, units: &[&str]) {
    let before = container.identity();
    for unit in units {
        let mut pids = container.pids();
        let old = container.kill(unit);
        container.wait_for_successor(unit, old);
        let mut now = container.pids();
        now.remove(*unit);
        pids.remove(*unit);
        assert_eq!(now, pids, "{unit}: the neighbours are the same");
    }
    assert_eq!(container.identity(), before, "the container is the same");
}

/// Makes a unit hang, its main process and the workers of that, and gives the number of the former.
pub(crate) fn hang(container: &Container, unit: &str) -> u64 {
    let pid = container.pid(unit).unwrap_or_else(|| panic!("{unit} has no process"));
    let script = format!("kill -STOP {pid} $(cat /proc/{pid}/task/{pid}/children)");
    container.disaster(&["sh", "-c", &script]).well();
    pid
}

/// Users of all processes but PID 1, as numbers, each once.
pub(crate) fn users(container: &Container) -> Vec<String> {
    let script = "for p in /proc/[0-9]*; do [ $p = /proc/1 ] || [ $p = /proc/$$ ] || \
                  sed -n 's/^Uid:\\t\\([0-9]*\\).*/\\1/p' $p/status 2>/dev/null; done | sort -u";
    let said = container.exec(&["sh", "-c", script]).well();
    said.lines().map(str::to_owned).filter(|user| user != "0").collect()
}

/// Lets the users of rootless containers read the secrets, as their READMEs say.
pub(crate) fn open_secrets(system: &System) {
    // A monolith makes its own.
    for entry in fs::read_dir(system.get("SECRETS_DIR")).into_iter().flatten() {
        fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o444)).unwrap();
    }
}

/// Ends this container as `docker stop` does: within its grace, in order, with nobody killed.
pub(crate) fn stops_in_order(container: &Container, grace: u64) {
    let took = container.stop();
    assert_eq!(container.exit_code(), 0, "{}", container.words());
    assert!(took.as_secs() < grace, "{took:?}");
    assert!(!container.words().contains("had to be killed"), "{}", container.words());
}

/// Clients that add items as fast as they are acknowledged.
pub(crate) struct Writers {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Written>>,
}

/// What became of the items.
#[derive(Debug, Default)]
pub(crate) struct Written {
    /// The texts of those that were acknowledged.
    pub(crate) acknowledged: Vec<String>,
    /// Why the others were not.
    pub(crate) refused: Vec<String>,
}

impl Writers {
    pub(crate) fn begin(at: &str, count: usize) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let one = |writer: usize| {
            let (over, at) = (Arc::clone(&over), at.to_owned());
            let write = move || {
                let mut written = Written::default();
                for round in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let text = format!("{writer}-{round}");
                    match add(&at, &text) {
                        Ok(_) => written.acknowledged.push(text),
                        Err(why) => {
                            written.refused.push(why);
                            thread::park_timeout(REFUSED_PAUSE);
                        }
                    }
                }
                written
            };
            Builder::new().spawn(write).expect("a thread")
        };
        Self { threads: (0..count).map(one).collect(), over }
    }

    pub(crate) fn end(self) -> Written {
        self.over.store(true, Ordering::Relaxed);
        let mut all = Written::default();
        for thread in self.threads {
            let one = thread.join().unwrap();
            all.acknowledged.extend(one.acknowledged);
            all.refused.extend(one.refused);
        }
        all
    }
}

/// The database is restarted under load: no reader notices more than a wait, and what was acknowledged is there.
pub(crate) fn survive_a_database_restart(database: &Container, at: &str) {
    let (before, mut pids) = (database.identity(), database.pids());
    let readers = Load::begin(at, "/api/items/");
    let writers = Writers::begin(at, 2);
    readers.go_on_to(50);
    database.svctl("restart mysql");
    readers.go_on_to(readers.asked() + 50);
    let (read, written) = (readers.end(), writers.end());
    assert_eq!(read.failed, 0, "{:?} of {} good", read.why, read.good);
    assert!(written.refused.iter().all(|why| why == "status 503"), "{:?}", written.refused);
    let there = texts(at);
    let lost: Vec<&String> = written.acknowledged.iter().filter(|text| !there.contains(text)).collect();
    assert!(!written.acknowledged.is_empty() && lost.is_empty(), "acknowledged and lost: {lost:?}");
    assert_eq!(database.identity(), before, "the container is the same");
    let mut now = database.pids();
    assert_ne!(now.remove("mysql"), pids.remove("mysql"), "the database is another");
    assert_eq!(now, pids, "the neighbours are the same");
}

/// Waits until the system answers as a whole.
pub(crate) fn wait_for_answers(system: &System, at: &str) {
    wait_until("everything answers", || system.words(), || answers(at));
}
