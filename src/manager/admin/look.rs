//! What is: the manager, services, routes, and why a service is as it is.

use std::collections::BTreeMap;
use std::net::IpAddr;

use axum::body::Body;
use axum::extract::Path;
use axum::extract::State;
use hyper::StatusCode;
use hyper::http::Response;

use crate::api::manager::Answers;
use crate::api::manager::ContainerStatus;
use crate::api::manager::ControlStatus;
use crate::api::manager::InstanceStatus;
use crate::api::manager::Liveness;
use crate::api::manager::ManagerStatus;
use crate::api::manager::Note;
use crate::api::manager::RecoveryStatus;
use crate::api::manager::Requests;
use crate::api::manager::RouteStatus;
use crate::api::manager::ServiceStatus;
use crate::api::manager::SignStatus;
use crate::api::manager::States;
use crate::api::manager::Why;
use crate::api::openapi::OPENAPI_MANAGER;
use crate::http::server::texts;
use crate::manager::admin::desk::Containers;
use crate::manager::admin::desk::Desk;
use crate::manager::admin::metrics;
use crate::manager::admin::refused::Refused;
use crate::manager::admin::refused::json;
use crate::manager::admin::why;
use crate::manager::config::spec;
use crate::manager::gate::Floor as _;
use crate::manager::gate::ServiceView;
use crate::manager::gate::Standing;
use crate::manager::recovery::fact::Time;
use crate::manager::recovery::machine::View;
use crate::manager::repair::Overview;

/// The page that is served at the root.
const PAGE: &str = include_str!("page.html");

/// The page loads nothing from anywhere, and is shown in no other page.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
                           connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn page() -> Response<Body> {
    let mut page = texts(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    let headers = [
        ("content-security-policy", PAGE_POLICY),
        ("x-frame-options", "DENY"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
    ];
    for (name, value) in headers {
        page.headers_mut().insert(name, hyper::header::HeaderValue::from_static(value));
    }
    page
}

pub(super) async fn health() -> Response<Body> {
    json(StatusCode::OK, &Liveness { status: "pass".to_owned() })
}

pub(super) async fn openapi() -> Response<Body> {
    texts(StatusCode::OK, "application/json", OPENAPI_MANAGER)
}

pub(super) async fn show_metrics(State(desk): State<Desk>) -> Result<Response<Body>, Refused> {
    let overview = desk.overview().await?;
    let text = metrics::render(&status_of(&desk, &overview), &overview, &desk);
    Ok(texts(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text))
}

pub(super) async fn status(State(desk): State<Desk>) -> Result<Response<Body>, Refused> {
    Ok(json(StatusCode::OK, &status_of(&desk, &desk.overview().await?)))
}

fn status_of(desk: &Desk, overview: &Overview) -> ManagerStatus {
    let [none, informed, succeeded, redirected, refused, failed] = desk.gateway().answers();
    let mut services = States::default();
    for view in desk.gateway().services.services() {
        let count = match state(&view) {
            Stands::Up => &mut services.up,
            Stands::Degraded => &mut services.degraded,
            Stands::Away => &mut services.away,
            Stands::Down => &mut services.down,
            Stands::Unknown => &mut services.unknown,
        };
        *count += 1;
    }
    ManagerStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        uptime_ms: u64::try_from(desk.uptime().as_millis()).unwrap_or(u64::MAX),
        leader: overview.is_leader,
        frozen: overview.is_frozen,
        paused_ms: left(overview.paused_until, overview.now),
        answers: Answers { none, informed, succeeded, redirected, refused, failed },
        services,
    }
}

pub(super) async fn services(State(desk): State<Desk>) -> Result<Response<Body>, Refused> {
    let all = all(&desk).await?;
    Ok(json(StatusCode::OK, &all.into_values().collect::<Vec<_>>()))
}

pub(super) async fn service(
    State(desk): State<Desk>,
    Path(name): Path<String>,
) -> Result<Response<Body>, Refused> {
    desk.service(&name)?;
    let found = all(&desk).await?.remove(&name).ok_or_else(|| Refused::no_such_service(&name))?;
    Ok(json(StatusCode::OK, &found))
}

pub(super) async fn why(
    State(desk): State<Desk>,
    Path(name): Path<String>,
) -> Result<Response<Body>, Refused> {
    desk.service(&name)?;
    let overview = desk.overview().await?;
    let found = all(&desk).await?.remove(&name).ok_or_else(|| Refused::no_such_service(&name))?;
    let view = overview.views.iter().find(|view| *view.service == *name);
    let notes: Vec<Note> = view
        .into_iter()
        .flat_map(|view| &view.notes)
        .map(|(at, decision, why)| Note {
            ago_ms: overview.now.0.saturating_sub(at.0),
            decision: (*decision).to_owned(),
            why: why.clone(),
        })
        .collect();
    let text = why::text(&found, &notes, overview.is_leader, overview.is_frozen);
    Ok(json(StatusCode::OK, &Why { service: name, state: found.state, text, notes }))
}

pub(super) async fn routes(State(desk): State<Desk>) -> Response<Body> {
    let running = desk.gateway().running();
    let second = desk.gateway().second();
    let all: Vec<RouteStatus> = running
        .measured()
        .map(|(route, traffic)| RouteStatus {
            route: name_of(route),
            host: route.host.clone(),
            path: route.path.clone(),
            exact: route.exact,
            rewrite: route.rewrite.clone(),
            service: route.service.clone(),
            requests: traffic.requests,
            errors: traffic.errors,
            minute: traffic.minute(second),
        })
        .collect();
    json(StatusCode::OK, &all)
}

/// Host and path in one.
pub(super) fn name_of(route: &spec::Route) -> String {
    let exact = if route.exact { "=" } else { "" };
    format!("{}{exact}{}", route.host.as_deref().unwrap_or("*"), route.path)
}

async fn all(desk: &Desk) -> Result<BTreeMap<String, ServiceStatus>, Refused> {
    let (overview, containers) = (desk.overview().await?, desk.containers().await);
    let running = desk.gateway().running();
    let all = desk.gateway().services.services().into_iter().filter_map(|view| {
        let spec = running.config.services.get(&*view.name)?;
        Some((view.name.to_string(), service_status(&view, spec, &overview, &containers)))
    });
    Ok(all.collect())
}

fn service_status(
    view: &ServiceView,
    spec: &spec::Service,
    overview: &Overview,
    containers: &Containers,
) -> ServiceStatus {
    let counts = view.counts;
    let own = containers.get(&*view.name).map(Vec::as_slice).unwrap_or_default();
    let by_engine = spec.control.iter().any(|control| matches!(control.reach, spec::Reach::Docker { .. }));
    let instances = view.instances.iter().map(|instance| InstanceStatus {
        address: instance.address.to_string(),
        container: container_at(instance.address.ip(), own).filter(|_| by_engine),
        standing: instance.standing.as_str().to_owned(),
        why: instance.why.clone(),
        ejected: instance.is_ejected,
        draining: instance.is_draining,
        in_flight: instance.in_flight as u64,
    });
    let looked_after = overview.views.iter().find(|one| one.service == view.name);
    ServiceStatus {
        service: view.name.to_string(),
        state: state(view).as_str().to_owned(),
        parked: view.parked as u64,
        away: view.is_away,
        instances: instances.collect(),
        requests: Requests {
            total: counts.requests,
            errors: counts.errors,
            failed: counts.failed,
            retried: counts.retried,
            parked: counts.parked,
            abandoned: counts.abandoned,
        },
        control: spec.control.as_ref().map(|control| ControlStatus {
            driver: match control.reach {
                spec::Reach::Docker { .. } => "docker",
                spec::Reach::Socket { .. } => "socket",
                spec::Reach::Api { .. } => "api",
            }
            .to_owned(),
            unit: control.unit.as_str().to_owned(),
        }),
        recovery: looked_after.map(|view| recovery_status(view, overview.now)),
        containers: own.to_vec(),
    }
}

/// The container that has this address, if the engine has said so.
fn container_at(address: IpAddr, containers: &[ContainerStatus]) -> Option<String> {
    let has = |container: &&ContainerStatus| {
        container.address.as_ref().and_then(|text| text.parse().ok()) == Some(address)
    };
    containers.iter().find(has).map(|container| container.name.clone())
}

fn recovery_status(view: &View, now: Time) -> RecoveryStatus {
    RecoveryStatus {
        phase: view.phase.to_owned(),
        held_by: view.held_by.clone(),
        paused_ms: left(view.paused_until, now),
        budget: view.budget as u64,
        signs: view
            .instances
            .iter()
            .map(|(instance, sign)| SignStatus {
                instance: instance.to_string(),
                sign: sign.word().to_owned(),
                why: sign.why().to_owned(),
            })
            .collect(),
    }
}

fn left(until: Option<Time>, now: Time) -> Option<u64> {
    until.map(|until| until.0.saturating_sub(now.0))
}

/// How a service stands as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    Up,
    Degraded,
    Away,
    Down,
    Unknown,
}

impl Stands {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Degraded => "degraded",
            Self::Away => "away",
            Self::Down => "down",
            Self::Unknown => "unknown",
        }
    }
}

pub(super) fn state(view: &ServiceView) -> Stands {
    let count = |standing: Standing| view.instances.iter().filter(|one| one.standing == standing).count();
    match (count(Standing::Up), view.instances.len()) {
        _ if view.is_away => Stands::Away,
        (0, all) if all == count(Standing::Unknown) => Stands::Unknown,
        (0, _) => Stands::Down,
        (up, all) if up == all => Stands::Up,
        _ => Stands::Degraded,
    }
}
