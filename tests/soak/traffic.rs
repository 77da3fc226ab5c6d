//! People and programs that want something of svinit all the time.

use std::fmt;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::day::{Day, Pace, ask, open};
use crate::units;

/// What is asked, in turn.
const QUESTIONS: [&str; 8] = [
    "/v1/units",
    "/v1/units?usage=true",
    "/v1/units/quiet-0",
    "/v1/supervisor",
    "/v1/health",
    "/v1/logs?units=writing-1&lines=20",
    "/v1/units/checked-1/definition",
    "/v1/units/no-such-unit",
];

/// Failures that are told; more say nothing new.
const TOLD_MAX: usize = 10;

#[derive(Default)]
struct Counts {
    restarts: AtomicU64,
    requests: AtomicU64,
    broken: AtomicU64,
    streams: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Counts {
    fn fail(&self, what: String) {
        let mut failures = self.failures.lock().unwrap();
        if failures.len() < TOLD_MAX {
            failures.push(what);
        }
    }
}

/// Threads that ask until they are told to end.
pub struct Traffic {
    counts: Arc<Counts>,
    pace: Pace,
    threads: Vec<JoinHandle<()>>,
}

impl Traffic {
    /// Begins all of it.
    pub fn begin(day: &Day) -> Self {
        let mut traffic =
            Self { counts: Arc::new(Counts::default()), pace: Pace::default(), threads: Vec::new() };
        traffic.every(500, day.socket(), restart);
        traffic.every(40, day.socket(), question);
        traffic.every(40, day.socket(), question);
        traffic.every(250, day.socket(), break_off);
        traffic.every(1_000, day.socket(), follow);
        traffic
    }

    fn every(&mut self, millis: u64, socket: PathBuf, act: fn(&Path, u64, &Counts)) {
        let (counts, pace) = (Arc::clone(&self.counts), self.pace.clone());
        self.threads.push(thread::spawn(move || {
            let mut turn = 0;
            while pace.wait(Duration::from_millis(millis)) {
                act(&socket, turn, &counts);
                turn += 1;
            }
        }));
    }

    /// Ends it; what it came to.
    pub fn end(self) -> Done {
        self.pace.end();
        for thread in self.threads {
            thread.join().unwrap();
        }
        let count = |number: &AtomicU64| number.load(Ordering::Relaxed);
        Done {
            restarts: count(&self.counts.restarts),
            requests: count(&self.counts.requests),
            broken: count(&self.counts.broken),
            streams: count(&self.counts.streams),
            failures: std::mem::take(&mut *self.counts.failures.lock().unwrap()),
        }
    }
}

fn restart(socket: &Path, turn: u64, counts: &Counts) {
    let names = units::restarted();
    let name = &names[usize::try_from(turn).unwrap() % names.len()];
    match ask(socket, "POST", "/v1/jobs", &format!(r#"{{"verb":"restart","units":["{name}"]}}"#)) {
        Ok((200, answer)) if answer.contains(r#""type":"done","ok":true"#) => {}
        Ok((_, answer)) => counts.fail(format!("restart {name}: {answer}")),
        Err(why) => counts.fail(why),
    }
    counts.restarts.fetch_add(1, Ordering::Relaxed);
}

fn question(socket: &Path, turn: u64, counts: &Counts) {
    let path = QUESTIONS[usize::try_from(turn).unwrap() % QUESTIONS.len()];
    let expected: &[u16] = match path {
        "/v1/units/no-such-unit" => &[404],
        // Units that are restarted or have crashed are not well, and it says so.
        "/v1/health" => &[200, 503],
        _ => &[200],
    };
    match ask(socket, "GET", path, "") {
        Ok((status, _)) if expected.contains(&status) => {}
        Ok((status, answer)) => counts.fail(format!("GET {path}: {status}: {answer}")),
        Err(why) => counts.fail(why),
    }
    counts.requests.fetch_add(1, Ordering::Relaxed);
}

/// A client that goes away in the middle of its request, before the answer, or sends what is no request.
fn break_off(socket: &Path, turn: u64, counts: &Counts) {
    let Ok(mut stream) = UnixStream::connect(socket) else {
        return counts.fail("the control socket does not accept".to_owned());
    };
    let words: &[u8] = match turn % 4 {
        0 => b"",
        1 => b"GET /v1/un",
        2 => b"GET /v1/units HTTP/1.1\r\nHost: x\r\n\r\n",
        _ => b"\x00\xff\r\n\r\n",
    };
    let _ = stream.write_all(words);
    counts.broken.fetch_add(1, Ordering::Relaxed);
}

/// Follows events or logs for as long as the first bytes take.
fn follow(socket: &Path, turn: u64, counts: &Counts) {
    let path = ["/v1/events", "/v1/logs?follow=true&lines=5", "/v1/events?initial=true"]
        [usize::try_from(turn % 3).unwrap()];
    let read = open(socket, "GET", path, "").and_then(|mut stream| {
        let mut some = [0; 4096];
        for _ in 0..4 {
            stream.read_exact(&mut some[..16])?;
        }
        stream.read(&mut some)
    });
    if let Err(error) = read {
        counts.fail(format!("GET {path}: {error}"));
    }
    counts.streams.fetch_add(1, Ordering::Relaxed);
}

/// What was asked, and what went wrong.
pub struct Done {
    restarts: u64,
    requests: u64,
    broken: u64,
    streams: u64,
    failures: Vec<String>,
}

impl Done {
    /// What should not be.
    pub fn wrong(&self) -> Vec<String> {
        self.failures.clone()
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { restarts, requests, broken, streams, failures } = self;
        write!(
            f,
            "{restarts} restarts, {requests} requests, {broken} broken off, {streams} streams: {} failures",
            failures.len()
        )
    }
}
