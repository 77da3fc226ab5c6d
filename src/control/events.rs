//! `GET /v1/events`: every change of units, as it happens.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Query, State};
use hyper::header::ACCEPT;
use hyper::http::{HeaderMap, Response};
use hyper::{StatusCode, Version};
use serde::Deserialize;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

use crate::api::event::Lagged;
use crate::control::convert;
use crate::control::names;
use crate::control::refusal::Refused;
use crate::control::routes::{Asked, Shared};
use crate::control::stream::{self, Form, Left, Line, Sink, Topic};
use crate::runtime::clients::Wire;
use crate::runtime::handle::{Change, Reader};
use crate::units::name::UnitName;

/// `?units=a,b&initial=true`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Which {
    units: Option<String>,
    #[serde(default)]
    initial: bool,
}

pub(crate) async fn get(
    State(shared): State<Shared>,
    which: Asked<Which>,
    wire: Option<Extension<Arc<Wire>>>,
    version: Version,
    headers: HeaderMap,
) -> Result<Response<Body>, Refused> {
    let Query(which) = which?;
    let reader = shared.handle.reader().clone();
    let units = names::of_query(&reader.set(), which.units.as_deref())?;
    let form = if wants_events(&headers) { Form::Events } else { Form::Lines };
    // In this order: what changes in between is told twice rather than not at all, and the second time is left out.
    let changes = reader.changes();
    let from = reader.change_id();
    let initial = which.initial || missed_some(&headers, from);
    let line = Line::of(wire, version, Topic::Events { units: units.clone(), form });
    let told = Told { reader, units, from };
    Ok(stream::answer(StatusCode::OK, form, line, async move |sink: Sink| {
        if initial {
            told.standing(&sink).await?;
        }
        told.follow(&sink, changes).await
    }))
}

/// Goes on where a svinit before this one stopped.
pub(crate) async fn go_on(
    sink: Sink,
    reader: Reader,
    units: Option<Vec<UnitName>>,
    changes: broadcast::Receiver<Arc<Change>>,
) -> Result<(), Left> {
    Told { reader, units, from: 0 }.follow(&sink, changes).await
}

fn wants_events(headers: &HeaderMap) -> bool {
    headers
        .get(ACCEPT)
        .and_then(|accept| accept.to_str().ok())
        .is_some_and(|accept| accept.contains("text/event-stream"))
}

/// A client that comes back says which event it saw last. There is no history to give it what it missed; the state
/// that came of that is as good.
fn missed_some(headers: &HeaderMap, latest: u64) -> bool {
    let last =
        headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse::<u64>().ok());
    last.is_some_and(|last| last != latest)
}

struct Told {
    reader: Reader,
    units: Option<Vec<UnitName>>,
    from: u64,
}

impl Told {
    fn is_about(&self, unit: &UnitName) -> bool {
        self.units.as_ref().is_none_or(|units| units.contains(unit))
    }

    async fn standing(&self, sink: &Sink) -> Result<(), Left> {
        for view in self.reader.units() {
            if self.is_about(&view.name) {
                let event = convert::standing(self.reader.info(), self.from, &view);
                sink.send_event("unit", Some(event.id), &event).await?;
            }
        }
        Ok(())
    }

    async fn follow(&self, sink: &Sink, mut changes: broadcast::Receiver<Arc<Change>>) -> Result<(), Left> {
        loop {
            let change = tokio::select! {
                change = changes.recv() => change,
                () = sink.left() => return Err(Left),
            };
            match change {
                Ok(change) if change.id > self.from && self.is_about(&change.view.name) => {
                    let event = convert::change(self.reader.info(), &change);
                    sink.send_event("unit", Some(event.id), &event).await?;
                }
                Ok(_) => {}
                Err(RecvError::Lagged(missed)) => {
                    sink.send_event("lagged", None, &Lagged { lagged: true, missed }).await?;
                }
                Err(RecvError::Closed) => return Ok(()),
            }
        }
    }
}
