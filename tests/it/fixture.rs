//! Starts the real svinit on a temporary directory, with its own socket and no public listener.
//!
//!     let svinit = Setup::new().unit("web", r#"command = ["sleep", "600"]"#).start();
//!     svinit.wait_for("web", "ready");
//!     assert_eq!(svinit.svctl("restart web").code, 0);
//!
//! Everything that was started ends with the value: TERM twice, which kills at once. All waits have a bound, after which
//! they panic with all that svinit has said.

#![expect(
    clippy::disallowed_methods,
    reason = "tests start processes, wait for them, and bound their waits by a clock"
)]
#![allow(dead_code, unreachable_pub, reason = "a tool for every module, of which each uses a part")]

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex, OnceLock};
use std::time::{Duration, Instant};

use nix::pty::{OpenptyResult, openpty};
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything. Generous: the machine may be busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The executable under test.
pub fn executable() -> &'static str {
    env!("CARGO_BIN_EXE_svinit")
}

/// What svinit is to be started with.
pub struct Setup {
    dir: TempDir,
    args: Vec<OsString>,
    command: Vec<OsString>,
    env: Vec<(String, String)>,
    config: String,
    has_http: bool,
    is_pid1: bool,
    through: Vec<OsString>,
    prepared: Vec<OsString>,
    found_at: Option<PathBuf>,
    has_terminal: bool,
    program: Option<PathBuf>,
}

impl Setup {
    /// No unit, no public listener.
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("units")).unwrap();
        Self {
            dir,
            args: Vec::new(),
            command: Vec::new(),
            env: Vec::new(),
            config: String::new(),
            has_http: false,
            is_pid1: false,
            through: Vec::new(),
            prepared: Vec::new(),
            found_at: None,
            has_terminal: false,
            program: None,
        }
    }

    /// With the unit `name`. In `text`, `{dir}` stands for [`Setup::path`] of nothing: the test's own directory.
    pub fn unit(self, name: &str, text: &str) -> Self {
        let text = text.replace("{dir}", self.dir.path().to_str().unwrap());
        fs::write(self.dir.path().join("units").join(format!("{name}.toml")), text).unwrap();
        self
    }

    /// With a file in the test's own directory.
    pub fn file(self, name: &str, text: &str) -> Self {
        fs::write(self.path(name), text).unwrap();
        self
    }

    /// A path in the test's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// With these further options.
    pub fn args(mut self, args: &[&str]) -> Self {
        self.args.extend(args.iter().map(OsString::from));
        self
    }

    /// With this text as `svinit.toml`.
    pub fn config(mut self, text: &str) -> Self {
        self.config.push_str(text);
        self
    }

    /// With `/health` at a port that is free; see [`Svinit::http`].
    pub fn http(mut self) -> Self {
        self.has_http = true;
        self
    }

    /// With this variable in its environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// With this COMMAND.
    pub fn command(mut self, command: &[&str]) -> Self {
        self.command = command.iter().map(OsString::from).collect();
        self
    }

    /// Through these words, which become svinit's when they have prepared its surroundings.
    pub fn through(mut self, words: &[&str]) -> Self {
        self.through = words.iter().map(OsString::from).collect();
        self
    }

    /// Through these words as the last before svinit, within a PID namespace if it has one: they become svinit.
    pub fn prepared(mut self, words: &[&str]) -> Self {
        self.prepared = words.iter().map(OsString::from).collect();
        self
    }

    /// As a program of this test alone, `{dir}/svinit`, which may be replaced.
    pub fn replaceable(mut self) -> Self {
        let program = self.path("svinit");
        put_program(&program);
        self.program = Some(program);
        self
    }

    /// Without `--socket`: svinit is to find this place itself.
    pub fn socket_found_at(mut self, place: PathBuf) -> Self {
        self.found_at = Some(place);
        self
    }

    /// With a terminal for all three streams, which is that of a session of its own; see [`Svinit::types`].
    pub fn terminal(mut self) -> Self {
        self.has_terminal = true;
        self
    }

    /// Starts it and waits until its socket is there.
    pub fn start(self) -> Svinit {
        let svinit = self.launch();
        svinit.wait_for_line("control socket ");
        svinit
    }

    /// Starts it and does not wait: for what says nothing (a lone COMMAND) or ends at once.
    pub fn launch(self) -> Svinit {
        let mut words: Vec<OsString> =
            vec![self.program.clone().map_or_else(|| executable().into(), PathBuf::into_os_string)];
        if self.found_at.is_none() {
            words.extend(["--socket".into(), self.path("sock").into()]);
        }
        words.extend(["--http".into(), if self.has_http { "127.0.0.1:0" } else { "off" }.into()]);
        // A lone COMMAND must not find units that this machine happens to have.
        words.extend(["--units".into(), self.path("units").into()]);
        let config = self.path("svinit.toml");
        fs::write(&config, &self.config).unwrap();
        words.extend(["--config".into(), config.into()]);
        words.extend(self.args.clone());
        if !self.command.is_empty() {
            words.push("--".into());
            words.extend(self.command.clone());
        }
        words.splice(0..0, self.prepared.clone());
        if self.is_pid1 {
            let unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--"];
            words.splice(0..0, unshare.map(OsString::from));
        }
        words.splice(0..0, self.through.clone());
        if self.has_terminal {
            words.splice(0..0, ["setsid", "--ctty"].map(OsString::from));
        }
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).envs(self.env.clone()).current_dir(self.dir.path());
        for name in ["SVINIT_UNITS", "SVINIT_CONFIG", "SVINIT_SOCKET", "SVINIT_HTTP", "SVINIT_LOG_FORMAT"] {
            command.env_remove(name);
        }
        let said = Arc::new(Said::default());
        let mut keyboard = None;
        let child = if self.has_terminal {
            let OpenptyResult { master, slave } = openpty(None, None).unwrap();
            command.stdin(slave.try_clone().unwrap()).stdout(slave.try_clone().unwrap()).stderr(slave);
            let child = command.spawn().unwrap();
            keyboard = Some(File::from(master.try_clone().unwrap()));
            said.listen(File::from(master));
            child
        } else {
            // One pipe for both streams, as on a terminal: so their order is the order in which they were written.
            let (reader, writer) = std::io::pipe().unwrap();
            command.stdin(Stdio::null()).stdout(writer.try_clone().unwrap()).stderr(writer);
            let child = command.spawn().unwrap();
            said.listen(reader);
            child
        };
        // It holds the ends that are written to.
        drop(command);
        Svinit {
            child: Mutex::new(child),
            said,
            dir: self.dir,
            is_pid1: self.is_pid1,
            found_at: self.found_at,
            keyboard,
        }
    }

    /// The same as PID 1 of a namespace of its own; `None`, with the reason printed, where that is not permitted.
    pub fn pid1(mut self) -> Option<Self> {
        static REFUSAL: OnceLock<Option<String>> = OnceLock::new();
        let refusal = REFUSAL.get_or_init(|| {
            let tried = Command::new("unshare").args(["--pid", "--fork", "--mount-proc", "true"]).output();
            match tried {
                Ok(output) if output.status.success() => None,
                Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
                Err(error) => Some(error.to_string()),
            }
        });
        if let Some(why) = refusal {
            eprintln!("skipped: no PID namespace can be made here: {why}");
            return None;
        }
        self.is_pid1 = true;
        // This test looks in from another PID namespace, which svinit otherwise refuses.
        Some(self.config("control.allow_other_namespaces = true\n"))
    }
}

/// Runs `test` both ways: as a subreaper, and as PID 1 where that can be.
pub fn both(test: impl Fn(Setup)) {
    test(Setup::new());
    if let Some(setup) = Setup::new().pid1() {
        test(setup);
    }
}

/// How often something is tried: `usual` times, or so many times more often with `TORTURE=10` in the environment.
pub fn rounds(usual: usize) -> usize {
    let factor = std::env::var("TORTURE").ok().and_then(|text| text.parse().ok());
    usual * factor.unwrap_or(1)
}

/// A running svinit.
pub struct Svinit {
    child: Mutex<Child>,
    said: Arc<Said>,
    dir: TempDir,
    is_pid1: bool,
    found_at: Option<PathBuf>,
    keyboard: Option<File>,
}

/// What a client has said and returned.
#[derive(Debug)]
pub struct Answer {
    /// Its exit status.
    pub code: i32,
    /// What it has printed.
    pub stdout: String,
    /// What it has complained about.
    pub stderr: String,
}

impl Svinit {
    /// A path in the test's own directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The control socket.
    pub fn socket(&self) -> PathBuf {
        self.found_at.clone().unwrap_or_else(|| self.path("sock"))
    }

    /// Waits until its socket answers: for when it cannot say that it is there.
    pub fn wait_for_socket(&self) {
        eventually("the control socket answers", || UnixStream::connect(self.socket()).is_ok());
    }

    /// Types at its terminal.
    pub fn types(&self, text: &str) {
        self.keyboard.as_ref().expect("it has a terminal").write_all(text.as_bytes()).unwrap();
    }

    /// Its PID, as this test sees it.
    pub fn pid(&self) -> i32 {
        if self.is_pid1 {
            return self.child_pid().expect("unshare has a child");
        }
        i32::try_from(self.child.lock().unwrap().id()).unwrap()
    }

    /// The first child of the process that was started, if it has any yet: svinit, when it is PID 1.
    pub fn child_pid(&self) -> Option<i32> {
        let child = self.child.lock().unwrap().id();
        let children = fs::read_to_string(format!("/proc/{child}/task/{child}/children")).ok()?;
        children.split_whitespace().next().and_then(|pid| pid.parse().ok())
    }

    /// Runs these words inside its PID and mount namespace, as `docker exec` would: their parent is none of its own.
    pub fn inside(&self, words: &[&str]) -> Answer {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.pid().to_string(), "--pid", "--mount", "--"]).args(words);
        answer(command.stdin(Stdio::null()).output().unwrap())
    }

    /// Runs `svctl` with these words (split at blanks).
    pub fn svctl(&self, words: &str) -> Answer {
        self.svctl_args(&words.split_whitespace().collect::<Vec<_>>())
    }

    /// Runs `svctl` with these arguments.
    pub fn svctl_args(&self, args: &[&str]) -> Answer {
        let mut command = Command::new(executable());
        command.args(["--as", "svctl", "--socket"]).arg(self.socket()).args(args);
        answer(command.env("NO_COLOR", "1").stdin(Stdio::null()).output().unwrap())
    }

    /// What `svctl` with these words shows at a terminal.
    pub fn svctl_at_terminal(&self, words: &str) -> String {
        let words = format!("{} --as svctl --socket {} {words}", executable(), self.socket().display());
        let output = Command::new("script").args(["-qec", &words, "/dev/null"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until `unit` is in `state`; returns its PID.
    pub fn wait_for(&self, unit: &str, state: &str) -> Option<i32> {
        self.wait_for_event(unit, &format!("to be {state}"), |event| event["state"] == state)
    }

    /// Waits until `unit` has another main process than `pid` and is in `state`; returns the new PID.
    pub fn wait_for_another(&self, unit: &str, state: &str, pid: Option<i32>) -> Option<i32> {
        let is_other = |event: &Value| {
            event["state"] == state && !event["pid"].is_null() && event["pid"] != Value::from(pid)
        };
        self.wait_for_event(unit, &format!("to be {state} with another PID"), is_other)
    }

    /// Waits for an event of `unit` (its present state is the first) that `fits`; returns the PID in it.
    pub fn wait_for_event(&self, unit: &str, what: &str, fits: impl Fn(&Value) -> bool) -> Option<i32> {
        let until = Instant::now() + PATIENCE;
        let stream = self.request("GET", &format!("/v1/events?units={unit}&initial=true"), "");
        let mut seen = String::new();
        let mut lines = BufReader::new(stream).lines();
        while let Some(Ok(line)) = lines.next().filter(|_| Instant::now() < until) {
            // What is no object is the response's head, or the size of a chunk.
            let Ok(event @ Value::Object(_)) = serde_json::from_str::<Value>(&line) else { continue };
            if fits(&event) {
                return event["pid"].as_i64().and_then(|pid| i32::try_from(pid).ok());
            }
            let _ = writeln!(seen, "  {line}");
        }
        self.give_up(&format!("waited for {unit} {what}; its events were\n{seen}"));
    }

    /// The answer to a GET, as JSON.
    pub fn get(&self, path: &str) -> Value {
        let mut answer = String::new();
        self.request("GET", path, "").read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        serde_json::from_str(body.trim())
            .unwrap_or_else(|error| self.give_up(&format!("GET {path}: {error}\n{head}\n\n{body}")))
    }

    /// One unit as `GET /v1/units/NAME` shows it.
    pub fn status(&self, unit: &str) -> Value {
        self.get(&format!("/v1/units/{unit}"))
    }

    /// Where `/health` is served, "127.0.0.1:PORT"; see [`Setup::http`].
    pub fn http(&self) -> String {
        let status = self.get("/v1/supervisor");
        status["http"].as_str().unwrap_or_else(|| self.give_up("there is no public listener")).to_owned()
    }

    /// Sends a request over the control socket; the answer can be read, each part within [`PATIENCE`].
    pub fn request(&self, method: &str, path: &str, body: &str) -> UnixStream {
        let stream = UnixStream::connect(self.socket());
        let mut stream = stream
            .unwrap_or_else(|error| self.give_up(&format!("cannot connect to the control socket: {error}")));
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.0\r\nHost: svinit\r\nContent-Length: {length}\r\n");
        write!(stream, "{head}Content-Type: application/json\r\n\r\n{body}").unwrap();
        stream
    }

    /// Sends it a signal, by name without `SIG`.
    pub fn signal(&self, name: &str) {
        kill(self.pid(), name);
    }

    /// Waits until it has written a line that contains `part`; returns the line.
    pub fn wait_for_line(&self, part: &str) -> String {
        self.wait_long_for_line(PATIENCE, part)
    }

    /// The same for what takes longer with a higher `TORTURE`.
    pub fn wait_long_for_line(&self, patience: Duration, part: &str) -> String {
        let line = self.said.wait_for(part, patience);
        line.unwrap_or_else(|| self.give_up(&format!("waited for a line with {part:?}")))
    }

    /// All that it has written, both streams.
    pub fn output(&self) -> String {
        self.said.text()
    }

    /// Waits for its end; returns its exit status, and 128 and the signal's number when one has killed it.
    pub fn wait_for_end(&self) -> i32 {
        let status = self.ended_within(PATIENCE);
        let status = status.unwrap_or_else(|| self.give_up("waited for svinit to end"));
        self.said.wait_for_end();
        code(status)
    }

    fn ended_within(&self, patience: Duration) -> Option<ExitStatus> {
        // The streams are closed when it has ended, so their end is the event; the child is then waited for.
        let until = Instant::now() + patience;
        loop {
            if let Ok(Some(status)) = self.child.lock().unwrap().try_wait() {
                return Some(status);
            }
            if Instant::now() >= until {
                return None;
            }
            self.said.wait_a_little();
        }
    }

    fn give_up(&self, what: &str) -> ! {
        panic!("{what}\nsvinit has said:\n{}", self.output());
    }
}

impl Drop for Svinit {
    fn drop(&mut self) {
        for _ in 0..2 {
            // As PID 1 it may have ended just now, while what has started it has not.
            let is_there = !self.is_pid1 || self.child_pid().is_some();
            if self.ended_within(Duration::ZERO).is_none() && is_there {
                self.signal("TERM");
            }
        }
        if self.ended_within(Duration::from_secs(10)).is_none() {
            let mut child = self.child.lock().unwrap();
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// What svinit has written, line by line.
#[derive(Default)]
struct Said {
    lines: Mutex<Heard>,
    changed: Condvar,
}

#[derive(Default)]
struct Heard {
    lines: Vec<String>,
    open: usize,
}

impl Said {
    fn listen(self: &Arc<Self>, stream: impl Read + Send + 'static) {
        self.lines.lock().unwrap().open += 1;
        let said = Arc::clone(self);
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream);
            let mut line = Vec::new();
            while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
                said.lines.lock().unwrap().lines.push(text);
                said.changed.notify_all();
                line.clear();
            }
            said.lines.lock().unwrap().open -= 1;
            said.changed.notify_all();
        });
    }

    fn wait_for(&self, part: &str, patience: Duration) -> Option<String> {
        let find = |heard: &Heard| heard.lines.iter().find(|line| line.contains(part)).cloned();
        let heard = self.lines.lock().unwrap();
        let waits = |heard: &mut Heard| heard.open > 0 && find(heard).is_none();
        let (heard, _) = self.changed.wait_timeout_while(heard, patience, waits).unwrap();
        find(&heard)
    }

    /// Something that was left behind may hold the streams: that is for the test to find out, not to wait for.
    fn wait_for_end(&self) {
        let heard = self.lines.lock().unwrap();
        drop(self.changed.wait_timeout_while(heard, Duration::from_secs(2), |heard| heard.open > 0).unwrap());
    }

    /// Until something changes, or a moment.
    fn wait_a_little(&self) {
        let heard = self.lines.lock().unwrap();
        drop(self.changed.wait_timeout(heard, Duration::from_millis(5)).unwrap());
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap().lines.join("\n")
    }
}

/// Puts the executable under test to `place`, in the place of what may be there, as a package manager would: what runs
/// is not written to.
pub fn put_program(place: &Path) {
    let new = place.with_extension("new");
    fs::hard_link(executable(), &new).or_else(|_| fs::copy(executable(), &new).map(drop)).unwrap();
    fs::rename(&new, place).unwrap();
}

/// Says why a test cannot run here. What is `essential` must not be missing in CI.
pub fn skip(why: &str, essential: Essential) {
    let is_ci = std::env::var_os("CI").is_some();
    assert!(!is_ci || essential == Essential::No, "CI runs every test, but: {why}");
    eprintln!("skipped: {why}");
}

/// Whether CI may go without a test.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Essential {
    /// It must not.
    Yes,
    /// It takes a right that not every machine gives.
    No,
}

/// The tests run as root.
pub fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;

    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

/// Sends a signal by name, with the machine's own `kill`.
pub fn kill(pid: i32, name: &str) {
    let _ = Command::new("kill").args(["-s", name, &pid.to_string()]).stderr(Stdio::null()).status();
}

/// The PIDs whose command line contains `mark`, zombies left out: for what must not be left behind.
pub fn processes_with(mark: &str) -> Vec<i32> {
    let own = std::process::id().to_string();
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.bytes().all(|b| b.is_ascii_digit()) && *name != own)
        .filter(|pid| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).replace('\0', " ").contains(mark)
        })
        .filter_map(|pid| pid.parse().ok())
        .collect()
}

/// Children of `parent` that wait to be reaped.
pub fn zombies_of(parent: i32) -> usize {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let is_zombie = |pid: &&str| {
        fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" Z")))
    };
    children.split_whitespace().filter(is_zombie).count()
}

/// Waits until `holds`, which nobody tells us: looks again and again.
pub fn eventually(what: &str, holds: impl Fn() -> bool) {
    let until = Instant::now() + PATIENCE;
    let idle = Said::default();
    while !holds() {
        assert!(Instant::now() < until, "waited in vain: {what}");
        idle.wait_a_little();
    }
}

fn answer(output: Output) -> Answer {
    Answer {
        code: code(output.status),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

fn code(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;

    status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(-1)
}
