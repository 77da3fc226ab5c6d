//! Clients that ask as fast as they are answered, each request on a connection of its own, and count what fails.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Asking at once.
const CLIENTS: usize = 8;

/// Nobody waits longer for an answer: after that it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// After a failure: who is refused at once does not knock ten thousand times a second, and takes no processor from what is
/// to come up.
const PAUSE: Duration = Duration::from_millis(10);

/// Failures that are told word for word.
const TOLD_MAX: usize = 5;

/// What came of all requests.
#[derive(Debug, Default)]
pub struct Answers {
    pub good: u64,
    pub failed: u64,
    /// From connecting to the last byte.
    pub longest: Duration,
    /// Longest time in which nobody got a good answer.
    pub gap: Duration,
    /// Of the first that failed.
    pub why: Vec<String>,
}

/// The clients at work.
pub struct Load {
    state: Arc<State>,
    threads: Vec<JoinHandle<()>>,
}

struct State {
    at: String,
    path: String,
    /// Requests that are still to be begun; clients go on beyond it until they are told to end.
    asked: AtomicU64,
    until: AtomicU64,
    answers: Mutex<Answers>,
    /// When the last good answer came, to whomever.
    good: Mutex<Instant>,
}

impl Load {
    /// Begins to ask for `path` at `at`, until [`Load::end`].
    pub fn begin(at: &str, path: &str) -> Self {
        let state = Arc::new(State {
            at: at.to_owned(),
            path: path.to_owned(),
            asked: AtomicU64::new(0),
            until: AtomicU64::new(u64::MAX),
            answers: Mutex::default(),
            good: Mutex::new(Instant::now()),
        });
        let one = |_| {
            let state = Arc::clone(&state);
            thread::spawn(move || state.ask_on())
        };
        let threads = (0..CLIENTS).map(one).collect();
        Self { state, threads }
    }

    /// Requests so far.
    pub fn asked(&self) -> u64 {
        self.state.asked.load(Ordering::Relaxed)
    }

    /// Waits until `count` requests have been begun.
    pub fn go_on_to(&self, count: u64) {
        let given_up = Instant::now() + PATIENCE * 20;
        while self.asked() < count {
            assert!(
                Instant::now() < given_up,
                "requests are not answered any more: {} of {count}",
                self.asked()
            );
            look_again();
        }
    }

    /// Lets every client finish what it has begun.
    pub fn end(self) -> Answers {
        self.state.until.store(0, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        std::mem::take(&mut *self.state.answers.lock().unwrap())
    }
}

impl State {
    fn ask_on(&self) {
        let mut mine = Answers::default();
        while self.asked.fetch_add(1, Ordering::Relaxed) < self.until.load(Ordering::Relaxed) {
            let began = Instant::now();
            match get(&self.at, &self.path) {
                Ok(()) => {
                    mine.good += 1;
                    let mut last = self.good.lock().unwrap();
                    let before = std::mem::replace(&mut *last, Instant::now());
                    mine.gap = mine.gap.max(last.duration_since(before));
                }
                Err(why) => {
                    mine.failed += 1;
                    mine.why.push(why);
                    mine.why.truncate(TOLD_MAX);
                    thread::park_timeout(PAUSE);
                }
            }
            mine.longest = mine.longest.max(began.elapsed());
        }
        let mut all = self.answers.lock().unwrap();
        all.good += mine.good;
        all.failed += mine.failed;
        all.longest = all.longest.max(mine.longest);
        all.gap = all.gap.max(mine.gap);
        all.why.extend(mine.why);
        all.why.truncate(TOLD_MAX);
    }
}

/// Between two looks at what tells nobody that it has changed.
pub fn look_again() {
    thread::park_timeout(Duration::from_millis(1));
}

/// One request.
pub fn get(at: &str, path: &str) -> Result<(), String> {
    let mut stream = TcpStream::connect(at).map_err(|error| format!("refused: {error}"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|error| format!("cut off while asking: {error}"))?;
    let mut said = Vec::new();
    stream.read_to_end(&mut said).map_err(|error| format!("cut off: {error}"))?;
    if said.starts_with(b"HTTP/1.") && said[8..].starts_with(b" 200 ") {
        return Ok(());
    }
    Err(format!("answered {:?}", String::from_utf8_lossy(&said[..said.len().min(200)])))
}
