//! The threads that do every write that may block.
//!
//! One thread writes svinit's own stdout and stderr, another the log files, so that a frozen container log does not keep
//! lines from a disk and the other way round. Both are made at the start: later, at `pids.max`, none can be made. What
//! waits for them is bounded ([`Queue`]); handing over a chunk never blocks. Descriptors 0 to 2 are never made
//! non-blocking: other processes share them, and would lose output.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::lifecycle::time::Time;
use crate::logs::queue::{Batch, Chunk, Queue, Room, SourceId};
use crate::logs::rotate::Rotation;
use crate::os::error::Error;
use crate::os::signals;
use crate::units::spec::{LogFormat, LogLevel, WhenBlocked};

mod bell;
mod files;
mod own;
mod streams;

use bell::Bell;
use files::FileSet;
pub(super) use own::Message;
use own::Voice;
use streams::Outs;

/// Written by one turn of a thread at most; also what may be lost to a process that dies in the middle.
const BATCH_BYTES: usize = 256 << 10;

/// So much is worth waking a thread for in the middle of a turn, that it writes while we read on.
const EAGER_BYTES: usize = 32 << 10;

/// Buffers that a lane keeps for the next chunks while it is busy.
const SPARES: usize = 4;

/// Between two interruptions of a thread that is to rest: it may have been about to begin what it was to be kept from.
const INTERRUPT_EVERY: Duration = Duration::from_micros(500);

/// Of address space, of which only what is used costs memory. A compressor is some 300 KiB and is made on the stack.
const STACK: usize = 1 << 20;

/// Where svinit's own two streams go, and in which form.
pub struct Streams {
    /// Standard output; `None` when there is none, then what is for it is counted as dropped.
    pub stdout: Option<OwnedFd>,
    /// Standard error.
    pub stderr: Option<OwnedFd>,
    /// Text or JSON lines.
    pub format: LogFormat,
    /// Bytes for all log buffers together (`log_buffer_total`): a quarter may wait for the streams, a quarter for files,
    /// and the other half is for what the pump keeps.
    pub buffer_total: u64,
}

impl Streams {
    /// svinit's own stdout and stderr.
    #[must_use]
    pub fn own(format: LogFormat, buffer_total: u64) -> Self {
        // Duplicates share everything with 1 and 2; one that is closed cannot be duplicated.
        let stdout = std::io::stdout().as_fd().try_clone_to_owned().ok();
        let stderr = std::io::stderr().as_fd().try_clone_to_owned().ok();
        Self { stdout, stderr, format, buffer_total }
    }
}

/// Whether a thread for log files is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Files {
    /// Some unit has a log file, or may get one by an update.
    Some,
    /// No unit has one: no thread. A file that is asked for later is written by the driver itself.
    None,
}

/// Hands whole lines to the writing threads. Cheap to clone, never blocks.
#[derive(Clone)]
pub struct Writer {
    shared: Arc<Shared>,
    /// The threads end when the last of these is dropped.
    _life: Arc<Life>,
}

/// The two kinds of destination, each with its own thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// Out 0 is stdout, 1 is stderr.
    Streams,
    /// Outs are numbered by [`Writer::file`].
    Files,
}

struct Shared {
    format: LogFormat,
    streams: Lane,
    files: Lane,
    voice: Voice,
    bell: Result<Bell, String>,
    /// Without threads, the driver writes here what can be written without waiting.
    own_streams: Option<Mutex<Outs>>,
    own_files: Option<Mutex<FileSet>>,
}

/// What waits for one thread.
#[derive(Default)]
struct Lane {
    state: Mutex<LaneState>,
    work: Condvar,
    idle: Condvar,
    /// The same as in the state, for whoever is in the middle of a write.
    is_to_rest: AtomicBool,
}

#[derive(Default)]
struct LaneState {
    queue: Queue,
    spares: Vec<Vec<u8>>,
    orders: Vec<Order>,
    /// The files by number, and the rules that were ordered for them last.
    files: Vec<(PathBuf, Rotation)>,
    is_writing: bool,
    /// Lines of the batch that is being written.
    in_flight: u64,
    is_asleep: bool,
    is_ending: bool,
    /// The thread is to come to rest, or rests already.
    is_to_rest: bool,
    is_resting: bool,
    /// How the thread is brought out of a write that waits; `None` for one that never waits for long.
    thread: Option<signals::Thread>,
    /// What is left of a batch that was interrupted.
    begun: Option<Chunk>,
}

/// What the file thread is told beside lines.
enum Order {
    /// This file is to be written with these rules; its number is its place among all.
    File(usize, PathBuf, Rotation),
    Reopen,
}

impl Writer {
    /// Makes the threads: one for the streams, and one for files when `files` asks for it. Never fails: without threads
    /// the driver writes by itself, and only what can be written without waiting.
    #[must_use]
    pub fn start(streams: Streams, files: Files) -> Self {
        let try_thread = |name: &str, run: Box<dyn FnOnce() + Send>| {
            let run = move || {
                signals::block_all();
                run();
            };
            thread::Builder::new().name(name.to_owned()).stack_size(STACK).spawn(run).is_ok()
        };
        Self::start_with(streams, files, try_thread)
    }

    fn start_with(
        streams: Streams,
        files: Files,
        mut try_thread: impl FnMut(&str, Box<dyn FnOnce() + Send>) -> bool,
    ) -> Self {
        // The threads learn what they share only when it is complete; those that could not be made never ask.
        let (tell_streams, told_streams) = std::sync::mpsc::channel::<(Arc<Shared>, Outs)>();
        let (tell_files, told_files) = std::sync::mpsc::channel::<Arc<Shared>>();
        let has_streams = try_thread(
            "log-streams",
            Box::new(move || {
                if let Ok((shared, outs)) = told_streams.recv() {
                    outs.run(&shared);
                }
            }),
        );
        let run_files = Box::new(move || {
            if let Ok(shared) = told_files.recv() {
                FileSet::default().run(&shared);
            }
        });
        let has_files = files == Files::Some && try_thread("log-files", run_files);

        let mut queue = Queue::new(streams.buffer_total / 4);
        let voice = Voice::new(&mut queue, streams.format);
        let outs = Outs::new(streams.stdout, streams.stderr);
        let bell = if has_streams { Bell::new() } else { Bell::for_outs(&outs) };
        let (own_outs, their_outs) = if has_streams { (None, Some(outs)) } else { (Some(outs), None) };
        let shared = Arc::new(Shared {
            format: streams.format,
            streams: Lane::new(queue),
            files: Lane::new(Queue::new(streams.buffer_total / 4)),
            voice,
            bell: bell.map_err(|error| crate::os::error::cause(&error)),
            own_streams: own_outs.map(Mutex::new),
            own_files: (!has_files).then(Mutex::default),
        });
        if let Some(outs) = their_outs {
            // The thread waits for it; had it ended, lines would wait as for a blocked stdout.
            let _ = tell_streams.send((Arc::clone(&shared), outs));
        }
        let _ = tell_files.send(Arc::clone(&shared));
        Self { _life: Arc::new(Life(Arc::clone(&shared))), shared }
    }

    /// The form of the streams.
    #[must_use]
    pub fn format(&self) -> LogFormat {
        self.shared.format
    }

    /// Readable when units that were held may go on, or svinit has said something.
    pub(super) fn bell(&self) -> Result<BorrowedFd<'_>, Error> {
        match &self.shared.bell {
            Ok(bell) => Ok(bell.as_fd()),
            Err(why) => Err(Error::new("make a wake-up for logs", why.clone())),
        }
    }

    /// After the bell has rung.
    pub(super) fn on_bell(&self) {
        if let Ok(bell) = &self.shared.bell {
            bell.hush();
        }
        self.shared.write_own(To::Streams);
    }

    pub(super) fn add(&self, to: To, name: Arc<str>, share: u64, policy: WhenBlocked) -> SourceId {
        self.shared.lane(to).lock().queue.add(name, share, policy)
    }

    pub(super) fn set(&self, to: To, id: SourceId, share: u64, policy: WhenBlocked) {
        self.shared.lane(to).lock().queue.set(id, share, policy);
    }

    pub(super) fn remove(&self, to: To, id: SourceId) {
        self.shared.lane(to).lock().queue.remove(id);
    }

    /// The number of the file at `path`; two units may share one.
    pub(super) fn file(&self, path: &std::path::Path, rotation: Rotation) -> usize {
        let mut state = self.shared.files.lock();
        let known = state.files.iter().position(|(other, _)| other == path);
        let number = known.unwrap_or(state.files.len());
        // Orders wait for the thread, so only what is different is one: a unit may be started very often.
        if state.files.get(number).is_none_or(|(_, rules)| *rules != rotation) {
            match known {
                Some(number) => state.files[number].1 = rotation,
                None => state.files.push((path.to_path_buf(), rotation)),
            }
            state.orders.push(Order::File(number, path.to_path_buf(), rotation));
        }
        number
    }

    /// All files are closed, and opened again by their next lines.
    pub(super) fn reopen(&self) {
        self.shared.files.lock().orders.push(Order::Reopen);
        self.shared.files.wake();
        self.shared.write_own(To::Files);
    }

    /// Hands over whole lines. The thread that writes them is woken when they are many, else by [`Writer::wake`]: each
    /// wake-up costs as much as a spawn, and what is done in one turn of the driver is better written together.
    pub(super) fn push(&self, to: To, id: SourceId, chunk: Chunk) -> Room {
        let lane = self.shared.lane(to);
        let mut state = lane.lock();
        let room = state.queue.push(id, chunk);
        let is_due = state.is_asleep && state.queue.waiting() >= EAGER_BYTES;
        drop(state);
        if is_due {
            lane.wake();
        }
        if self.shared.write_own(to) && room == Room::Full {
            return if self.is_held(to, id) { Room::Full } else { Room::Left };
        }
        room
    }

    pub(super) fn is_held(&self, to: To, id: SourceId) -> bool {
        self.shared.lane(to).lock().queue.is_held(id)
    }

    /// Lines of `id` that went missing.
    pub(super) fn missing(&self, to: To, id: SourceId) -> u64 {
        self.shared.lane(to).lock().queue.missing(id)
    }

    /// A buffer to fill, used before if there is one.
    pub(super) fn spare(&self, to: To) -> Vec<u8> {
        self.shared.lane(to).lock().spares.pop().unwrap_or_default()
    }

    /// svinit's own words; see [`crate::logs::own::Own`]. [`Writer::wake`] is for the caller to call.
    pub(super) fn say(&self, unit: Option<&str>, level: LogLevel, text: &str) {
        self.shared.say(unit, level, text);
    }

    /// What was said since the last call.
    pub(super) fn heard(&self) -> Vec<Message> {
        self.shared.voice.take()
    }

    /// From here on the bell rings when svinit says something: somebody follows.
    pub(super) fn set_followed(&self, followed: bool) {
        self.shared.voice.set_followed(followed);
    }

    /// Wakes the threads for what they were handed while they slept.
    pub(super) fn wake(&self) {
        self.shared.streams.wake_for_lines();
        self.shared.files.wake_for_lines();
    }

    /// Waits until all that waits is written, at most for `within`. False when it is not.
    pub(super) fn wait_idle(&self, within: Duration) -> bool {
        self.wake();
        let until = crate::os::clock::now().after(within);
        let mut is_idle = true;
        for to in [To::Files, To::Streams] {
            let left = until.since(crate::os::clock::now());
            is_idle &= match (to, &self.shared.own_streams, &self.shared.own_files) {
                (To::Streams, Some(outs), _) => lock(outs).wait_idle(&self.shared, left),
                (To::Files, _, Some(_)) => {
                    self.shared.write_own(To::Files);
                    self.shared.files.lock().queue.is_empty()
                }
                _ => self.shared.lane(to).wait_idle(left),
            };
        }
        is_idle
    }

    /// Brings the threads to rest: nothing is written from here on until [`Writer::go_on`]. False when one is still busy
    /// after `within`.
    pub(super) fn rest(&self, within: Duration) -> bool {
        let until = crate::os::clock::now().after(within);
        let lanes = [
            (&self.shared.streams, self.shared.own_streams.is_none()),
            (&self.shared.files, self.shared.own_files.is_none()),
        ];
        let threads = || lanes.iter().filter(|(_, has_thread)| *has_thread).map(|(lane, _)| *lane);
        threads().for_each(|lane| lane.set_to_rest(true));
        threads().all(|lane| lane.wait_for_rest(until))
    }

    /// The end of [`Writer::rest`].
    pub(super) fn go_on(&self) {
        for lane in [&self.shared.streams, &self.shared.files] {
            lane.set_to_rest(false);
        }
    }

    /// Shows what waits for `to`: the rest of what was begun, and all else.
    pub(super) fn look_at_waiting(&self, to: To, look: impl FnOnce(Option<&Chunk>, &Queue)) {
        let own = match (to, &self.shared.own_streams) {
            (To::Streams, Some(outs)) => lock(outs).begun(),
            _ => None,
        };
        let state = self.shared.lane(to).lock();
        look(own.as_ref().or(state.begun.as_ref()), &state.queue);
    }

    /// Takes back what an svinit before this one has left, before anything else waits: first what it had begun. Without a
    /// place it is svinit's own.
    pub(super) fn refill(
        &self,
        to: To,
        begun: Option<Chunk>,
        waiting: Vec<(Option<SourceId>, Chunk)>,
        untold: &BTreeMap<Option<SourceId>, u64>,
    ) {
        let own = self.shared.voice.source();
        let lane = self.shared.lane(to);
        let mut state = lane.lock();
        for (place, chunk) in waiting {
            state.queue.refill(place.unwrap_or(own), chunk);
        }
        for (place, lines) in untold {
            state.queue.set_untold(place.unwrap_or(own), *lines);
        }
        match (to, &self.shared.own_streams) {
            (To::Streams, Some(outs)) => lock(outs).begin_with(begun),
            _ => state.begun = begun,
        }
        drop(state);
        lane.wake();
        self.shared.write_own(to);
    }

    /// Lines that wait, or are being written.
    pub(super) fn lines_left(&self) -> u64 {
        let left = |lane: &Lane| {
            let state = lane.lock();
            state.queue.lines() + state.in_flight
        };
        left(&self.shared.streams) + left(&self.shared.files)
    }
}

impl Shared {
    fn lane(&self, to: To) -> &Lane {
        match to {
            To::Streams => &self.streams,
            To::Files => &self.files,
        }
    }

    fn ring(&self) {
        if let Ok(bell) = &self.bell {
            bell.ring();
        }
    }

    /// Without a thread for `to`: writes what can be written now. False when there is a thread.
    fn write_own(&self, to: To) -> bool {
        match (to, &self.own_streams, &self.own_files) {
            (To::Streams, Some(outs), _) => lock(outs).write_ready(self),
            (To::Files, _, Some(files)) => lock(files).write_all(self),
            _ => return false,
        }
        true
    }
}

impl Lane {
    fn new(queue: Queue) -> Self {
        let state = LaneState { queue, ..LaneState::default() };
        Self { state: Mutex::new(state), ..Self::default() }
    }

    fn lock(&self) -> MutexGuard<'_, LaneState> {
        lock(&self.state)
    }

    fn wake(&self) {
        self.lock().is_asleep = false;
        self.work.notify_one();
    }

    fn set_to_rest(&self, rests: bool) {
        self.is_to_rest.store(rests, Ordering::Relaxed);
        self.lock().is_to_rest = rests;
        self.wake();
    }

    /// Called by the thread when it is told to: it has nothing in its hands, and takes nothing until it may go on.
    fn rest<'a>(&self, mut state: MutexGuard<'a, LaneState>) -> MutexGuard<'a, LaneState> {
        (state.is_resting, state.is_writing, state.in_flight) = (true, false, 0);
        self.idle.notify_all();
        let mut state =
            self.work.wait_while(state, |state| state.is_to_rest).unwrap_or_else(PoisonError::into_inner);
        state.is_resting = false;
        state
    }

    /// Interrupts the thread until it rests.
    fn wait_for_rest(&self, until: Time) -> bool {
        let mut state = self.lock();
        while !state.is_resting && crate::os::clock::now() < until {
            if let Some(thread) = state.thread {
                thread.interrupt();
            }
            state = self.idle.wait_timeout(state, INTERRUPT_EVERY).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.is_resting
    }

    /// Wakes the thread if something waits that it has slept through.
    fn wake_for_lines(&self) {
        let state = self.lock();
        let is_due = state.is_asleep && state.queue.waiting() > 0;
        drop(state);
        if is_due {
            self.wake();
        }
    }

    /// Called by the thread: sleeps until there is work, at most for `within`.
    fn sleep<'a>(
        &self,
        mut state: MutexGuard<'a, LaneState>,
        within: Option<Duration>,
    ) -> MutexGuard<'a, LaneState> {
        state.is_asleep = true;
        state.is_writing = false;
        state.in_flight = 0;
        // Buffers are kept for a busy stream only.
        state.spares = Vec::new();
        self.idle.notify_all();
        let mut state = match within {
            Some(within) => self.work.wait_timeout(state, within).unwrap_or_else(PoisonError::into_inner).0,
            None => self.work.wait(state).unwrap_or_else(PoisonError::into_inner),
        };
        state.is_asleep = false;
        state
    }

    fn wait_idle(&self, within: Duration) -> bool {
        let busy =
            |state: &mut LaneState| state.is_writing || state.begun.is_some() || !state.queue.is_empty();
        let (mut state, _) =
            self.idle.wait_timeout_while(self.lock(), within, busy).unwrap_or_else(PoisonError::into_inner);
        !busy(&mut state)
    }
}

impl LaneState {
    /// A batch was taken and is being written.
    fn begin(&mut self, batch: &Batch) {
        self.is_writing = true;
        self.in_flight = batch.chunks.iter().map(|(_, chunk)| chunk.lines).sum();
    }

    /// Keeps a buffer for the next chunk.
    fn recycle(&mut self, mut buffer: Vec<u8>) {
        if self.spares.len() < SPARES && buffer.capacity() >= 32 << 10 {
            buffer.clear();
            self.spares.push(buffer);
        }
    }
}

/// Ends the threads with the last [`Writer`].
struct Life(Arc<Shared>);

impl Drop for Life {
    fn drop(&mut self) {
        for lane in [&self.0.streams, &self.0.files] {
            lane.lock().is_ending = true;
            lane.wake();
        }
    }
}

/// Nobody panics while holding a lock here; if that were wrong, what it guards is still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
