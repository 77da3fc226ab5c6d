//! What waits to be written by one thread: bounded, fair, in the order of time. Pure.
//!
//! Each unit has its own queue with its own bound, so one that floods a blocked stdout loses or waits alone. The order
//! over all of them is a list of tickets, one a chunk: it names the unit, not the chunk, so dropping a unit's oldest
//! chunk needs no search; the ticket is simply used for the next one. A chunk is whole lines, always.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::units::spec::WhenBlocked;

/// A small chunk joins the one before it up to this size, so that many short writes become one.
const JOINED_MAX: usize = 16 << 10;

/// Chunks that are written by one system call at most.
const BATCH_CHUNKS: usize = 64;

/// What a chunk costs beside its bytes.
const CHUNK_COST: usize = 64;

/// Smallest share of a unit: with less, no line would fit.
const SHARE_MIN: usize = 16 << 10;

/// A unit in a [`Queue`].
pub type SourceId = usize;

/// Whole lines for one destination.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chunk {
    /// Each line with its newline.
    pub bytes: Vec<u8>,
    /// How many.
    pub lines: u64,
    /// The destination: a stream or a file, as its thread numbers them.
    pub out: usize,
}

impl Chunk {
    fn cost(&self) -> usize {
        self.bytes.capacity() + CHUNK_COST
    }
}

/// Whether a unit may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// More may come.
    Left,
    /// Stop reading this unit until [`Queue::is_held`] says no.
    Full,
}

/// What is to be written next, for one destination.
#[derive(Debug, Default)]
pub struct Batch {
    /// For which.
    pub out: usize,
    /// In this order.
    pub chunks: Vec<(SourceId, Chunk)>,
    /// Whose lines went missing before these, and how many.
    pub missing: Vec<(Arc<str>, u64)>,
}

/// All that waits for one thread.
#[derive(Debug, Default)]
pub struct Queue {
    sources: Vec<Option<Source>>,
    free: Vec<SourceId>,
    order: VecDeque<SourceId>,
    held: Vec<SourceId>,
    waiting: usize,
    waiting_max: usize,
    /// A batch was taken and the next was not asked for yet.
    is_writing: bool,
}

#[derive(Debug)]
struct Source {
    name: Arc<str>,
    share: usize,
    policy: WhenBlocked,
    chunks: VecDeque<Chunk>,
    waiting: usize,
    /// Entries of this source in `order`; more than chunks when some were dropped, fewer while it is broken.
    tickets: usize,
    is_held: bool,
    /// Its destination cannot be written: nothing is taken, and the oldest goes whatever the policy says.
    is_broken: bool,
    is_leaving: bool,
    missing: u64,
    missing_total: u64,
}

impl Queue {
    /// A queue that holds about `waiting_max` bytes for all units together.
    #[must_use]
    pub fn new(waiting_max: u64) -> Self {
        let waiting_max = usize::try_from(waiting_max).unwrap_or(usize::MAX).max(4 * SHARE_MIN);
        Self { waiting_max, ..Self::default() }
    }

    /// A place for the unit `name`, `share` bytes of which may wait.
    pub fn add(&mut self, name: Arc<str>, share: u64, policy: WhenBlocked) -> SourceId {
        let id = self.free.pop().unwrap_or_else(|| {
            self.sources.push(None);
            self.sources.len() - 1
        });
        self.sources[id] = Some(Source {
            name,
            share: share_of(share),
            policy,
            chunks: VecDeque::new(),
            waiting: 0,
            tickets: 0,
            is_held: false,
            is_broken: false,
            is_leaving: false,
            missing: 0,
            missing_total: 0,
        });
        id
    }

    /// Changes the bounds of a unit.
    pub fn set(&mut self, id: SourceId, share: u64, policy: WhenBlocked) {
        if let Some(source) = self.source(id) {
            source.share = share_of(share);
            source.policy = policy;
        }
    }

    /// The unit is gone: its place goes as soon as nothing of it waits.
    pub fn remove(&mut self, id: SourceId) {
        if let Some(source) = self.source(id) {
            source.is_leaving = true;
        }
        self.remove_if_done(id);
    }

    /// Adds `chunk` to what waits for `id`. Under `drop-oldest` older lines, or these, go for it when there is no room.
    pub fn push(&mut self, id: SourceId, chunk: Chunk) -> Room {
        let (waiting, waiting_max, is_writing) = (self.waiting, self.waiting_max, self.is_writing);
        let Some(source) = self.source(id) else {
            return Room::Left;
        };
        let cost = chunk.cost();
        let mut freed = 0;
        if source.drops(is_writing) {
            while source.waiting + cost > source.share || waiting - freed + cost > waiting_max {
                match source.drop_oldest() {
                    Some(bytes) => freed += bytes,
                    None if waiting - freed + cost > waiting_max => {
                        source.miss(chunk.lines);
                        self.waiting -= freed;
                        return Room::Left;
                    }
                    None => break,
                }
            }
        }
        self.waiting -= freed;
        self.add_chunk(id, chunk);
        self.hold_if_full(id)
    }

    /// Takes what is to be written next, at most about `bytes_max`, all for one destination.
    pub fn take(&mut self, bytes_max: usize) -> Option<Batch> {
        let mut batch = Batch::default();
        let mut bytes = 0;
        while bytes < bytes_max && batch.chunks.len() < BATCH_CHUNKS {
            let Some(id) = self.order.front().copied() else { break };
            let Some(source) = self.source(id) else {
                self.order.pop_front();
                continue;
            };
            match source.chunks.front() {
                Some(chunk) if !source.is_broken => {
                    if !batch.chunks.is_empty() && chunk.out != batch.out {
                        break;
                    }
                }
                _ => {
                    source.tickets = source.tickets.saturating_sub(1);
                    self.order.pop_front();
                    continue;
                }
            }
            source.tickets = source.tickets.saturating_sub(1);
            if source.missing > 0 {
                batch.missing.push((Arc::clone(&source.name), std::mem::take(&mut source.missing)));
            }
            let Some(chunk) = source.pop() else { break };
            self.waiting -= chunk.cost();
            self.order.pop_front();
            batch.out = chunk.out;
            bytes += chunk.bytes.len();
            batch.chunks.push((id, chunk));
            self.remove_if_done(id);
        }
        self.is_writing = !batch.chunks.is_empty();
        self.is_writing.then_some(batch)
    }

    /// Lets those go on that have room again. True when there are any: tell the reader.
    pub fn release(&mut self) -> bool {
        if self.held.is_empty() {
            return false;
        }
        let is_crowded = self.waiting > self.waiting_max / 4 * 3;
        let is_writing = self.is_writing;
        let before = self.held.len();
        let mut held = std::mem::take(&mut self.held);
        held.retain(|id| match self.source(*id) {
            Some(source)
                if !source.drops(is_writing) && (is_crowded || source.waiting > source.share / 2) =>
            {
                true
            }
            Some(source) => {
                source.is_held = false;
                false
            }
            None => false,
        });
        self.held = held;
        self.held.len() < before
    }

    /// Whether `id` must not add more.
    #[must_use]
    pub fn is_held(&self, id: SourceId) -> bool {
        self.sources.get(id).and_then(Option::as_ref).is_some_and(|source| source.is_held)
    }

    /// Gives back a chunk that could not be written. Its unit loses its oldest lines, instead of waiting, until
    /// [`Queue::mend`].
    pub fn give_back(&mut self, id: SourceId, chunk: Chunk) {
        self.waiting += chunk.cost();
        let Some(source) = self.source(id) else {
            return;
        };
        source.is_broken = true;
        source.waiting += chunk.cost();
        source.chunks.push_front(chunk);
    }

    /// All that waits, in the order in which it would be written, each with whose it is.
    #[must_use]
    pub fn in_order(&self) -> Vec<(&str, &Chunk)> {
        let mut taken = vec![0; self.sources.len()];
        let broken = self.sources.iter().enumerate().flat_map(|(id, source)| {
            std::iter::repeat_n(id, source.as_ref().map_or(0, |source| source.chunks.len()))
        });
        // A ticket names a unit, not a chunk. Those of a destination that is broken have none.
        let mut all = Vec::new();
        for id in self.order.iter().copied().chain(broken) {
            let Some(source) = self.sources.get(id).and_then(Option::as_ref) else { continue };
            if let Some(chunk) = source.chunks.get(taken[id]) {
                taken[id] += 1;
                all.push((&*source.name, chunk));
            }
        }
        all
    }

    /// Whose lines went missing since it was last said, and how many.
    pub fn untold(&self) -> impl Iterator<Item = (&Arc<str>, u64)> {
        let all = self.sources.iter().flatten().filter(|source| source.missing > 0);
        all.map(|source| (&source.name, source.missing))
    }

    /// Takes back what an svinit before this one has left: nothing is dropped, and whoever has too much waits.
    pub fn refill(&mut self, id: SourceId, chunk: Chunk) {
        self.add_chunk(id, chunk);
        let _ = self.hold_if_full(id);
    }

    /// So many lines of `id` went missing before, and it is still to be said.
    pub fn set_untold(&mut self, id: SourceId, lines: u64) {
        if let Some(source) = self.source(id) {
            source.missing = lines;
        }
    }

    /// The destination of `id` is worth another try.
    pub fn mend(&mut self, id: SourceId) {
        let Some(source) = self.sources.get_mut(id).and_then(Option::as_mut) else {
            return;
        };
        source.is_broken = false;
        for _ in source.tickets..source.chunks.len() {
            self.order.push_back(id);
        }
        source.tickets = source.tickets.max(source.chunks.len());
    }

    /// Counts lines of `id` that were taken and could not be written.
    pub fn miss(&mut self, id: SourceId, lines: u64) {
        if let Some(source) = self.source(id) {
            source.missing_total += lines;
        }
    }

    /// Lines of `id` that went missing so far.
    #[must_use]
    pub fn missing(&self, id: SourceId) -> u64 {
        self.sources.get(id).and_then(Option::as_ref).map_or(0, |source| source.missing_total)
    }

    /// Lines that wait.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.sources.iter().flatten().flat_map(|source| &source.chunks).map(|chunk| chunk.lines).sum()
    }

    /// Whether nothing is left to take.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sources.iter().flatten().all(|source| source.chunks.is_empty())
    }

    /// Bytes of memory that wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    fn remove_if_done(&mut self, id: SourceId) {
        if self.source(id).is_some_and(|source| source.is_leaving && source.chunks.is_empty()) {
            // Its tickets may still lie in the order: they must not become somebody else's.
            self.order.retain(|other| *other != id);
            self.held.retain(|other| *other != id);
            self.sources[id] = None;
            self.free.push(id);
        }
    }

    fn source(&mut self, id: SourceId) -> Option<&mut Source> {
        self.sources.get_mut(id).and_then(Option::as_mut)
    }

    fn add_chunk(&mut self, id: SourceId, chunk: Chunk) {
        let is_next = self.order.back() == Some(&id);
        let Some(source) = self.sources.get_mut(id).and_then(Option::as_mut) else {
            return;
        };
        if is_next
            && let Some(last) = source.chunks.back_mut()
            && last.out == chunk.out
            && last.bytes.len() + chunk.bytes.len() <= JOINED_MAX.min(source.share / 4)
        {
            let before = last.cost();
            last.bytes.extend_from_slice(&chunk.bytes);
            last.lines += chunk.lines;
            let more = last.cost() - before;
            source.waiting += more;
            self.waiting += more;
            return;
        }
        source.waiting += chunk.cost();
        self.waiting += chunk.cost();
        source.chunks.push_back(chunk);
        if !source.is_broken && source.tickets < source.chunks.len() {
            source.tickets += 1;
            self.order.push_back(id);
        }
    }

    fn hold_if_full(&mut self, id: SourceId) -> Room {
        let (is_all_full, is_writing) = (self.waiting >= self.waiting_max, self.is_writing);
        let Some(source) = self.source(id) else {
            return Room::Left;
        };
        if source.drops(is_writing) || (source.waiting < source.share && !is_all_full) {
            return Room::Left;
        }
        if !source.is_held {
            source.is_held = true;
            self.held.push(id);
        }
        Room::Full
    }
}

impl Source {
    /// Whether the oldest go when it is full. A destination is blocked only while something is being written to it:
    /// before that the writing thread has not had its turn yet, and the unit waits for that moment.
    fn drops(&self, is_writing: bool) -> bool {
        (self.policy == WhenBlocked::DropOldest && is_writing) || self.is_broken
    }

    fn pop(&mut self) -> Option<Chunk> {
        let chunk = self.chunks.pop_front()?;
        self.waiting -= chunk.cost();
        Some(chunk)
    }

    /// Returns the bytes that this freed.
    fn drop_oldest(&mut self) -> Option<usize> {
        let chunk = self.pop()?;
        self.miss(chunk.lines);
        Some(chunk.cost())
    }

    fn miss(&mut self, lines: u64) {
        self.missing += lines;
        self.missing_total += lines;
    }
}

fn share_of(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).max(SHARE_MIN)
}

#[cfg(test)]
mod tests;
