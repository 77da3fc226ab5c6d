//! A unit's latest lines in memory, bounded by bytes.
//!
//! Lines lie one after the other in a few segments, each behind a small header, so that keeping a line costs a copy and
//! no allocation; [`Entry`] is a view of one, made when somebody asks. The oldest segment goes as a whole. A unit that
//! has said nothing costs nothing.

use std::collections::VecDeque;

use crate::logs::line::Stream;

/// Wall clock, sequence, PID, length, stream.
const HEADER: usize = 8 + 8 + 4 + 4 + 1;

/// Largest segment: what goes at once when a large buffer is full.
const SEGMENT_MAX: usize = 32 << 10;

/// Smallest segment, for small buffers and for units that say little.
const SEGMENT_MIN: usize = 256;

/// When and where lines came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Microseconds since 1970.
    pub wall_us: i64,
    /// Counts the reads of all units: the order of time also when the wall clock steps.
    pub seq: u64,
    /// The main process.
    pub pid: Option<i32>,
    /// Which stream.
    pub stream: Stream,
}

/// One kept line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When and where it came from.
    pub mark: Mark,
    /// Without newline.
    pub text: &'a [u8],
}

/// The latest lines of one unit.
#[derive(Debug, Default)]
pub struct Tail {
    segments: VecDeque<Vec<u8>>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    /// Keeps at most `bytes_max` bytes, headers included; lets go of what is too much already.
    pub fn set_max(&mut self, bytes_max: u64) {
        self.bytes_max = usize::try_from(bytes_max).unwrap_or(usize::MAX);
        while self.bytes > self.bytes_max {
            self.drop_oldest();
        }
    }

    /// Bytes of memory in use.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Keeps a line; the oldest go for it. A line that is larger than the whole buffer is not kept.
    pub fn push(&mut self, mark: Mark, text: &[u8]) {
        let need = HEADER + text.len();
        if need > self.bytes_max {
            return;
        }
        if self.segments.back().is_none_or(|last| last.len() + need > self.segment_max().max(last.capacity()))
        {
            self.add_segment(need);
        }
        let full = self.segment_max();
        let Some(last) = self.segments.back_mut() else {
            return;
        };
        let before = last.capacity();
        if before - last.len() < need {
            let capacity = (2 * before).min(full).max(last.len() + need);
            last.reserve_exact(capacity - last.len());
        }
        put(last, mark, text);
        self.bytes += last.capacity() - before;
        while self.bytes > self.bytes_max && self.segments.len() > 1 {
            self.drop_oldest();
        }
    }

    /// The last `n` lines, oldest first.
    #[must_use]
    pub fn last(&self, n: usize) -> Vec<Entry<'_>> {
        let mut out: Vec<Entry<'_>> = Vec::new();
        for segment in self.segments.iter().rev() {
            if out.len() >= n {
                break;
            }
            let mut lines: Vec<_> = Entries { rest: segment }.collect();
            lines.reverse();
            out.extend(lines);
        }
        out.truncate(n);
        out.reverse();
        out
    }

    /// All lines in a form that [`Tail::extend_from`] reads, also that of a later svinit.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.segments.iter().flatten().copied().collect()
    }

    /// Keeps the lines that [`Tail::to_bytes`] gave, as far as there is room.
    pub fn extend_from(&mut self, bytes: &[u8]) {
        Entries { rest: bytes }.for_each(|entry| self.push(entry.mark, entry.text));
    }

    /// Lets the oldest segment go; returns the bytes that this gave back.
    pub fn drop_oldest(&mut self) -> usize {
        let freed = self.segments.pop_front().map_or(0, |segment| segment.capacity());
        self.bytes -= freed;
        freed
    }

    fn segment_max(&self) -> usize {
        (self.bytes_max / 8).clamp(SEGMENT_MIN, SEGMENT_MAX).min(self.bytes_max)
    }

    /// A new last segment with room for `need`. The first one begins small and grows, for units that say little; for
    /// later ones the oldest is used again when the buffer is full.
    fn add_segment(&mut self, need: usize) {
        let full = self.segment_max();
        let size = if self.segments.is_empty() { need.min(full) } else { full };
        let size = size.max(need);
        while self.bytes + size > self.bytes_max
            && let Some(mut oldest) = self.segments.pop_front()
        {
            if oldest.capacity() == size {
                oldest.clear();
                return self.segments.push_back(oldest);
            }
            self.bytes -= oldest.capacity();
        }
        let segment = Vec::with_capacity(size);
        self.bytes += segment.capacity();
        self.segments.push_back(segment);
    }
}

/// Takes `over` bytes from whoever has most, a segment at a time.
pub fn squeeze<'a>(tails: impl Iterator<Item = &'a mut Tail>, mut over: usize) {
    let mut tails: Vec<_> = tails.filter(|tail| tail.bytes > 0).collect();
    while over > 0 {
        let Some(largest) = tails.iter_mut().max_by_key(|tail| tail.bytes) else { return };
        let freed = largest.drop_oldest();
        if freed == 0 {
            return;
        }
        over = over.saturating_sub(freed);
    }
}

/// The last `n` of all these lines, in the order of time. Each part must be in that order already.
#[must_use]
pub fn merge<'a, T: Copy>(parts: Vec<(T, Vec<Entry<'a>>)>, n: usize) -> Vec<(T, Entry<'a>)> {
    let mut all: Vec<(T, Entry<'a>)> =
        parts.into_iter().flat_map(|(of, lines)| lines.into_iter().map(move |line| (of, line))).collect();
    // Stable, so that the lines of one read stay as they came.
    all.sort_by_key(|(_, line)| line.mark.seq);
    let skip = all.len().saturating_sub(n);
    all.drain(..skip);
    all
}

fn put(segment: &mut Vec<u8>, mark: Mark, text: &[u8]) {
    let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
    let mut header = [0; HEADER];
    header[0..8].copy_from_slice(&mark.wall_us.to_le_bytes());
    header[8..16].copy_from_slice(&mark.seq.to_le_bytes());
    header[16..20].copy_from_slice(&mark.pid.unwrap_or(0).to_le_bytes());
    header[20..24].copy_from_slice(&len.to_le_bytes());
    header[24] = match mark.stream {
        Stream::Stdout => 0,
        Stream::Stderr => 1,
        Stream::Svinit => 2,
    };
    segment.extend_from_slice(&header);
    segment.extend_from_slice(text);
}

/// Walks one segment.
struct Entries<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let (wall_us, rest) = self.rest.split_first_chunk()?;
        let (seq, rest) = rest.split_first_chunk()?;
        let (pid, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let (stream, rest) = rest.split_first()?;
        let (text, rest) = rest.split_at_checked(usize::try_from(u32::from_le_bytes(*len)).ok()?)?;
        self.rest = rest;
        let stream = match stream {
            0 => Stream::Stdout,
            1 => Stream::Stderr,
            _ => Stream::Svinit,
        };
        let pid = Some(i32::from_le_bytes(*pid)).filter(|pid| *pid != 0);
        let mark = Mark { wall_us: i64::from_le_bytes(*wall_us), seq: u64::from_le_bytes(*seq), pid, stream };
        Some(Entry { mark, text })
    }
}

#[cfg(test)]
mod tests;
