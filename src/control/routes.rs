//! The one table of what can be asked, with who may ask it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::middleware::{self, Next};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};
use http_body_util::{BodyExt, Limited};
use hyper::Method;
use hyper::header::CONNECTION;
use hyper::http::{HeaderValue, Response};

use crate::control::events;
use crate::control::jobs;
use crate::control::logs;
use crate::control::peer::Access;
use crate::control::refusal::Refused;
use crate::control::samples::Samples;
use crate::control::server::Visitor;
use crate::control::supervisor;
use crate::control::units;
use crate::control::update;
use crate::control::upgrade;
use crate::runtime::fault::Fault;
use crate::runtime::handle::Handle;

/// Bytes of a request's body. The largest that is of use names every unit there can be.
const BODY_MAX: usize = 64 << 10;

/// For the whole of a body to come.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// One thing that can be asked.
pub struct Route {
    /// GET answers HEAD as well.
    pub method: Method,
    /// With `{name}` for what varies.
    pub path: &'static str,
    /// Who may.
    pub access: Access,
    serve: fn() -> MethodRouter<Shared>,
}

const fn look(path: &'static str, serve: fn() -> MethodRouter<Shared>) -> Route {
    Route { method: Method::GET, path, access: Access::Read, serve }
}

const fn act(path: &'static str, serve: fn() -> MethodRouter<Shared>) -> Route {
    Route { method: Method::POST, path, access: Access::Operate, serve }
}

/// Everything. The environment is for operators: it may hold what should have been a secret.
pub const ROUTES: &[Route] = &[
    look("/v1/supervisor", || get(supervisor::show)),
    look("/v1/units", || get(units::list)),
    look("/v1/units/{name}", || get(units::show)),
    look("/v1/units/{name}/definition", || get(units::definition)),
    Route {
        method: Method::GET,
        path: "/v1/units/{name}/environment",
        access: Access::Operate,
        serve: || get(units::environment),
    },
    act("/v1/jobs", || post(jobs::post)),
    act("/v1/update", || post(update::post)),
    act("/v1/scale", || post(update::scale)),
    look("/v1/events", || get(events::get)),
    look("/v1/logs", || get(logs::get)),
    act("/v1/logs/reopen", || post(logs::reopen)),
    look("/v1/health", || get(supervisor::health)),
    look("/v1/health/{name}", || get(supervisor::unit_health)),
    act("/v1/upgrade", || post(upgrade::post)),
    act("/v1/shutdown", || post(supervisor::shutdown)),
    look("/v1/openapi.json", || get(supervisor::openapi)),
];

/// What all requests share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) handle: Handle,
    pub(crate) samples: Arc<Samples>,
}

/// The query of a request, or what is wrong with it.
pub(crate) type Asked<T> = Result<Query<T>, QueryRejection>;

impl From<QueryRejection> for Refused {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(format!("cannot read the query of the request: {}", rejection.body_text()))
    }
}

/// What is served, without a listener. Each request must carry a [`Visitor`]; one without is refused.
pub fn app(handle: Handle) -> Router {
    let shared = Shared { handle, samples: Arc::default() };
    let mut router = Router::new();
    for route in ROUTES {
        let guarded = (route.serve)().route_layer(middleware::from_fn_with_state(route.access, guard));
        router = router.route(route.path, guarded);
    }
    if std::env::var_os(FAULTS_VARIABLE).is_some_and(|value| value == "1" || value == "recovery") {
        let guarded = post(fault).route_layer(middleware::from_fn_with_state(Access::Operate, guard));
        router = router.route("/v1/fault/{kind}", guarded);
    }
    router
        .fallback(|| async {
            Refused::not_found("there is nothing at this path; /v1/openapi.json says what there is")
        })
        .method_not_allowed_fallback(|| async { Refused::wrong_method() })
        .with_state(shared)
        .layer(middleware::from_fn_with_state(Access::Read, guard))
        .layer(middleware::from_fn(bounded))
}

/// Set to 1 for svinit itself, or to `recovery` that it fails once more while it goes on, it can be asked to make a mistake: for tests of what follows. Never set it elsewhere.
const FAULTS_VARIABLE: &str = "SVINIT_FAULTS";

/// Makes a mistake; there is no answer.
async fn fault(Path(kind): Path<String>) -> Result<(), Refused> {
    let fault = Fault::named(&kind).ok_or_else(|| Refused::bad_request("there is no such fault"))?;
    fault.make();
    Ok(())
}

/// Lets those pass who may.
async fn guard(State(needed): State<Access>, request: Request, next: Next) -> Response<Body> {
    let refused = match request.extensions().get::<Visitor>().map(|visitor| &visitor.admitted) {
        Some(Ok(access)) if *access >= needed => return next.run(request).await,
        Some(Ok(_)) => Refused::not_permitted("you may look, but not do this"),
        Some(Err(why)) => Refused::not_permitted(why.clone()),
        None => Refused::not_permitted("nobody knows who you are"),
    };
    if let Some(visitor) = request.extensions().get::<Visitor>() {
        tracing::warn!(
            "{} {} was refused to {}",
            request.method(),
            request.uri().path(),
            visitor.who.words()
        );
    }
    closing(refused.into_response())
}

/// Reads the body before anything else looks at the request: bounded in bytes and time.
async fn bounded(request: Request, next: Next) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let is_admitted = parts.extensions.get::<Visitor>().is_some_and(|visitor| visitor.admitted.is_ok());
    if !is_admitted {
        return next.run(Request::from_parts(parts, Body::empty())).await;
    }
    let whole = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_MAX).collect()).await;
    match whole {
        Ok(Ok(body)) => next.run(Request::from_parts(parts, Body::from(body.to_bytes()))).await,
        Ok(Err(error)) => {
            let why = format!("cannot read the body of the request: {error} (at most {BODY_MAX} bytes)");
            closing(Refused::bad_request(why).into_response())
        }
        Err(_) => closing(Refused::bad_request("the body of the request came too slowly").into_response()),
    }
}

fn closing(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
