//! svinit as a whole: what it is, how well it is, its end.

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use hyper::http::Response;

use crate::api::openapi::OPENAPI;
use crate::control::convert;
use crate::control::names;
use crate::control::refusal::{Refused, json};
use crate::control::routes::Shared;
use crate::control::server::Visitor;
use crate::http::report;

pub(crate) async fn show(State(shared): State<Shared>) -> Response<Body> {
    json(StatusCode::OK, &convert::supervisor(shared.handle.reader()))
}

pub(crate) async fn health(State(shared): State<Shared>) -> Response<Body> {
    let report = report::all(shared.handle.reader());
    report::answer(report::status(&report), &report)
}

pub(crate) async fn unit_health(
    State(shared): State<Shared>,
    Path(name): Path<String>,
) -> Result<Response<Body>, Refused> {
    let reader = shared.handle.reader();
    names::all_of(&reader.set(), &name)?;
    let report = report::one(reader, &name).unwrap_or_else(|| report::unknown(&name));
    Ok(report::answer(report::status(&report), &report))
}

pub(crate) async fn shutdown(
    State(shared): State<Shared>,
    Extension(visitor): Extension<Visitor>,
) -> Result<StatusCode, Refused> {
    tracing::info!("shutdown was asked for by {}", visitor.who.words());
    shared.handle.shutdown(format!("svctl shutdown ({})", visitor.who.words())).await?;
    Ok(StatusCode::ACCEPTED)
}

pub(crate) async fn openapi() -> Response<Body> {
    Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(OPENAPI))
        .expect("constant headers are valid")
}
