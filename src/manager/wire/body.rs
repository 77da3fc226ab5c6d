//! The framing of a body: how long it is, and the grammar of chunks.
//!
//! Chunks are never passed on as they came: what was understood is written anew, so that the other side cannot understand
//! something else. Extensions and trailers are left out.

use crate::manager::wire::head::{Head, members};

/// How a body ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    #[default]
    None,
    /// After so many bytes.
    Length(u64),
    /// By a last chunk.
    Chunked,
    /// By the end of the connection; of answers only.
    Close,
}

/// Why the framing of a message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unframed {
    /// Content-Length and Transfer-Encoding together.
    Both,
    /// More than one of either.
    Twice,
    /// The length is no number.
    Length,
    /// HTTP/1.0 has no Transfer-Encoding.
    OldVersion,
    /// Another coding than chunked.
    Coding,
}

/// How the body of a message with these header lines ends; `None`: they say nothing about it.
///
/// # Errors
/// They contradict each other, or could be understood in two ways.
pub fn framing(head: &Head, minor: u8) -> Result<Option<Framing>, Unframed> {
    let mut length: Option<&[u8]> = None;
    let mut coding: Option<&[u8]> = None;
    for (name, value) in head.lines() {
        let place = match name.len() {
            14 if name.eq_ignore_ascii_case(b"content-length") => &mut length,
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => &mut coding,
            _ => continue,
        };
        if place.replace(value).is_some() {
            return Err(Unframed::Twice);
        }
    }
    match (length, coding) {
        (None, None) => Ok(None),
        (Some(_), Some(_)) => Err(Unframed::Both),
        (None, Some(_)) if minor == 0 => Err(Unframed::OldVersion),
        (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => Ok(Some(Framing::Chunked)),
        (None, Some(_)) => Err(Unframed::Coding),
        (Some(length), None) => {
            number(length).map(|length| Some(Framing::Length(length))).ok_or(Unframed::Length)
        }
    }
}

/// Digits only, and not more of them than fit.
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(text.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// Whether `head` asks for the connection to be closed, or kept.
#[must_use]
pub fn keeps_alive(head: &Head, minor: u8) -> bool {
    let mut keeps = minor == 1;
    for token in members(head.all("connection")) {
        if token.eq_ignore_ascii_case(b"close") {
            return false;
        }
        keeps |= token.eq_ignore_ascii_case(b"keep-alive");
    }
    keeps
}

/// Bytes of extensions and trailers of one body; a body with more is refused.
const EXTRA_MAX: usize = 8192;

/// The chunks of a body are no chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadChunk;

/// Reads chunks, whatever pieces they come in.
#[derive(Clone, Debug)]
pub struct Chunks {
    state: State,
    extra: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Hexadecimal digits, so many of them so far.
    Size {
        size: u64,
        digits: u32,
    },
    /// Behind a semicolon.
    Extension {
        size: u64,
    },
    /// CR was there.
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// At the beginning of a line behind the last chunk.
    Trailer,
    /// Within such a line.
    TrailerLine,
    /// CR was there at the end of such a line.
    TrailerLf,
    /// CR was there at the beginning of one.
    LastLf,
    End,
}

/// How what was read is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rewrite {
    /// As chunks of our own.
    Chunked,
    /// The data alone, for clients of HTTP/1.0.
    Plain,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { state: State::Size { size: 0, digits: 0 }, extra: 0 }
    }
}

impl Chunks {
    /// Whether the last chunk and its trailers were read.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.state == State::End
    }

    /// Reads from `input` until it is used up or the body has ended, and appends the data to `out`. How many bytes were used, and how
    /// many of them were data.
    ///
    /// # Errors
    /// It is not chunked.
    pub fn decode(
        &mut self,
        input: &[u8],
        out: &mut Vec<u8>,
        rewrite: Rewrite,
    ) -> Result<(usize, u64), BadChunk> {
        let mut at = 0;
        let mut data = 0;
        while at < input.len() && self.state != State::End {
            if let State::Data { left } = self.state {
                let length = usize::try_from(left).unwrap_or(usize::MAX).min(input.len() - at);
                write_chunk(&input[at..at + length], out, rewrite);
                at += length;
                data += length as u64;
                let left = left - length as u64;
                self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                continue;
            }
            self.state = self.after(input[at])?;
            at += 1;
            if self.state == State::End && rewrite == Rewrite::Chunked {
                out.extend_from_slice(b"0\r\n\r\n");
            }
        }
        Ok((at, data))
    }

    fn after(&mut self, byte: u8) -> Result<State, BadChunk> {
        Ok(match (self.state, byte) {
            (State::Size { size, digits }, byte) if byte.is_ascii_hexdigit() && digits < 15 => {
                let digit = char::from(byte).to_digit(16).unwrap_or(0);
                State::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (State::Size { size, digits: 1.. }, b'\r') | (State::Extension { size }, b'\r') => {
                State::SizeLf { size }
            }
            (State::Size { size, digits: 1.. }, b';') => State::Extension { size },
            (State::Extension { size }, 0x20..=0x7e | b'\t' | 0x80..) => {
                self.count()?;
                State::Extension { size }
            }
            (State::SizeLf { size: 0 }, b'\n') => State::Trailer,
            (State::SizeLf { size }, b'\n') => State::Data { left: size },
            (State::DataCr, b'\r') => State::DataLf,
            (State::DataLf, b'\n') => State::Size { size: 0, digits: 0 },
            (State::Trailer, b'\r') => State::LastLf,
            (State::LastLf, b'\n') => State::End,
            (State::TrailerLine, b'\r') => State::TrailerLf,
            (State::TrailerLf, b'\n') => State::Trailer,
            (State::Trailer, 0x21..=0x7e) | (State::TrailerLine, 0x20..=0x7e | b'\t' | 0x80..) => {
                self.count()?;
                State::TrailerLine
            }
            _ => return Err(BadChunk),
        })
    }

    fn count(&mut self) -> Result<(), BadChunk> {
        self.extra += 1;
        if self.extra > EXTRA_MAX { Err(BadChunk) } else { Ok(()) }
    }
}

/// `data` as one chunk, or as it is. Nothing becomes nothing: an empty chunk would end the body.
pub fn write_chunk(data: &[u8], out: &mut Vec<u8>, rewrite: Rewrite) {
    use std::io::Write as _;
    if data.is_empty() {
        return;
    }
    if rewrite == Rewrite::Plain {
        out.extend_from_slice(data);
        return;
    }
    // Writing to memory does not fail.
    let _ = write!(out, "{:x}\r\n", data.len());
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(lines: &str, minor: u8) -> Result<Option<Framing>, Unframed> {
        let mut head = Head::default();
        head.read(format!("POST / HTTP/1.1\r\n{lines}\r\n").as_bytes(), 100).unwrap();
        framing(&head, minor)
    }

    #[test]
    fn a_body_is_framed_in_one_way_only() {
        assert_eq!(framed("", 1), Ok(None));
        assert_eq!(framed("Content-Length: 12\r\n", 1), Ok(Some(Framing::Length(12))));
        assert_eq!(framed("Transfer-Encoding: Chunked\r\n", 1), Ok(Some(Framing::Chunked)));
        for (lines, minor, why) in [
            ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", 1, Unframed::Both),
            ("Content-Length: 3\r\nContent-Length: 3\r\n", 1, Unframed::Twice),
            ("Content-Length: 3, 3\r\n", 1, Unframed::Length),
            ("Content-Length: +3\r\n", 1, Unframed::Length),
            ("Content-Length: 0x3\r\n", 1, Unframed::Length),
            ("Content-Length:\r\n", 1, Unframed::Length),
            ("Content-Length: 99999999999999999999\r\n", 1, Unframed::Length),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 1, Unframed::Twice),
            ("Transfer-Encoding: gzip, chunked\r\n", 1, Unframed::Coding),
            ("Transfer-Encoding: chunked, identity\r\n", 1, Unframed::Coding),
            ("Transfer-Encoding: xchunked\r\n", 1, Unframed::Coding),
            ("Transfer-Encoding: \"chunked\"\r\n", 1, Unframed::Coding),
            ("Transfer-Encoding: chunked\r\n", 0, Unframed::OldVersion),
        ] {
            assert_eq!(framed(lines, minor), Err(why), "{lines:?}");
        }
    }

    fn decoded(input: &[u8], rewrite: Rewrite) -> Result<(Vec<u8>, usize, bool), BadChunk> {
        let (mut chunks, mut out) = (Chunks::default(), Vec::new());
        let (used, _) = chunks.decode(input, &mut out, rewrite)?;
        Ok((out, used, chunks.is_complete()))
    }

    #[test]
    fn chunks_are_written_anew_without_extensions_and_trailers() {
        let input = b"5;a=b\r\nhello\r\n0A\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\nGET";
        let (out, used, complete) = decoded(input, Rewrite::Plain).unwrap();
        assert_eq!((out.as_slice(), used, complete), (&b"hello0123456789"[..], input.len() - 3, true));
        let (out, ..) = decoded(input, Rewrite::Chunked).unwrap();
        assert_eq!(out, b"5\r\nhello\r\na\r\n0123456789\r\n0\r\n\r\n");
    }

    #[test]
    fn what_is_no_chunk_is_refused() {
        for input in [
            &b"5\nhello"[..],
            b"\r\n",
            b"x\r\n",
            b"-1\r\n",
            b"0x5\r\n",
            b" 5\r\n",
            b"5 \r\nhello",
            b"fffffffffffffffff\r\n",
            b"5\r\nhelloX",
            b"5\r\nhello\n",
            b"5;a\n",
            b"0\r\n\n",
            b"0\r\nA: b\n\r\n",
            b"0\r\n A: b\r\n\r\n",
            b"5;\0\r\n",
            b"5\rx",
        ] {
            assert_eq!(decoded(input, Rewrite::Plain), Err(BadChunk), "{:?}", String::from_utf8_lossy(input));
        }
        let long = [b"5;".to_vec(), vec![b'a'; EXTRA_MAX + 1]].concat();
        assert_eq!(decoded(&long, Rewrite::Plain), Err(BadChunk));
    }

    proptest! {
        #[test]
        fn the_pieces_chunks_come_in_make_no_difference(data in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6), cut in 1_usize..9) {
            let mut input = Vec::new();
            for part in &data {
                write_chunk(part, &mut input, Rewrite::Chunked);
            }
            input.extend_from_slice(b"0\r\n\r\n");
            let (mut chunks, mut out) = (Chunks::default(), Vec::new());
            for piece in input.chunks(cut) {
                let (used, _) = chunks.decode(piece, &mut out, Rewrite::Plain).unwrap();
                prop_assert_eq!(used, piece.len());
            }
            prop_assert!(chunks.is_complete());
            prop_assert_eq!(out, data.concat());
        }

        #[test]
        fn no_bytes_make_it_panic(input in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decoded(&input, Rewrite::Chunked);
        }
    }
}
