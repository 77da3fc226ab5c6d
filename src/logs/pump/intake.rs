//! The hot path: what was read, line by line, to everywhere it goes.
//!
//! A line costs a search for its end, a copy into memory and a copy into the chunk for each destination; what stands
//! before it is made once a read. A file that wants neither prefix nor stamp gets the bytes as they came, in one copy.

use std::ops::Range;
use std::sync::Arc;

use regex_lite::Regex;

use crate::lifecycle::event::RunId;
use crate::logs::buffer::{Entry, Mark};
use crate::logs::format::{Head, Origin, Stamp, is_tame};
use crate::logs::line::{Line, Stream};
use crate::logs::lines::Piece;
use crate::logs::pump::memory::line;
use crate::logs::pump::unit::Unit;
use crate::logs::pump::{Fact, Pump};
use crate::logs::queue::{Chunk, Room};
use crate::logs::writer::{To, Writer};
use crate::os::clock;
use crate::units::spec::{LogFormat, LogLevel};

/// Largest read, and the room of a new pipe.
pub(super) const READ_MAX: usize = 64 << 10;

/// First and smallest read: a 4 KiB read of empty lines becomes half a megabyte of JSON.
pub(super) const READ_MIN: usize = 4 << 10;

/// A chunk for the writer is handed over when it has grown to this.
pub(super) const CHUNK_MAX: usize = 64 << 10;

/// When one read makes more than this, the next is smaller.
const MADE_MAX: usize = 3 * CHUNK_MAX;

/// What [`Pump::said`](super::Pump::said) returns at most.
const SAID_MAX: usize = 2 << 10;

/// Buffers that are used again for each read.
#[derive(Default)]
pub(super) struct Intake {
    /// Counts reads: the order of time over all units.
    seq: u64,
    input: Vec<u8>,
    stamp: Stamp,
    head: Head,
    file_head: Head,
    streams: Vec<u8>,
    file: Vec<u8>,
}

/// What is taken in.
#[derive(Clone, Copy)]
pub(super) enum Source {
    /// So many bytes of the input.
    Read(usize),
    /// What is left of a line at the end of a pipe.
    Rest,
}

impl Intake {
    pub(super) fn next_seq(&mut self) -> u64 {
        self.seq += 1;
        self.seq
    }

    /// The number of the latest read.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// The next read comes after this one.
    pub(super) fn set_seq(&mut self, seq: u64) {
        self.seq = seq;
    }

    /// Where the next read goes.
    pub(super) fn room(&mut self, bytes: usize) -> &mut [u8] {
        if self.input.len() < bytes {
            self.input.resize(bytes, 0);
        }
        &mut self.input[..bytes]
    }
}

impl Pump {
    /// Takes in what was read from a pipe.
    pub(super) fn take_in(&mut self, slot: usize, source: Source, facts: &mut Vec<Fact>) {
        let is_followed = self.is_followed();
        let Some(pipe) = self.pipes.get_mut(slot).and_then(Option::as_mut) else { return };
        let index = pipe.unit;
        let Some(unit) = self.units.get_mut(index).and_then(Option::as_mut) else { return };
        let mark = Mark {
            wall_us: clock::wall_us(),
            seq: self.intake.next_seq(),
            pid: pipe.pid,
            stream: pipe.stream,
        };
        let Intake { input, stamp, head, file_head, streams, file, .. } = &mut self.intake;
        let input = match source {
            Source::Read(n) => &input[..n],
            Source::Rest => &[],
        };
        unit.bytes += input.len() as u64;
        if unit.bucket.is_bound() {
            unit.bucket.fill(clock::now().0);
        }
        let format = self.writer.format();
        if !pipe.is_quiet && unit.to_streams.is_some() {
            head.set(
                format,
                stamp,
                mark.wall_us,
                Origin { unit: &unit.name, pid: mark.pid, stream: mark.stream, level: None },
            );
        }
        if unit.stamps_file {
            file_head.set_stamp(stamp, mark.wall_us);
        }
        let run = self.runs.get_mut(&pipe.run).filter(|_| pipe.is_watched);
        let is_plain = format == LogFormat::Text && is_tame(input) && is_tame(pipe.splitter.half());
        let kept_before = unit.tail.bytes();
        let mut sink = Sink {
            run: run.map(|run| Ears { id: pipe.run, said: &mut run.said, pattern: &mut run.pattern }),
            is_quiet: pipe.is_quiet,
            is_plain,
            is_followed,
            is_raw: !unit.stamps_file,
            stream_out: if mark.stream == Stream::Stderr { 1 } else { 0 },
            unit,
            writer: &self.writer,
            mark,
            input,
            head,
            file_head,
            streams: Pending { bytes: streams, lines: 0 },
            file: Pending { bytes: file, lines: 0 },
            raw: 0..0,
            made: 0,
            room: Room::Left,
            followed: Vec::new(),
            facts,
        };
        match source {
            Source::Read(_) => pipe.splitter.feed(input, |piece| sink.line(piece)),
            Source::Rest => pipe.splitter.finish(|piece| sink.line(piece)),
        }
        let (room, followed) = sink.end();
        let is_last = matches!(source, Source::Rest);
        let over_rate = if unit.over_rate > 0 { unit.over_rate(clock::now(), is_last) } else { None };
        let rate = unit.rate;
        self.kept_bytes = self.kept_bytes - kept_before + unit.tail.bytes();
        let name = Arc::clone(&unit.name);
        if let Some(lines) = over_rate {
            let text = format!("{lines} lines dropped, more than {rate} a second");
            self.writer.say(Some(&name), LogLevel::Warn, &text);
        }
        followed.into_iter().for_each(|line| self.tell(line));
        self.bound_kept();
        if room == Room::Full {
            self.hold(index);
        }
    }
}

/// Where the lines of one read go.
struct Sink<'a> {
    unit: &'a mut Unit,
    run: Option<Ears<'a>>,
    writer: &'a Writer,
    mark: Mark,
    input: &'a [u8],
    head: &'a Head,
    file_head: &'a Head,
    is_quiet: bool,
    /// Nothing in the input needs another form on the streams.
    is_plain: bool,
    is_followed: bool,
    /// The file takes lines as they are.
    is_raw: bool,
    stream_out: usize,
    streams: Pending<'a>,
    file: Pending<'a>,
    /// The part of the input that goes to the file as it is and has not been copied yet.
    raw: Range<usize>,
    made: usize,
    room: Room,
    followed: Vec<Line>,
    facts: &'a mut Vec<Fact>,
}

/// Who listens to a run's lines for their meaning.
struct Ears<'a> {
    id: RunId,
    said: &'a mut Option<Vec<u8>>,
    pattern: &'a mut Option<Regex>,
}

/// A chunk that grows.
struct Pending<'a> {
    bytes: &'a mut Vec<u8>,
    lines: u64,
}

impl Sink<'_> {
    #[inline]
    fn line(&mut self, piece: Piece<'_>) {
        self.unit.lines += 1;
        if let Some(ears) = &mut self.run {
            ears.hear(piece.text, self.facts);
        }
        if self.is_quiet {
            return;
        }
        if !self.unit.bucket.take() {
            self.unit.over_rate += 1;
            self.unit.missing += 1;
            return;
        }
        self.unit.tail.push(self.mark, piece.text);
        if self.unit.to_streams.is_some() {
            if self.is_plain {
                self.head.put_plain(self.streams.bytes, piece.text);
            } else {
                self.head.put(self.streams.bytes, piece.text, piece.goes_on);
            }
            self.streams.lines += 1;
            if self.streams.bytes.len() >= self.unit.chunk_max {
                self.push_streams();
            }
        }
        if self.unit.to_file.is_some() {
            self.line_to_file(piece);
        }
        if self.is_followed {
            self.followed.push(line(&self.unit.name, Entry { mark: self.mark, text: piece.text }));
        }
    }

    #[inline]
    fn line_to_file(&mut self, piece: Piece<'_>) {
        self.file.lines += 1;
        match piece.at {
            Some(at) if self.is_raw => {
                let end = at + piece.text.len() + 1;
                if at == self.raw.end {
                    self.raw.end = end;
                } else {
                    self.copy_raw();
                    self.raw = at..end;
                }
            }
            _ => {
                self.copy_raw();
                if self.is_raw {
                    self.file.bytes.extend_from_slice(piece.text);
                    self.file.bytes.push(b'\n');
                } else {
                    self.file_head.put_plain(self.file.bytes, piece.text);
                }
            }
        }
        if self.file.bytes.len() + self.raw.len() >= self.unit.chunk_max {
            self.push_file();
        }
    }

    fn copy_raw(&mut self) {
        if !self.raw.is_empty() {
            self.file.bytes.extend_from_slice(&self.input[self.raw.clone()]);
        }
        self.raw = self.raw.end..self.raw.end;
    }

    fn push_streams(&mut self) {
        if let Some(id) = self.unit.to_streams {
            self.made += self.streams.bytes.len();
            let chunk = self.streams.take(self.writer, To::Streams, self.stream_out);
            self.push(To::Streams, id, chunk);
        }
    }

    fn push_file(&mut self) {
        self.copy_raw();
        if let Some((id, number)) = self.unit.to_file {
            self.made += self.file.bytes.len();
            let chunk = self.file.take(self.writer, To::Files, number);
            self.push(To::Files, id, chunk);
        }
    }

    fn push(&mut self, to: To, id: usize, chunk: Option<Chunk>) {
        if let Some(chunk) = chunk
            && self.writer.push(to, id, chunk) == Room::Full
        {
            self.room = Room::Full;
        }
    }

    /// Hands over what is left; tells whether there is room, and what followers are to be told.
    fn end(mut self) -> (Room, Vec<Line>) {
        self.push_streams();
        self.push_file();
        let unit = self.unit;
        if self.made > MADE_MAX {
            unit.read_max = (unit.read_max / 2).max(READ_MIN);
        } else if self.input.len() == unit.read_max {
            unit.read_max = (unit.read_max * 2).min(READ_MAX);
        }
        (self.room, self.followed)
    }
}

impl Ears<'_> {
    fn hear(&mut self, text: &[u8], facts: &mut Vec<Fact>) {
        if let Some(said) = self.said {
            keep_said(said, text);
        }
        if self.pattern.as_ref().is_some_and(|pattern| pattern.is_match(&String::from_utf8_lossy(text))) {
            *self.pattern = None;
            facts.push(Fact::Matched(self.id));
        }
    }
}

impl Pending<'_> {
    /// A large chunk takes the buffer along, a small one is copied out of it.
    fn take(&mut self, writer: &Writer, to: To, out: usize) -> Option<Chunk> {
        let lines = std::mem::take(&mut self.lines);
        if self.bytes.is_empty() {
            return None;
        }
        let bytes = if self.bytes.len() >= self.bytes.capacity() / 2 {
            std::mem::replace(self.bytes, writer.spare(to))
        } else {
            let bytes = self.bytes.as_slice().to_vec();
            self.bytes.clear();
            bytes
        };
        Some(Chunk { bytes, lines, out })
    }
}

/// Adds a line to what a run has said, and lets go of what is too old.
pub(super) fn keep_said(said: &mut Vec<u8>, text: &[u8]) {
    said.extend_from_slice(text);
    said.push(b'\n');
    if said.len() > 4 * SAID_MAX {
        let old = said.len() - end_of(said).len();
        said.drain(..old);
    }
}

/// The end of `said`, whole lines if there is one that fits.
pub(super) fn end_of(said: &[u8]) -> &[u8] {
    let start = said.len().saturating_sub(SAID_MAX);
    if start == 0 {
        return said;
    }
    let end = &said[start..];
    match memchr::memchr(b'\n', end) {
        Some(newline) if newline + 1 < end.len() => &end[newline + 1..],
        _ => end,
    }
}
