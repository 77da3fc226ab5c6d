//! The reading side: from the pipes of all units to memory and the writer.
//!
//! Lives in the driver, so no call waits, and none reads more than a bounded amount: a unit that floods its pipe gets
//! its turns like all others. Easy to get wrong: a pipe that is at its end, or whose unit is held, must leave the
//! poller, since a hang-up is told again and again and would spin.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::fchown;
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use regex_lite::Regex;
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

use crate::lifecycle::event::{Pid, RunId};
use crate::logs::buffer;
use crate::logs::format::OWN_NAME;
use crate::logs::line::{Line, Stream};
use crate::logs::lines::Splitter;
use crate::logs::own::Own;
use crate::logs::pump::intake::{Intake, Source};
use crate::logs::pump::unit::Unit;
use crate::logs::writer::Writer;
use crate::os::clock;
use crate::os::error::{Doing, Error};
use crate::os::poll::Poller;
use crate::units::name::UnitName;
use crate::units::spec::{LogLevel, UnitSpec};

mod intake;
mod memory;
mod saved;
mod unit;

pub use saved::SavedLogs;

/// What one pipe may give in one turn.
const TURN_BYTES: usize = 256 << 10;

/// What is read of last words at most: more than a pipe holds, so only a process that is still writing meets it.
const LAST_WORDS_BYTES: usize = 1 << 20;

/// A pipe that was found full gets room for so much, which saves switches between its writer and us.
const PIPE_BYTES: i32 = 256 << 10;

/// Pipes of dead processes that wait, unread, for a blocked stdout, for each unit; then the oldest is read into memory
/// only and its lines are counted as dropped. A unit in a crash loop must not use up all descriptors.
const LEFT_PIPES: usize = 16;

/// What becomes of the output of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// The unit's own: its lines go where `[log]` says.
    Unit,
    /// As `Unit`, and the last of it is kept for [`Pump::said`] (hooks, tests, stop commands).
    Said,
    /// Kept for [`Pump::said`] alone (probes, which would fill the log with "ok").
    Quiet,
}

/// The write ends for a new process; drop them in svinit once it has been started.
#[derive(Debug)]
pub struct Pipes {
    /// For descriptor 1.
    pub stdout: OwnedFd,
    /// For descriptor 2.
    pub stderr: OwnedFd,
}

/// What the driver is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A line matched what [`Pump::watch`] was given for this run; told once.
    Matched(RunId),
    /// Every process that held the pipes of this run has closed them, and all is read.
    Ended(RunId),
}

/// What has passed, since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Lines read.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Lines that went missing somewhere: `drop-oldest`, `rate`, a broken disk, nobody reading stdout.
    pub dropped: u64,
}

/// Owns the read ends of all pipes. Lives in the driver; no call blocks, but for [`Pump::flush`].
pub struct Pump {
    writer: Writer,
    own: Own,
    poller: Arc<Poller>,
    /// By the number in their token.
    pipes: Vec<Option<Pipe>>,
    free_pipes: Vec<usize>,
    runs: BTreeMap<RunId, Run>,
    units: Vec<Option<Unit>>,
    by_name: BTreeMap<Arc<str>, usize>,
    /// Units that wait for room.
    held: Vec<usize>,
    kept_max: usize,
    kept_bytes: usize,
    followers: Option<broadcast::Sender<Arc<Line>>>,
    intake: Intake,
    /// See [`Pump::have_moved`].
    have_moved: bool,
    /// Of units that were forgotten.
    counts_before: Counts,
}

/// The read end of one pipe.
struct Pipe {
    file: File,
    run: RunId,
    unit: usize,
    stream: Stream,
    pid: Option<i32>,
    splitter: Splitter,
    is_quiet: bool,
    is_watched: bool,
    is_large: bool,
    /// Nobody is left who could write: closed as soon as it is empty.
    is_leaving: bool,
}

/// What is known of a run beside its pipes.
struct Run {
    pipes: [usize; 2],
    open: u8,
    said: Option<Vec<u8>>,
    pattern: Option<Regex>,
}

/// What a pipe had to give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Given {
    /// There may be more.
    More,
    /// Nothing for now.
    Empty,
    /// It is at its end.
    End,
    /// Its unit is held.
    Held,
}

impl Pump {
    /// The bit that marks this floor's tokens in the [`Poller`]; everybody else's have it clear.
    pub const TOKEN_BIT: u64 = 1 << 62;

    /// The writer's wake-up.
    const BELL: u64 = Self::TOKEN_BIT | 0xffff_ffff;

    /// A pump that registers its pipes with `poller`, hands lines to `writer`, and keeps at most half of `buffer_total`
    /// in memory for all units together (the other half is the writer's).
    ///
    /// # Errors
    /// When no descriptor is left for the wake-up.
    pub fn new(writer: Writer, own: Own, poller: Arc<Poller>, buffer_total: u64) -> Result<Self, Error> {
        poller.add(writer.bell()?, Self::BELL).doing(|| "watch the log writer".to_owned())?;
        let mut pump = Self {
            writer,
            own,
            poller,
            pipes: Vec::new(),
            free_pipes: Vec::new(),
            have_moved: false,
            runs: BTreeMap::new(),
            units: Vec::new(),
            by_name: BTreeMap::new(),
            held: Vec::new(),
            kept_max: usize::try_from(buffer_total / 2).unwrap_or(usize::MAX),
            kept_bytes: 0,
            followers: None,
            intake: Intake::default(),
            counts_before: Counts::default(),
        };
        pump.unit_named(OWN_NAME);
        Ok(pump)
    }

    /// Pipes for one process of `spec`'s unit. `owner` is given the write ends, so that it may open `/dev/stdout`
    /// again. The unit's `[log]` is taken from `spec` from here on. Every run that is opened must be closed.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub fn open(
        &mut self,
        spec: &Arc<UnitSpec>,
        run: RunId,
        keep: Keep,
        owner: Option<u32>,
    ) -> Result<Pipes, Error> {
        let unit = self.unit_named(spec.name.as_str());
        self.configure(unit, spec);
        self.bound_left(unit);
        let doing = || format!("make log pipes for {}", spec.name);
        let (stdout, stdout_end) = pipe(owner).doing(doing)?;
        let (stderr, stderr_end) = pipe(owner).doing(doing)?;
        let out = self.add_pipe(Pipe::new(stdout, run, unit, Stream::Stdout, keep)).doing(doing)?;
        let err = match self.add_pipe(Pipe::new(stderr, run, unit, Stream::Stderr, keep)) {
            Ok(slot) => slot,
            Err(error) => {
                self.drop_pipe(out);
                return Err(error).doing(doing);
            }
        };
        let said = (keep != Keep::Unit).then(Vec::new);
        self.runs.insert(run, Run { pipes: [out, err], open: 2, said, pattern: None });
        Ok(Pipes { stdout: stdout_end, stderr: stderr_end })
    }

    /// Whether `token` is one of this pump's.
    #[must_use]
    pub fn owns(token: u64) -> bool {
        token & Self::TOKEN_BIT != 0
    }

    /// Something can be read: reads a bounded amount. Ask again whenever the poller says so (it is level-triggered).
    pub fn on_ready(&mut self, token: u64) -> Vec<Fact> {
        let mut facts = Vec::new();
        if token == Self::BELL {
            self.on_bell(&mut facts);
        } else if let Ok(slot) = usize::try_from(token & !Self::TOKEN_BIT)
            && self.read(slot, TURN_BYTES, &mut facts) == Given::End
        {
            self.end_pipe(slot, &mut facts);
        }
        facts
    }

    /// The main process of `run`, for the `pid` of its lines.
    pub fn set_pid(&mut self, run: RunId, pid: Pid) {
        for slot in self.slots(run) {
            if let Some(pipe) = &mut self.pipes[slot] {
                pipe.pid = Some(pid.0);
            }
        }
    }

    /// Tells once ([`Fact::Matched`]) when a line of `run` matches `pattern`. Lines that were read before do not count.
    ///
    /// # Errors
    /// When `pattern` is no regular expression.
    pub fn watch(&mut self, run: RunId, pattern: &str) -> Result<(), Error> {
        let pattern = Regex::new(pattern)
            .map_err(|error| Error::new(format!("watch for {pattern:?}"), error.to_string()))?;
        for slot in self.slots(run) {
            if let Some(pipe) = &mut self.pipes[slot] {
                pipe.is_watched = true;
            }
        }
        if let Some(run) = self.runs.get_mut(&run) {
            run.pattern = Some(pattern);
        }
        Ok(())
    }

    /// The process is gone: reads its last words, all that is in its pipes. Others of its tree may write on.
    pub fn finish(&mut self, run: RunId) -> Vec<Fact> {
        let mut facts = Vec::new();
        for slot in self.slots(run) {
            if self.read(slot, LAST_WORDS_BYTES, &mut facts) == Given::End {
                self.end_pipe(slot, &mut facts);
            }
        }
        facts
    }

    /// The last of what `run` said, at most 2 KiB of whole lines; empty without [`Keep::Said`] or [`Keep::Quiet`].
    /// Ask between [`Pump::finish`] and [`Pump::close`].
    #[must_use]
    pub fn said(&self, run: RunId) -> String {
        let Some(Run { said: Some(said), .. }) = self.runs.get(&run) else {
            return String::new();
        };
        let halves = self.slots(run).filter_map(|slot| self.pipes[slot].as_ref());
        let mut said = said.clone();
        for half in halves.map(|pipe| pipe.splitter.half()).filter(|half| !half.is_empty()) {
            intake::keep_said(&mut said, half);
        }
        String::from_utf8_lossy(intake::end_of(&said)).trim_end().to_owned()
    }

    /// No process of `run` is left (or nobody cares any more): reads what is there, then closes its pipes.
    pub fn close(&mut self, run: RunId) {
        // Nobody is told of a run that is over.
        let mut unheard = Vec::new();
        for slot in self.slots(run) {
            match self.read(slot, LAST_WORDS_BYTES, &mut unheard) {
                Given::Held => {
                    if let Some(pipe) = &mut self.pipes[slot] {
                        pipe.is_leaving = true;
                    }
                }
                Given::More | Given::Empty | Given::End => self.end_pipe(slot, &mut unheard),
            }
        }
        self.runs.remove(&run);
    }

    /// svinit's own words, about `unit` or about itself.
    pub fn say(&mut self, unit: Option<&UnitName>, level: LogLevel, text: &str) {
        self.own.say_in_turn(unit, level, text);
        self.absorb();
    }

    /// Has what was handed over in this turn written. To be called whenever the driver has done a turn.
    pub fn wake(&self) {
        self.writer.wake();
    }

    /// Opens all log files again.
    pub fn reopen(&mut self) {
        self.writer.reopen();
    }

    /// The end of svinit: reads what is in the pipes and waits until all is written, at most for `within`. Blocks.
    /// Returns the number of lines that could not be written. No pipe is open afterwards.
    pub fn flush(&mut self, within: Duration) -> u64 {
        let until = clock::now().after(within);
        let mut unheard = Vec::new();
        loop {
            for slot in 0..self.pipes.len() {
                if self.read(slot, LAST_WORDS_BYTES, &mut unheard) != Given::Held {
                    self.end_pipe(slot, &mut unheard);
                }
            }
            let is_idle = self.writer.wait_idle(until.since(clock::now()));
            self.on_bell(&mut unheard);
            if self.pipes.iter().all(Option::is_none) || !is_idle {
                break;
            }
        }
        let missing = |pump: &Self| pump.units.iter().flatten().map(|unit| unit.missing).sum::<u64>();
        let before = missing(self);
        for slot in 0..self.pipes.len() {
            self.lose_pipe(slot);
        }
        let is_idle = self.writer.wait_idle(until.since(clock::now()));
        let left = if is_idle { 0 } else { self.writer.lines_left() };
        left + missing(self) - before
    }

    fn slots(&self, run: RunId) -> impl Iterator<Item = usize> + use<> {
        let slots = self.runs.get(&run).map(|known| known.pipes);
        // A run that was taken over may have had one pipe left, so that the place of the other is none.
        let is_its =
            |slot: usize| self.pipes.get(slot).and_then(Option::as_ref).is_some_and(|pipe| pipe.run == run);
        let slots = slots.map(|slots| slots.map(|slot| is_its(slot).then_some(slot)));
        slots.into_iter().flatten().flatten()
    }

    fn add_pipe(&mut self, pipe: Pipe) -> io::Result<usize> {
        let slot = self.free_pipes.last().copied().unwrap_or(self.pipes.len());
        let is_held = !pipe.is_quiet && self.unit(pipe.unit).is_some_and(|unit| unit.is_held);
        if !is_held {
            self.poller.add(&pipe.file, token(slot))?;
        }
        if self.free_pipes.pop().is_none() {
            self.pipes.push(None);
        }
        self.pipes[slot] = Some(pipe);
        Ok(slot)
    }

    /// Reads up to `bytes_max`. A held unit is left alone.
    fn read(&mut self, slot: usize, bytes_max: usize, facts: &mut Vec<Fact>) -> Given {
        let mut bytes = 0;
        while bytes < bytes_max {
            let Some(Some(pipe)) = self.pipes.get(slot) else {
                return Given::Empty;
            };
            let Some(Some(unit)) = self.units.get(pipe.unit) else {
                return Given::End;
            };
            if unit.is_held && !pipe.is_quiet {
                return Given::Held;
            }
            let room = self.intake.room(unit.read_max);
            let asked = room.len();
            match (&pipe.file).read(room) {
                Ok(0) => return Given::End,
                Ok(n) => {
                    bytes += n;
                    self.take_in(slot, Source::Read(n), facts);
                    if n == asked {
                        self.enlarge(slot, n);
                    } else if bytes_max == TURN_BYTES {
                        // It was empty a moment ago; the poller will tell.
                        return Given::Empty;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Given::Empty,
                Err(_) => return Given::End,
            }
        }
        Given::More
    }

    /// A pipe that gives as much as we can take is worth a larger one, once.
    fn enlarge(&mut self, slot: usize, n: usize) {
        if let Some(pipe) = &mut self.pipes[slot]
            && !pipe.is_large
            && n >= intake::READ_MAX
        {
            pipe.is_large = true;
            // Refused beyond the user's bound for pipes; then it stays as it is.
            let _ = fcntl(&pipe.file, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        }
    }

    /// The end of a pipe: what is left of a line is one, and the pipe is closed.
    fn end_pipe(&mut self, slot: usize, facts: &mut Vec<Fact>) {
        if self.pipes.get(slot).is_some_and(Option::is_some) {
            self.take_in(slot, Source::Rest, facts);
            if let Some(run) = self.drop_pipe(slot) {
                facts.push(Fact::Ended(run));
            }
        }
    }

    /// Whether a pipe was closed since somebody has set it to false: what was left with its number is another file by then.
    pub fn have_moved(&mut self) -> &mut bool {
        &mut self.have_moved
    }

    /// Closes a pipe; returns its run when it was the last of it.
    fn drop_pipe(&mut self, slot: usize) -> Option<RunId> {
        let pipe = self.pipes.get_mut(slot)?.take()?;
        self.have_moved = true;
        self.free_pipes.push(slot);
        // It is not there while its unit is held.
        let _ = self.poller.remove(&pipe.file);
        self.forget_if_unused(pipe.unit);
        let run = self.runs.get_mut(&pipe.run)?;
        run.open = run.open.saturating_sub(1);
        (run.open == 0).then_some(pipe.run)
    }

    /// Reads a pipe of a held unit into memory only, counts its lines as dropped, and closes it.
    fn lose_pipe(&mut self, slot: usize) {
        let Some(Some(pipe)) = self.pipes.get(slot) else { return };
        let unit = pipe.unit;
        let Some(before) = self.unit_mut(unit).map(Unit::lose) else { return };
        let mut unheard = Vec::new();
        self.read(slot, LAST_WORDS_BYTES, &mut unheard);
        self.end_pipe(slot, &mut unheard);
        if let Some(unit) = self.unit_mut(unit) {
            unit.lose_no_more(before);
        }
    }

    /// Keeps the number of unread pipes of dead processes within its bound.
    fn bound_left(&mut self, unit: usize) {
        if !self.unit(unit).is_some_and(|unit| unit.is_held) {
            return;
        }
        let left = |pipe: &Pipe| pipe.unit == unit && pipe.is_leaving;
        let of = |pipe: &Option<Pipe>| pipe.as_ref().filter(|pipe| left(pipe)).map(|pipe| pipe.run);
        let mut slots: Vec<_> =
            self.pipes.iter().enumerate().filter_map(|(slot, pipe)| Some((of(pipe)?, slot))).collect();
        slots.sort();
        let surplus = slots.len().saturating_sub(LEFT_PIPES);
        for (_, slot) in slots.into_iter().take(surplus) {
            self.lose_pipe(slot);
        }
    }

    /// Stops reading a unit until the writer has room.
    fn hold(&mut self, index: usize) {
        let Some(unit) = self.unit_mut(index) else { return };
        if std::mem::replace(&mut unit.is_held, true) {
            return;
        }
        self.held.push(index);
        for pipe in self.pipes.iter().flatten().filter(|pipe| pipe.unit == index && !pipe.is_quiet) {
            let _ = self.poller.remove(&pipe.file);
        }
    }

    /// The writer has room again, or svinit has said something.
    fn on_bell(&mut self, facts: &mut Vec<Fact>) {
        self.writer.on_bell();
        self.absorb();
        let held = std::mem::take(&mut self.held);
        for index in held {
            let Some(unit) = self.units.get_mut(index).and_then(Option::as_mut) else { continue };
            if unit.waits(&self.writer) {
                self.held.push(index);
                continue;
            }
            unit.is_held = false;
            for slot in 0..self.pipes.len() {
                self.resume(slot, index, facts);
            }
        }
    }

    fn resume(&mut self, slot: usize, index: usize, facts: &mut Vec<Fact>) {
        let Some(pipe) = self.pipes[slot].as_ref().filter(|pipe| pipe.unit == index && !pipe.is_quiet) else {
            return;
        };
        if !pipe.is_leaving {
            if self.poller.add(&pipe.file, token(slot)).is_err() {
                // No memory in the kernel to watch it: without this it would never be read again.
                self.lose_pipe(slot);
            }
        } else if self.read(slot, LAST_WORDS_BYTES, facts) != Given::Held {
            self.end_pipe(slot, facts);
        }
    }

    fn unit(&self, index: usize) -> Option<&Unit> {
        self.units.get(index)?.as_ref()
    }

    fn unit_mut(&mut self, index: usize) -> Option<&mut Unit> {
        self.units.get_mut(index)?.as_mut()
    }

    /// Makes room when all units together keep too much: whoever has most gives.
    fn bound_kept(&mut self) {
        if self.kept_bytes > self.kept_max {
            // A little more than needed, so that this is rare.
            let over = self.kept_bytes - self.kept_max + self.kept_max / 32;
            buffer::squeeze(self.units.iter_mut().flatten().map(|unit| &mut unit.tail), over);
            self.kept_bytes = self.units.iter().flatten().map(|unit| unit.tail.bytes()).sum();
        }
    }
}

impl Pipe {
    fn new(file: File, run: RunId, unit: usize, stream: Stream, keep: Keep) -> Self {
        Self {
            file,
            run,
            unit,
            stream,
            pid: None,
            splitter: Splitter::default(),
            is_quiet: keep == Keep::Quiet,
            is_watched: keep != Keep::Unit,
            is_large: false,
            is_leaving: false,
        }
    }
}

/// A pipe whose read end does not block and whose write end does, as every program expects.
fn pipe(owner: Option<u32>) -> io::Result<(File, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    if let Some(uid) = owner {
        // Without the privilege there is none to change user either, so it is the unit's already.
        let _ = fchown(&writer, Some(uid), None);
    }
    Ok((File::from(reader), writer))
}

fn token(slot: usize) -> u64 {
    Pump::TOKEN_BIT | slot as u64
}

#[cfg(test)]
mod tests;
