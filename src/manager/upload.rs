//! A request on its way to a service: its head, then its body as it comes, and then an eye on the client.
//!
//! It can be given up and gone on with at any point, since it runs beside the answer: a service may answer before it has read
//! everything, and a client may go away before it is answered.

use std::io;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::time::Instant;

use crate::manager::wire::body::{Chunks, Framing, Rewrite};
use crate::manager::wire::intake::{Intake, within};

/// Bytes of a body that are read at a time.
const PIECE: usize = 16 << 10;

/// A request that is being sent.
pub struct Upload {
    out: Vec<u8>,
    written: usize,
    body: Body,
    /// Bytes of its body.
    pub received: u64,
    limit: u64,
    /// All of it was sent, then.
    pub sent_at: Option<Instant>,
    /// Some of the body is gone, so the request cannot be sent a second time.
    pub has_begun: bool,
}

enum Body {
    Done,
    Left(u64),
    Chunks(Chunks),
}

/// Why sending has ended; it does not end by itself.
#[derive(Debug)]
pub enum Ended {
    /// The client has gone away.
    Gone,
    /// The client has sent nothing for too long.
    Slow,
    /// The client's chunks are none.
    BadChunk,
    /// The body is larger than it may be.
    TooLarge,
    /// The service does not take it.
    Service(io::Error),
}

/// How long each side may take.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The client.
    pub client: Duration,
    /// The service; zero is for ever.
    pub service: Duration,
}

impl Upload {
    /// A request with this head. `limit`: bytes of its body, 0 for any number.
    #[must_use]
    pub fn new(head: Vec<u8>, framing: Framing, limit: u64) -> Self {
        let body = match framing {
            Framing::None | Framing::Close | Framing::Length(0) => Body::Done,
            Framing::Length(length) => Body::Left(length),
            Framing::Chunked => Body::Chunks(Chunks::default()),
        };
        Self { out: head, written: 0, body, received: 0, limit, sent_at: None, has_begun: false }
    }

    /// Whether everything was read from the client.
    #[must_use]
    pub fn is_read(&self) -> bool {
        match &self.body {
            Body::Done => true,
            Body::Left(left) => *left == 0,
            Body::Chunks(chunks) => chunks.is_complete(),
        }
    }

    /// Sends, until something ends it.
    pub async fn run(
        &mut self,
        intake: &mut Intake,
        client: &mut ReadHalf<'_>,
        service: &mut WriteHalf<'_>,
        patience: Patience,
    ) -> Ended {
        loop {
            while self.written < self.out.len() {
                match within(patience.service, service.write(&self.out[self.written..])).await {
                    Ok(0) => return Ended::Service(io::ErrorKind::WriteZero.into()),
                    Ok(written) => self.written += written,
                    Err(error) => return Ended::Service(error),
                }
            }
            self.out.clear();
            self.written = 0;
            if self.is_read() {
                self.sent_at.get_or_insert_with(Instant::now);
                // A large body leaves its room behind.
                self.out = Vec::new();
                return gone(client).await;
            }
            if intake.unread().is_empty() {
                match within(patience.client, intake.more(client, PIECE)).await {
                    Ok(0) => return Ended::Gone,
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::TimedOut => return Ended::Slow,
                    Err(_) => return Ended::Gone,
                }
            }
            if let Err(ended) = self.transfer(intake) {
                return ended;
            }
        }
    }

    fn transfer(&mut self, intake: &mut Intake) -> Result<(), Ended> {
        self.has_begun = true;
        let (used, data) = match &mut self.body {
            Body::Done => (0, 0),
            Body::Left(left) => {
                let length = intake.unread().len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                self.out.extend_from_slice(&intake.unread()[..length]);
                *left -= length as u64;
                (length, length as u64)
            }
            Body::Chunks(chunks) => chunks
                .decode(intake.unread(), &mut self.out, Rewrite::Chunked)
                .map_err(|_| Ended::BadChunk)?,
        };
        intake.take(used);
        self.received += data;
        if self.limit > 0 && self.received > self.limit { Err(Ended::TooLarge) } else { Ok(()) }
    }
}

/// Waits until the client goes away. Bytes of a next request mean that it is still there, and then it is not watched further.
pub async fn gone(client: &mut ReadHalf<'_>) -> Ended {
    match client.peek(&mut [0]).await {
        Ok(0) | Err(_) => Ended::Gone,
        Ok(_) => std::future::pending().await,
    }
}
