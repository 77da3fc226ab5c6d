//! `GET /v1/logs`: lines that are kept, and those to come.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use hyper::http::Response;
use hyper::{StatusCode, Version};
use serde::Deserialize;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::api::event::Lagged;
use crate::control::convert;
use crate::control::names;
use crate::control::refusal::Refused;
use crate::control::routes::{Asked, Shared};
use crate::control::server::Visitor;
use crate::control::stream::{self, Form, Left, Sink, Topic};
use crate::logs::line::Line;
use crate::runtime::clients::Wire;
use crate::units::name::UnitName;

/// Lines of each unit when nobody says how many.
const LINES_DEFAULT: usize = 100;

/// Kept lines are sent in pieces of about this many bytes.
const PIECE_BYTES: usize = 16 << 10;

/// `?units=a,b&lines=N&follow=true`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    units: Option<String>,
    lines: Option<usize>,
    #[serde(default)]
    follow: bool,
}

pub(crate) async fn get(
    State(shared): State<Shared>,
    which: Asked<Which>,
    wire: Option<Extension<Arc<Wire>>>,
    version: Version,
) -> Result<Response<Body>, Refused> {
    let Query(which) = which?;
    let units = names::of_query(&shared.handle.reader().set(), which.units.as_deref())?;
    let lines = which.lines.unwrap_or(LINES_DEFAULT);
    let logs = shared.handle.logs(units.clone().unwrap_or_default(), lines, which.follow).await?;
    let topic = if which.follow { Topic::Logs { units: units.clone() } } else { Topic::Whole };
    let line = stream::Line::of(wire, version, topic);
    Ok(stream::answer(StatusCode::OK, Form::Lines, line, async move |sink: Sink| {
        send_kept(&sink, &logs.kept).await?;
        match logs.coming {
            Some(coming) => follow(&sink, units.as_deref(), coming).await,
            None => Ok(()),
        }
    }))
}

/// Goes on where a svinit before this one stopped.
pub(crate) async fn go_on(
    sink: Sink,
    units: Option<Vec<UnitName>>,
    coming: broadcast::Receiver<Arc<Line>>,
) -> Result<(), Left> {
    follow(&sink, units.as_deref(), coming).await
}

pub(crate) async fn reopen(
    State(shared): State<Shared>,
    Extension(visitor): Extension<Visitor>,
) -> Result<StatusCode, Refused> {
    tracing::info!("reopening of log files was asked for by {}", visitor.who.words());
    shared.handle.reopen_logs().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn send_kept(sink: &Sink, kept: &[Arc<Line>]) -> Result<(), Left> {
    let mut piece = String::new();
    for line in kept {
        piece.push_str(&stream::line(&convert::log_line(line)));
        if piece.len() >= PIECE_BYTES {
            sink.send_text(std::mem::take(&mut piece)).await?;
        }
    }
    if piece.is_empty() { Ok(()) } else { sink.send_text(piece).await }
}

async fn follow(
    sink: &Sink,
    units: Option<&[UnitName]>,
    mut coming: broadcast::Receiver<Arc<Line>>,
) -> Result<(), Left> {
    loop {
        let line = tokio::select! {
            line = coming.recv() => line,
            () = sink.left() => return Err(Left),
        };
        match line {
            Ok(line) if units.is_none_or(|units| units.iter().any(|unit| unit.as_str() == &*line.unit)) => {
                sink.send(&convert::log_line(&line)).await?;
            }
            Ok(_) => {}
            Err(RecvError::Lagged(missed)) => sink.send(&Lagged { lagged: true, missed }).await?,
            Err(RecvError::Closed) => return Ok(()),
        }
    }
}
