//! A response that goes on: JSON lines, one value each, as they come.

use std::io;
use std::io::BufRead;
use std::io::BufReader;
use std::marker::PhantomData;
use std::os::fd::AsFd;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use serde::de::DeserializeOwned;

use crate::api::event::Lagged;
use crate::client::body::Body;
use crate::client::connection::Wire;
use crate::client::error::Error;

/// Bytes of one line at most: a log line of 16 KiB whose every byte is escaped fits several times.
const LINE_MAX: usize = 1 << 20;

/// JSON lines, each a `T`. Ends where the supervisor ends it.
pub struct Lines<T> {
    body: BufReader<Body<Wire>>,
    place: PathBuf,
    line: Vec<u8>,
    missed: u64,
    kind: PhantomData<T>,
}

impl<T: DeserializeOwned> Lines<T> {
    pub(super) fn new(body: Body<Wire>, place: PathBuf) -> Self {
        Self { body: BufReader::new(body), place, line: Vec::new(), missed: 0, kind: PhantomData }
    }

    /// The next value; `None` where the stream has ended as it should.
    ///
    /// # Errors
    /// When the connection breaks, the time is up, or the line is no `T`.
    pub fn read(&mut self) -> Result<Option<T>, Error> {
        loop {
            self.line.clear();
            let place = &self.place;
            read_line(&mut self.body, &mut self.line).map_err(|source| failure(place, source))?;
            let line = self.line.trim_ascii();
            if !line.is_empty() {
                match serde_json::from_slice(line) {
                    Ok(value) => return Ok(Some(value)),
                    Err(why) => self.missed += missed(line).ok_or_else(|| self.odd(&why))?,
                }
            }
            if self.line.is_empty() {
                return Ok(None);
            }
        }
    }

    /// How many values were left out before the last one, because we were too slow; asking sets it back to 0.
    pub fn take_missed(&mut self) -> u64 {
        std::mem::take(&mut self.missed)
    }

    fn odd(&self, why: &serde_json::Error) -> Error {
        let what = format!("a line of the stream is not what was asked for: {why}");
        Error::Protocol { place: self.place.clone(), what }
    }

    /// Whether something has been received that [`Self::next`] has not given yet, so that polling would miss it.
    #[must_use]
    pub fn has_received(&self) -> bool {
        !self.body.buffer().is_empty() || self.body.get_ref().has_received()
    }

    /// What can be polled for the next line.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.body.get_ref().get_ref().as_fd()
    }
}

/// What a line that is no value says of values that are missing.
fn missed(line: &[u8]) -> Option<u64> {
    serde_json::from_slice::<Lagged>(line).ok().map(|lagged| lagged.missed)
}

/// One line with its end, or what is left before the end.
fn read_line(from: &mut impl BufRead, into: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let available = match from.fill_buf() {
            Ok(available) => available,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let end = available.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let count = end.unwrap_or(available.len());
        into.extend_from_slice(&available[..count]);
        from.consume(count);
        if end.is_some() || count == 0 {
            return Ok(());
        }
        if into.len() > LINE_MAX {
            return Err(super::body::odd("a line without an end".to_owned()));
        }
    }
}

/// An [`io::Error`] of a connection to `place` as one of ours.
pub(super) fn failure(place: &std::path::Path, source: io::Error) -> Error {
    let kind = source.kind();
    if kind == io::ErrorKind::InvalidData {
        Error::Protocol { place: place.to_owned(), what: source.to_string() }
    } else if [io::ErrorKind::TimedOut, io::ErrorKind::WouldBlock].contains(&kind) {
        Error::TimedOut
    } else {
        Error::Lost { place: place.to_owned(), source }
    }
}
