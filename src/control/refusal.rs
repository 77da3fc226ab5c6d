//! A request that is not carried out, as an answer.

use axum::body::Body;
use axum::response::IntoResponse;
use hyper::StatusCode;
use hyper::header::CONTENT_TYPE;
use hyper::http::Response;

use crate::api::status::Refusal;
use crate::runtime::handle::Gone;

/// What a refused request is answered with. Handlers return it as their error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    pub(crate) refusal: Refusal,
}

impl Refused {
    fn new(status: StatusCode, error: &str, message: impl Into<String>) -> Self {
        let refusal = Refusal { error: error.to_owned(), message: message.into(), did_you_mean: Vec::new() };
        Self { status, refusal }
    }

    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(crate) fn not_permitted(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "not_permitted", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn no_such_unit(name: &str, did_you_mean: Vec<String>) -> Self {
        let short: String = name.chars().take(64).collect();
        let mut refused =
            Self::new(StatusCode::NOT_FOUND, "no_such_unit", format!("no unit is named {short:?}"));
        refused.refusal.did_you_mean = did_you_mean;
        refused
    }

    /// It is understood and may be asked, and cannot be done as things are.
    pub(crate) fn cannot(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "refused", message)
    }

    /// The files are not sound, so nothing is changed.
    pub(crate) fn bad_configuration(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "bad_configuration", message)
    }

    pub(crate) fn wrong_method() -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "bad_request", "this path cannot be used with that method")
    }

    pub(crate) fn busy(message: impl Into<String>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "refused", message)
    }
}

impl From<Gone> for Refused {
    fn from(_: Gone) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "shutting_down", "svinit is leaving")
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response<Body> {
        json(self.status, &self.refusal)
    }
}

/// `value` as an answer.
pub(crate) fn json<T: serde::Serialize>(status: StatusCode, value: &T) -> Response<Body> {
    let body =
        serde_json::to_vec(value).expect("api types are always JSON: texts, numbers, and maps by text");
    Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .expect("constant headers are valid")
}
