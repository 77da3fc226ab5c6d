//! svinit itself is replaced, and crashes, again and again: whether anybody notices.
//!
//! A server is asked at full rate, a unit counts aloud as fast as it can, and others are merely there. Each line is
//! looked at as it comes out of svinit, so nothing has to be kept.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::load::{self, Load, PATIENCE};
use crate::programs::Program;
use crate::svinit::{Svinit, address, until_answered};

/// An upgrade may stand still for so long.
pub const PAUSE_MAX: Duration = Duration::from_millis(50);

/// Services that do nothing but be there.
const BYSTANDERS: usize = 8;

/// Of the counter; until there is a file `stop` beside it.
const COUNTER: &str = "command = [\"sh\", \"-c\", \"i=0; while [ ! -e {dir}/stop ]; do echo $i; i=$((i+1)); done; echo end\"]\nrestart.policy = \"never\"\n";

/// What the counter has said, as it came out of svinit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub lines: u64,
    pub lost: u64,
    /// Said once and seen twice, or after what was said later.
    pub doubled: u64,
    next: u64,
    pub has_ended: bool,
}

impl Count {
    /// Takes the line if it is the counter's.
    pub fn take(&mut self, line: &str) -> bool {
        let Some(said) = line.strip_prefix("count | ") else { return false };
        match said.parse::<u64>() {
            Ok(number) if number >= self.next => {
                self.lost += number - self.next;
                self.next = number + 1;
            }
            Ok(_) => self.doubled += 1,
            Err(_) if said == "end" => self.has_ended = true,
            // Half a line, or two in one.
            Err(_) => self.lost += 1,
        }
        self.lines += 1;
        true
    }
}

/// What one kind of change of svinit came to.
pub struct Itself {
    pub what: String,
    pub asked: usize,
    pub survived: usize,
    pub pids_changed: usize,
    pub count: Count,
    pub requests: u64,
    pub failed: u64,
    /// As svinit tells it.
    pub paused: Option<Duration>,
    /// Of the control socket, which is asked all the while.
    pub longest: Duration,
    pub wrong: Vec<String>,
}

/// Replaces svinit by a copy of itself so many times.
pub fn upgrades(program: &Program, times: usize) -> Itself {
    let mut paused = Duration::ZERO;
    let mut itself = under_load(program, "`svctl upgrade`", times, |svinit| {
        svinit.replace_executable();
        let said = svinit.svctl(&["upgrade", "--json"])?;
        let told: serde_json::Value = serde_json::from_str(&said).map_err(|why| format!("{why}: {said}"))?;
        let millis = told["paused_ms"].as_f64().ok_or_else(|| format!("no pause is told: {said}"))?;
        paused = paused.max(Duration::from_secs_f64(millis / 1000.0));
        Ok(())
    });
    if paused > PAUSE_MAX {
        itself.wrong.push(format!("an upgrade took {paused:?}"));
    }
    if itself.count.lost + itself.count.doubled > 0 {
        itself.wrong.push(format!("lines were lost or doubled: {:?}", itself.count));
    }
    Itself { paused: Some(paused), ..itself }
}

/// Lets svinit crash in this way so many times.
pub fn crashes(program: &Program, kind: &str, words: &str, times: usize) -> Itself {
    let mut crashed = 0;
    under_load(program, words, times, |svinit| {
        // The answer is that the connection ends.
        let _ = ask(svinit, "POST", &format!("/v1/fault/{kind}"));
        crashed += 1;
        let began = Instant::now();
        while svinit.said().matches("has crashed (").count() < crashed {
            if began.elapsed() > PATIENCE {
                return Err(format!("it did not come back: {}", svinit.said()));
            }
            load::look_again();
        }
        svinit.svctl(&["status"]).map(drop)
    })
}

fn under_load(
    program: &Program,
    what: &str,
    times: usize,
    mut change: impl FnMut(&Svinit) -> Result<(), String>,
) -> Itself {
    let at = address();
    let mut units =
        vec![("web".to_owned(), program.unit(&at, "", 0)), ("count".to_owned(), COUNTER.to_owned())];
    let bystander = |nth| (format!("stays{nth}"), "command = [\"sleep\", \"86400\"]\n".to_owned());
    units.extend((0..BYSTANDERS).map(bystander));
    let env = [("SVINIT_FAULTS", "1"), ("SVINIT_CRASHES_MAX", "1000000")];
    let svinit = Arc::new(Svinit::start_all(&units, &env));
    until_answered(Instant::now(), &at, program.path);
    let mut before = pids(&svinit);
    let (load, asker) = (Load::begin(&at, program.path), Asker::begin(&svinit));
    let (mut survived, mut pids_changed, mut wrong) = (0, 0, Vec::new());
    for nth in 1..=times {
        // There is something to do between two of them.
        let asked = load.asked();
        load.go_on_to(asked + 20);
        match change(&svinit) {
            Ok(()) => survived += 1,
            Err(why) => wrong.push(why),
        }
        let after = pids(&svinit);
        if before != after {
            pids_changed += 1;
            wrong.push(format!("number {nth}: PIDs were {before:?} and are {after:?}"));
            before = after;
        }
    }
    let longest = asker.end();
    let answers = load.end();
    let count = svinit.stop_counting();
    wrong.extend(answers.why);
    let (requests, failed) = (answers.good + answers.failed, answers.failed);
    let paused = None;
    wrong.iter_mut().for_each(|why| *why = format!("{what}: {why}"));
    let what = what.to_owned();
    Itself { what, asked: times, survived, pids_changed, count, requests, failed, paused, longest, wrong }
}

/// Of each unit, with the one of svinit.
fn pids(svinit: &Svinit) -> BTreeMap<String, String> {
    let said = svinit.svctl(&["status", "--json"]).unwrap_or_default();
    let told: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
    let of = |unit: &serde_json::Value| (unit["unit"].to_string(), unit["pid"].to_string());
    let mut pids: BTreeMap<String, String> = told.as_array().into_iter().flatten().map(of).collect();
    pids.insert("svinit".to_owned(), svinit.pid().to_string());
    pids
}

/// Asks svinit at its control socket, again and again, how it is.
struct Asker {
    ends: Arc<AtomicBool>,
    longest: Arc<Mutex<Duration>>,
    thread: thread::JoinHandle<()>,
}

impl Asker {
    fn begin(svinit: &Arc<Svinit>) -> Self {
        let (ends, longest) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Duration::ZERO)));
        let (svinit, is_over, most) = (Arc::clone(svinit), Arc::clone(&ends), Arc::clone(&longest));
        let thread = thread::spawn(move || {
            // Who is cut off asks again: the time from the first question to an answer counts.
            let mut began = Instant::now();
            while !is_over.load(Ordering::Relaxed) {
                if ask(&svinit, "GET", "/v1/supervisor").is_some_and(|said| said.starts_with("HTTP/1.1 200"))
                {
                    let mut most = most.lock().unwrap();
                    *most = began.elapsed().max(*most);
                    began = Instant::now();
                }
                load::look_again();
            }
        });
        Self { ends, longest, thread }
    }

    fn end(self) -> Duration {
        self.ends.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        *self.longest.lock().unwrap()
    }
}

fn ask(svinit: &Svinit, method: &str, path: &str) -> Option<String> {
    let mut stream = UnixStream::connect(svinit.socket()).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let request =
        format!("{method} {path} HTTP/1.1\r\nHost: svinit\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut said = String::new();
    stream.read_to_string(&mut said).ok()?;
    (!said.is_empty()).then_some(said)
}
