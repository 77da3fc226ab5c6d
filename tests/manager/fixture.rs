//! A manager on a file of its own, services that note what reaches them, and a client that writes and reads bytes.

#![expect(
    clippy::disallowed_methods,
    reason = "tests start processes, wait for them, and bound their waits by a clock"
)]
#![allow(dead_code, unreachable_pub, reason = "a tool for every module, of which each uses a part")]

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Longest wait for anything. Generous: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The executable, under the manager's name.
pub fn svmanager() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_svinit"));
    command.args(["--as", "svmanager"]).env_remove("SVMANAGER_CONFIG");
    command
}

/// A manager that runs.
pub struct Manager {
    child: Child,
    said: Arc<(Mutex<Vec<String>>, Condvar)>,
    address: SocketAddr,
    dir: TempDir,
}

impl Manager {
    /// With this file, to which an address to listen on is added. In it `{dir}` is a directory of the test's own, which holds
    /// `hosts`.
    pub fn start(config: &str) -> Self {
        Self::with_hosts(config, "127.0.0.1 localhost\n")
    }

    /// With these host names.
    pub fn with_hosts(config: &str, hosts: &str) -> Self {
        Self::beside(config, hosts, None)
    }

    /// With this directory for what it keeps, which it may share with another manager; else one of its own, since managers that share
    /// one agree on one that acts.
    pub fn beside(config: &str, hosts: &str, state: Option<&Path>) -> Self {
        Self::launch(config, hosts, state, &[])
    }

    /// With these variables in its environment.
    pub fn with_env(config: &str, env: &[(&str, &str)]) -> Self {
        Self::launch(config, "127.0.0.1 localhost\n", None, env)
    }

    fn launch(config: &str, hosts: &str, state: Option<&Path>, env: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("hosts"), hosts).unwrap();
        fs::write(dir.path().join("resolv.conf"), "nameserver 127.0.0.1\noptions timeout:1 attempts:1\n")
            .unwrap();
        write_config(&dir, config);
        let path = |name: &str| dir.path().join(name);
        let mut child = svmanager()
            .arg("--config")
            .arg(path("manager.toml"))
            .arg("--hosts")
            .arg(path("hosts"))
            .arg("--resolv-conf")
            .arg(path("resolv.conf"))
            .env("SVMANAGER_STATE", state.unwrap_or(dir.path()))
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let said: Arc<(Mutex<Vec<String>>, Condvar)> = Arc::default();
        let (lines, heard) = (BufReader::new(child.stdout.take().unwrap()), said.clone());
        thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                heard.0.lock().unwrap().push(line);
                heard.1.notify_all();
            }
        });
        let mut manager = Self { child, said, address: ([127, 0, 0, 1], 0).into(), dir };
        let line = manager.wait_for("listening on ");
        manager.address = line.rsplit(' ').next().unwrap().parse().unwrap();
        manager
    }

    /// Waits for a line that holds `words`.
    pub fn wait_for(&self, words: &str) -> String {
        let (lines, heard) = &*self.said;
        let until = Instant::now() + PATIENCE;
        let mut lines = lines.lock().unwrap();
        loop {
            if let Some(line) = lines.iter().find(|line| line.contains(words)) {
                return line.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "svmanager never said {words:?}, but\n{}", lines.join("\n"));
            lines = heard.wait_timeout(lines, left).unwrap().0;
        }
    }

    /// All it has said.
    pub fn said(&self) -> String {
        // Whoever has panicked while it waited for a line shows what was said.
        self.said.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).join("\n")
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its number.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection to it.
    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// Sends these bytes on a connection of their own and reads one answer.
    pub fn send(&self, bytes: impl AsRef<[u8]>) -> Reply {
        self.try_send(bytes).unwrap()
    }

    /// The same, when it may fail.
    pub fn try_send(&self, bytes: impl AsRef<[u8]>) -> io::Result<Reply> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(bytes.as_ref())?;
        let is_head = bytes.as_ref().starts_with(b"HEAD ");
        Reply::read(&mut BufReader::new(stream), is_head)
    }

    /// `GET path`.
    pub fn get(&self, path: &str) -> Reply {
        self.send(format!("GET {path} HTTP/1.1\r\nHost: app.example\r\n\r\n"))
    }

    /// Puts another file in the place of its own.
    pub fn rewrite(&self, config: &str) {
        write_config(&self.dir, config);
    }

    /// Puts other host names in the place of those it has.
    pub fn rename(&self, hosts: &str) {
        let new = self.dir.path().join("hosts.new");
        fs::write(&new, hosts).unwrap();
        fs::rename(new, self.dir.path().join("hosts")).unwrap();
    }

    /// A path in the test's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.child.id()).unwrap());
        nix::sys::signal::kill(pid, signal).unwrap();
    }

    /// How many lines hold `words` so far.
    pub fn lines_with(&self, words: &str) -> usize {
        self.said.0.lock().unwrap().iter().filter(|line| line.contains(words)).count()
    }

    /// Waits for its end.
    pub fn wait(&mut self) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < until, "svmanager does not end; it has said\n{}", self.said());
            thread::yield_now();
        }
    }

    /// The most memory it has had, in KiB.
    pub fn memory_peak(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

fn write_config(dir: &TempDir, config: &str) {
    let config = config.replace("{dir}", dir.path().to_str().unwrap());
    let new = dir.path().join("new.toml");
    fs::write(&new, format!("listen = \"127.0.0.1:0\"\n{config}")).unwrap();
    fs::rename(new, dir.path().join("manager.toml")).unwrap();
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("svmanager has said:\n{}", self.said());
        }
    }
}

/// Runs `svmanager` with these words to its end.
pub fn run(words: &[&str]) -> Output {
    svmanager().args(words).output().unwrap()
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
    /// The connection was closed, or was to be closed, after it.
    pub closes: bool,
}

impl Reply {
    /// Reads one, with its body.
    pub fn read(from: &mut impl BufRead, is_head: bool) -> io::Result<Self> {
        let head = read_head(from)?;
        let status = head
            .get(9..12)
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| io::Error::other(head.clone()))?;
        let mut reply = Self { status, head, body: Vec::new(), closes: false };
        reply.closes = reply.value("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if is_head || status < 200 || matches!(status, 204 | 304) {
            return Ok(reply);
        }
        if reply.value("transfer-encoding").is_some() {
            loop {
                let mut line = String::new();
                from.read_line(&mut line)?;
                let length =
                    usize::from_str_radix(line.trim_end(), 16).map_err(|_| io::ErrorKind::UnexpectedEof)?;
                let mut chunk = vec![0; length + 2];
                from.read_exact(&mut chunk)?;
                reply.body.extend_from_slice(&chunk[..length]);
                if length == 0 {
                    return Ok(reply);
                }
            }
        }
        match reply.value("content-length") {
            Some(length) => {
                reply.body = vec![0; length.parse().map_err(io::Error::other)?];
                from.read_exact(&mut reply.body)?;
            }
            None => drop(from.read_to_end(&mut reply.body)?),
        }
        Ok(reply)
    }

    /// The value of the first header line of this name.
    pub fn value(&self, name: &str) -> Option<&str> {
        value(&self.head, name)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// The value of the first line of this name in a head.
pub fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines().skip(1).find_map(|line| {
        let (other, value) = line.split_once(':')?;
        other.eq_ignore_ascii_case(name).then_some(value.trim())
    })
}

/// Reads up to an empty line.
pub fn read_head(from: &mut impl BufRead) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if from.read_until(b'\n', &mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// A request as a service sees it, and the connection to answer on.
pub struct Asked {
    pub head: String,
    pub stream: BufReader<TcpStream>,
}

impl Asked {
    /// `/path?query`.
    pub fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }

    /// Reads the body to its end: how many bytes it has.
    pub fn drain(&mut self) -> io::Result<u64> {
        if value(&self.head, "transfer-encoding").is_some() {
            let mut all = 0;
            loop {
                let mut line = String::new();
                self.stream.read_line(&mut line)?;
                let length = u64::from_str_radix(line.trim_end(), 16).map_err(io::Error::other)?;
                let read = io::copy(&mut (&mut self.stream).take(length + 2), &mut io::sink())?;
                if read < length + 2 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if length == 0 {
                    return Ok(all);
                }
                all += length;
            }
        }
        let length = value(&self.head, "content-length").map_or(0, |length| length.parse().unwrap());
        let read = io::copy(&mut (&mut self.stream).take(length), &mut io::sink())?;
        if read == length { Ok(read) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Answers.
    pub fn reply(&mut self, text: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.get_mut().write_all(text.as_ref())
    }

    /// Answers with 200 and this text.
    pub fn ok(&mut self, body: &str) -> io::Result<()> {
        self.reply(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
    }
}

type Handler = dyn Fn(&mut Asked) -> io::Result<()> + Send + Sync;

/// A service that notes the head of every request that reaches it.
pub struct Service {
    pub address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<thread::JoinHandle<()>>,
}

struct Shared {
    handler: Box<Handler>,
    heads: Mutex<Vec<String>>,
    connections: Mutex<Vec<TcpStream>>,
    accepted: AtomicUsize,
    is_stopped: AtomicBool,
}

impl Service {
    /// Answers everything with 200 and `name`.
    pub fn named(name: &'static str) -> Self {
        Self::at(([127, 0, 0, 1], 0).into(), name)
    }

    /// The same at an address.
    pub fn at(address: SocketAddr, name: &'static str) -> Self {
        Self::serving(address, move |asked| {
            asked.drain()?;
            if asked.head.starts_with("HEAD ") {
                return asked.reply(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", name.len()));
            }
            asked.ok(name)
        })
    }

    /// Answers as `handler` says; an error ends the connection.
    pub fn new(handler: impl Fn(&mut Asked) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self::serving(([127, 0, 0, 1], 0).into(), handler)
    }

    /// The same at an address.
    pub fn serving(
        address: SocketAddr,
        handler: impl Fn(&mut Asked) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            heads: Mutex::default(),
            connections: Mutex::default(),
            accepted: AtomicUsize::new(0),
            is_stopped: AtomicBool::new(false),
        });
        let own = shared.clone();
        let accepting = thread::spawn(move || {
            for stream in listener.incoming() {
                if own.is_stopped.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                own.accepted.fetch_add(1, Ordering::SeqCst);
                let _ = stream.set_nodelay(true);
                own.connections.lock().unwrap().push(stream.try_clone().unwrap());
                let shared = own.clone();
                thread::spawn(move || serve(&shared, stream));
            }
        });
        Self { address, shared, accepting: Some(accepting) }
    }

    /// The heads of requests that have reached it.
    pub fn heads(&self) -> Vec<String> {
        self.shared.heads.lock().unwrap().clone()
    }

    /// How many requests have reached it.
    pub fn count(&self) -> usize {
        self.shared.heads.lock().unwrap().len()
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    /// `targets = [...]` of a service's table.
    pub fn targets(&self) -> String {
        format!("targets = [\"http://{}\"]\n", self.address)
    }

    /// It ends, and with it every connection.
    pub fn stop(self) -> SocketAddr {
        self.address
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shared.is_stopped.store(true, Ordering::SeqCst);
        // Wakes the accepting thread, which then drops the listener.
        drop(TcpStream::connect(self.address));
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
        for connection in self.shared.connections.lock().unwrap().drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn serve(shared: &Shared, stream: TcpStream) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let mut stream = BufReader::new(stream);
    while let Ok(head) = read_head(&mut stream) {
        shared.heads.lock().unwrap().push(head.clone());
        let mut asked = Asked { head, stream };
        if (shared.handler)(&mut asked).is_err() {
            let _ = asked.stream.get_ref().shutdown(Shutdown::Both);
            return;
        }
        stream = asked.stream;
    }
}

/// A file with one route to one service, whose table holds `keys`.
pub fn one(keys: &str) -> String {
    format!("[[route]]\nservice = \"app\"\n[service.app]\n{keys}")
}

/// Waits until `is_so`, looking again and again.
pub fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "never came to pass: {what}");
        thread::yield_now();
    }
}
