//! What svinit has to live through while one of its system calls fails, and what must hold then.

#![expect(clippy::disallowed_methods, reason = "a test reads the clock for its bounds")]

use std::cell::RefCell;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::calls;
use super::tracer::{self, Calls, Fault, Run, Tracing};
use crate::fixture::{PATIENCE, executable, kill, processes_with};

/// After this a unit that has failed for good is asked to start again, as a person would.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Between two looks at what nobody tells us.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// For what cannot be expected while a call fails for good.
const IN_VAIN: Duration = Duration::from_secs(2);

/// For one answer of the control socket.
const ANSWER: Duration = Duration::from_secs(5);

/// A life of svinit.
pub(super) struct Scenario {
    /// In words.
    pub(super) name: &'static str,
    /// As PID 1 of a namespace with a `/run` of its own, else as an ordinary process.
    pub(super) is_pid1: bool,
    /// Writes the units below this directory.
    pub(super) lay: fn(&Path),
    /// Does what is to be done between start and end.
    pub(super) live: fn(&Life) -> Result<(), Wrong>,
}

/// What must not be.
#[derive(Debug)]
pub(super) enum Wrong {
    /// svinit has ended before it was told to.
    Ended,
    /// Something did not come to pass.
    Lasted(String),
}

/// A svinit under a fault.
pub(super) struct Life {
    dir: TempDir,
    tracing: Tracing,
    is_pid1: bool,
    patience: Duration,
    ended: RefCell<Option<Run>>,
}

/// What a life came to.
pub(super) struct Verdict {
    /// The calls of svinit and its children.
    pub(super) calls: Calls,
    /// The fault came to pass.
    pub(super) met: bool,
    /// It refused to start, in words and with a status of its own.
    pub(super) refused: bool,
    /// What must not be, with what svinit has said.
    pub(super) wrong: Option<String>,
}

impl Scenario {
    /// Lives it once.
    pub(super) fn run(&self, fault: Option<Fault>) -> Verdict {
        let dir = tempfile::Builder::new().prefix("svinit-sweep-").tempdir().unwrap();
        fs::create_dir(dir.path().join("units")).unwrap();
        (self.lay)(dir.path());
        let config = "control.allow_other_namespaces = true\nshutdown_timeout = \"3s\"\n";
        fs::write(dir.path().join("svinit.toml"), config).unwrap();
        let tracing = tracer::start(self.command(dir.path()), fs::canonicalize(executable()).unwrap(), fault);
        let patience = if fault.is_some_and(|fault| fault.lasting) { IN_VAIN } else { PATIENCE };
        let life = Life { dir, tracing, is_pid1: self.is_pid1, patience, ended: RefCell::new(None) };
        let lived = (self.live)(&life);
        life.judge(lived, fault)
    }

    fn command(&self, dir: &Path) -> Command {
        let mut words: Vec<PathBuf> = tracer::STOPPED.map(PathBuf::from).into();
        if self.is_pid1 {
            let namespace = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", "--", "sh", "-c"];
            words.extend(namespace.map(PathBuf::from));
            words.push("mount -t tmpfs tmpfs /run && exec \"$0\" \"$@\"".into());
        }
        words.push(executable().into());
        for (flag, file) in [("--units", "units"), ("--config", "svinit.toml"), ("--socket", "sock")] {
            words.extend([flag.into(), dir.join(file)]);
        }
        words.extend(["--http".into(), "127.0.0.1:0".into()]);
        let said = fs::File::create(dir.join("said")).unwrap();
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
        command
    }
}

impl Life {
    /// A file of this life.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Waits until `holds`.
    pub(super) fn until(&self, what: &str, mut holds: impl FnMut() -> bool) -> Result<(), Wrong> {
        let until = Instant::now() + self.patience;
        while !holds() {
            // Its end is what is waited for between two looks.
            if self.has_ended(LOOK_AGAIN) {
                return Err(Wrong::Ended);
            }
            if self.aborts() {
                self.tracing.kill();
            }
            if Instant::now() > until {
                return Err(Wrong::Lasted(format!("waited in vain: {what}")));
            }
        }
        Ok(())
    }

    /// It wants to end by a signal of its own. A PID 1 that is traced does not get that.
    fn aborts(&self) -> bool {
        fs::read_to_string(self.path("said")).is_ok_and(|said| said.to_lowercase().contains("fatal "))
    }

    fn has_ended(&self, patience: Duration) -> bool {
        let mut ended = self.ended.borrow_mut();
        if ended.is_none() {
            *ended = self.tracing.end_within(patience);
        }
        ended.is_some()
    }

    /// Waits until the unit has been up `times` times. One that has failed for good is started by request.
    pub(super) fn up(&self, unit: &str, times: usize) -> Result<(), Wrong> {
        let mut asked = Instant::now();
        self.until(&format!("{unit} is up for the time number {times}"), || {
            if asked.elapsed() > ASK_AGAIN {
                asked = Instant::now();
                let status = self.get(&format!("/v1/units/{unit}"));
                if status.is_ok_and(|status| status["state"] == "failed" && status["why"] != "") {
                    let _ = self.job("start", unit);
                }
            }
            fs::read_to_string(self.path(unit)).is_ok_and(|text| text.lines().count() >= times)
        })
    }

    /// Waits until every unit is ready or completed.
    pub(super) fn all_up(&self) -> Result<(), Wrong> {
        let mut asked = Instant::now();
        self.until("all units are up", || {
            let Ok(status) = self.get("/v1/units") else { return false };
            let units = status.as_array().cloned().unwrap_or_default();
            let is = |unit: &Value, state: &str| unit["state"] == state;
            if asked.elapsed() > ASK_AGAIN {
                asked = Instant::now();
                for unit in units.iter().filter(|unit| !is(unit, "ready") && !is(unit, "completed")) {
                    let _ = self.job("start", unit["unit"].as_str().unwrap_or_default());
                }
            }
            !units.is_empty() && units.iter().all(|unit| is(unit, "ready") || is(unit, "completed"))
        })
    }

    /// Writes into a pipe with a name that somebody reads from; that is the event to wait for.
    pub(super) fn tell(&self, pipe: &str) -> Result<(), Wrong> {
        self.until(&format!("somebody reads {pipe}"), || {
            let opened =
                fs::OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(self.path(pipe));
            opened.is_ok_and(|mut pipe| pipe.write_all(b"go\n").is_ok())
        })
    }

    /// Asks for a job until that is answered with success: one answer may fall to the fault.
    pub(super) fn job_done(&self, verb: &str, unit: &str) -> Result<(), Wrong> {
        self.until(&format!("{verb} {unit} succeeds"), || {
            self.job(verb, unit).is_ok_and(|answer| answer.contains(r#""type":"done","ok":true"#))
        })
    }

    fn job(&self, verb: &str, unit: &str) -> std::io::Result<String> {
        self.ask("POST", "/v1/jobs", &format!(r#"{{"verb":"{verb}","units":["{unit}"]}}"#))
    }

    /// The JSON at this path; asked until it comes.
    pub(super) fn answer(&self, path: &str) -> Result<Value, Wrong> {
        let mut found = Value::Null;
        self.until(&format!("GET {path} is answered"), || {
            found = self.get(path).unwrap_or_default();
            !found.is_null()
        })?;
        Ok(found)
    }

    fn get(&self, path: &str) -> std::io::Result<Value> {
        let answer = self.ask("GET", path, "")?;
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        let first = body.lines().next().unwrap_or_default();
        Ok(serde_json::from_str(first)?)
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> std::io::Result<String> {
        let mut stream = UnixStream::connect(self.path("sock"))?;
        stream.set_read_timeout(Some(ANSWER))?;
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.0\r\nHost: svinit\r\nContent-Length: {length}\r\n");
        write!(stream, "{head}Content-Type: application/json\r\n\r\n{body}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Sends svinit a signal.
    pub(super) fn signal(&self, name: &str) {
        let root = self.tracing.root();
        if !self.is_pid1 {
            return kill(root, name);
        }
        let children = fs::read_to_string(format!("/proc/{root}/task/{root}/children")).unwrap_or_default();
        if let Some(pid) = children.split_whitespace().next().and_then(|pid| pid.parse().ok()) {
            kill(pid, name);
        }
    }

    fn judge(self, lived: Result<(), Wrong>, fault: Option<Fault>) -> Verdict {
        let mut wrong = None;
        let mut is_early = false;
        match lived {
            Ok(()) => self.signal("TERM"),
            Err(Wrong::Ended) => is_early = true,
            Err(Wrong::Lasted(what)) => {
                wrong = Some(what);
                self.signal("TERM");
            }
        }
        if !self.has_ended(PATIENCE) {
            wrong = wrong.or(Some("does not end after TERM".to_owned()));
            self.tracing.kill();
            self.has_ended(PATIENCE);
        }
        let said = fs::read_to_string(self.path("said")).unwrap_or_default();
        let left = processes_with(&self.dir.path().display().to_string());
        let socket = self.path("sock").exists();
        let Some(run) = self.ended.take() else {
            let wrong = Some(format!("cannot even be killed\n{said}"));
            return Verdict { calls: Calls::new(), met: true, refused: false, wrong };
        };
        let is_up = said.contains("boot finished") || self.path("good").exists();
        let refused = is_early && !is_up && is_refusal(&run, &said);
        let fails = |call: &dyn Fn(i64) -> bool| fault.is_some_and(|fault| call(fault.call));
        // Where the C library or Rust itself cannot go on without memory, words about that are all that can be had.
        if fails(&calls::is_memory) && ["allocat", "emory", "malloc"].iter().any(|word| said.contains(word)) {
            return Verdict { calls: run.calls, met: run.met, refused: true, wrong: None };
        }
        let is_lasting = fault.is_some_and(|fault| fault.lasting);
        let what = if said.contains("panicked") {
            Some("panics".to_owned())
        } else if is_lasting
            && run.status.code().is_some()
            && (left.is_empty() || fails(&calls::sends_signals))
        {
            wrong = None;
            None
        } else if is_early && !refused {
            Some(format!("has ended by itself: {}", run.status))
        } else if !refused && wrong.is_none() && run.status.code() != Some(0) {
            Some(format!("ended with {}", run.status))
        } else if !left.is_empty() {
            left.iter().for_each(|pid| kill(*pid, "KILL"));
            Some(format!("leaves processes behind: {left:?}"))
        } else if socket && !fails(&calls::changes_directories) {
            Some("leaves its socket behind".to_owned())
        } else {
            None
        };
        let wrong = wrong.or(what).map(|what| format!("{what}\n{said}"));
        Verdict { calls: run.calls, met: run.met, refused, wrong }
    }
}

/// A refusal says what cannot be done, and has a status that is svinit's own.
fn is_refusal(run: &Run, said: &str) -> bool {
    matches!(run.status.code(), Some(1 | 78)) && run.status.signal().is_none() && said.contains("cannot")
}

/// A service that crashes when it is told to, with a log file; nothing else.
pub(super) const CRASH: Scenario = Scenario {
    name: "boot, crash, restart by request, stop",
    is_pid1: true,
    lay: lay_crash,
    live: live_crash,
};

fn lay_crash(dir: &Path) {
    let at = dir.display();
    make_pipe(&dir.join("fifo"));
    put(
        dir,
        "good",
        &format!(
            "command = [\"sh\", \"-c\", \"echo up >> {at}/good; echo said; read x < {at}/fifo; exit 1\"]\n\
             restart = {{ delay = \"10ms\", factor = 1.0, limit = 0 }}\n[log]\nfile = \"{at}/logs/good.log\"\n"
        ),
    );
}

fn live_crash(life: &Life) -> Result<(), Wrong> {
    life.up("good", 1)?;
    life.tell("fifo")?;
    life.up("good", 2)?;
    life.job_done("restart", "good")?;
    life.up("good", 3)?;
    life.answer("/v1/units?usage=true")?;
    life.answer("/v1/logs?lines=5")?;
    life.answer("/v1/health").map(drop)
}

/// Every kind of readiness, users, limits, credentials, hooks, checks, reload; not PID 1.
pub(super) const SIGNS: Scenario = Scenario {
    name: "signs of readiness, hooks, users, reload",
    is_pid1: false,
    lay: lay_signs,
    live: live_signs,
};

fn lay_signs(dir: &Path) {
    let at = dir.display();
    fs::write(dir.join("secret"), "s3cret\n").unwrap();
    fs::write(dir.join("variables"), "A=1\n").unwrap();
    let again = "restart = { delay = \"10ms\", factor = 1.0, limit = 0 }\n";
    let mark = format!("environment.MARK = \"{at}\"\n");
    let say = "import os,socket,signal; s=socket.socket(socket.AF_UNIX,socket.SOCK_DGRAM); \
               s.sendto(b'READY=1',os.environ['NOTIFY_SOCKET']); signal.pause()";
    put(
        dir,
        "saying",
        &format!("type = \"notify\"\ncommand = [\"python3\", \"-c\", {say:?}]\n{again}{mark}"),
    );
    put(
        dir,
        "by-fd",
        &format!("command = [\"sh\", \"-c\", \"echo >&5; exec sleep 600\"]\nready.fd = 5\n{again}{mark}"),
    );
    put(
        dir,
        "by-log",
        &format!(
            "command = [\"sh\", \"-c\", \"echo I am up; exec sleep 600\"]\nready.log = \"am up\"\n{again}{mark}"
        ),
    );
    put(
        dir,
        "once",
        &format!(
            "type = \"oneshot\"\ncommand = [\"true\"]\nhooks = {{ pre_start = [\"true\"], post_stop = [\"true\"] }}\n{again}"
        ),
    );
    put(
        dir,
        "other",
        &format!(
            "requires = [\"once\"]\ncommand = [\"sleep\", \"600\"]\nworking_dir = \"/\"\n\
             environment_files = [\"{at}/variables\"]\nlimits = {{ nofile = 128, nice = 1, core = 0, oom_score_adj = 100 }}\n\
             reload = {{ signal = \"SIGCONT\", test = [\"true\"] }}\n{again}{}\
             [credentials]\nkey = \"{at}/secret\"\n\
             [health]\nexec = [\"true\"]\ninterval = \"100ms\"\n",
            if crate::fixture::is_root() { "user = \"nobody\"\n" } else { "" }
        ),
    );
}

fn live_signs(life: &Life) -> Result<(), Wrong> {
    life.all_up()?;
    life.job_done("reload", "other")?;
    life.job_done("restart", "saying")?;
    life.signal("USR1");
    life.job_done("stop", "by-fd")?;
    life.job_done("start", "by-fd")?;
    life.all_up()
}

fn put(dir: &Path, unit: &str, text: &str) {
    fs::write(dir.join("units").join(format!("{unit}.toml")), text).unwrap();
}

fn make_pipe(path: &Path) {
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
}
