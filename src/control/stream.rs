//! Answers that go on: one JSON value a line, or server-sent events.
//!
//! A task makes the lines, the connection takes them. Between them is a short queue: who does not read makes the task
//! wait, and what the task then misses is counted by where it comes from. When the client goes away the body is
//! dropped, the queue closes and the task ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use hyper::StatusCode;
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::http::Response;
use serde::Serialize;
use tokio::sync::mpsc;

/// Pieces of an answer that a slow client may be behind, besides what the socket holds.
const PIECES_BACKLOG: usize = 16;

/// The form of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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

/// One line of JSON.
pub(crate) fn line<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string(value).expect("api types are always JSON");
    text.push('\n');
    text
}

/// An answer whose lines are made by `task`.
pub(crate) fn answer<F>(status: StatusCode, form: Form, task: impl FnOnce(Sink) -> F) -> Response<Body>
where
    F: Future<Output = Result<(), Left>> + Send + 'static,
{
    let (pieces, coming) = mpsc::channel(PIECES_BACKLOG);
    let made = task(Sink { pieces, form });
    tokio::spawn(async move {
        // That the client left ends the telling, not what is told about.
        let _ = made.await;
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
