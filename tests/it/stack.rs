//! The stack of `make run` as a fixture: nginx, Django under gunicorn and PostgreSQL, below one svinit.
//!
//! Each test has a stack of its own, with its own directory and ports, and one stands at a time: two database servers
//! and two web servers would only take the machine from each other. Nothing here waits for time: whoever waits looks
//! again whenever svinit has written a line, since it writes one for every change of state.
#![expect(
    clippy::disallowed_methods,
    reason = "a test starts svinit as a user would, and reads the clock for its own bounds"
)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything here. Generous: the machine may be busy with other tests.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long one HTTP request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a waiter relies on svinit's next line before it looks again anyway.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Between two requests of a client whose last one failed.
const REFUSED_PAUSE: Duration = Duration::from_millis(5);

/// The units that stay.
pub(crate) const SERVICES: [&str; 3] = ["nginx", "gunicorn", "postgres"];

static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// Whose processes they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum As {
    /// Whoever runs the tests.
    Self_,
    /// The user `nobody`; takes root to become.
    Nobody,
}

/// A running stack. Killed when it is dropped, if it was not stopped before.
pub(crate) struct Stack {
    svinit: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
    directory: TempDir,
    pub(crate) http_port: u16,
    postgres_port: u16,
    _turn: MutexGuard<'static, ()>,
}

impl Stack {
    /// Starts everything and waits until all of it is up. `None`, after saying why, where programs are missing.
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(As::Self_, &[])
    }

    /// As [`Stack::start`], as another user, and with a layer of units of its own on top.
    pub(crate) fn start_with(whom: As, layer: &[(&str, &str)]) -> Option<Self> {
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let directory =
            tempfile::Builder::new().prefix("svinit-stack-").tempdir().expect("a temporary directory");
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
        if whom == As::Nobody {
            std::os::unix::fs::chown(directory.path(), Some(NOBODY), Some(NOBODY)).expect("we are root");
        }
        let [http_port, app_port, postgres_port] = free_ports();
        let prepared = command(&repository().join("scripts/stack"), whom)
            .arg("prepare")
            .env("SVINIT_RUN_DIR", directory.path())
            .env("HTTP_PORT", http_port.to_string())
            .env("APP_PORT", app_port.to_string())
            .env("PGPORT", postgres_port.to_string())
            .output()
            .expect("scripts/stack can be run");
        let said = String::from_utf8_lossy(&prepared.stderr);
        assert!(prepared.status.success(), "scripts/stack prepare: {said}");
        if said.contains("is missing") {
            skip(said.trim());
            return None;
        }
        let layer_directory = directory.path().join("layer");
        fs::create_dir(&layer_directory).expect("the directory is new");
        for (unit, text) in layer {
            fs::write(layer_directory.join(format!("{unit}.toml")), text).expect("the directory is ours");
        }
        let (svinit, lines) = launch(directory.path(), whom);
        let mut stack =
            Self { svinit, lines, seen: Vec::new(), directory, http_port, postgres_port, _turn: turn };
        stack.wait_until("everything is up", |stack| stack.state_of("welcome") == "completed");
        Some(stack)
    }

    /// A file of the stack's own directory.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Runs `svctl`.
    pub(crate) fn svctl(&self, arguments: &[&str]) -> Answer {
        let output = Command::new(env!("CARGO_BIN_EXE_svinit"))
            .args(["--as", "svctl"])
            .args(arguments)
            .env("SVINIT_SOCKET", self.file("control.sock"))
            .stdin(Stdio::null())
            .output()
            .expect("svctl can be run");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Answer { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Runs `svctl` and expects it to have worked.
    pub(crate) fn does(&self, arguments: &[&str]) -> String {
        let answer = self.svctl(arguments);
        assert_eq!(answer.code, Some(0), "svctl {}: {}{}", arguments.join(" "), answer.out, answer.err);
        answer.out
    }

    /// What `svctl status --json` says of a unit.
    pub(crate) fn status(&self, unit: &str) -> Value {
        let answer = self.svctl(&["status", "--json"]);
        let units: Value = serde_json::from_str(&answer.out).unwrap_or(Value::Null);
        let found = units.as_array().and_then(|units| units.iter().find(|one| one["unit"] == unit)).cloned();
        found.unwrap_or(Value::Null)
    }

    /// Its state in one word; empty as long as nobody answers.
    pub(crate) fn state_of(&self, unit: &str) -> String {
        self.status(unit)["state"].as_str().unwrap_or_default().to_owned()
    }

    /// The PID of a unit's main process, which must have one.
    pub(crate) fn pid(&self, unit: &str) -> i32 {
        let status = self.status(unit);
        let pid = status["pid"].as_i64().unwrap_or_else(|| panic!("{unit} has no process: {status}"));
        i32::try_from(pid).expect("a PID")
    }

    /// PIDs of all services but `unit`.
    pub(crate) fn neighbours(&self, unit: &str) -> Vec<(&'static str, i32)> {
        SERVICES.into_iter().filter(|other| *other != unit).map(|other| (other, self.pid(other))).collect()
    }

    /// Waits until a unit is ready with another process than `old`, and returns that.
    pub(crate) fn wait_for_successor(&mut self, unit: &str, old: i32) -> i32 {
        self.wait_until(&format!("{unit} has been replaced"), |stack| {
            let status = stack.status(unit);
            status["state"] == "ready" && status["pid"].as_i64().is_some_and(|pid| pid != i64::from(old))
        });
        self.pid(unit)
    }

    /// Waits until `is_so`, looking whenever svinit has said something.
    pub(crate) fn wait_until(&mut self, what: &str, mut is_so: impl FnMut(&mut Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !is_so(self) {
            assert!(Instant::now() < until, "not within {PATIENCE:?}: {what}\n{}", self.output());
            match self.lines.recv_timeout(LOOK_AGAIN) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("svinit ended before this: {what}\n{}", self.output())
                }
            }
            self.seen.extend(self.lines.try_iter());
        }
    }

    /// All that svinit and the services have written so far.
    pub(crate) fn output(&mut self) -> String {
        self.seen.extend(self.lines.try_iter());
        self.seen.join("\n")
    }

    /// GET, through nginx.
    pub(crate) fn get(&self, path: &str) -> Result<Response, String> {
        request(self.http_port, &format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"))
    }

    /// Begins to ask for `path` from `threads` threads, without a pause.
    pub(crate) fn load(&self, threads: usize, path: &str) -> Load {
        let (port, text) = (self.http_port, format!("GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n"));
        Load::start(threads, move |_| match request(port, &text) {
            Ok(answer) if answer.status == 200 => Ok(0),
            Ok(answer) => Err(format!("status {}", answer.status)),
            Err(why) => Err(why),
        })
    }

    /// Begins to write notes from `threads` threads; the tally holds the numbers of those that were acknowledged.
    pub(crate) fn write_load(&self, threads: usize) -> Load {
        let port = self.http_port;
        Load::start(threads, move |round| {
            let answer = post(port, &format!("note {round}"))?;
            let note: Value = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
            let number = note["id"].as_u64().filter(|_| answer.status == 201);
            number.ok_or_else(|| format!("status {}", answer.status))
        })
    }

    /// What the database answers to one query, as lines.
    pub(crate) fn query(&self, sql: &str) -> Vec<String> {
        let password = fs::read_to_string(self.file("secrets/db_password")).expect("scripts/stack made it");
        let output = Command::new("psql")
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "--command", sql])
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", self.postgres_port.to_string())
            .env("PGUSER", "demo")
            .env("PGDATABASE", "demo")
            .env("PGPASSWORD", password)
            .output()
            .expect("psql is there");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect()
    }

    /// Asks svinit to end, as `docker stop` does, and returns its status, how long it took and all output.
    pub(crate) fn stop(mut self) -> (ExitStatus, Duration, String) {
        let began = Instant::now();
        signal(self.own_pid(), Signal::SIGTERM);
        let mut ended = None;
        while ended.is_none() {
            assert!(began.elapsed() < PATIENCE, "svinit does not end\n{}", self.output());
            match self.lines.recv_timeout(LOOK_AGAIN) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    ended = Some(self.svinit.wait().expect("it is our child"))
                }
            }
        }
        (ended.expect("the loop ends with it"), began.elapsed(), self.output())
    }

    fn own_pid(&self) -> i32 {
        i32::try_from(self.svinit.id()).expect("a PID")
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        if let Ok(None) = self.svinit.try_wait() {
            // TERM first: svinit stops its services, which a killed one could not.
            signal(self.own_pid(), Signal::SIGTERM);
            let until = Instant::now() + PATIENCE;
            while Instant::now() < until
                && !matches!(self.lines.recv_timeout(LOOK_AGAIN), Err(RecvTimeoutError::Disconnected))
            {
            }
            let _ = self.svinit.kill();
            let _ = self.svinit.wait();
        }
    }
}

/// What `svctl` answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Sends a signal to one process.
pub(crate) fn signal(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap_or_else(|why| panic!("cannot send {signal} to {pid}: {why}"));
}

/// The processes whose parent is `pid`.
pub(crate) fn children(pid: i32) -> Vec<i32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Says that a test was skipped, which CI does not accept.
#[expect(clippy::print_stdout, reason = "whoever runs the tests is to read it")]
fn skip(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "CI runs every test, but: {why}");
    println!("skipped: {why}");
}

/// The user and group `nobody` of Debian.
const NOBODY: u32 = 65534;

/// Whether a test can become `nobody`, and `nobody` can reach svinit.
pub(crate) fn nobody_can_run() -> bool {
    let reach = |path: &Path| {
        path.ancestors().all(|one| fs::metadata(one).is_ok_and(|data| data.permissions().mode() & 1 == 1))
    };
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    is_root && reach(Path::new(env!("CARGO_BIN_EXE_svinit"))) && reach(&repository())
}

fn repository() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn command(program: &Path, whom: As) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).current_dir("/");
    if whom == As::Nobody {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

/// Becomes svinit with what `scripts/stack prepare` wrote, and reads all that it says.
fn launch(directory: &Path, whom: As) -> (Child, Receiver<String>) {
    let read = |name: &str| fs::read_to_string(directory.join(name)).expect("scripts/stack prepare wrote it");
    let mut svinit = command(Path::new(env!("CARGO_BIN_EXE_svinit")), whom);
    for name in ["SVINIT_UNITS", "SVINIT_CONFIG", "SVINIT_SOCKET", "SVINIT_HTTP", "SVINIT_LOG_FORMAT"] {
        svinit.env_remove(name);
    }
    svinit.arg("--socket").arg(directory.join("control.sock")).args(["--http", "off"]);
    svinit.arg("--config").arg(repository().join("examples/django/svinit.toml"));
    for unit in read("units").lines() {
        svinit.args(["--units", unit]);
    }
    svinit.arg("--units").arg(directory.join("layer"));
    for line in read("env").lines() {
        let (name, value) = line.split_once('=').expect("a line is NAME=value");
        svinit.env(name, value);
    }
    let mut child = svinit.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("svinit can be run");
    let (sender, lines) = channel();
    forward(child.stdout.take().expect("a pipe"), sender.clone());
    forward(child.stderr.take().expect("a pipe"), sender);
    (child, lines)
}

/// Reads lines until the end, in a thread of its own.
fn forward(pipe: impl Read + Send + 'static, lines: Sender<String>) {
    let read = move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let _ = lines.send(String::from_utf8_lossy(&line).into_owned());
        }
    };
    Builder::new().spawn(read).expect("a thread");
}

/// Three ports that nobody listens on.
fn free_ports() -> [u16; 3] {
    let held = [(); 3].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port"));
    held.map(|listener| listener.local_addr().expect("it is bound").port())
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// Writes one note.
pub(crate) fn post(port: u16, text: &str) -> Result<Response, String> {
    let body = serde_json::json!({ "text": text }).to_string();
    let head =
        format!("POST /api/notes HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    request(port, &(head + &body))
}

/// Sends one request on a connection of its own and reads the answer to its end.
fn request(port: u16, text: &str) -> Result<Response, String> {
    let to_text = |why: std::io::Error| why.to_string();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).map_err(to_text)?;
    stream.set_read_timeout(Some(REQUEST_TIMEOUT)).map_err(to_text)?;
    stream.write_all(text.as_bytes()).map_err(to_text)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(to_text)?;
    let status = answer.split_whitespace().nth(1).and_then(|word| word.parse().ok());
    let (_, body) = answer.split_once("\r\n\r\n").ok_or("the answer ended early")?;
    Ok(Response { status: status.ok_or("no status line")?, body: body.to_owned() })
}

/// Requests from several threads at once, until it is ended.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    counted: Receiver<()>,
    threads: Vec<JoinHandle<Tally>>,
}

/// What became of the requests.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// What each good answer was worth: the number of a note, or nothing.
    pub(crate) good: Vec<u64>,
    /// Why each of the others was none.
    pub(crate) failed: Vec<String>,
}

impl Load {
    fn start(threads: usize, ask: impl Fn(u64) -> Result<u64, String> + Clone + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (count, counted) = channel();
        let one = |number: usize| {
            let (stop, ask, count) = (Arc::clone(&stop), ask.clone(), count.clone());
            let work = move || {
                let mut tally = Tally::default();
                for round in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    match ask(round) {
                        Ok(worth) => {
                            tally.good.push(worth);
                            let _ = count.send(());
                        }
                        Err(why) => {
                            tally.failed.push(why);
                            // A refused client that asks again at once would take the CPU from the service it waits for.
                            std::thread::park_timeout(REFUSED_PAUSE);
                        }
                    }
                }
                tally
            };
            Builder::new().name(format!("load {number}")).spawn(work).expect("a thread")
        };
        let threads = (0..threads).map(one).collect();
        Self { stop, counted, threads }
    }

    /// Waits until so many more requests have been answered well.
    pub(crate) fn wait_for(&self, more: usize) {
        // What came before does not count.
        while self.counted.try_recv().is_ok() {}
        for _ in 0..more {
            self.counted.recv_timeout(PATIENCE).expect("the service answers again");
        }
    }

    /// Lets the requests under way end, and adds up.
    pub(crate) fn end(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Tally::default();
        for thread in self.threads {
            let one = thread.join().expect("load threads do not panic");
            all.good.extend(one.good);
            all.failed.extend(one.failed);
        }
        all
    }
}
