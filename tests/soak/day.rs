//! The svinit of a soak run: PID 1 of a namespace with a `/run` of its own, and what is left when it has ended.

use std::fmt;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::units;

/// Longest wait for an answer, and for the end.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What stands in front of svinit: a PID namespace, a mount namespace with an empty `/run`.
const SURROUNDINGS: [&str; 8] =
    ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--", "sh", "-c"];

/// Small buffers, so that all of them have had their fill before the first sample: lines are kept for `svctl logs`, and
/// with the usual 256 KiB a unit that says little would go on filling its own for half an hour.
const SETTINGS: &str = r#"
[control]
allow_other_namespaces = true
[log]
buffer_total = "256K"
[defaults.log]
buffer = "16K"
"#;

/// A running svinit with its units.
pub struct Day {
    dir: TempDir,
    child: Child,
    pid: i32,
}

/// A clock that can be stopped: waits for the time between two things that are to be done, or for the end.
#[derive(Clone, Default)]
pub struct Pace {
    over: Arc<(Mutex<bool>, Condvar)>,
}

impl Pace {
    /// Waits so long; false when it is over.
    pub fn wait(&self, time: Duration) -> bool {
        let (over, changed) = &*self.over;
        let over = over.lock().unwrap();
        let (over, _) = changed.wait_timeout_while(over, time, |over| !*over).unwrap();
        !*over
    }

    /// Ends all waits.
    pub fn end(&self) {
        *self.over.0.lock().unwrap() = true;
        self.over.1.notify_all();
    }
}

impl Day {
    /// Starts it and waits until its units run; `None`, after saying why, where no namespace can be had.
    pub fn begin() -> Option<Self> {
        if let Err(why) = namespaces() {
            assert!(std::env::var_os("CI").is_none(), "CI runs every test, but: {why}");
            eprintln!("skipped: {why}");
            return None;
        }
        let dir = tempfile::Builder::new().prefix("svinit-soak-").tempdir().unwrap();
        units::write(dir.path(), answer_checks());
        fs::write(dir.path().join("svinit.toml"), SETTINGS).unwrap();
        let mut command = Command::new(SURROUNDINGS[0]);
        command.args(&SURROUNDINGS[1..]).arg("mount -t tmpfs tmpfs /run && exec \"$0\" \"$@\"");
        command.arg(env!("CARGO_BIN_EXE_svinit")).args(["--http", "127.0.0.1:0", "--units"]);
        command.arg(dir.path().join("units")).arg("--config").arg(dir.path().join("svinit.toml"));
        command.arg("--socket").arg(dir.path().join("sock"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (said, saying) = channel();
        drain(child.stdout.take().unwrap(), None);
        drain(child.stderr.take().unwrap(), Some(said));
        let until = Instant::now() + PATIENCE;
        let mut told = String::new();
        loop {
            match saying.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(line) if line.contains("boot finished") => break,
                Ok(line) => told += &line,
                Err(error @ (RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected)) => {
                    let _ = child.kill();
                    panic!("svinit does not finish its boot: {error}\n{told}");
                }
            }
        }
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let pid = fs::read_to_string(children).unwrap().trim().parse().expect("unshare has one child");
        Some(Self { dir, child, pid })
    }

    /// svinit's PID, seen from here.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Its control socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    /// Where the rotated logs are.
    pub fn files(&self) -> usize {
        fs::read_dir(self.dir.path()).map_or(0, |entries| entries.flatten().count())
    }

    /// Waits until `holds`; whether it does.
    pub fn comes(&self, holds: impl Fn(&Self) -> bool) -> bool {
        let (until, pace) = (Instant::now() + PATIENCE, Pace::default());
        while !holds(self) {
            if Instant::now() > until {
                return false;
            }
            pace.wait(Duration::from_millis(50));
        }
        true
    }

    /// Tells it to stop, and looks at what is left.
    pub fn end(mut self) -> Left {
        let namespace = fs::read_link(format!("/proc/{}/ns/pid", self.pid)).ok();
        let asked = Instant::now();
        let _ = Command::new("kill").args(["-TERM", &self.pid.to_string()]).status();
        let pace = Pace::default();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status.code();
            }
            if asked.elapsed() > PATIENCE {
                let _ = self.child.kill();
                break None;
            }
            pace.wait(Duration::from_millis(5));
        };
        let took = asked.elapsed();
        let processes = namespace.map_or(0, |namespace| members(&namespace));
        Left { status, took, processes, socket: self.socket().exists() }
    }
}

/// What there was after the end.
pub struct Left {
    status: Option<i32>,
    took: Duration,
    processes: usize,
    socket: bool,
}

impl Left {
    /// What should not be.
    pub fn wrong(&self) -> Vec<String> {
        let mut wrong = Vec::new();
        if self.status != Some(0) {
            wrong.push(format!("svinit ended with {:?}", self.status));
        }
        if self.processes > 0 || self.socket {
            wrong.push(format!("left over: {} processes, socket: {}", self.processes, self.socket));
        }
        wrong
    }
}

impl fmt::Display for Left {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (status, took) = (self.status.unwrap_or(-1), self.took.as_secs_f64());
        write!(f, "end: status {status} {took:.2} s after TERM, {} processes left", self.processes)
    }
}

fn namespaces() -> Result<(), String> {
    let tried = Command::new(SURROUNDINGS[0])
        .args(&SURROUNDINGS[1..])
        .arg("mount -t tmpfs tmpfs /run && exec python3 -c ''")
        .output();
    match tried {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => {
            Err(format!("no namespace, or no python3: {}", String::from_utf8_lossy(&output.stderr)))
        }
        Err(error) => Err(format!("no unshare: {error}")),
    }
}

fn members(namespace: &Path) -> usize {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter(|entry| fs::read_link(entry.path().join("ns/pid")).is_ok_and(|ns| ns == *namespace))
        .count()
}

/// Reads a stream to its end, so that nobody waits for us.
fn drain(stream: impl Read + Send + 'static, lines: Option<Sender<String>>) {
    thread::spawn(move || {
        let mut reader = BufReader::new(stream);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if let Some(lines) = &lines {
                let _ = lines.send(String::from_utf8_lossy(&line).into_owned());
            }
            line.clear();
        }
    });
}

/// Answers every request with 204; returns the port.
fn answer_checks() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let _ = stream.set_read_timeout(Some(Duration::from_secs(1)));
            let mut head = [0; 1024];
            let _ = stream.read(&mut head);
            let _ = stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    port
}

/// One request over the control socket; the status and all that comes until the connection ends.
pub fn ask(socket: &Path, method: &str, path: &str, body: &str) -> Result<(u16, String), String> {
    let told = |error: std::io::Error| format!("{method} {path}: {error}");
    let mut stream = open(socket, method, path, body).map_err(told)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(told)?;
    let status = answer.get(9..12).and_then(|status| status.parse().ok());
    status.map(|status| (status, answer)).ok_or_else(|| format!("{method} {path}: no answer"))
}

/// A request whose answer is still to be read.
pub fn open(socket: &Path, method: &str, path: &str, body: &str) -> std::io::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.0\r\nHost: svinit\r\nContent-Length: {length}\r\n");
    write!(stream, "{head}Content-Type: application/json\r\n\r\n{body}")?;
    Ok(stream)
}
