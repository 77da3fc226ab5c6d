//! What the manager writes: lines about requests and about itself, by a thread of its own.
//!
//! Whoever reads standard output may stop reading, and then a write waits. So requests never write: their lines go into a
//! buffer that the thread empties, and when that is full they are dropped and counted.

use std::fs::File;
use std::io::Write as _;
use std::mem;
use std::os::fd::AsFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::os::clock;

/// Bytes that wait to be written; lines beyond that are dropped and counted.
const WAITING_MAX: usize = 1 << 20;

/// Lines are written at once when there are so many bytes, else after [`PAUSE`].
const ENOUGH: usize = 32 << 10;

/// So long a line may wait for others, so that a thousand requests a moment are not a thousand writes.
const PAUSE: Duration = Duration::from_millis(20);

/// At the end: for lines that are still to be written.
const PATIENCE: Duration = Duration::from_secs(1);

/// Where lines go. All copies are the same.
#[derive(Clone)]
pub struct Journal(Arc<Shared>);

struct Shared {
    lines: Mutex<Lines>,
    /// Lines have come, or the end.
    filled: Condvar,
    /// All is written.
    emptied: Condvar,
}

#[derive(Default)]
struct Lines {
    bytes: Vec<u8>,
    dropped: u64,
    is_writing: bool,
    is_idle: bool,
    is_hurried: bool,
}

impl Journal {
    /// Starts the thread that writes to standard output.
    ///
    /// # Errors
    /// There can be no more threads.
    pub fn start() -> std::io::Result<Self> {
        let stdout = File::from(std::io::stdout().as_fd().try_clone_to_owned()?);
        let shared =
            Arc::new(Shared { lines: Mutex::default(), filled: Condvar::new(), emptied: Condvar::new() });
        let own = shared.clone();
        std::thread::Builder::new().name("journal".to_owned()).spawn(move || write(&own, stdout))?;
        Ok(Self(shared))
    }

    /// One that writes nothing, for `explain` and for tests.
    #[must_use]
    pub fn silent() -> Self {
        let lines = Mutex::new(Lines { is_writing: true, ..Lines::default() });
        Self(Arc::new(Shared { lines, filled: Condvar::new(), emptied: Condvar::new() }))
    }

    /// A line about the manager itself.
    pub fn say(&self, text: &str) {
        let mut line = Vec::with_capacity(text.len() + 48);
        stamp(&mut line);
        // Writing to memory does not fail.
        let _ = writeln!(line, " svmanager: {}", text.replace('\n', "\n  "));
        self.put(&line);
    }

    /// A whole line with its end.
    pub fn put(&self, line: &[u8]) {
        let mut lines = lock(&self.0.lines);
        if lines.bytes.len() + line.len() > WAITING_MAX {
            lines.dropped += 1;
            return;
        }
        lines.bytes.extend_from_slice(line);
        if lines.is_idle || lines.bytes.len() >= ENOUGH && !lines.is_hurried {
            lines.is_hurried = lines.bytes.len() >= ENOUGH;
            lines.is_idle = false;
            self.0.filled.notify_one();
        }
    }

    /// Lines that were dropped because nobody reads.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        lock(&self.0.lines).dropped
    }

    /// Waits for what is still to be written, for a moment.
    pub fn flush(&self) {
        let mut lines = lock(&self.0.lines);
        lines.is_hurried = true;
        self.0.filled.notify_one();
        let is_open = |lines: &mut Lines| !lines.bytes.is_empty() || lines.is_writing;
        drop(self.0.emptied.wait_timeout_while(lines, PATIENCE, is_open));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(shared: &Shared, mut stdout: File) {
    let mut taken = Vec::new();
    let mut told = 0;
    loop {
        let mut lines = lock(&shared.lines);
        if lines.bytes.is_empty() {
            lines.is_writing = false;
            lines.is_idle = true;
            shared.emptied.notify_all();
            let empty = |lines: &mut Lines| lines.bytes.is_empty();
            lines = shared.filled.wait_while(lines, empty).unwrap_or_else(PoisonError::into_inner);
            lines.is_idle = false;
        }
        if !lines.is_hurried {
            let calm = |lines: &mut Lines| !lines.is_hurried;
            lines = match shared.filled.wait_timeout_while(lines, PAUSE, calm) {
                Ok((lines, _)) => lines,
                Err(poisoned) => poisoned.into_inner().0,
            };
        }
        lines.is_hurried = false;
        lines.is_writing = true;
        mem::swap(&mut lines.bytes, &mut taken);
        let dropped = lines.dropped;
        drop(lines);
        if dropped > told {
            let mut line = Vec::new();
            stamp(&mut line);
            let _ =
                writeln!(line, " svmanager: {} lines were dropped, since nobody reads them", dropped - told);
            told = dropped;
            taken.extend_from_slice(&line);
        }
        // A reader that is gone is no reason to end: requests are what we are here for.
        let _ = stdout.write_all(&taken);
        taken.clear();
        taken.shrink_to(2 * ENOUGH);
    }
}

/// The time, UTC, to the millisecond.
pub fn stamp(out: &mut Vec<u8>) {
    let wall = clock::wall_us();
    let time = jiff::Timestamp::from_microsecond(wall - wall.rem_euclid(1000))
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let _ = write!(out, "{time:.3}");
}
