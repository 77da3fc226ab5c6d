//! Answers that go on: one JSON value a line, or server-sent events.
//!
//! A task makes the lines, the connection takes them. Between them is a short queue: who does not read makes the task
//! wait, and what the task then misses is counted by where it comes from. When the client goes away the body is
//! dropped, the queue closes and the task ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Extension;
use axum::body::{Body, Bytes};
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::http::Response;
use hyper::{StatusCode, Version};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use crate::control::jobs;
use crate::runtime::clients::{Framing, Wire};
use crate::units::name::UnitName;

/// Pieces of an answer that a slow client may be behind, besides what the socket holds.
const PIECES_BACKLOG: usize = 16;

/// The form of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Form {
    /// `application/x-ndjson`.
    Lines,
    /// `text/event-stream`.
    Events,
}

/// Where a task puts its lines.
pub(crate) struct Sink {
    pieces: mpsc::Sender<Bytes>,
    pub(crate) form: Form,
}

/// The client has gone away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Left;

impl Sink {
    /// Sends one value, waiting until there is room.
    pub(crate) async fn send<T: Serialize>(&self, value: &T) -> Result<(), Left> {
        self.send_text(line(value)).await
    }

    /// Sends what was made of several values.
    pub(crate) async fn send_text(&self, text: String) -> Result<(), Left> {
        self.pieces.send(Bytes::from(text)).await.map_err(|_| Left)
    }

    /// Sends one event: with its name and number when events are what the client asked for.
    pub(crate) async fn send_event<T: Serialize>(
        &self,
        name: &str,
        id: Option<u64>,
        value: &T,
    ) -> Result<(), Left> {
        match self.form {
            Form::Lines => self.send(value).await,
            Form::Events => {
                let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
                // JSON has no line ends of its own, so that one `data:` is enough.
                self.send_text(format!("event: {name}\n{id}data: {}\n", line(value))).await
            }
        }
    }

    /// Returns when the client has gone away.
    pub(crate) async fn left(&self) {
        self.pieces.closed().await;
    }
}

/// The connection of an answer that goes on, and what that is about.
#[derive(Clone)]
pub(crate) struct Line {
    pub(crate) wire: Arc<Wire>,
    pub(crate) framing: Framing,
    pub(crate) topic: Topic,
}

impl Line {
    /// Of the request on this connection. `None`: nobody knows which that is, as in tests.
    pub(crate) fn of(wire: Option<Extension<Arc<Wire>>>, version: Version, topic: Topic) -> Option<Self> {
        let framing = if version == Version::HTTP_11 { Framing::Chunked } else { Framing::Plain };
        wire.map(|Extension(wire)| Self { wire, framing, topic })
    }
}

/// What an answer that goes on is about: enough for the next svinit to go on with it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Topic {
    /// Answers to a command.
    Job(jobs::Story),
    /// Changes of these units, or of all.
    Events { units: Option<Vec<UnitName>>, form: Form },
    /// Lines of these units, or of all.
    Logs { units: Option<Vec<UnitName>> },
    /// Something with an end of its own: it is not left.
    Whole,
    /// The upgrade itself: the answer ends when it is done.
    Upgrade,
}

/// Where a task puts its lines, and where the connection takes them.
fn sink(form: Form, line: Option<&Line>) -> (Sink, mpsc::Receiver<Bytes>) {
    let (pieces, coming) = mpsc::channel(PIECES_BACKLOG);
    if let Some(Line { wire, framing, topic }) = line {
        let job = if let Topic::Job(story) = topic { Some(story.job()) } else { None };
        let waiting = pieces.downgrade();
        let has_waiting = move || waiting.upgrade().is_some_and(|pieces| pieces.capacity() < PIECES_BACKLOG);
        wire.goes_on(*framing, value(topic), job, has_waiting);
    }
    (Sink { pieces, form }, coming)
}

/// As it is left to the next svinit.
pub(crate) fn value(topic: &Topic) -> serde_json::Value {
    match topic {
        Topic::Whole => serde_json::Value::Null,
        Topic::Job(_) | Topic::Events { .. } | Topic::Logs { .. } | Topic::Upgrade => {
            serde_json::to_value(topic).expect("texts and numbers are always JSON")
        }
    }
}

/// Goes on with the answer on `stream`, which a svinit before this one has begun; its pieces are made by `task`.
pub(crate) async fn go_on<F>(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    line: Line,
    form: Form,
    task: impl FnOnce(Sink) -> F,
) where
    F: Future<Output = Result<(), Left>> + Send + 'static,
{
    let (sink, mut coming) = sink(form, Some(&line));
    let made = task(sink);
    tokio::spawn(async move {
        let _ = made.await;
    });
    let wire = &line.wire;
    let mut nothing = [0; 64];
    loop {
        let piece = tokio::select! {
            piece = coming.recv() => piece,
            // It asks nothing more on this connection: whatever can be read is its end.
            _ = stream.read(&mut nothing) => return wire.ends(),
        };
        wire.set_written(false);
        let written = match (&piece, line.framing) {
            (Some(piece), Framing::Plain) => stream.write_all(piece).await,
            (Some(piece), Framing::Chunked) => {
                let size = format!("{:x}\r\n", piece.len());
                stream.write_all(&[size.as_bytes(), piece, b"\r\n"].concat()).await
            }
            (None, Framing::Plain) => return wire.ends(),
            (None, Framing::Chunked) => {
                wire.ends();
                let _ = stream.write_all(b"0\r\n\r\n").await;
                return;
            }
        };
        if written.is_err() {
            return wire.ends();
        }
        wire.set_written(true);
    }
}

/// One line of JSON.
pub(crate) fn line<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string(value).expect("api types are always JSON");
    text.push('\n');
    text
}

/// An answer whose lines are made by `task`. With a `line` it goes on over an upgrade of svinit.
pub(crate) fn answer<F>(
    status: StatusCode,
    form: Form,
    line: Option<Line>,
    task: impl FnOnce(Sink) -> F,
) -> Response<Body>
where
    F: Future<Output = Result<(), Left>> + Send + 'static,
{
    let (sink, coming) = sink(form, line.as_ref());
    let made = task(sink);
    tokio::spawn(async move {
        // That the client left ends the telling, not what is told about.
        let _ = made.await;
        if let Some(line) = line {
            line.wire.ends();
        }
    });
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, if form == Form::Lines { "application/x-ndjson" } else { "text/event-stream" })
        .header(CACHE_CONTROL, "no-store")
        .body(Body::new(Pieces { coming }))
        .expect("constant headers are valid")
}

struct Pieces {
    coming: mpsc::Receiver<Bytes>,
}

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.coming.poll_recv(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
