//! What a person may do: the unit that serves on the way that recovery itself takes, other units by svinit at once, and pauses.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::Query;
use axum::extract::State;
use axum::extract::rejection::QueryRejection;
use hyper::StatusCode;
use hyper::http::Response;
use serde::Deserialize;
use tokio::sync::oneshot;

use crate::api::manager::Action;
use crate::api::manager::PauseRequest;
use crate::api::manager::Paused;
use crate::manager::admin::desk::Desk;
use crate::manager::admin::refused::Refused;
use crate::manager::admin::refused::json;
use crate::manager::admin::routes::Visitor;
use crate::manager::config::spec::Service;
use crate::manager::reach::Act;
use crate::manager::reach::Reach;
use crate::manager::recovery::fact::Failure;
use crate::manager::recovery::policy::Rung;
use crate::manager::repair::Acted;
use crate::manager::repair::Ask;
use crate::units::name::UnitName;
use crate::units::quantity;

/// For an action that svinit is asked for.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a pause is when nobody says, and at most.
const PAUSE: Duration = Duration::from_secs(3600);
const PAUSE_MAX: Duration = Duration::from_secs(7 * 24 * 3600);

/// The query of an action.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Where {
    instance: Option<String>,
}

type Asked = Result<Query<Where>, QueryRejection>;

pub(super) async fn on_service(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path((name, action)): Path<(String, String)>,
    asked: Asked,
    body: Bytes,
) -> Result<Response<Body>, Refused> {
    let Query(place) = asked?;
    let service = desk.service(&name)?;
    let act = match action.as_str() {
        "pause" => return pause(&desk, Some(&name), visitor, &body).await,
        "resume" => return resume(&desk, Some(&name), visitor).await,
        action => named(action)?,
    };
    let (reach, unit) = desk.reach(&service)?;
    let rung = match act {
        Act::Restart => Rung::RestartUnit,
        Act::Reload => Rung::Reload,
        Act::RestartDependants | Act::Start | Act::Stop => {
            return directly(&desk, &service, &reach, &unit, act, place.instance, visitor).await;
        }
    };
    if place.instance.is_some() {
        let why = "of the unit that serves recovery chooses the instance: the one that is worst off, or else the first";
        return Err(Refused::bad_request(why));
    }
    let (answer, answered) = oneshot::channel();
    let who = visitor.0.to_string();
    desk.ask(Ask::Act { service: name.as_str().into(), rung, who, answer }).await?;
    match answered.await {
        Ok(Acted::Ended { instance, result, outcome }) => {
            let why = match &result {
                Ok(()) => String::new(),
                Err(Failure::NotApplicable(why) | Failure::Held(why) | Failure::Failed(why)) => why.clone(),
            };
            let action = Action {
                service: name,
                instance,
                unit,
                action,
                ok: result.is_ok(),
                state: outcome.as_ref().map(|outcome| outcome.state.clone()),
                old_pid: outcome.as_ref().and_then(|outcome| outcome.old_pid),
                new_pid: outcome.as_ref().and_then(|outcome| outcome.new_pid),
                took_ms: outcome.as_ref().map(|outcome| outcome.took_ms),
                why: outcome.map_or(why, |outcome| outcome.why),
            };
            Ok(json(StatusCode::OK, &action))
        }
        Ok(Acted::Refused(why)) => Err(Refused::cannot(why)),
        Err(_) => Err(Refused::cannot("the manager is about to end")),
    }
}

pub(super) async fn on_unit(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path((name, unit, action)): Path<(String, String, String)>,
    asked: Asked,
) -> Result<Response<Body>, Refused> {
    let Query(place) = asked?;
    let service = desk.service(&name)?;
    let (reach, serving) = desk.reach(&service)?;
    let act = named(&action)?;
    if unit == serving && matches!(act, Act::Restart | Act::Reload) {
        let why = format!("{unit} serves requests: POST /api/services/{name}/{action} lets them wait");
        return Err(Refused::bad_request(why));
    }
    if unit == "all" || UnitName::new(&unit).is_err() {
        return Err(Refused::bad_request("units are named one by one"));
    }
    directly(&desk, &service, &reach, &unit, act, place.instance, visitor).await
}

pub(super) async fn pause_all(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    body: Bytes,
) -> Result<Response<Body>, Refused> {
    pause(&desk, None, visitor, &body).await
}

pub(super) async fn resume_all(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response<Body>, Refused> {
    resume(&desk, None, visitor).await
}

fn named(action: &str) -> Result<Act, Refused> {
    match action {
        "restart" => Ok(Act::Restart),
        "reload" => Ok(Act::Reload),
        "start" => Ok(Act::Start),
        "stop" => Ok(Act::Stop),
        _ => Err(Refused::not_found()),
    }
}

const fn word(act: Act) -> &'static str {
    match act {
        Act::Restart | Act::RestartDependants => "restart",
        Act::Reload => "reload",
        Act::Start => "start",
        Act::Stop => "stop",
    }
}

/// Asks svinit, and tells the audit log.
async fn directly(
    desk: &Desk,
    service: &Service,
    reach: &Reach,
    unit: &str,
    act: Act,
    instance: Option<String>,
    visitor: Visitor,
) -> Result<Response<Body>, Refused> {
    let instance = choose(reach, instance).await?;
    let why = format!("{} of unit {unit} in {instance}, by {}", word(act), visitor.0);
    desk.ask(Ask::Note { service: service.name.as_str().into(), why }).await?;
    let outcome = reach.run(&instance, act, unit, PATIENCE).await?;
    let action = Action {
        service: service.name.clone(),
        instance,
        unit: outcome.unit,
        action: word(act).to_owned(),
        ok: outcome.ok,
        state: Some(outcome.state),
        old_pid: outcome.old_pid,
        new_pid: outcome.new_pid,
        took_ms: Some(outcome.took_ms),
        why: outcome.why,
    };
    Ok(json(StatusCode::OK, &action))
}

/// The instance that is meant: one has to be named where there are several.
pub(super) async fn choose(reach: &Reach, named: Option<String>) -> Result<String, Refused> {
    let mut all = reach.instances().await?.into_iter();
    if let Some(named) = named {
        let found = all.find(|one| one.id == named || one.name == named);
        return found.map(|one| one.id).ok_or_else(|| Refused::bad_request("it has no such instance"));
    }
    match (all.next(), all.next()) {
        (Some(only), None) => Ok(only.id),
        (None, _) => Err(Refused::cannot("it has no instance")),
        (Some(_), Some(_)) => Err(Refused::bad_request("there are several: instance=ID says which")),
    }
}

async fn pause(
    desk: &Desk,
    service: Option<&str>,
    visitor: Visitor,
    body: &[u8],
) -> Result<Response<Body>, Refused> {
    let request: PauseRequest = if body.trim_ascii().is_empty() {
        PauseRequest::default()
    } else {
        let odd = |error| Refused::bad_request(format!("cannot read the body: {error}"));
        serde_json::from_slice(body).map_err(odd)?
    };
    let length = match &request.length {
        Some(text) => quantity::parse_duration(text)
            .map_err(|_| Refused::bad_request(format!("{text:?} is no time; write one like \"30m\"")))?,
        None => PAUSE,
    };
    if length > PAUSE_MAX {
        return Err(Refused::bad_request("a pause is 7d at most"));
    }
    let (named, who) = (service.map(Into::into), visitor.0.to_string());
    desk.ask(Ask::Pause { service: named, length, who }).await?;
    let paused_ms = Some(u64::try_from(length.as_millis()).unwrap_or(u64::MAX));
    Ok(json(StatusCode::OK, &Paused { service: service.map(str::to_owned), paused_ms }))
}

async fn resume(desk: &Desk, service: Option<&str>, visitor: Visitor) -> Result<Response<Body>, Refused> {
    let (named, who) = (service.map(Into::into), visitor.0.to_string());
    desk.ask(Ask::Resume { service: named, who }).await?;
    Ok(json(StatusCode::OK, &Paused { service: service.map(str::to_owned), paused_ms: None }))
}
