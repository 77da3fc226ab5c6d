//! The pump's units: what is kept of them, who follows them, what is counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::broadcast;

use crate::logs::buffer::{self, Entry, Mark};
use crate::logs::line::{Line, Stream};
use crate::logs::pump::unit::Unit;
use crate::logs::pump::{Counts, Pump};
use crate::units::name::UnitName;
use crate::units::spec::UnitSpec;

/// Lines that a follower may be behind; then it is told how many it missed and goes on with the oldest still there.
pub(super) const FOLLOW_BACKLOG: usize = 4096;

impl Pump {
    /// The last `n` lines of `units` together (none given: of all, and svinit's own), oldest first, in the order of time.
    #[must_use]
    pub fn kept(&mut self, units: &[UnitName], n: usize) -> Vec<Arc<Line>> {
        self.absorb();
        let asked = |unit: &&Unit| units.is_empty() || units.iter().any(|name| name.as_str() == &*unit.name);
        let parts: Vec<(&Arc<str>, Vec<Entry<'_>>)> =
            self.units.iter().flatten().filter(asked).map(|unit| (&unit.name, unit.tail.last(n))).collect();
        buffer::merge(parts, n).into_iter().map(|(name, entry)| Arc::new(line(name, entry))).collect()
    }

    /// Every line of every unit from here on. Who is too slow is told how many were missed.
    pub fn follow(&mut self) -> broadcast::Receiver<Arc<Line>> {
        self.absorb();
        self.writer.set_followed(true);
        match &self.followers {
            Some(followers) => followers.subscribe(),
            None => {
                let (followers, first) = broadcast::channel(FOLLOW_BACKLOG);
                self.followers = Some(followers);
                first
            }
        }
    }

    /// Drops all that is known of a unit that is not in the configuration any more, once its last pipe is closed.
    pub fn forget(&mut self, unit: &UnitName) {
        if let Some(index) = self.by_name.get(unit.as_str()).copied()
            && let Some(unit) = self.unit_mut(index)
        {
            unit.is_forgotten = true;
            self.forget_if_unused(index);
        }
    }

    /// Totals, of all units.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let all = self.units.iter().flatten().map(|unit| unit.counts(&self.writer));
        all.fold(self.counts_before, plus)
    }

    /// The same, unit by unit.
    #[must_use]
    pub fn counts_by_unit(&self) -> BTreeMap<UnitName, Counts> {
        let known = self.units.iter().flatten().skip(1);
        known.filter_map(|unit| Some((UnitName::new(&unit.name).ok()?, unit.counts(&self.writer)))).collect()
    }

    /// From here on `[log]` of the unit is as `spec` says, also for what runs.
    pub fn adopt(&mut self, spec: &Arc<UnitSpec>) {
        if let Some(index) = self.by_name.get(spec.name.as_str()).copied() {
            self.configure(index, spec);
        }
    }

    pub(super) fn configure(&mut self, index: usize, spec: &Arc<UnitSpec>) {
        if let Some(unit) = self.units.get_mut(index).and_then(Option::as_mut) {
            let before = unit.tail.bytes();
            unit.configure(&spec.log, &self.writer);
            self.kept_bytes = self.kept_bytes - before + unit.tail.bytes();
        }
    }

    /// The place of the unit `name`, made when it has none.
    pub(super) fn unit_named(&mut self, name: &str) -> usize {
        if let Some(index) = self.by_name.get(name) {
            return *index;
        }
        // As many places as names: none is free.
        let is_full = self.by_name.len() == self.units.len();
        let free = if is_full { None } else { self.units.iter().position(Option::is_none) };
        let index = free.unwrap_or(self.units.len());
        if index == self.units.len() {
            self.units.push(None);
        }
        let name: Arc<str> = Arc::from(name);
        self.units[index] = Some(Unit::new(Arc::clone(&name)));
        self.by_name.insert(name, index);
        index
    }

    pub(super) fn forget_if_unused(&mut self, index: usize) {
        let is_used = || self.pipes.iter().flatten().any(|pipe| pipe.unit == index);
        let Some(unit) = self.unit(index).filter(|unit| unit.is_forgotten && !is_used()) else { return };
        let (name, kept, counts) = (Arc::clone(&unit.name), unit.tail.bytes(), unit.counts(&self.writer));
        unit.leave(&self.writer);
        self.counts_before = plus(self.counts_before, counts);
        self.kept_bytes -= kept;
        self.by_name.remove(&name);
        self.units[index] = None;
        self.held.retain(|other| *other != index);
    }

    /// Takes what svinit has said since into memory.
    pub(super) fn absorb(&mut self) {
        for message in self.writer.heard() {
            let index = match &message.unit {
                Some(name) => self.unit_named(name),
                None => 0,
            };
            let mark = Mark {
                wall_us: message.wall_us,
                seq: self.intake.next_seq(),
                pid: None,
                stream: Stream::Svinit,
            };
            let Some(unit) = self.units.get_mut(index).and_then(Option::as_mut) else { continue };
            let before = unit.tail.bytes();
            unit.tail.push(mark, message.text.as_bytes());
            self.kept_bytes = self.kept_bytes - before + unit.tail.bytes();
            let name = Arc::clone(&unit.name);
            if self.is_followed() {
                self.tell(line(&name, Entry { mark, text: message.text.as_bytes() }));
            }
        }
        self.bound_kept();
    }

    /// Whether anybody follows; the channel goes with the last who does.
    pub(super) fn is_followed(&mut self) -> bool {
        if self.followers.as_ref().is_some_and(|followers| followers.receiver_count() == 0) {
            self.followers = None;
            self.writer.set_followed(false);
        }
        self.followers.is_some()
    }

    pub(super) fn tell(&self, line: Line) {
        if let Some(followers) = &self.followers {
            // The last one may have left a moment ago.
            let _ = followers.send(Arc::new(line));
        }
    }
}

pub(super) fn line(unit: &Arc<str>, entry: Entry<'_>) -> Line {
    let Mark { wall_us, pid, stream, .. } = entry.mark;
    Line { wall_us, unit: Arc::clone(unit), pid, stream, text: entry.text.to_vec() }
}

fn plus(a: Counts, b: Counts) -> Counts {
    Counts { lines: a.lines + b.lines, bytes: a.bytes + b.bytes, dropped: a.dropped + b.dropped }
}
