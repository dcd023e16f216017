//! What a route answers when it cannot do what it was asked: an outside message for the client, an inside one for the log.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use ltx2_store::StoreError;
use serde::Serialize;
use serde_json::Value;

/// An error answer.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// The request breaks rules: all of them.
    Invalid(Vec<Fault>),
    /// The body has more bytes than this.
    TooLarge(usize),
    /// Nothing is here.
    NotFound,
    /// Something is here, but not for this method.
    MethodNotAllowed,
    /// No key, or none that fits.
    Unauthorized,
    /// The body was not complete after this long.
    TooSlow(Duration),
    /// As many tasks wait as may.
    QueueFull(u32),
    /// There is no room for another task.
    DiskFull,
    /// The server stops before the video that a client waits for is done.
    Stopping,
    /// The task of a client that waited for it has failed.
    TaskFailed(String),
    /// The server's own trouble; logged, not told.
    Internal,
}

/// Seconds after which a client may try again where the queue was full or the server stopped.
const RETRY_AFTER: &str = "30";

/// One broken rule, in FastAPI's form.
#[derive(Debug, Serialize)]
pub(crate) struct Fault {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) loc: Vec<Value>,
    pub(crate) msg: String,
    pub(crate) input: Value,
}

impl Fault {
    /// The fault of one field, or of the whole body.
    pub(crate) fn new(kind: &'static str, field: Option<&str>, msg: impl Into<String>, input: Value) -> Self {
        let loc = ["body"].into_iter().chain(field).map(Value::from).collect();
        Self { kind, loc, msg: msg.into(), input: shortened(input) }
    }

    /// The fault of a part of the query.
    pub(crate) fn query(kind: &'static str, name: &str, msg: impl Into<String>, input: &str) -> Self {
        let loc = ["query", name].map(Value::from).to_vec();
        Self { kind, loc, msg: msg.into(), input: shortened(input.into()) }
    }

    /// The fault of a header.
    pub(crate) fn header(kind: &'static str, name: &str, msg: impl Into<String>) -> Self {
        Self { kind, loc: ["header", name].map(Value::from).to_vec(), msg: msg.into(), input: Value::Null }
    }

    /// A field, or the body, that had to be there.
    pub(crate) fn missing(field: Option<&str>) -> Self {
        Self::new("missing", field, "Field required", Value::Null)
    }
}

impl ApiError {
    /// One fault of the body as a whole.
    pub(crate) fn body(kind: &'static str, msg: impl Into<String>, input: Value) -> Self {
        Self::Invalid(vec![Fault::new(kind, None, msg, input)])
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::QueueFull { most, .. } => return Self::QueueFull(most),
            StoreError::KeyReused => {
                let msg = "this key was sent with a different request; send a new key for a new request";
                return Self::Invalid(vec![Fault::header("key_reused", "idempotency-key", msg)]);
            }
            _ => {}
        }
        tracing::error!(%error, "a request failed: {error}");
        if matches!(error, StoreError::DiskFull(_)) { Self::DiskFull } else { Self::Internal }
    }
}

impl ApiError {
    fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::QueueFull(_) | Self::Stopping => StatusCode::SERVICE_UNAVAILABLE,
            Self::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::TaskFailed(_) | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn detail(self) -> Detail {
        Detail::Text(match self {
            Self::Invalid(faults) => return Detail::Faults(faults),
            Self::TooLarge(most) => format!("the body is too large; this server takes at most {most} bytes"),
            Self::NotFound => "Not Found".into(),
            Self::MethodNotAllowed => "Method Not Allowed".into(),
            Self::Unauthorized => "this server wants an API key, as Authorization: Bearer KEY or X-Api-Key: KEY".into(),
            Self::TooSlow(limit) => format!("the body was not complete after {} s", limit.as_secs_f64()),
            Self::QueueFull(most) => format!("the queue is full: {most} tasks are waiting; try again later"),
            Self::DiskFull => "the server's disk is full: no task can be added".into(),
            Self::Stopping => "the server stops; try again when it is back".into(),
            Self::TaskFailed(reason) => reason,
            Self::Internal => "Internal Server Error".into(),
        })
    }

    /// Clients' libraries repeat a POST by themselves after such answers, and so would add to the trouble.
    fn headers(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Unauthorized => &[("www-authenticate", "Bearer")],
            Self::TooSlow(_) => &[("connection", "close"), ("x-should-retry", "false")],
            Self::QueueFull(_) | Self::Stopping => &[("retry-after", RETRY_AFTER), ("x-should-retry", "false")],
            Self::DiskFull | Self::TaskFailed(_) => &[("x-should-retry", "false")],
            _ => &[],
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, headers) = (self.status(), self.headers());
        let mut response = (status, Json(Body { detail: self.detail() })).into_response();
        for (name, value) in headers {
            response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        response
    }
}

#[derive(Serialize)]
struct Body {
    detail: Detail,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Detail {
    Faults(Vec<Fault>),
    Text(String),
}

const LONGEST_ECHO: usize = 200;

/// `value`, or the beginning of its text: an answer must not be as large as the question.
pub(crate) fn shortened(value: Value) -> Value {
    let text = value.as_str().map_or_else(|| value.to_string(), Into::into);
    if text.len() <= LONGEST_ECHO {
        return value;
    }
    Value::String(text.chars().take(LONGEST_ECHO).chain(['…']).collect())
}
