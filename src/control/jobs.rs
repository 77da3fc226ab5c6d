//! `POST /v1/jobs`: what a person wants done, and how it goes.
//!
//! The job belongs to the driver from the moment it is accepted: a client that goes away changes nothing about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::State;
use hyper::http::Response;
use hyper::{StatusCode, Version};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc};

use crate::api::command::{JobLine, JobRequest, Outcome, Verb};
use crate::control::names;
use crate::control::refusal::Refused;
use crate::control::routes::Shared;
use crate::control::server::Visitor;
use crate::control::stream::{self, Form, Left, Line, Sink, Topic};
use crate::lifecycle::action;
use crate::lifecycle::event::{Command, JobId, Otherwise, Reach, Whom};
use crate::lifecycle::state::UnitView;
use crate::lifecycle::time::Time;
use crate::runtime::clients::Wire;
use crate::runtime::handle::{Change, JobNote, Reader};
use crate::units::name::UnitName;
use crate::units::signal;
use crate::units::spec::SignalName;

pub(crate) async fn post(
    State(shared): State<Shared>,
    Extension(visitor): Extension<Visitor>,
    wire: Option<Extension<Arc<Wire>>>,
    version: Version,
    body: Bytes,
) -> Result<Response<Body>, Refused> {
    let request: JobRequest = serde_json::from_slice(&body)
        .map_err(|error| Refused::bad_request(format!("cannot read the body as a job: {error}")))?;
    let reader = shared.handle.reader().clone();
    let units = names::resolve(&reader.set(), request.units.iter().map(String::as_str))?;
    let command = command(&request, units.clone())?;
    tracing::info!("{} of {} was asked for by {}", word(request.verb), list(&units), visitor.who.words());

    // Before the command is sent, so that neither a change nor the PID before it is missed.
    let changes = reader.changes();
    let told = Story::about(&reader, units.iter().cloned());
    let (job, notes) = shared.handle.job(command).await?;
    let accepted = JobLine::Accepted { job: job.0, units: units.iter().map(ToString::to_string).collect() };
    if !request.wait {
        let line = Line::of(wire, version, Topic::Whole);
        return Ok(stream::answer(StatusCode::ACCEPTED, Form::Lines, line, async move |sink: Sink| {
            sink.send(&accepted).await
        }));
    }
    let story = told.numbered(job, units.into_iter().collect());
    let line = Line::of(wire, version, Topic::Job(story.clone()));
    let job = Job::of(reader, story, line.as_ref());
    Ok(stream::answer(StatusCode::OK, Form::Lines, line, async move |sink: Sink| {
        sink.send(&accepted).await?;
        job.follow(&sink, notes, changes).await
    }))
}

/// Goes on where a svinit before this one stopped.
pub(crate) async fn go_on(
    sink: Sink,
    reader: Reader,
    story: Story,
    wire: Arc<Wire>,
    notes: mpsc::UnboundedReceiver<JobNote>,
    changes: broadcast::Receiver<Arc<Change>>,
) -> Result<(), Left> {
    Job { reader, story, wire: Some(wire) }.follow(&sink, notes, changes).await
}

fn command(request: &JobRequest, units: Vec<UnitName>) -> Result<Command, Refused> {
    let signal = match (&request.signal, request.verb) {
        (Some(name), Verb::Signal) => {
            let number = signal::number(name).ok_or_else(|| {
                Refused::bad_request(format!("there is no signal {name:?}; try \"HUP\" or \"USR1\""))
            })?;
            Some(SignalName(signal::name(number)))
        }
        (None, Verb::Signal) => {
            return Err(Refused::bad_request("say which signal, as in \"signal\": \"HUP\""));
        }
        (Some(_), _) => return Err(Refused::bad_request("\"signal\" goes with the verb \"signal\" only")),
        (None, _) => None,
    };
    let whom = if request.tree { Whom::Tree } else { Whom::Main };
    let reach = if request.with_dependants { Reach::WithDependants } else { Reach::Alone };
    let otherwise = if request.or_restart { Otherwise::Restart } else { Otherwise::Refuse };
    Ok(match (request.verb, signal) {
        (Verb::Signal, Some(signal)) => Command::Signal { units, signal, whom },
        (Verb::Start, _) => Command::Start(units),
        (Verb::Stop, _) => Command::Stop(units),
        (Verb::Restart, _) => Command::Restart { units, reach },
        (Verb::Reload, _) => Command::Reload { units, otherwise },
        (Verb::Reset, _) => Command::Reset(units),
        (Verb::Pause, _) => Command::Pause(units),
        (Verb::Resume, _) => Command::Resume(units),
        (Verb::Signal, None) => return Err(Refused::bad_request("say which signal")),
    })
}

/// As in the audit line.
const fn word(verb: Verb) -> &'static str {
    match verb {
        Verb::Start => "start",
        Verb::Stop => "stop",
        Verb::Restart => "restart",
        Verb::Reload => "reload",
        Verb::Signal => "signal",
        Verb::Reset => "reset",
        Verb::Pause => "pause",
        Verb::Resume => "resume",
    }
}

/// Names for the audit line, which must not grow with the number of units.
fn list(units: &[UnitName]) -> String {
    const SHOWN: usize = 8;
    let mut words: Vec<String> = units.iter().take(SHOWN).map(ToString::to_string).collect();
    if units.len() > SHOWN {
        words.push(format!("{} more", units.len() - SHOWN));
    }
    words.join(", ")
}

/// What has to be known of a command to tell what becomes of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Story {
    job: JobId,
    began: Time,
    /// Main processes when it was asked for.
    before: BTreeMap<UnitName, i32>,
    units: BTreeSet<UnitName>,
    ok: bool,
}

impl Story {
    /// About these units, as they are now. Its number is to come.
    pub(crate) fn about(reader: &Reader, units: impl IntoIterator<Item = UnitName>) -> Self {
        let units: BTreeSet<UnitName> = units.into_iter().collect();
        let pid = |name: &UnitName| reader.unit(name.as_str()).and_then(|unit| unit.pid);
        let before = units.iter().filter_map(|name| Some((name.clone(), pid(name)?.0))).collect();
        Self { job: JobId(0), began: (reader.info().clock)(), before, units, ok: true }
    }

    /// The command's number.
    pub(crate) fn job(&self) -> JobId {
        self.job
    }

    /// The same, with its number, and about those of its units that it turned out to be about.
    pub(crate) fn numbered(self, job: JobId, units: BTreeSet<UnitName>) -> Self {
        Self { job, units, ..self }
    }
}

/// One job as it is told to who asked for it.
pub(crate) struct Job {
    reader: Reader,
    story: Story,
    wire: Option<Arc<Wire>>,
}

impl Job {
    /// Told on `line`, if it goes on over an upgrade.
    pub(crate) fn of(reader: Reader, story: Story, line: Option<&Line>) -> Self {
        Self { reader, story, wire: line.map(|line| Arc::clone(&line.wire)) }
    }

    pub(crate) async fn follow(
        mut self,
        sink: &Sink,
        mut notes: mpsc::UnboundedReceiver<JobNote>,
        mut changes: broadcast::Receiver<Arc<Change>>,
    ) -> Result<(), Left> {
        loop {
            tokio::select! {
                // In this order: a change that led to an answer is told before it.
                biased;
                change = changes.recv() => self.on_change(sink, change).await?,
                note = notes.recv() => match note {
                    Some(JobNote::Answer { outcome, view }) => self.on_answer(sink, outcome, view).await?,
                    Some(JobNote::Done) => return sink.send(&JobLine::Done { ok: self.story.ok }).await,
                    // svinit is leaving. What it has not said it will not say.
                    None => return sink.send(&JobLine::Done { ok: false }).await,
                },
                () = sink.left() => return Err(Left),
            }
        }
    }

    async fn on_change(&self, sink: &Sink, change: Result<Arc<Change>, RecvError>) -> Result<(), Left> {
        match change {
            Ok(change) if self.story.units.contains(&change.view.name) => {
                sink.send(&JobLine::Progress {
                    unit: change.view.name.to_string(),
                    state: change.view.label.as_str().to_owned(),
                    why: change.view.why.clone(),
                })
                .await
            }
            Ok(_) => Ok(()),
            Err(RecvError::Lagged(missed)) => sink.send(&JobLine::Lagged { missed }).await,
            // Never: the reader keeps the board, and the board the sending side.
            Err(RecvError::Closed) => Err(Left),
        }
    }

    async fn on_answer(
        &mut self,
        sink: &Sink,
        outcome: action::Outcome,
        view: Option<Arc<UnitView>>,
    ) -> Result<(), Left> {
        self.story.ok &= outcome.ok;
        if let Some(wire) = &self.wire {
            wire.set_topic(stream::value(&Topic::Job(self.story.clone())));
        }
        let view = view.or_else(|| self.reader.unit(outcome.unit.as_str()));
        let pid = |view: &Arc<UnitView>| view.pid.map(|pid| pid.0);
        let took = (self.reader.info().clock)().since(self.story.began);
        sink.send(&JobLine::Outcome(Outcome {
            unit: outcome.unit.to_string(),
            ok: outcome.ok,
            state: view.as_ref().map_or("inactive", |view| view.label.as_str()).to_owned(),
            old_pid: self.story.before.get(&outcome.unit).copied(),
            new_pid: view.as_ref().and_then(pid),
            took_ms: (took.as_secs_f64() * 1e6).round() / 1e3,
            why: outcome.why,
            said: outcome.said,
        }))
        .await
    }
}
