//! A running svinit: with one unit, `web`, that is changed, or with the whole of `make run`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::itself::Count;
use crate::load::{self, PATIENCE};
use crate::programs;

/// One svinit.
pub struct Svinit {
    dir: TempDir,
    args: Vec<String>,
    env: Vec<(String, String)>,
    child: Child,
    said: Arc<Mutex<Said>>,
}

/// What came out of it.
#[derive(Default)]
struct Said {
    text: String,
    count: Count,
}

/// A free address.
pub fn address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

impl Svinit {
    /// Starts it with this unit, and waits until the unit is ready.
    pub fn start(unit: &str) -> Self {
        Self::start_all(&[("web".to_owned(), unit.to_owned())], &[])
    }

    /// Starts it with these units, in which `{dir}` is a directory of its own, and waits until `web` is ready.
    pub fn start_all(units: &[(String, String)], env: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new().prefix("svinit-proof-").tempdir().unwrap();
        fs::create_dir(dir.path().join("units")).unwrap();
        for (name, text) in units {
            write(dir.path(), name, &text.replace("{dir}", &dir.path().display().to_string()));
        }
        fs::write(dir.path().join("svinit.toml"), "shutdown_timeout = \"60s\"\n").unwrap();
        let place = |name: &str| dir.path().join(name).display().to_string();
        let args = vec!["--units".to_owned(), place("units"), "--config".to_owned(), place("svinit.toml")];
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let svinit = Self::launch(dir, args, env.collect());
        let began = Instant::now();
        while let Err(why) = svinit.svctl(&["wait", "--timeout", "30s", "web"]) {
            assert!(began.elapsed() < PATIENCE, "{why}\n{}", svinit.said());
            load::look_again();
        }
        svinit
    }

    /// Starts nginx, gunicorn with Django, and PostgreSQL, as `make run` has them, and waits until they answer at the
    /// address that is returned. `None`, after saying why, where one of them is missing.
    pub fn start_stack() -> Option<(Self, String)> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let dir = tempfile::Builder::new().prefix("svinit-proof-").tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let ports = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let [http, app, postgres] = ports.map(|port| port.local_addr().unwrap().port().to_string());
        let mut prepare = Command::new(project.join("scripts/stack"));
        prepare.arg("prepare").env("SVINIT_RUN_DIR", dir.path());
        prepare.env("HTTP_PORT", &http).env("APP_PORT", app).env("PGPORT", postgres);
        let prepared = prepare.output().unwrap();
        let said = String::from_utf8_lossy(&prepared.stderr);
        assert!(prepared.status.success(), "{said}");
        if said.contains("is missing") {
            programs::missing(said.trim());
            return None;
        }
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        let mut args =
            vec!["--config".to_owned(), project.join("examples/django/svinit.toml").display().to_string()];
        args.extend(read("units").lines().flat_map(|unit| ["--units".to_owned(), unit.to_owned()]));
        let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        let env = read("env").lines().filter_map(pair).collect();
        let at = format!("127.0.0.1:{http}");
        let svinit = Self::launch(dir, args, env);
        until_answered(Instant::now(), &at, "/");
        Some((svinit, at))
    }

    fn launch(dir: TempDir, args: Vec<String>, env: Vec<(String, String)>) -> Self {
        // An executable of its own, which can be replaced by another.
        fs::copy(env!("CARGO_BIN_EXE_svinit"), dir.path().join("svinit")).unwrap();
        let (child, said) = launch(dir.path(), &args, &env);
        Self { dir, args, env, child, said }
    }

    /// Writes the unit anew; nobody is told.
    pub fn write(&self, unit: &str) {
        write(self.dir.path(), "web", unit);
    }

    /// Puts a new copy in the place of the executable.
    pub fn replace_executable(&self) {
        let new = self.dir.path().join("svinit.new");
        fs::copy(env!("CARGO_BIN_EXE_svinit"), &new).unwrap();
        fs::rename(new, self.dir.path().join("svinit")).unwrap();
    }

    /// Asks it for something; what it said if that failed.
    pub fn svctl(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Command::new(self.dir.path().join("svinit"));
        command.args(["--as", "svctl", "--socket"]).arg(self.dir.path().join("sock")).args(words);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        Err(format!("svctl {}: {said}{}", words.join(" "), String::from_utf8_lossy(&output.stderr)))
    }

    /// The PIDs of the unit's instances.
    pub fn pids(&self) -> Vec<String> {
        let said = self.svctl(&["show", "web", "--property", "pid", "--value"]).unwrap_or_default();
        said.split_whitespace().map(str::to_owned).collect()
    }

    /// Ends it as `docker stop` would, and starts it as `docker start` would: how long until the first good answer.
    pub fn begin_anew(&mut self, at: &str, path: &str) -> Duration {
        let began = Instant::now();
        self.end();
        (self.child, self.said) = launch(self.dir.path(), &self.args, &self.env);
        until_answered(began, at, path)
    }

    fn end(&mut self) {
        let _ = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status();
        let given_up = Instant::now() + PATIENCE;
        while self.child.try_wait().unwrap().is_none() {
            if Instant::now() > given_up {
                let _ = self.child.kill();
            }
            load::look_again();
        }
    }

    /// All that it has said.
    pub fn said(&self) -> String {
        self.said.lock().unwrap().text.clone()
    }

    /// Where it is asked.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    /// Its own.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Tells the counter to end, and waits for its last word.
    pub fn stop_counting(&self) -> Count {
        fs::write(self.dir.path().join("stop"), "").unwrap();
        let began = Instant::now();
        loop {
            let count = self.said.lock().unwrap().count;
            if count.has_ended {
                return count;
            }
            assert!(began.elapsed() < PATIENCE, "the counter does not end: {count:?}");
            load::look_again();
        }
    }
}

impl Drop for Svinit {
    fn drop(&mut self) {
        self.end();
    }
}

/// Asks until there is a good answer: how long that has taken since `began`.
pub fn until_answered(began: Instant, at: &str, path: &str) -> Duration {
    while let Err(why) = load::get(at, path) {
        assert!(began.elapsed() < PATIENCE, "nothing answers any more: {why}");
        load::look_again();
    }
    began.elapsed()
}

/// Replaced in one step, so that nobody reads half of it.
fn write(dir: &Path, unit: &str, text: &str) {
    let new = dir.join("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, dir.join(format!("units/{unit}.toml"))).unwrap();
}

fn launch(dir: &Path, args: &[String], env: &[(String, String)]) -> (Child, Arc<Mutex<Said>>) {
    let mut command = Command::new(dir.join("svinit"));
    command.args(["--http", "off", "--socket"]).arg(dir.join("sock")).args(args).envs(env.iter().cloned());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let said = Arc::new(Mutex::new(Said::default()));
    keep(child.stdout.take().unwrap(), &said);
    keep(child.stderr.take().unwrap(), &said);
    (child, said)
}

fn keep(stream: impl std::io::Read + Send + 'static, said: &Arc<Mutex<Said>>) {
    let said = Arc::clone(said);
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let mut said = said.lock().unwrap();
            if !said.count.take(&line) {
                said.text.push_str(&line);
                said.text.push('\n');
            }
        }
    });
}
