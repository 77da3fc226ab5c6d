//! A connection of a client: waiting for the head of a request, and parting without losing an answer. It decides nothing about
//! a request; that is [`crate::manager::proxy`]'s.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::manager::filter::Refused;
use crate::manager::gateway::Running;
use crate::manager::wire::head::{Finder, Flaw, Head};
use crate::manager::wire::intake::Intake;

/// For a connection that was made just before the end: its request is under way.
const FRESH: Duration = Duration::from_secs(1);

/// After an error that closes the connection: so long the rest of what the client sends is read and thrown away, so that
/// it reads the answer before its next write fails.
const LINGER: Duration = Duration::from_secs(1);

/// Bytes that are thrown away at most.
const LINGER_MAX: usize = 256 << 10;

/// A connection of a client.
pub(super) struct Client {
    pub(super) stream: TcpStream,
    pub(super) intake: Intake,
    pub(super) peer: SocketAddr,
    pub(super) port: u16,
    pub(super) head: Head,
}

/// How waiting for a head has ended.
pub(super) enum Arrival {
    /// It is there, so many bytes long.
    Head(usize),
    /// Nothing was asked.
    Nothing,
    Wrong(Refused),
}

impl Client {
    /// Of which nothing was read yet; `port` is the one that it came to.
    pub(super) fn new(stream: TcpStream, peer: SocketAddr, port: u16) -> Self {
        Self { stream, intake: Intake::default(), peer, port, head: Head::default() }
    }

    /// Waits for a request.
    pub(super) async fn arrival(
        &mut self,
        running: &Running,
        is_first: bool,
        leaving: &mut watch::Receiver<bool>,
    ) -> Arrival {
        let timeouts = &running.config.timeouts;
        if self.intake.unread().is_empty() {
            self.intake.release();
            // A new connection is here for a request; one that is kept may be silent for longer.
            let patience = if is_first { timeouts.header } else { timeouts.keep_alive };
            let size_max = running.config.limits.header_size;
            let first = async {
                // Memory for what comes is taken when it comes.
                self.stream.readable().await?;
                self.intake.more(&mut self.stream, size_max).await
            };
            tokio::pin!(first);
            let read = tokio::select! {
                read = tokio::time::timeout(patience, &mut first) => read,
                // Whoever has sent a request already is answered, and so is who has come for that just now.
                () = async { drop(leaving.wait_for(|leaving| *leaving).await) } => {
                    let patience = if is_first { FRESH } else { Duration::ZERO };
                    tokio::time::timeout(patience, &mut first).await
                }
            };
            if !matches!(read, Ok(Ok(1..))) {
                return Arrival::Nothing;
            }
        }
        match tokio::time::timeout(timeouts.header, self.whole_head(running)).await {
            Ok(arrival) => arrival,
            Err(_) => Arrival::Wrong(Refused {
                status: 408,
                why: "its head did not come to an end in time".to_owned(),
                closes: true,
            }),
        }
    }

    async fn whole_head(&mut self, running: &Running) -> Arrival {
        let limits = &running.config.limits;
        let wrong = |status, why: String| Arrival::Wrong(Refused { status, why, closes: true });
        let mut finder = Finder::default();
        loop {
            // One empty line in front is what old clients put behind a body.
            if self.intake.unread().starts_with(b"\r\n") {
                self.intake.take(2);
            }
            match finder.end(self.intake.unread()) {
                Err(flaw) => return wrong(400, flaw.to_string()),
                Ok(Some(length)) if length <= limits.header_size => {
                    let head = &self.intake.unread()[..length];
                    return match self.head.read(head, limits.headers) {
                        Ok(()) => Arrival::Head(length),
                        Err(Flaw::TooMany) => wrong(431, Flaw::TooMany.to_string()),
                        Err(flaw) => wrong(400, flaw.to_string()),
                    };
                }
                Ok(_) if self.intake.unread().len() >= limits.header_size => {
                    let is_line = memchr::memchr(b'\n', self.intake.unread()).is_none();
                    let status = if is_line { 414 } else { 431 };
                    return wrong(status, "its head is too long".to_owned());
                }
                Ok(_) => {}
            }
            match self.intake.more(&mut self.stream, limits.header_size).await {
                Ok(0) | Err(_) => return Arrival::Nothing,
                Ok(_) => {}
            }
        }
    }

    /// Lets the client read what it was sent before the connection ends.
    pub(super) async fn linger(&mut self) {
        let _ = self.stream.shutdown().await;
        self.intake = Intake::default();
        let drain = async {
            let mut left = LINGER_MAX;
            while left > 0 {
                match self.intake.more(&mut self.stream, 4096).await {
                    Ok(0) | Err(_) => return,
                    Ok(read) => {
                        self.intake.take(read);
                        left = left.saturating_sub(read);
                    }
                }
            }
        };
        // Whatever is left after that is lost with the connection.
        let _ = tokio::time::timeout(LINGER, drain).await;
    }
}
