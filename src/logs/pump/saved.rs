//! The logs as they are left to the next svinit: pipes with their half lines, what is kept in memory, what waits to be
//! written, and what stdout has taken half of.
//!
//! Nothing may be cut, doubled or put into another order, so the threads that write are brought to rest first
//! ([`Pump::rest`]): only then it is known what was written and what was not.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::time::Duration;

use regex_lite::Regex;
use serde::{Deserialize, Serialize};

use crate::lifecycle::event::RunId;
use crate::logs::line::Stream;
use crate::logs::lines::Splitter;
use crate::logs::pump::{Counts, Pipe, Pump, Run};
use crate::logs::queue::Chunk;
use crate::logs::rate::Bucket;
use crate::logs::writer::To;
use crate::os::handover::{Blob, Kept, Left, Luggage, Parcel};
use crate::units::spec::UnitSet;

/// All of it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SavedLogs {
    units: Vec<SavedUnit>,
    pipes: Vec<SavedPipe>,
    runs: Vec<SavedRun>,
    streams: SavedLane,
    files: SavedLane,
    /// Counts reads: the order of time.
    seq: u64,
    counts_before: Counts,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedUnit {
    name: String,
    tail: Blob,
    counts: Counts,
    bucket: Bucket,
    over_rate: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedPipe {
    fd: Kept,
    run: RunId,
    unit: String,
    stream: Stream,
    pid: Option<i32>,
    half: Blob,
    is_quiet: bool,
    is_watched: bool,
    is_large: bool,
    is_leaving: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedRun {
    run: RunId,
    said: Option<Blob>,
    pattern: Option<String>,
}

/// What waits for one of the writing threads.
#[derive(Debug, Default, Serialize, Deserialize)]
struct SavedLane {
    /// What was begun to be written: the rest of it.
    begun: Option<SavedChunk>,
    /// In the order in which it would be written.
    waiting: Vec<SavedChunk>,
    /// Whose lines went missing, and how many, and nobody was told yet.
    untold: Vec<(String, u64)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SavedChunk {
    unit: String,
    out: usize,
    lines: u64,
    bytes: Blob,
}

impl SavedLogs {
    /// The pipes alone, each with its unit and the half line that was read of it: for one who only passes on.
    #[must_use]
    pub fn into_pipes(self, parcel: &Parcel, left: &mut Left) -> Vec<(String, OwnedFd, Splitter)> {
        let pipes = self.pipes.into_iter().filter_map(|pipe| {
            Some((pipe.unit, left.fd(pipe.fd)?, Splitter::with_half(parcel.bytes(pipe.half))))
        });
        pipes.collect()
    }
}

impl Pump {
    /// Brings the writing threads to rest, in the middle of a write that waits if need be. False when one is still busy
    /// after `within`, with a disk that does not answer; then all goes on as before.
    #[must_use]
    pub fn rest(&mut self, within: Duration) -> bool {
        let rests = self.writer.rest(within);
        if !rests {
            self.writer.go_on();
        }
        rests
    }

    /// The end of [`Pump::rest`].
    pub fn go_on(&mut self) {
        self.writer.go_on();
    }

    /// What the next svinit must know. Complete while the writing threads rest.
    #[must_use]
    pub fn save(&mut self, luggage: &mut Luggage) -> SavedLogs {
        self.absorb();
        let units = self.units.iter().flatten().map(|unit| SavedUnit {
            name: unit.name.to_string(),
            tail: luggage.bytes(&unit.tail.to_bytes()),
            counts: unit.counts(&self.writer),
            bucket: unit.bucket,
            over_rate: unit.over_rate,
        });
        let units = units.collect();
        SavedLogs {
            units,
            pipes: self.pipes_left(luggage),
            runs: self.runs_left(luggage),
            streams: self.save_lane(To::Streams, luggage),
            files: self.save_lane(To::Files, luggage),
            seq: self.intake.seq(),
            counts_before: self.counts_before,
        }
    }

    fn pipes_left(&self, luggage: &mut Luggage) -> Vec<SavedPipe> {
        let name_of =
            |index: usize| self.units[index].as_ref().map_or_else(String::new, |u| u.name.to_string());
        let pipes = self.pipes.iter().flatten().map(|pipe| SavedPipe {
            fd: luggage.fd(&pipe.file),
            run: pipe.run,
            unit: name_of(pipe.unit),
            stream: pipe.stream,
            pid: pipe.pid,
            half: luggage.bytes(pipe.splitter.half()),
            is_quiet: pipe.is_quiet,
            is_watched: pipe.is_watched,
            is_large: pipe.is_large,
            is_leaving: pipe.is_leaving,
        });
        pipes.collect()
    }

    fn runs_left(&self, luggage: &mut Luggage) -> Vec<SavedRun> {
        let runs = self.runs.iter().map(|(id, run)| SavedRun {
            run: *id,
            said: run.said.as_ref().map(|said| luggage.bytes(said)),
            pattern: run.pattern.as_ref().map(|pattern| pattern.as_str().to_owned()),
        });
        runs.collect()
    }

    /// The pipes alone: what it takes to go on after a crash. Without the half lines: they are read on for long until that,
    /// and the beginning of an old line must not come before the end of a new one.
    #[must_use]
    pub fn save_pipes(&self, luggage: &mut Luggage) -> SavedLogs {
        let (mut pipes, runs) = (self.pipes_left(luggage), self.runs_left(luggage));
        pipes.iter_mut().for_each(|pipe| pipe.half = Blob::default());
        SavedLogs { pipes, runs, seq: self.intake.seq(), ..SavedLogs::default() }
    }

    fn save_lane(&self, to: To, luggage: &mut Luggage) -> SavedLane {
        let mut lane = SavedLane::default();
        self.writer.look_at_waiting(to, |begun, queue| {
            let mut saved = |unit: &str, chunk: &Chunk| SavedChunk {
                unit: unit.to_owned(),
                out: chunk.out,
                lines: chunk.lines,
                bytes: luggage.bytes(&chunk.bytes),
            };
            lane.begun = begun.map(|chunk| saved("", chunk));
            lane.waiting = queue.in_order().into_iter().map(|(name, chunk)| saved(name, chunk)).collect();
            lane.untold = queue.untold().map(|(name, lines)| (name.to_string(), lines)).collect();
        });
        lane
    }

    /// Goes on with what was left, for the units in `set`. To be called before anything else is done with it.
    pub fn restore(&mut self, saved: SavedLogs, parcel: &Parcel, left: &mut Left, set: &UnitSet) {
        self.counts_before = saved.counts_before;
        self.intake.set_seq(saved.seq);
        for unit in saved.units {
            self.restore_unit(unit, parcel, set);
        }
        // After a crash nothing else is known of a unit.
        for pipe in &saved.pipes {
            if let Some(spec) = set.units.get(pipe.unit.as_str()) {
                let index = self.unit_named(&pipe.unit);
                self.configure(index, spec);
            }
        }
        self.restore_lane(To::Streams, saved.streams, parcel);
        self.restore_lane(To::Files, saved.files, parcel);
        // A pipe of a unit that waits for room is not watched, so that must be known before.
        for index in 0..self.units.len() {
            if self.units[index].as_ref().is_some_and(|unit| unit.waits(&self.writer)) {
                self.hold(index);
            }
        }
        for run in saved.runs {
            let said = run.said.map(|said| parcel.bytes(said).to_vec());
            let pattern = run.pattern.and_then(|pattern| Regex::new(&pattern).ok());
            self.runs.insert(run.run, Run { pipes: [usize::MAX; 2], open: 0, said, pattern });
        }
        for pipe in saved.pipes {
            self.restore_pipe(pipe, parcel, left);
        }
    }

    fn restore_unit(&mut self, saved: SavedUnit, parcel: &Parcel, set: &UnitSet) {
        let index = self.unit_named(&saved.name);
        if let Some(spec) = set.units.get(saved.name.as_str()) {
            self.configure(index, spec);
        }
        let Some(unit) = self.units.get_mut(index).and_then(Option::as_mut) else { return };
        let before = unit.tail.bytes();
        unit.tail.extend_from(parcel.bytes(saved.tail));
        self.kept_bytes = self.kept_bytes - before + unit.tail.bytes();
        (unit.lines, unit.bytes, unit.missing) =
            (saved.counts.lines, saved.counts.bytes, saved.counts.dropped);
        (unit.bucket, unit.over_rate) = (saved.bucket, saved.over_rate);
    }

    fn restore_lane(&self, to: To, saved: SavedLane, parcel: &Parcel) {
        let chunk = |saved: &SavedChunk, out| Chunk {
            bytes: parcel.bytes(saved.bytes).to_vec(),
            lines: saved.lines,
            out,
        };
        let begun = saved.begun.as_ref().map(|begun| chunk(begun, begun.out));
        let place = |name: &str| {
            let unit = self.by_name.get(name).and_then(|index| self.units.get(*index)?.as_ref());
            match to {
                To::Streams => Some(unit.and_then(|unit| unit.to_streams)),
                // A file has another number in the next svinit.
                To::Files => unit.and_then(|unit| unit.to_file).map(|(id, _)| Some(id)),
            }
        };
        let out = |saved: &SavedChunk| match to {
            To::Streams => saved.out,
            To::Files => {
                let unit =
                    self.by_name.get(saved.unit.as_str()).and_then(|index| self.units.get(*index)?.as_ref());
                unit.and_then(|unit| unit.to_file).map_or(0, |(_, file)| file)
            }
        };
        let waiting = saved.waiting.iter().filter_map(|w| Some((place(&w.unit)?, chunk(w, out(w)))));
        let untold: BTreeMap<_, _> =
            saved.untold.iter().filter_map(|(name, lines)| Some((place(name)?, *lines))).collect();
        self.writer.refill(to, begun, waiting.collect(), &untold);
    }

    fn restore_pipe(&mut self, saved: SavedPipe, parcel: &Parcel, left: &mut Left) {
        let Some(fd) = left.fd(saved.fd) else { return };
        let unit = self.unit_named(&saved.unit);
        let pipe = Pipe {
            file: File::from(fd),
            run: saved.run,
            unit,
            stream: saved.stream,
            pid: saved.pid,
            splitter: Splitter::with_half(parcel.bytes(saved.half)),
            is_quiet: saved.is_quiet,
            is_watched: saved.is_watched,
            is_large: saved.is_large,
            is_leaving: saved.is_leaving,
        };
        // That it cannot be watched is lack of memory in the kernel: the unit waits in its write until svinit ends.
        let Ok(slot) = self.add_pipe(pipe) else { return };
        if let Some(run) = self.runs.get_mut(&saved.run) {
            let place = usize::from(saved.stream == Stream::Stderr);
            run.pipes[place] = slot;
            run.open += 1;
        }
    }
}
