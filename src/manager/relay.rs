//! An answer on its way to a client: its head is read, and its body passed on as it comes.
//!
//! Nothing is collected: what a service writes is written on at once, so that server-sent events arrive when they happen, and a
//! client that reads slowly slows the service down.

use std::io;

use tokio::net::tcp::{ReadHalf, WriteHalf};

use crate::manager::upload::Patience;
use crate::manager::wire::body::{Chunks, Framing, Rewrite, framing, keeps_alive, write_chunk};
use crate::manager::wire::head::{Finder, Head, status_line};
use crate::manager::wire::intake::{Intake, ROOM_MAX, within, write_all};

/// Header lines of an answer; one with more is none.
const LINES_MAX: usize = 256;

/// The head of an answer.
#[derive(Default)]
pub struct Answer {
    /// Its lines.
    pub head: Head,
    /// 100 to 599.
    pub status: u16,
    /// How its body ends.
    pub framing: Framing,
    /// The connection can be used again afterwards.
    pub keeps_alive: bool,
    finder: Finder,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// The connection ended or broke before anything came.
    Silent(String),
    /// What came is no answer.
    Wrong(String),
}

impl Answer {
    /// Reads one head; a preliminary one as well. May be given up at any time and gone on with.
    ///
    /// # Errors
    /// There is none.
    pub async fn read(
        &mut self,
        intake: &mut Intake,
        service: &mut ReadHalf<'_>,
        is_head: bool,
        size_max: usize,
    ) -> Result<(), NoAnswer> {
        loop {
            let wrong =
                |flaw: &dyn std::fmt::Display| NoAnswer::Wrong(format!("its answer is no HTTP: {flaw}"));
            if let Some(length) = self.finder.end(intake.unread()).map_err(|flaw| wrong(&flaw))? {
                self.head.read(&intake.unread()[..length], LINES_MAX).map_err(|flaw| wrong(&flaw))?;
                intake.take(length);
                self.finder = Finder::default();
                return self.understand(is_head);
            }
            if intake.unread().len() >= size_max {
                return Err(NoAnswer::Wrong("the head of its answer is too long".to_owned()));
            }
            let is_silent = intake.unread().is_empty();
            let why = match intake.more(service, size_max).await {
                Ok(0) => "it closed the connection".to_owned(),
                Ok(_) => continue,
                Err(error) => crate::manager::probe::words(&error),
            };
            return Err(if is_silent {
                NoAnswer::Silent(why)
            } else {
                NoAnswer::Wrong(format!("{why} within an answer"))
            });
        }
    }

    fn understand(&mut self, is_head: bool) -> Result<(), NoAnswer> {
        let (status, minor) = status_line(self.head.first())
            .map_err(|flaw| NoAnswer::Wrong(format!("its answer is no HTTP: {flaw}")))?;
        self.status = status;
        self.keeps_alive = keeps_alive(&self.head, minor);
        let told = framing(&self.head, minor)
            .map_err(|why| NoAnswer::Wrong(format!("the length of its answer is not clear: {why:?}")))?;
        self.framing = match told {
            _ if is_head || status < 200 || matches!(status, 204 | 304) => Framing::None,
            Some(told) => told,
            None => Framing::Close,
        };
        if self.framing == Framing::Close {
            self.keeps_alive = false;
        }
        Ok(())
    }
}

/// Which side has broken an answer off.
#[derive(Debug)]
pub enum Broken {
    /// The client does not take it.
    Client,
    /// The service does not end it.
    Service(String),
}

/// Passes a body on. `out` holds the head already, which goes along with what has come of the body.
///
/// # Errors
/// Who has broken it off. The client then knows by its framing that something is missing.
#[expect(clippy::too_many_arguments, reason = "both sides of a body, and all that bounds it")]
pub async fn body(
    mut out: Vec<u8>,
    from: Framing,
    to: Rewrite,
    intake: &mut Intake,
    service: &mut ReadHalf<'_>,
    client: &mut WriteHalf<'_>,
    patience: Patience,
    sent: &mut u64,
) -> Result<(), Broken> {
    let mut left = match from {
        Framing::None => 0,
        Framing::Length(length) => length,
        Framing::Chunked | Framing::Close => u64::MAX,
    };
    let mut chunks = Chunks::default();
    loop {
        let unread = intake.unread();
        let used = match from {
            Framing::None => 0,
            Framing::Length(_) => {
                let length = unread.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                left -= length as u64;
                *sent += length as u64;
                if out.is_empty() {
                    // Straight from where it was read.
                    write_all(client, &unread[..length], patience.client)
                        .await
                        .map_err(|_| Broken::Client)?;
                } else {
                    out.extend_from_slice(&unread[..length]);
                }
                length
            }
            Framing::Chunked => {
                let (used, data) = chunks
                    .decode(unread, &mut out, to)
                    .map_err(|_| Broken::Service("its chunks are none".to_owned()))?;
                *sent += data;
                if chunks.is_complete() {
                    left = 0;
                }
                used
            }
            Framing::Close => {
                write_chunk(unread, &mut out, to);
                *sent += unread.len() as u64;
                unread.len()
            }
        };
        intake.take(used);
        if !out.is_empty() {
            write_all(client, &out, patience.client).await.map_err(|_| Broken::Client)?;
            out.clear();
        }
        if left == 0 {
            return Ok(());
        }
        match within(patience.service, intake.more(service, ROOM_MAX)).await {
            Ok(0) if from == Framing::Close => {
                if to == Rewrite::Chunked {
                    write_all(client, b"0\r\n\r\n", patience.client).await.map_err(|_| Broken::Client)?;
                }
                return Ok(());
            }
            Ok(0) => return Err(Broken::Service("it closed the connection within an answer".to_owned())),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::TimedOut => {
                return Err(Broken::Service("it paused too long within an answer".to_owned()));
            }
            Err(error) => return Err(Broken::Service(crate::manager::probe::words(&error))),
        }
    }
}
