//! `POST /v1/update` and `POST /v1/scale`: what the files, or other numbers of instances, would change, and, unless it is
//! only to be said, how that goes.

use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use hyper::http::Response;
use hyper::{StatusCode, Version};

use crate::api::command::{JobLine, KeyDifference, ScaleRequest, UnitDifference, UpdateRequest};
use crate::control::jobs::{Job, Story};
use crate::control::refusal::Refused;
use crate::control::routes::Shared;
use crate::control::server::Visitor;
use crate::control::stream::{self, Form, Line, Sink, Topic};
use crate::runtime::clients::Wire;
use crate::runtime::handle::{Reader, Renewal};
use crate::runtime::update::{Planned, Unplanned};
use crate::units::difference::{Difference, UnitChange};
use crate::units::name::UnitName;
use crate::units::table::Change;

pub(crate) async fn post(
    State(shared): State<Shared>,
    Extension(visitor): Extension<Visitor>,
    wire: Option<Extension<Arc<Wire>>>,
    version: Version,
    body: Bytes,
) -> Result<Response<Body>, Refused> {
    let request: UpdateRequest = serde_json::from_slice(&body)
        .map_err(|error| Refused::bad_request(format!("cannot read the body as an update: {error}")))?;
    let UpdateRequest { units, dry_run, wait } = request;
    renew(&shared, &visitor, wire, version, (Renewal::Files { units }, dry_run, wait)).await
}

pub(crate) async fn scale(
    State(shared): State<Shared>,
    Extension(visitor): Extension<Visitor>,
    wire: Option<Extension<Arc<Wire>>>,
    version: Version,
    body: Bytes,
) -> Result<Response<Body>, Refused> {
    let request: ScaleRequest = serde_json::from_slice(&body)
        .map_err(|error| Refused::bad_request(format!("cannot read the body as numbers: {error}")))?;
    let ScaleRequest { instances, dry_run, wait } = request;
    if instances.is_empty() {
        return Err(Refused::bad_request("name a group and a number, as in {\"web\": 3}"));
    }
    renew(&shared, &visitor, wire, version, (Renewal::Scale { instances }, dry_run, wait)).await
}

async fn renew(
    shared: &Shared,
    visitor: &Visitor,
    wire: Option<Extension<Arc<Wire>>>,
    version: Version,
    (renewal, is_dry, is_awaited): (Renewal, bool, bool),
) -> Result<Response<Body>, Refused> {
    let reader = shared.handle.reader().clone();
    // Before the command is sent, so that neither a change nor the PID before it is missed.
    let changes = reader.changes();
    let all: Vec<UnitName> = reader.set().units.keys().cloned().collect();
    let before = Story::about(&reader, all);
    let who = visitor.who.words();
    let planned = shared.handle.update(renewal, is_dry, who).await?;
    let Planned { difference, warnings, job: notes } = planned.map_err(|why| match why {
        Unplanned::Unsound(problems) => Refused::bad_configuration(
            format!("nothing was changed, the files are not sound:\n{problems}").trim_end(),
        ),
        Unplanned::Obstructed(problems) => Refused::bad_configuration(
            format!("nothing was changed, there are sockets that cannot be had:\n{problems}").trim_end(),
        ),
        Unplanned::Refused(why) => Refused::cannot(why),
    })?;
    let plan = JobLine::Plan { units: told(&difference, &reader), warnings };
    let Some((number, notes)) = notes else {
        let line = Line::of(wire, version, Topic::Whole);
        return Ok(stream::answer(StatusCode::OK, Form::Lines, line, async move |sink: Sink| {
            sink.send(&plan).await?;
            sink.send(&JobLine::Done { ok: true }).await
        }));
    };
    let units = difference.0.keys().map(ToString::to_string).collect();
    let story = before.numbered(number, difference.0.keys().cloned().collect());
    let accepted = JobLine::Accepted { job: number.0, units };
    let topic = if is_awaited { Topic::Job(story.clone()) } else { Topic::Whole };
    let line = Line::of(wire, version, topic);
    let job = Job::of(reader, story, line.as_ref());
    Ok(stream::answer(StatusCode::OK, Form::Lines, line, async move |sink: Sink| {
        sink.send(&plan).await?;
        sink.send(&accepted).await?;
        if is_awaited { job.follow(&sink, notes, changes).await } else { Ok(()) }
    }))
}

/// As it is sent.
fn told(difference: &Difference, reader: &Reader) -> Vec<UnitDifference> {
    let one = |(name, change): (&UnitName, &UnitChange)| {
        let is_up = reader.unit(name.as_str()).is_some_and(|view| view.wanted);
        let (what, follows, keys) = match change {
            UnitChange::Added { is_enabled: true } => ("added", "start", Vec::new()),
            UnitChange::Added { is_enabled: false } => ("added", "nothing", Vec::new()),
            UnitChange::Removed => ("removed", "stop", Vec::new()),
            UnitChange::Changed(keys) => {
                let follows = match change.needs() {
                    Change::Restart if !is_up => Change::NextStart,
                    needs @ (Change::Boot
                    | Change::NextStart
                    | Change::AtOnce
                    | Change::Restart
                    | Change::Within) => needs,
                };
                let keys = keys.iter().map(|key| KeyDifference {
                    key: key.key.clone(),
                    old: key.old.clone(),
                    new: key.new.clone(),
                    in_force: key.change.as_str().to_owned(),
                });
                ("changed", follows.as_str(), keys.collect())
            }
        };
        UnitDifference { unit: name.to_string(), what: what.to_owned(), follows: follows.to_owned(), keys }
    };
    difference.0.iter().map(one).collect()
}
