//! Bytes in, whole lines out. Pure.
//!
//! The same bytes give the same lines, however they were cut on their way through the pipe. A line longer than
//! [`PART_MAX`] comes out in parts of exactly that size (the last one shorter), so a gigabyte without a newline costs no
//! more memory than one part. Easy to get wrong: the `\r` of a `\r\n` may sit at the very end of a part, so a part is
//! only given out when it is certain that more than a `\r` follows it.

use memchr::{memchr, memchr_iter};

/// Longest line that stays in one piece, without its newline.
pub const PART_MAX: usize = 16 << 10;

/// A half line that was long gives its memory back; shorter ones keep it for the next.
const HALF_KEPT: usize = 256;

/// One line, or a part of a long one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Without newline and without the `\r` before it.
    pub text: &'a [u8],
    /// The line goes on in the next piece.
    pub goes_on: bool,
    /// Where it begins in the bytes just fed, when it stands there whole with nothing but its `\n` after it.
    pub at: Option<usize>,
}

/// Keeps what came after the last newline.
#[derive(Debug, Default)]
pub struct Splitter {
    half: Vec<u8>,
}

impl Splitter {
    /// One that was left with `half` a line.
    #[must_use]
    pub fn with_half(half: &[u8]) -> Self {
        Self { half: half.to_vec() }
    }

    /// Takes `input` and gives every line that is whole with it to `each`, in order.
    pub fn feed(&mut self, input: &[u8], mut each: impl FnMut(Piece<'_>)) {
        let mut start = 0;
        if !self.half.is_empty() {
            let Some(end) = memchr(b'\n', input) else {
                return self.keep(input, &mut each);
            };
            self.keep(&input[..end], &mut each);
            self.end_line(&mut each);
            start = end + 1;
        }
        let first = start;
        for end in memchr_iter(b'\n', &input[first..]) {
            let end = first + end;
            let text = &input[start..end];
            if text.len() <= PART_MAX && text.last() != Some(&b'\r') {
                each(Piece { text, goes_on: false, at: Some(start) });
            } else {
                parts(without_return(text), &mut each);
            }
            start = end + 1;
        }
        self.keep(&input[start..], &mut each);
    }

    /// The end of the stream: what is kept is a line.
    pub fn finish(&mut self, mut each: impl FnMut(Piece<'_>)) {
        if !self.half.is_empty() {
            parts(&self.half, &mut each);
            self.half = Vec::new();
        }
    }

    /// What came after the last newline so far (of a very long line, its latest part).
    #[must_use]
    pub fn half(&self) -> &[u8] {
        &self.half
    }

    /// Keeps `bytes` (no newline in them); gives out parts so that never more than `PART_MAX + 1` bytes are kept. What
    /// is left after a part is at least two bytes, so the end of the line still has something to say.
    fn keep(&mut self, mut bytes: &[u8], each: &mut impl FnMut(Piece<'_>)) {
        while self.half.len() + bytes.len() > PART_MAX + 1 {
            if self.half.len() >= PART_MAX {
                each(Piece { text: &self.half[..PART_MAX], goes_on: true, at: None });
                self.half.drain(..PART_MAX);
            } else if self.half.is_empty() {
                each(Piece { text: &bytes[..PART_MAX], goes_on: true, at: None });
                bytes = &bytes[PART_MAX..];
            } else {
                let (now, later) = bytes.split_at(PART_MAX - self.half.len());
                self.half.extend_from_slice(now);
                bytes = later;
            }
        }
        self.half.extend_from_slice(bytes);
    }

    fn end_line(&mut self, each: &mut impl FnMut(Piece<'_>)) {
        parts(without_return(&self.half), each);
        self.half.clear();
        if self.half.capacity() > HALF_KEPT {
            self.half = Vec::new();
        }
    }
}

fn without_return(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\r").unwrap_or(text)
}

fn parts(mut text: &[u8], each: &mut impl FnMut(Piece<'_>)) {
    while text.len() > PART_MAX {
        let (now, later) = text.split_at(PART_MAX);
        each(Piece { text: now, goes_on: true, at: None });
        text = later;
    }
    each(Piece { text, goes_on: false, at: None });
}

#[cfg(test)]
mod tests;
