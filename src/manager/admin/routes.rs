//! The one table of what can be asked. Whoever comes this far has been let in (`door`).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware;
use axum::middleware::Next;
use axum::response::IntoResponse;
use axum::routing::MethodRouter;
use axum::routing::get;
use axum::routing::post;
use http_body_util::BodyExt;
use http_body_util::Limited;
use hyper::header::CONNECTION;
use hyper::header::HeaderValue;
use hyper::http::Response;

use crate::manager::admin::act;
use crate::manager::admin::desk::Desk;
use crate::manager::admin::look;
use crate::manager::admin::refused::Refused;
use crate::manager::admin::stream;
use crate::manager::gateway::Gateway;
use crate::manager::news::News;
use crate::manager::reach::engine::Engine;
use crate::manager::repair::Asks;

/// Bytes of a body; the largest that means something has about 20.
const BODY_MAX: usize = 4 << 10;

/// For all of a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Who asks, for the audit log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visitor(pub(super) SocketAddr);

/// One path.
pub(super) struct Route {
    /// For the description, which is made from this table.
    #[cfg(test)]
    pub(super) method: hyper::Method,
    pub(super) path: &'static str,
    serve: fn() -> MethodRouter<Desk>,
}

const fn look(path: &'static str, serve: fn() -> MethodRouter<Desk>) -> Route {
    Route {
        #[cfg(test)]
        method: hyper::Method::GET,
        path,
        serve,
    }
}

const fn act(path: &'static str, serve: fn() -> MethodRouter<Desk>) -> Route {
    Route {
        #[cfg(test)]
        method: hyper::Method::POST,
        path,
        serve,
    }
}

pub(super) const ROUTES: &[Route] = &[
    look("/", || get(look::page)),
    look("/health", || get(look::health)),
    look("/metrics", || get(look::show_metrics)),
    look("/api/status", || get(look::status)),
    look("/api/services", || get(look::services)),
    look("/api/services/{service}", || get(look::service)),
    look("/api/routes", || get(look::routes)),
    look("/api/why/{service}", || get(look::why)),
    look("/api/events", || get(stream::events)),
    look("/api/logs", || get(stream::logs)),
    look("/api/openapi.json", || get(look::openapi)),
    act("/api/services/{service}/{action}", || post(act::on_service)),
    act("/api/services/{service}/units/{unit}/{action}", || post(act::on_unit)),
    act("/api/pause", || post(act::pause_all)),
    act("/api/resume", || post(act::resume_all)),
];

/// What is served, without a listener. Each request carries a [`Visitor`].
pub(super) fn app(desk: Desk) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        router = router.route(route.path, (route.serve)());
    }
    router
        .fallback(|| async { Refused::not_found() })
        .method_not_allowed_fallback(|| async { Refused::wrong_method() })
        .with_state(desk)
        .layer(middleware::from_fn(bounded))
}

/// The same, of what it needs.
pub(super) fn app_of(gateway: Arc<Gateway>, engine: Arc<Engine>, asks: Asks, news: News) -> Router {
    app(Desk::new(gateway, engine, asks, news))
}

/// Reads the body before anything else looks at the request.
async fn bounded(request: Request, next: Next) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let whole = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_MAX).collect()).await;
    match whole {
        Ok(Ok(body)) => next.run(Request::from_parts(parts, Body::from(body.to_bytes()))).await,
        Ok(Err(_)) => {
            closing(Refused::bad_request(format!("a body has at most {BODY_MAX} bytes")).into_response())
        }
        Err(_) => closing(Refused::bad_request("the body came too slowly").into_response()),
    }
}

/// What is left of the request is not the next one.
pub(super) fn closing(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}
