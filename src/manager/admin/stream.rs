//! Answers that go on: events and lines of output, as JSON lines or as server-sent events.
//!
//! A task makes the pieces and the connection takes them, with a short queue between: who does not read makes the task wait,
//! and misses what its source drops meanwhile. When the client goes away the queue closes and the task ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::Context;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::body::Bytes;
use axum::extract::Query;
use axum::extract::State;
use axum::extract::rejection::QueryRejection;
use hyper::HeaderMap;
use hyper::StatusCode;
use hyper::body::Frame;
use hyper::header::ACCEPT;
use hyper::http::Response;
use serde::Deserialize;
use serde::Serialize;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::api::event::Lagged;
use crate::api::manager::Event;
use crate::http::server::texts;
use crate::manager::admin::act::choose;
use crate::manager::admin::desk::Desk;
use crate::manager::admin::refused::Refused;
use crate::manager::news::KEPT;
use crate::manager::reach::Lines;
use crate::manager::reach::Wanted;

/// Pieces that a slow client may be behind, besides what the socket holds.
const BACKLOG: usize = 16;

/// Server-sent events have a sign of life so often, which proxies and clients expect.
const ALIVE: Duration = Duration::from_secs(15);

/// Lines unless told otherwise, and at most.
const LINES: u32 = 100;
const LINES_MAX: u32 = 100_000;

/// The query of [`events`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Last {
    last: Option<usize>,
}

pub(super) async fn events(
    State(desk): State<Desk>,
    headers: HeaderMap,
    asked: Result<Query<Last>, QueryRejection>,
) -> Result<Response<Body>, Refused> {
    let Query(Last { last }) = asked?;
    let (sink, response) = open(&headers);
    let (first, mut next) = desk.news().follow(last.unwrap_or(0).min(KEPT));
    tokio::spawn(async move {
        for event in first {
            sink.event(&event).await?;
        }
        loop {
            tokio::select! {
                () = sink.pieces.closed() => return Err(Left),
                told = timeout(ALIVE, next.recv()) => match told {
                    Ok(Ok(event)) => sink.event(&event).await?,
                    Ok(Err(RecvError::Lagged(missed))) => {
                        sink.value(None, &Lagged { lagged: true, missed }).await?;
                    }
                    Ok(Err(RecvError::Closed)) => return Ok(()),
                    Err(_) => sink.sign_of_life().await?,
                }
            }
        }
    });
    Ok(response)
}

/// The query of [`logs`].
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    service: String,
    unit: Option<String>,
    instance: Option<String>,
    lines: Option<u32>,
    follow: Option<bool>,
}

pub(super) async fn logs(
    State(desk): State<Desk>,
    headers: HeaderMap,
    asked: Result<Query<Which>, QueryRejection>,
) -> Result<Response<Body>, Refused> {
    let Query(which) = asked?;
    let service = desk.service(&which.service)?;
    let (reach, serving) = desk.reach(&service)?;
    let instance = choose(&reach, which.instance).await?;
    let wanted = Wanted {
        unit: which.unit.unwrap_or(serving),
        lines: which.lines.unwrap_or(LINES).min(LINES_MAX),
        follow: which.follow.unwrap_or(false),
    };
    let lines = reach.logs(&instance, &wanted).await?;
    let (sink, response) = open(&headers);
    tokio::spawn(pass_on(lines, sink));
    Ok(response)
}

async fn pass_on(mut lines: Lines, sink: Sink) -> Result<(), Left> {
    loop {
        tokio::select! {
            () = sink.pieces.closed() => return Err(Left),
            line = lines.next() => match line {
                Ok(Some(line)) => sink.text(None, &String::from_utf8_lossy(&line)).await?,
                // A stream that breaks off ends; who follows asks again.
                Ok(None) | Err(_) => return Ok(()),
            },
        }
    }
}

/// The client has gone away.
struct Left;

/// Where a task puts its values.
struct Sink {
    pieces: mpsc::Sender<Bytes>,
    is_sse: bool,
}

impl Sink {
    async fn event(&self, event: &Event) -> Result<(), Left> {
        self.value(Some(event.id), event).await
    }

    async fn value<T: Serialize>(&self, id: Option<u64>, value: &T) -> Result<(), Left> {
        let text = serde_json::to_string(value).expect("api types are always JSON: texts and numbers");
        self.text(id, &text).await
    }

    /// `json` has no line end in it.
    async fn text(&self, id: Option<u64>, json: &str) -> Result<(), Left> {
        let piece = match (self.is_sse, id) {
            (false, _) => format!("{json}\n"),
            (true, Some(id)) => format!("id: {id}\ndata: {json}\n\n"),
            (true, None) => format!("data: {json}\n\n"),
        };
        self.pieces.send(Bytes::from(piece)).await.map_err(|_| Left)
    }

    /// A comment; JSON lines have none, and their reader needs none.
    async fn sign_of_life(&self) -> Result<(), Left> {
        if self.is_sse {
            self.pieces.send(Bytes::from_static(b":\n\n")).await.map_err(|_| Left)
        } else {
            Ok(())
        }
    }
}

fn open(headers: &HeaderMap) -> (Sink, Response<Body>) {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let is_sse = accept.contains("text/event-stream");
    let (pieces, received) = mpsc::channel(BACKLOG);
    let kind = if is_sse { "text/event-stream" } else { "application/x-ndjson" };
    (Sink { pieces, is_sse }, texts(StatusCode::OK, kind, Body::new(Pieces(received))))
}

struct Pieces(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
