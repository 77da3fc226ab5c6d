//! The body of a response as plain bytes, whatever its framing.
//!
//! A body that is cut short is an error and never a short body: half a list of units must not look like a list.

use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::io::Read;

use crate::client::head::Framing;
use crate::client::head::chunk_size;

/// Bytes of the line that begins a chunk at most.
const CHUNK_LINE_MAX: u64 = 1024;

/// Reads the body behind a head.
pub struct Body<R> {
    inner: BufReader<R>,
    state: State,
}

enum State {
    /// So many bytes of the whole body are left.
    Length(u64),
    /// So many bytes of this chunk are left.
    Chunk(u64),
    /// The size of the next chunk is to come; `first`: no line end of a chunk before it.
    ChunkHead { first: bool },
    /// Everything up to the end of the connection.
    UntilClose,
    /// There is nothing more.
    Done,
}

impl<R: Read> Body<R> {
    /// The body that `framing` announced, which begins at the next byte of `inner`.
    pub fn new(inner: BufReader<R>, framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::ChunkHead { first: true },
            Framing::UntilClose => State::UntilClose,
        };
        Self { inner, state }
    }

    /// What it reads from.
    pub fn get_ref(&self) -> &R {
        self.inner.get_ref()
    }

    /// Something of the body has been received and not been read. The line end behind a chunk, which comes with it, is
    /// nothing: whoever took it for something would wait for more and leave what he has unsaid.
    pub fn has_received(&self) -> bool {
        let received = self.inner.buffer();
        match self.state {
            State::ChunkHead { first: false } => received.len() > b"\r\n".len(),
            State::ChunkHead { first: true } | State::Length(_) | State::Chunk(_) | State::UntilClose => {
                !received.is_empty()
            }
            State::Done => false,
        }
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        (&mut self.inner).take(CHUNK_LINE_MAX).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Err(if line.len() as u64 >= CHUNK_LINE_MAX - 1 {
                odd("a chunk size without an end".to_owned())
            } else {
                io::ErrorKind::UnexpectedEof.into()
            });
        }
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(line)
    }

    fn next_chunk(&mut self, first: bool) -> io::Result<State> {
        if !first && !self.line()?.is_empty() {
            return Err(odd("a chunk that is longer than it said".to_owned()));
        }
        let size = chunk_size(&self.line()?).map_err(odd)?;
        if size > 0 {
            return Ok(State::Chunk(size));
        }
        // Trailers, which nobody sends, up to the empty line; bounded like a head.
        for _ in 0..64 {
            if self.line()?.is_empty() {
                return Ok(State::Done);
            }
        }
        Err(odd("trailers without an end".to_owned()))
    }

    /// At most `left` bytes into `into`; their number is never 0 unless `into` is empty.
    fn some(&mut self, left: u64, into: &mut [u8]) -> io::Result<u64> {
        let bound = usize::try_from(left).unwrap_or(usize::MAX).min(into.len());
        match self.inner.read(&mut into[..bound])? {
            0 if bound > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count as u64),
        }
    }
}

impl<R: Read> Read for Body<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            let count = match self.state {
                State::Done => return Ok(0),
                State::UntilClose => return self.inner.read(into),
                State::ChunkHead { first } => {
                    self.state = self.next_chunk(first)?;
                    continue;
                }
                State::Length(left) => {
                    let count = self.some(left, into)?;
                    self.state = if count == left { State::Done } else { State::Length(left - count) };
                    count
                }
                State::Chunk(left) => {
                    let count = self.some(left, into)?;
                    self.state = if count == left {
                        State::ChunkHead { first: false }
                    } else {
                        State::Chunk(left - count)
                    };
                    count
                }
            };
            return Ok(usize::try_from(count).unwrap_or(into.len()));
        }
    }
}

/// An answer that breaks the rules, as an [`io::Error`] so that it fits through [`Read`].
pub(crate) fn odd(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
