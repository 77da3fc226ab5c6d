//! A request that is not carried out, as an answer.

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::response::IntoResponse;
use hyper::StatusCode;
use hyper::http::Response;
use serde::Serialize;

use crate::api::status::Refusal;
use crate::http::server::texts;
use crate::manager::reach::fault::Fault;

/// What it is answered with. Handlers return it as their error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    error: &'static str,
    pub(super) message: String,
}

impl Refused {
    fn new(status: StatusCode, error: &'static str, message: impl Into<String>) -> Self {
        Self { status, error, message: message.into() }
    }

    pub(super) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(super) fn not_permitted(message: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "not_permitted", message)
    }

    pub(super) fn not_found() -> Self {
        let words = "there is nothing at this path; /api/openapi.json says what there is";
        Self::new(StatusCode::NOT_FOUND, "not_found", words)
    }

    pub(super) fn no_such_service(name: &str) -> Self {
        let short: String = name.chars().take(64).collect();
        Self::new(StatusCode::NOT_FOUND, "no_such_service", format!("no service is named {short:?}"))
    }

    pub(super) fn wrong_method() -> Self {
        let words = "this path cannot be used with that method";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "bad_request", words)
    }

    /// It is understood and may be asked, and cannot be done as things are.
    pub(super) fn cannot(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "refused", message)
    }

    pub(super) fn unreachable(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, "unreachable", message)
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        let words = fault.to_string();
        match fault {
            Fault::NoUnit(_) => Self::new(StatusCode::NOT_FOUND, "no_such_unit", words),
            Fault::Denied(_) | Fault::Failed(_) | Fault::Paused(_) | Fault::NotRunning(_) => {
                Self::cannot(words)
            }
            Fault::Unreachable(_)
            | Fault::NoContainer(_)
            | Fault::NoSvctl(_)
            | Fault::Late(_)
            | Fault::Odd(_) => Self::unreachable(words),
        }
    }
}

impl From<QueryRejection> for Refused {
    fn from(rejection: QueryRejection) -> Self {
        Self::bad_request(format!("cannot read the query of the request: {}", rejection.body_text()))
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response<Body> {
        let refusal =
            Refusal { error: self.error.to_owned(), message: self.message, did_you_mean: Vec::new() };
        json(self.status, &refusal)
    }
}

/// `value` as an answer.
pub(super) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    let body =
        serde_json::to_vec(value).expect("api types are always JSON: texts, numbers, and maps by text");
    texts(status, "application/json", body)
}
