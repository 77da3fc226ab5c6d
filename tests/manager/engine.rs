//! A Docker engine with one container, `backend`, in which a real svinit runs: what is executed there is executed.
//!
//! It writes down what it is asked, and tells its events as the real one does. It stands behind a real guard.

#![expect(
    clippy::disallowed_methods,
    reason = "an engine of a test is a thread, and starts the processes that it is asked for"
)]

use std::collections::BTreeMap;
use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;
use std::io::Write;
use std::os::unix::net::UnixListener;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Child;
use std::process::ChildStdout;
use std::process::Command;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::Mutex;
use std::thread;

use serde_json::Value;
use serde_json::json;
use tempfile::TempDir;

use crate::fixture::svmanager;
use crate::fixture::value;
use crate::supervisor::executable;

/// The number of the container.
pub(crate) const ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// The engine, and the guard in front of it.
pub(crate) struct Engine {
    dir: TempDir,
    shared: Arc<Shared>,
    guard: Child,
}

struct Shared {
    state: Mutex<State>,
    /// What a restart does; it returns where the svinit is that it has started.
    restart: Box<dyn Fn() -> PathBuf + Send + Sync>,
}

struct State {
    /// In the engine's word.
    status: &'static str,
    /// Where the svinit in the container answers.
    svinit: PathBuf,
    asked: Vec<String>,
    listeners: Vec<UnixStream>,
    execs: BTreeMap<String, Exec>,
}

#[derive(Default)]
struct Exec {
    command: Vec<String>,
    code: Option<i32>,
}

impl Engine {
    /// With a container that runs, whose svinit answers at `svinit`, and with these options of the guard.
    pub(crate) fn start(
        svinit: PathBuf,
        options: &[&str],
        restart: impl Fn() -> PathBuf + Send + Sync + 'static,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = State {
            status: "running",
            svinit,
            asked: Vec::new(),
            listeners: Vec::new(),
            execs: BTreeMap::new(),
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), restart: Box::new(restart) });
        let listener = UnixListener::bind(dir.path().join("docker.sock")).unwrap();
        let own = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let shared = Arc::clone(&own);
                // Whoever asks may leave.
                thread::spawn(move || shared.answer(stream));
            }
        });
        let path = |name: &str| dir.path().join(name);
        let mut guard = svmanager()
            .args(["guard", "--engine"])
            .arg(path("docker.sock"))
            .arg("--listen")
            .arg(path("guard.sock"))
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(guard.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert!(line.contains("guard.sock in front of"), "{line}");
        thread::spawn(move || io::copy(&mut said, &mut io::sink()));
        Self { dir, shared, guard }
    }

    /// For `DOCKER_HOST`: the guard.
    pub(crate) fn host(&self) -> String {
        format!("unix://{}", self.dir.path().join("guard.sock").display())
    }

    /// Another svinit is in the container from now on.
    pub(crate) fn put(&self, svinit: PathBuf) {
        self.shared.state.lock().unwrap().svinit = svinit;
    }

    /// The container is so from now on, and these events tell it.
    pub(crate) fn turn(&self, status: &'static str, events: &[(&str, Value)]) {
        self.shared.state.lock().unwrap().status = status;
        events.iter().for_each(|(action, attributes)| self.shared.tell(action, attributes));
    }

    /// How often it was asked for this.
    pub(crate) fn count(&self, asked: &str) -> usize {
        self.shared.state.lock().unwrap().asked.iter().filter(|one| *one == asked).count()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.guard.kill();
        let _ = self.guard.wait();
    }
}

impl Shared {
    fn tell(&self, action: &str, attributes: &Value) {
        let actor = json!({ "ID": ID, "Attributes": attributes });
        let line = json!({ "Type": "container", "Action": action, "Actor": actor }).to_string() + "\n";
        let chunk = format!("{:x}\r\n{line}\r\n", line.len());
        let listeners = &mut self.state.lock().unwrap().listeners;
        listeners.retain_mut(|listener| listener.write_all(chunk.as_bytes()).is_ok());
    }

    fn answer(&self, stream: UnixStream) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        let head = crate::fixture::read_head(&mut stream)?;
        let length = value(&head, "content-length").map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        let asked = head.lines().next().unwrap_or_default().trim_end_matches(" HTTP/1.1").to_owned();
        self.state.lock().unwrap().asked.push(asked.clone());
        let (method, target) = asked.split_once(' ').unwrap();
        let path: Vec<&str> = target.split('?').next().unwrap().split('/').skip(1).collect();
        let mut stream = stream.into_inner();
        let (status, value) = match (method, path.as_slice()) {
            ("GET", ["version"]) => (200, json!({ "ApiVersion": "1.45", "MinAPIVersion": "1.24" })),
            ("GET", ["containers", "backend" | ID, "json"]) => (200, self.inspected()),
            ("GET", ["events"]) => {
                let mut state = self.state.lock().unwrap();
                stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")?;
                state.listeners.push(stream);
                return Ok(());
            }
            ("POST", ["containers", ID, "exec"]) => self.make_exec(&body),
            ("POST", ["exec", exec, "start"]) => return self.start_exec(exec, stream),
            ("GET", ["exec", exec, "json"]) => {
                let code = self.state.lock().unwrap().execs.get(*exec).and_then(|exec| exec.code);
                (200, json!({ "ID": exec, "Running": code.is_none(), "ExitCode": code }))
            }
            ("POST", ["containers", ID, "restart"]) => {
                let svinit = (self.restart)();
                {
                    let mut state = self.state.lock().unwrap();
                    (state.status, state.svinit) = ("running", svinit);
                }
                ["start", "restart"].iter().for_each(|action| self.tell(action, &json!({})));
                (204, json!({}))
            }
            _ => (404, json!({ "message": format!("no such thing: {asked}") })),
        };
        let body = if status == 204 { String::new() } else { value.to_string() };
        write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    }

    fn inspected(&self) -> Value {
        let status = self.state.lock().unwrap().status;
        let address = if status == "exited" { "" } else { "127.0.0.1" };
        json!({
            "Id": ID, "Name": "/backend", "State": { "Status": status },
            "Config": { "Labels": { "svinit.managed": "true" } },
            "NetworkSettings": { "Networks": { "net": { "IPAddress": address } } }
        })
    }

    fn make_exec(&self, body: &[u8]) -> (u16, Value) {
        let mut state = self.state.lock().unwrap();
        match state.status {
            "running" => {}
            "paused" => {
                let why = format!("Container {ID} is paused, unpause the container before exec");
                return (409, json!({ "message": why }));
            }
            _ => return (409, json!({ "message": format!("container {ID} is not running") })),
        }
        let body: Value = serde_json::from_slice(body).unwrap();
        let words = body["Cmd"].as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned());
        let id = format!("{:064x}", state.execs.len() + 1);
        state.execs.insert(id.clone(), Exec { command: words.collect(), code: None });
        (201, json!({ "Id": id }))
    }

    /// Its output as frames, until it ends, or until nobody listens any more: then its stdin is closed.
    fn start_exec(&self, exec: &str, mut stream: UnixStream) -> io::Result<()> {
        let (words, svinit) = {
            let state = self.state.lock().unwrap();
            (state.execs[exec].command.clone(), state.svinit.clone())
        };
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        let mut child = Command::new(executable())
            .args(["--as", "svctl", "--socket"])
            .arg(svinit)
            .args(&words[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        let (mut stdin, stdout) = (child.stdin.take(), child.stdout.take().unwrap());
        let mut listener = stream.try_clone()?;
        thread::spawn(move || {
            let _ = listener.read(&mut [0]);
            drop(stdin.take());
        });
        let sent = frames(stdout, &mut stream);
        let mut complaint = Vec::new();
        child.stderr.take().unwrap().read_to_end(&mut complaint)?;
        let code = child.wait()?.code();
        if let Some(exec) = self.state.lock().unwrap().execs.get_mut(exec) {
            exec.code = code;
        }
        sent.and_then(|()| frame(2, &complaint, &mut stream))
    }
}

fn frames(mut from: ChildStdout, to: &mut UnixStream) -> io::Result<()> {
    let mut bytes = [0; 4096];
    loop {
        let count = from.read(&mut bytes)?;
        if count == 0 {
            return Ok(());
        }
        frame(1, &bytes[..count], to)?;
    }
}

fn frame(kind: u8, bytes: &[u8], to: &mut UnixStream) -> io::Result<()> {
    let length = u32::try_from(bytes.len()).unwrap().to_be_bytes();
    to.write_all(&[&[kind, 0, 0, 0], &length[..], bytes].concat())
}
