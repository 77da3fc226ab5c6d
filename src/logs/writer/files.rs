//! Writes log files, and outlives every trouble with them.
//!
//! A file that cannot be written keeps its lines waiting in memory up to the unit's share, then the oldest go and are
//! counted; it is tried again once a second, and people are told once a minute. The other files go on meanwhile.

use std::sync::Arc;
use std::sync::MutexGuard;
use std::time::Duration;

use memchr::memchr_iter;

use crate::lifecycle::time::Time;
use crate::logs::file::LogFile;
use crate::logs::queue::{Batch, SourceId};
use crate::logs::writer::streams::lines_word;
use crate::logs::writer::{BATCH_BYTES, LaneState, Order, Shared};
use crate::os::clock;
use crate::os::error;
use crate::units::spec::LogLevel;

/// Between two tries of a file that cannot be written.
const RETRY: Duration = Duration::from_secs(1);

/// Between two messages about the same file.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// A piece of compression is done at least once in so many bytes of logs, so that busy files are compressed too.
const COMPRESS_EVERY: usize = 16 << 20;

/// All files, by number.
#[derive(Default)]
pub(super) struct FileSet {
    slots: Vec<Option<Slot>>,
    written: usize,
}

struct Slot {
    log: LogFile,
    trouble: Option<Trouble>,
    warn_after: Time,
    /// People were told that it cannot be written, and not yet that it can.
    is_warned: bool,
}

struct Trouble {
    retry_at: Time,
    sources: Vec<SourceId>,
}

impl FileSet {
    /// The thread.
    pub(super) fn run(mut self, shared: &Arc<Shared>) {
        let lane = &shared.files;
        let mut state = lane.lock();
        loop {
            if state.is_to_rest {
                state = lane.rest(state);
                continue;
            }
            self.obey(&mut state);
            self.mend(&mut state, clock::now());
            if let Some(batch) = state.queue.take(BATCH_BYTES) {
                state.begin(&batch);
                let rings = state.queue.release();
                drop(state);
                if rings {
                    shared.ring();
                }
                state = self.write(shared, batch);
                continue;
            }
            if state.is_ending {
                return;
            }
            if self.has_chores() {
                state.is_writing = false;
                state.in_flight = 0;
                lane.idle.notify_all();
                drop(state);
                self.do_chores();
                state = lane.lock();
            } else {
                let within = self.next_due(&state);
                state = lane.sleep(state, within);
            }
        }
    }

    /// Without a thread: all that waits, at once.
    pub(super) fn write_all(&mut self, shared: &Shared) {
        loop {
            let mut state = shared.files.lock();
            self.obey(&mut state);
            self.mend(&mut state, clock::now());
            let Some(batch) = state.queue.take(BATCH_BYTES) else { break };
            state.queue.release();
            drop(state);
            drop(self.write(shared, batch));
        }
        if self.has_chores() {
            self.do_chores();
        }
    }

    fn obey(&mut self, state: &mut LaneState) {
        for order in state.orders.drain(..) {
            match order {
                Order::Reopen => self.slots.iter_mut().flatten().for_each(|slot| slot.log.reopen()),
                Order::File(number, path, rotation) => {
                    if self.slots.len() <= number {
                        self.slots.resize_with(number + 1, || None);
                    }
                    match &mut self.slots[number] {
                        Some(slot) => slot.log.set_rotation(rotation),
                        slot => *slot = Some(Slot::new(LogFile::new(path, rotation))),
                    }
                }
            }
        }
    }

    /// Lets those be tried again whose time has come.
    fn mend(&mut self, state: &mut LaneState, now: Time) {
        for slot in self.slots.iter_mut().flatten() {
            if let Some(trouble) = slot.trouble.take_if(|trouble| trouble.retry_at <= now) {
                trouble.sources.into_iter().for_each(|id| state.queue.mend(id));
            }
        }
    }

    fn write<'a>(&mut self, shared: &'a Shared, batch: Batch) -> MutexGuard<'a, LaneState> {
        let now = clock::now();
        let Some(slot) = self.slots.get_mut(batch.out).and_then(Option::as_mut) else {
            return shared.files.lock();
        };
        for (unit, lines) in &batch.missing {
            let text =
                format!("{lines} {} dropped, {} is blocked", lines_word(*lines), slot.log.path().display());
            tell(shared, Some(unit), LogLevel::Warn, &text);
        }
        let mut unwritten = Vec::new();
        let mut done = Vec::new();
        for (id, mut chunk) in batch.chunks {
            if slot.trouble.is_some() {
                unwritten.push((id, chunk));
                continue;
            }
            match slot.log.write(&chunk.bytes, clock::wall_us()) {
                Ok(()) => {
                    self.written += chunk.bytes.len();
                    done.push(chunk.bytes);
                    slot.on_success(shared);
                }
                Err(failed) => {
                    slot.on_failure(shared, &failed.error, now);
                    chunk.lines -= memchr_iter(b'\n', &chunk.bytes[..failed.written]).count() as u64;
                    chunk.bytes.drain(..failed.written);
                    unwritten.push((id, chunk));
                }
            }
        }
        if self.written >= COMPRESS_EVERY {
            self.written = 0;
            self.slots.iter_mut().flatten().find_map(|slot| slot.log.compress_some().then_some(()));
        }
        let mut state = shared.files.lock();
        done.into_iter().for_each(|buffer| state.recycle(buffer));
        if let Some(trouble) = self.slots[batch.out].as_mut().and_then(|slot| slot.trouble.as_mut()) {
            // The last first: each goes before what waits already.
            for (id, chunk) in unwritten.into_iter().rev() {
                state.queue.give_back(id, chunk);
                trouble.sources.push(id);
            }
            if state.queue.release() {
                drop(state);
                shared.ring();
                state = shared.files.lock();
            }
        }
        state
    }

    fn has_chores(&self) -> bool {
        let wall_us = clock::wall_us();
        self.slots.iter().flatten().any(|slot| slot.has_chores(wall_us))
    }

    /// A piece of compression, and what has become too old.
    fn do_chores(&mut self) {
        let wall_us = clock::wall_us();
        for slot in self.slots.iter_mut().flatten() {
            if slot.log.due_us().is_some_and(|due| due <= wall_us) && slot.log.on_time(wall_us).is_err() {
                // Tried again with the next line.
                slot.log.reopen();
            }
            if slot.log.has_to_compress() {
                slot.log.compress_some();
                return;
            }
        }
    }

    /// How long the thread may sleep: for ever, unless a file waits to be tried again or will be too old.
    fn next_due(&self, state: &LaneState) -> Option<Duration> {
        let slots = || self.slots.iter().flatten();
        let now = clock::now();
        let retry =
            slots().filter_map(|slot| slot.trouble.as_ref()).map(|trouble| trouble.retry_at.since(now));
        let retry = retry.min().filter(|_| !state.queue.is_empty());
        let wall_us = clock::wall_us();
        let micros =
            |due: i64| Duration::from_micros(u64::try_from(due.saturating_sub(wall_us)).unwrap_or(0));
        let old = slots().filter_map(|slot| slot.log.due_us()).map(micros);
        // A moment later, so that it is due when we wake up.
        retry.into_iter().chain(old).min().map(|wait| wait + Duration::from_millis(1))
    }
}

impl Slot {
    fn new(log: LogFile) -> Self {
        Self { log, trouble: None, warn_after: Time::ZERO, is_warned: false }
    }

    fn has_chores(&self, wall_us: i64) -> bool {
        self.log.has_to_compress() || self.log.due_us().is_some_and(|due| due <= wall_us)
    }

    fn on_failure(&mut self, shared: &Shared, error: &std::io::Error, now: Time) {
        self.log.reopen();
        self.trouble = Some(Trouble { retry_at: now.after(RETRY), sources: Vec::new() });
        if now >= self.warn_after {
            self.warn_after = now.after(WARN_EVERY);
            self.is_warned = true;
            let text = format!(
                "cannot write {}: {} (its lines wait in memory, then the oldest are dropped)",
                self.log.path().display(),
                error::cause(error)
            );
            tell(shared, None, LogLevel::Error, &text);
        }
    }

    fn on_success(&mut self, shared: &Shared) {
        if std::mem::take(&mut self.is_warned) {
            tell(shared, None, LogLevel::Info, &format!("{} is written again", self.log.path().display()));
        }
    }
}

/// Says it, and wakes the thread of the streams for it: the driver, which does that otherwise, may be idle.
fn tell(shared: &Shared, unit: Option<&str>, level: LogLevel, text: &str) {
    shared.say(unit, level, text);
    shared.streams.wake_for_lines();
}
