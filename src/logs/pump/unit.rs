//! What the pump knows of one unit.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::lifecycle::time::Time;
use crate::logs::buffer::Tail;
use crate::logs::pump::{Counts, intake};
use crate::logs::queue::SourceId;
use crate::logs::rate::Bucket;
use crate::logs::rotate::Rotation;
use crate::logs::writer::{To, Writer};
use crate::units::spec::{Forward, Log};

/// Memory for lines about a unit that has not been started yet, and for svinit's own.
const TAIL_DEFAULT: u64 = 64 << 10;

/// A unit that is over its rate all the time says so this often.
const RATE_SAID_EVERY: Duration = Duration::from_secs(1);

/// One unit's output.
pub(super) struct Unit {
    pub(super) name: Arc<str>,
    pub(super) tail: Tail,
    pub(super) bucket: Bucket,
    /// Dropped by `rate` and not said yet.
    pub(super) over_rate: u64,
    pub(super) rate: u32,
    /// When people were told last that it is over its rate.
    pub(super) rate_said: Time,
    pub(super) lines: u64,
    pub(super) bytes: u64,
    /// Lines that went missing before they reached the writer.
    pub(super) missing: u64,
    pub(super) to_streams: Option<SourceId>,
    pub(super) to_file: Option<(SourceId, usize)>,
    pub(super) stamps_file: bool,
    /// Bytes of one chunk for the writer, about.
    pub(super) chunk_max: usize,
    /// Bytes of one read: grows while the unit writes much, shrinks where much comes out of little.
    pub(super) read_max: usize,
    pub(super) is_held: bool,
    pub(super) is_forgotten: bool,
}

/// Where the lines of a unit went before it began to lose them.
#[derive(Clone, Copy)]
pub(super) struct Before {
    to_streams: Option<SourceId>,
    to_file: Option<(SourceId, usize)>,
    is_held: bool,
    lines: u64,
}

impl Unit {
    pub(super) fn new(name: Arc<str>) -> Self {
        let mut tail = Tail::default();
        tail.set_max(TAIL_DEFAULT);
        Self {
            name,
            tail,
            bucket: Bucket::default(),
            over_rate: 0,
            rate: 0,
            rate_said: Time::ZERO,
            lines: 0,
            bytes: 0,
            missing: 0,
            to_streams: None,
            to_file: None,
            stamps_file: false,
            chunk_max: intake::CHUNK_MAX,
            read_max: intake::READ_MIN,
            is_held: false,
            is_forgotten: false,
        }
    }

    /// Takes over what `[log]` says.
    pub(super) fn configure(&mut self, log: &Log, writer: &Writer) {
        self.is_forgotten = false;
        self.tail.set_max(log.buffer);
        self.bucket.set(log.rate);
        self.rate = log.rate;
        self.stamps_file = log.timestamps;
        let quarter = usize::try_from(log.buffer / 4).unwrap_or(usize::MAX);
        self.chunk_max = quarter.clamp(intake::READ_MIN, intake::CHUNK_MAX);
        // What a unit with "inherit" lets through here is its hooks' output, which has no stdout of its own.
        self.to_streams = match (log.forward, self.to_streams) {
            (Forward::No, old) => {
                if let Some(id) = old {
                    writer.remove(To::Streams, id);
                }
                None
            }
            (Forward::Yes | Forward::Inherit, Some(id)) => {
                writer.set(To::Streams, id, log.buffer, log.when_blocked);
                Some(id)
            }
            (Forward::Yes | Forward::Inherit, None) => {
                Some(writer.add(To::Streams, Arc::clone(&self.name), log.buffer, log.when_blocked))
            }
        };
        self.configure_file(log, writer);
    }

    fn configure_file(&mut self, log: &Log, writer: &Writer) {
        let file = log.file.as_deref().map(|path: &Path| writer.file(path, rotation(log)));
        self.to_file = match (file, self.to_file) {
            (None, old) => {
                if let Some((id, _)) = old {
                    writer.remove(To::Files, id);
                }
                None
            }
            (Some(file), Some((id, _))) => {
                writer.set(To::Files, id, log.buffer, log.when_blocked);
                Some((id, file))
            }
            (Some(file), None) => {
                Some((writer.add(To::Files, Arc::clone(&self.name), log.buffer, log.when_blocked), file))
            }
        };
    }

    /// Gives its places in the writer back.
    pub(super) fn leave(&self, writer: &Writer) {
        if let Some(id) = self.to_streams {
            writer.remove(To::Streams, id);
        }
        if let Some((id, _)) = self.to_file {
            writer.remove(To::Files, id);
        }
    }

    /// How many lines were over the rate since people were told last, if it is time to tell them.
    pub(super) fn over_rate(&mut self, now: Time, is_last: bool) -> Option<u64> {
        let is_due = is_last || now.since(self.rate_said) >= RATE_SAID_EVERY;
        if self.over_rate == 0 || !is_due {
            return None;
        }
        self.rate_said = now;
        Some(std::mem::take(&mut self.over_rate))
    }

    /// Whether the writer has no room for it.
    pub(super) fn waits(&self, writer: &Writer) -> bool {
        self.to_streams.is_some_and(|id| writer.is_held(To::Streams, id))
            || self.to_file.is_some_and(|(id, _)| writer.is_held(To::Files, id))
    }

    /// From here on its lines go into memory only.
    pub(super) fn lose(&mut self) -> Before {
        Before {
            to_streams: self.to_streams.take(),
            to_file: self.to_file.take(),
            is_held: std::mem::take(&mut self.is_held),
            lines: self.lines,
        }
    }

    /// The end of [`Unit::lose`].
    pub(super) fn lose_no_more(&mut self, before: Before) {
        self.missing += self.lines - before.lines;
        self.to_streams = before.to_streams;
        self.to_file = before.to_file;
        self.is_held = before.is_held;
    }

    pub(super) fn counts(&self, writer: &Writer) -> Counts {
        let streams = self.to_streams.map_or(0, |id| writer.missing(To::Streams, id));
        let file = self.to_file.map_or(0, |(id, _)| writer.missing(To::Files, id));
        Counts { lines: self.lines, bytes: self.bytes, dropped: self.missing + streams + file }
    }
}

fn rotation(log: &Log) -> Rotation {
    Rotation {
        max_size: log.max_size,
        max_age_us: i64::try_from(log.max_age.as_micros()).unwrap_or(i64::MAX),
        keep: log.keep,
        compress: log.compress,
    }
}
