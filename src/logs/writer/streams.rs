//! Writes svinit's own stdout and stderr.
//!
//! Nothing that a stream answers may end or stop svinit: a reader that is gone, a full disk behind a redirection, a
//! terminal that hung up. Such lines are counted and the next ones tried.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use memchr::memchr_iter;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::logs::queue::{Batch, Chunk, SourceId};
use crate::logs::writer::{BATCH_BYTES, Shared};
use crate::os::clock;
use crate::os::signals::Thread;
use crate::units::spec::LogLevel;

/// A pipe that poll calls writable takes so much without blocking.
const SURE: usize = 4096;

const NAMES: [&str; 2] = ["stdout", "stderr"];

/// The two streams; both numbers lead to the first when they are the same file.
pub(super) struct Outs {
    files: [Option<File>; 2],
    are_same: bool,
    /// The last write ended within a line, and failed there.
    is_torn: [bool; 2],
    /// Without a thread: what is being written.
    current: Option<Current>,
}

struct Current {
    out: usize,
    bytes: Vec<u8>,
    written: usize,
}

impl Outs {
    pub(super) fn new(stdout: Option<OwnedFd>, stderr: Option<OwnedFd>) -> Self {
        let files = [stdout, stderr].map(|fd| fd.map(File::from));
        let are_same = are_same(&files).unwrap_or(false);
        Self { files, are_same, is_torn: [false; 2], current: None }
    }

    pub(super) fn try_clone(&self) -> io::Result<Self> {
        let clone = |file: &Option<File>| file.as_ref().map(File::try_clone).transpose();
        Ok(Self {
            files: [clone(&self.files[0])?, clone(&self.files[1])?],
            are_same: self.are_same,
            is_torn: [false; 2],
            current: None,
        })
    }

    pub(super) fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.files.iter().flatten().map(AsFd::as_fd)
    }

    /// The thread.
    pub(super) fn run(mut self, shared: &Arc<Shared>) {
        let lane = &shared.streams;
        let mut state = lane.lock();
        state.thread = Some(Thread::interruptible());
        loop {
            if state.is_to_rest {
                state = lane.rest(state);
                continue;
            }
            if let Some(begun) = state.begun.take() {
                state.is_writing = true;
                drop(state);
                let left = self.write_on(begun, &lane.is_to_rest);
                state = lane.lock();
                state.begun = left;
                continue;
            }
            let Some(batch) = state.queue.take(BATCH_BYTES) else {
                if state.is_ending {
                    return;
                }
                state = lane.sleep(state, None);
                continue;
            };
            state.begin(&batch);
            let rings = state.queue.release();
            drop(state);
            if rings {
                shared.ring();
            }
            let Written { lost, left } = self.write(shared, &batch);
            state = lane.lock();
            state.begun = left;
            for (id, lines) in lost {
                state.queue.miss(id, lines);
            }
            for (_, chunk) in batch.chunks {
                state.recycle(chunk.bytes);
            }
        }
    }

    /// Writes the rest of what was begun; returns what is still left when it is interrupted.
    fn write_on(&mut self, begun: Chunk, is_to_rest: &AtomicBool) -> Option<Chunk> {
        let out = self.place(begun.out);
        let halted = write_slices(self.files[out].as_ref(), &mut [IoSlice::new(&begun.bytes)], is_to_rest);
        match halted {
            Err(Halt::Interrupted(written)) => Some(rest_of(&begun.bytes[written..], begun.out)),
            // As ever: nothing that a stream answers stops svinit.
            Ok(()) | Err(Halt::Failed(_)) => None,
        }
    }

    /// Writes all of `batch`, or tells what became of it.
    fn write(&mut self, shared: &Shared, batch: &Batch) -> Written {
        let out = self.place(batch.out);
        let mut first = Vec::new();
        self.put_notes(shared, batch, &mut first);
        let mut slices: Vec<IoSlice<'_>> = vec![IoSlice::new(&first)];
        slices.extend(batch.chunks.iter().map(|(_, chunk)| IoSlice::new(&chunk.bytes)));
        let halted = write_slices(self.files[out].as_ref(), &mut slices, &shared.streams.is_to_rest);
        let mut written = match halted {
            Ok(()) => return Written::default(),
            Err(Halt::Interrupted(written)) => {
                let all = std::iter::once(&first).chain(batch.chunks.iter().map(|(_, chunk)| &chunk.bytes));
                let bytes: Vec<u8> = all.flatten().copied().skip(written).collect();
                return Written { left: Some(rest_of(&bytes, batch.out)), ..Written::default() };
            }
            Err(Halt::Failed(written)) => written,
        };
        let all = std::iter::once(&first).chain(batch.chunks.iter().map(|(_, chunk)| &chunk.bytes));
        let before = all.flatten().take(written).last();
        self.is_torn[out] = before.is_some_and(|byte| *byte != b'\n') || (written == 0 && self.is_torn[out]);
        written = written.saturating_sub(first.len());
        let mut lost = Vec::new();
        for (id, chunk) in &batch.chunks {
            let done = written.min(chunk.bytes.len());
            written -= done;
            let lines = memchr_iter(b'\n', &chunk.bytes[done..]).count() as u64;
            if lines > 0 {
                lost.push((*id, lines));
            }
        }
        Written { lost, left: None }
    }

    /// Without a thread: the rest of what is being written.
    pub(super) fn begun(&self) -> Option<Chunk> {
        self.current.as_ref().map(|current| rest_of(&current.bytes[current.written..], current.out))
    }

    /// Without a thread: this comes before everything else.
    pub(super) fn begin_with(&mut self, begun: Option<Chunk>) {
        self.current =
            begun.map(|chunk| Current { out: self.place(chunk.out), bytes: chunk.bytes, written: 0 });
    }

    /// What stands before the batch: the end of a torn line, and how many lines are missing.
    fn put_notes(&mut self, shared: &Shared, batch: &Batch, into: &mut Vec<u8>) {
        let out = self.place(batch.out);
        if std::mem::take(&mut self.is_torn[out]) {
            into.push(b'\n');
        }
        for (name, lines) in &batch.missing {
            let text =
                format!("{lines} {} dropped, {} is blocked", lines_word(*lines), NAMES[batch.out.min(1)]);
            shared.note(into, Some(Arc::clone(name)), LogLevel::Warn, &text);
        }
    }

    fn place(&self, out: usize) -> usize {
        if self.are_same { 0 } else { out.min(1) }
    }

    /// Without a thread: writes as long as nothing blocks, then asks the bell to ring when more can be written.
    pub(super) fn write_ready(&mut self, shared: &Shared) {
        while self.fetch(shared) {
            if !self.write_once(PollTimeout::ZERO) {
                if let Ok(bell) = &shared.bell {
                    bell.ring_when_ready();
                }
                return;
            }
        }
    }

    /// Without a thread: the same, waiting for the streams.
    pub(super) fn wait_idle(&mut self, shared: &Shared, within: Duration) -> bool {
        let until = clock::now().after(within);
        while self.fetch(shared) {
            let left = until.since(clock::now());
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            if !self.write_once(timeout) && left.is_zero() {
                return false;
            }
        }
        true
    }

    /// Makes sure that there is something to write, if there is anything.
    fn fetch(&mut self, shared: &Shared) -> bool {
        if self.current.is_none() {
            let mut state = shared.streams.lock();
            let Some(batch) = state.queue.take(BATCH_BYTES) else { return false };
            let rings = state.queue.release();
            drop(state);
            if rings {
                shared.ring();
            }
            let mut bytes = Vec::new();
            self.put_notes(shared, &batch, &mut bytes);
            batch.chunks.iter().for_each(|(_, chunk)| bytes.extend_from_slice(&chunk.bytes));
            self.current = Some(Current { out: self.place(batch.out), bytes, written: 0 });
        }
        true
    }

    /// Writes one piece that cannot block. False when nothing can be written now.
    fn write_once(&mut self, timeout: PollTimeout) -> bool {
        let Some(current) = &mut self.current else { return false };
        let Some(file) = &self.files[current.out] else {
            self.current = None;
            return true;
        };
        let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
        if !matches!(poll(&mut fds, timeout), Ok(1..)) {
            return false;
        }
        let rest = &current.bytes[current.written..];
        let written = (&*file).write(&rest[..rest.len().min(SURE)]);
        match written {
            Ok(n) => current.written += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
            // The reader is gone, or the disk is full: the batch is lost.
            Err(_) => current.written = current.bytes.len(),
        }
        if current.written == current.bytes.len() {
            self.current = None;
        }
        true
    }
}

/// What became of a batch that was not written as it is.
#[derive(Default)]
struct Written {
    /// Whose lines could not be written.
    lost: Vec<(SourceId, u64)>,
    /// What is left, because the thread is to rest.
    left: Option<Chunk>,
}

fn rest_of(bytes: &[u8], out: usize) -> Chunk {
    Chunk { bytes: bytes.to_vec(), lines: memchr_iter(b'\n', bytes).count() as u64, out }
}

/// Why not all was written, and how many bytes were.
enum Halt {
    /// It went wrong.
    Failed(usize),
    /// The thread is to rest.
    Interrupted(usize),
}

/// Writes all, or says how many bytes were written before it stopped.
fn write_slices(
    file: Option<&File>,
    mut slices: &mut [IoSlice<'_>],
    is_to_rest: &AtomicBool,
) -> Result<(), Halt> {
    let mut file = file.ok_or(Halt::Failed(0))?;
    let mut written = 0;
    IoSlice::advance_slices(&mut slices, 0);
    while !slices.is_empty() {
        match file.write_vectored(slices) {
            Ok(0) => return Err(Halt::Failed(written)),
            Ok(n) => {
                written += n;
                IoSlice::advance_slices(&mut slices, n);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // Some other process that shares it has made it non-blocking.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut fds = [PollFd::new(file.as_fd(), PollFlags::POLLOUT)];
                let _ = poll(&mut fds, PollTimeout::NONE);
            }
            Err(_) => return Err(Halt::Failed(written)),
        }
        if is_to_rest.load(Ordering::Relaxed) && !slices.is_empty() {
            return Err(Halt::Interrupted(written));
        }
    }
    Ok(())
}

fn are_same(files: &[Option<File>; 2]) -> Option<bool> {
    use std::os::unix::fs::MetadataExt;
    let [stdout, stderr] = files;
    let (a, b) = (stdout.as_ref()?.metadata().ok()?, stderr.as_ref()?.metadata().ok()?);
    Some((a.dev(), a.ino()) == (b.dev(), b.ino()))
}

/// "line" or "lines".
pub(super) fn lines_word(count: u64) -> &'static str {
    if count == 1 { "line" } else { "lines" }
}
