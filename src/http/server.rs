//! The public listener: `/health`, `/health/UNIT`, `/livez`, `/readyz` and `/metrics`, for anyone who can connect.
//!
//! Whoever connects is taken to be hostile: only GET and HEAD, no body, small heads, few connections, short deadlines.
//! Answers come from the board and hold no secret, no command line and no environment.

use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::middleware::{self, Next};
use axum::routing::get;
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, ALLOW, CACHE_CONTROL, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING,
};
use hyper::http::{HeaderMap, HeaderValue, Response};
use hyper::service::{Service, service_fn};
use hyper::{Method, StatusCode};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::door::{self, Limits, Pause};
use crate::http::measured::Measured;
use crate::http::metrics::{self, Form};
use crate::http::report;
use crate::runtime::clients::{Clients, Door, Rejoined, Watched, Wire};
use crate::runtime::handle::Reader;

/// Connections at a time. Further ones wait in the kernel's backlog, at no cost to us, until one of these ends.
const CONNECTIONS_MAX: usize = 128;

/// Longest life of a connection, whatever it does.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

const LIMITS: Limits = Limits { head_timeout: Duration::from_secs(2), head_bytes: 8 << 10, headers: 64 };

/// Serves until it is dropped, each connection among `clients`; those in `rejoined` were let in before.
pub async fn serve(listener: TcpListener, reader: Reader, clients: Clients, rejoined: Vec<Rejoined>) {
    let app = app(reader);
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let receive = |stream: TcpStream, slot: OwnedSemaphorePermit| {
        let plugged = clients.plug(stream.as_raw_fd(), Door::Public);
        let served = visit(stream, app.clone(), Arc::clone(&plugged.wire));
        tokio::spawn(async move {
            served.await;
            drop((plugged, slot));
        });
    };
    for client in rejoined {
        let stream = TcpStream::from_std(std::net::TcpStream::from(client.fd));
        if let (Ok(stream), Ok(slot)) = (stream, Arc::clone(&slots).try_acquire_owned()) {
            receive(stream, slot);
        }
    }
    let mut pause = Pause::default();
    while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
        match listener.accept().await {
            Ok((stream, _)) if !door::leaves_room(&stream) => {
                drop((slot, stream));
                pause.after("the http listener", &door::few_are_left()).await;
            }
            Ok((stream, _)) => {
                pause.over("the http listener");
                receive(stream, slot);
            }
            Err(error) => {
                drop(slot);
                pause.after("the http listener", &error).await;
            }
        }
    }
}

async fn visit(stream: TcpStream, app: Router, wire: Arc<Wire>) {
    // An answer is one write, and who asked waits for it. A socket that cannot do it answers a little later.
    let _ = stream.set_nodelay(true);
    let stream = Watched::new(stream, Arc::clone(&wire));
    let app = TowerToHyperService::new(app);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let (answer, wire) = (app.call(request), Arc::clone(&wire));
        async move {
            let answer = answer.await;
            wire.is_about_to_be_answered();
            answer
        }
    });
    let served = door::connection(stream, service, LIMITS);
    // Cut off without a word: whoever needs that long for an answer of a few kilobytes does not read it.
    let _ = tokio::time::timeout(CONNECTION_TIMEOUT, served).await;
}

#[derive(Clone)]
struct Shown {
    reader: Reader,
    measured: Arc<Measured>,
}

/// What is served, without a listener.
pub fn app(reader: Reader) -> Router {
    let shown = Shown { reader, measured: Arc::default() };
    Router::new()
        .route("/health", get(health))
        .route("/health/{unit}", get(unit_health))
        .route("/livez", get(|| async { report::answer(StatusCode::OK, &report::liveness()) }))
        .route("/readyz", get(readyz))
        .route("/metrics", get(show_metrics))
        .fallback(|| async {
            plain(StatusCode::NOT_FOUND, "there are /health, /health/UNIT, /livez, /readyz and /metrics\n")
        })
        .with_state(shown)
        .layer(middleware::from_fn(only_looks))
}

/// Lets GET and HEAD without a body pass. Everything else ends the connection: its body, if any, is not read.
async fn only_looks(request: Request, next: Next) -> Response<Body> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refused =
            plain(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD: this listener can change nothing\n");
        refused.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return closing(refused);
    }
    if has_body(request.headers()) {
        return closing(plain(StatusCode::BAD_REQUEST, "a request to this listener has no body\n"));
    }
    next.run(request).await
}

fn has_body(headers: &HeaderMap) -> bool {
    headers.contains_key(TRANSFER_ENCODING)
        || headers.get(CONTENT_LENGTH).is_some_and(|length| length.as_bytes() != b"0")
}

fn closing(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn health(State(shown): State<Shown>) -> Response<Body> {
    let report = report::all(&shown.reader);
    report::answer(report::status(&report), &report)
}

async fn unit_health(State(shown): State<Shown>, Path(name): Path<String>) -> Response<Body> {
    match report::one(&shown.reader, &name) {
        Some(report) => report::answer(report::status(&report), &report),
        None => report::answer(StatusCode::NOT_FOUND, &report::unknown(&name)),
    }
}

async fn readyz(State(shown): State<Shown>) -> Response<Body> {
    let report = report::readiness(&shown.reader);
    report::answer(report::status(&report), &report)
}

async fn show_metrics(State(shown): State<Shown>, headers: HeaderMap) -> Response<Body> {
    let form = Form::wanted(headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()));
    let usage = shown.measured.look(&shown.reader).await;
    texts(StatusCode::OK, form.content_type(), metrics::render(form, &shown.reader, &usage))
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    texts(status, "text/plain; charset=utf-8", text)
}

/// `body` as an answer that nobody keeps.
pub(crate) fn texts(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response<Body> {
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, content_type)
        .header(CACHE_CONTROL, "no-store")
        .body(body.into())
        .expect("constant headers are valid")
}

#[cfg(test)]
mod tests;
