//! Bytes that were read and are not used yet, and reads and writes with a bound on their time.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes that are read at first; more room is made when that is filled.
const ROOM: usize = 4 << 10;

/// Room for bodies, once a read has filled what there was.
pub const ROOM_MAX: usize = 64 << 10;

/// Bytes in the order in which they came.
#[derive(Default)]
pub struct Intake {
    bytes: Vec<u8>,
    used: usize,
}

impl Intake {
    /// What is there.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.bytes[self.used..]
    }

    /// The first `length` of them are used up.
    pub fn take(&mut self, length: usize) {
        self.used = (self.used + length).min(self.bytes.len());
        if self.used == self.bytes.len() {
            self.bytes.clear();
            self.used = 0;
        }
    }

    /// Gives the memory back, if nothing is in it.
    pub fn release(&mut self) {
        if self.unread().is_empty() {
            *self = Self::default();
        }
    }

    /// Reads more, so that there are at most `most` bytes; none read is the end. May be given up at any time without losing bytes.
    ///
    /// # Errors
    /// What the system says.
    pub async fn more(&mut self, from: &mut (impl AsyncRead + Unpin), most: usize) -> io::Result<usize> {
        if self.used > 0 {
            self.bytes.drain(..self.used);
            self.used = 0;
        }
        let length = self.bytes.len();
        if length == self.bytes.capacity() {
            let room = if length == 0 { ROOM } else { length * 2 };
            self.bytes.reserve_exact(room.min(most.max(length + 1)) - length);
        }
        let room = most.saturating_sub(length).max(1) as u64;
        let read = from.take(room).read_buf(&mut self.bytes).await?;
        // A body that fills what there is comes quicker with more.
        if self.bytes.len() == self.bytes.capacity() && most >= ROOM_MAX && self.bytes.capacity() < ROOM_MAX {
            self.bytes.reserve_exact(self.bytes.capacity());
        }
        Ok(read)
    }
}

/// `work`, for `patience` at most; zero is for ever.
///
/// # Errors
/// What it says, or that it took too long.
pub async fn within<T>(patience: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    if patience.is_zero() {
        return work.await;
    }
    match tokio::time::timeout(patience, work).await {
        Ok(done) => done,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Writes all of `bytes`; no single write may take longer than `patience`.
///
/// # Errors
/// What the system says, or that the other side takes nothing.
pub async fn write_all(
    to: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    patience: Duration,
) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = within(patience, to.write(bytes)).await?;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
    }
    Ok(())
}
