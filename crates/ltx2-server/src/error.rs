//! What a route answers when it cannot do what it was asked: an outside message for the client, an inside one for the log.

use axum::Json;
use axum::http::StatusCode;
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
    /// The server's own trouble; logged, not told.
    Internal,
}

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
        tracing::error!(%error, "a request failed: {error}");
        Self::Internal
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let answer = |status: StatusCode, detail: Detail| (status, Json(Body { detail })).into_response();
        match self {
            Self::Invalid(faults) => answer(StatusCode::UNPROCESSABLE_ENTITY, Detail::Faults(faults)),
            Self::TooLarge(most) => {
                let detail = format!("the body is too large; this server takes at most {most} bytes");
                answer(StatusCode::PAYLOAD_TOO_LARGE, Detail::Text(detail))
            }
            Self::NotFound => answer(StatusCode::NOT_FOUND, Detail::Text("Not Found".into())),
            Self::MethodNotAllowed => answer(StatusCode::METHOD_NOT_ALLOWED, Detail::Text("Method Not Allowed".into())),
            Self::Internal => answer(StatusCode::INTERNAL_SERVER_ERROR, Detail::Text("Internal Server Error".into())),
        }
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
