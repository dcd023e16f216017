//! Errors of the API, independent of the dialect that renders them.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ltx2_store::StoreError;
use serde::Serialize;
use serde_json::Value;

/// Error that ends a request. The message is for the client; internal causes are only logged.
#[derive(Debug, Clone)]
pub(crate) struct ApiError {
    /// Kind of error.
    pub(crate) code: ErrorCode,
    /// Message for people.
    pub(crate) message: String,
    /// Invalid parts of the request, with [`ErrorCode::InvalidRequest`].
    pub(crate) problems: Vec<FieldProblem>,
    /// Time after which a retry may succeed.
    pub(crate) retry_after: Option<Duration>,
}

/// Kinds of error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ErrorCode {
    /// Parts of the request are invalid.
    InvalidRequest,
    /// The body exceeds the size limit.
    BodyTooLarge,
    /// The encoding of the body is not supported.
    UnsupportedEncoding,
    /// The resource does not exist.
    NotFound,
    /// The resource does not support the method.
    MethodNotAllowed,
    /// The API key is missing or wrong.
    Unauthorized,
    /// The signature of the URL is missing, wrong or expired.
    Forbidden,
    /// The state of the resource does not allow the operation.
    Conflict,
    /// The body did not arrive in time.
    BodyTimeout,
    /// The queue is full.
    QueueFull,
    /// The disk is full.
    DiskFull,
    /// The server is shutting down.
    ShuttingDown,
    /// The task that the client waited for has failed.
    TaskFailed,
    /// Internal error.
    Internal,
}

impl ErrorCode {
    /// Returns the status in the native API, which follows FastAPI.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::UNPROCESSABLE_ENTITY,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedEncoding => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Conflict => StatusCode::CONFLICT,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::QueueFull | Self::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
            Self::DiskFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::TaskFailed | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns the status in the APIs of hosted services. Client libraries repeat a request by themselves on 409, so
    /// that a conflict is a bad request there.
    pub(crate) fn hosted_status(self) -> StatusCode {
        match self {
            Self::InvalidRequest | Self::Conflict => StatusCode::BAD_REQUEST,
            Self::QueueFull => StatusCode::TOO_MANY_REQUESTS,
            other => other.status(),
        }
    }

    /// Whether client libraries must not repeat the request by themselves.
    fn forbids_retry(self) -> bool {
        matches!(self, Self::BodyTimeout | Self::QueueFull | Self::ShuttingDown | Self::DiskFull | Self::TaskFailed)
    }
}

/// Retry interval of a full queue and of a server that shuts down.
const RETRY_AFTER: Duration = Duration::from_secs(30);
/// Maximum number of problems in one response.
const MAX_PROBLEMS: usize = 100;

impl ApiError {
    fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), problems: Vec::new(), retry_after: None }
    }

    pub(crate) fn invalid(mut problems: Vec<FieldProblem>) -> Self {
        problems.truncate(MAX_PROBLEMS);
        let message = problems.first().map_or_else(String::new, |problem| problem.message.clone());
        Self { problems, ..Self::new(ErrorCode::InvalidRequest, message) }
    }

    pub(crate) fn too_large(max_bytes: usize) -> Self {
        let message = format!("the body is too large; this server takes at most {max_bytes} bytes");
        Self::new(ErrorCode::BodyTooLarge, message)
    }

    pub(crate) fn unsupported_encoding(name: &str) -> Self {
        let name = shortened(name.into());
        let message = format!("Content-Encoding is {name}, but it must be gzip, deflate or absent");
        Self::new(ErrorCode::UnsupportedEncoding, message)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(ErrorCode::NotFound, "Not Found")
    }

    pub(crate) fn method_not_allowed() -> Self {
        Self::new(ErrorCode::MethodNotAllowed, "Method Not Allowed")
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "an API key is required; send it as Authorization: Bearer KEY or X-Api-Key: KEY";
        Self::new(ErrorCode::Unauthorized, message)
    }

    /// Returns the error for a URL without a valid signature.
    pub(crate) fn expired_url() -> Self {
        Self::new(ErrorCode::Forbidden, "the URL has expired; request the resource again for a new one")
    }

    pub(crate) fn body_timeout(limit: Duration) -> Self {
        Self::new(ErrorCode::BodyTimeout, format!("the body was not complete after {} s", limit.as_secs_f64()))
    }

    pub(crate) fn shutting_down() -> Self {
        let message = "the server is shutting down; try again later";
        Self { retry_after: Some(RETRY_AFTER), ..Self::new(ErrorCode::ShuttingDown, message) }
    }

    pub(crate) fn task_failed(reason: impl Into<String>) -> Self {
        Self::new(ErrorCode::TaskFailed, reason)
    }

    pub(crate) fn internal() -> Self {
        Self::new(ErrorCode::Internal, "Internal Server Error")
    }

    /// Returns the error for the unknown resource `name`.
    pub(crate) fn unknown(kind: &str, name: &str) -> Self {
        let name = shortened(name.into());
        let name = name.as_str().unwrap_or_default();
        Self::new(ErrorCode::NotFound, format!("there is no {kind} {name}; it may have been deleted or have expired"))
    }

    /// Returns the error for an operation that the state of a resource does not allow.
    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Conflict, message)
    }

    fn queue_full(max_waiting: u32) -> Self {
        let message = format!("the queue is full: {max_waiting} tasks are waiting; try again later");
        Self { retry_after: Some(RETRY_AFTER), ..Self::new(ErrorCode::QueueFull, message) }
    }

    fn disk_full() -> Self {
        Self::new(ErrorCode::DiskFull, "the server's disk is full: no task can be added")
    }

    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(retry_after) = self.retry_after {
            headers.insert(header::RETRY_AFTER, retry_after.as_secs().into());
        }
        if self.code.forbids_retry() {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        match self.code {
            ErrorCode::Unauthorized => {
                headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            ErrorCode::UnsupportedEncoding => {
                headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate"));
            }
            ErrorCode::BodyTimeout => {
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            _ => {}
        }
        headers
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::QueueFull { most, .. } => return Self::queue_full(most),
            StoreError::Referenced(_) => return Self::new(ErrorCode::Conflict, error.to_string()),
            StoreError::MissingInput(_) => {
                return FieldProblem::body(ProblemKind::Missing, error.to_string(), Value::Null).into();
            }
            StoreError::KeyReused => {
                let message = "this key was sent with a different request; send a new key for a new request";
                let location = Location::Header("idempotency-key");
                return FieldProblem::new(ProblemKind::KeyReused, location, message, Value::Null).into();
            }
            _ => {}
        }
        tracing::error!(%error, "request failed: {error}");
        if matches!(error, StoreError::DiskFull(_)) { Self::disk_full() } else { Self::internal() }
    }
}

impl From<FieldProblem> for ApiError {
    fn from(problem: FieldProblem) -> Self {
        Self::invalid(vec![problem])
    }
}

/// Status and headers without a body. The error is attached as an extension, for [`render`].
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.code.status(), self.headers()).into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Adds the status and the body of a dialect to an error response. The innermost renderer around a route wins.
pub(crate) fn render<B: Serialize>(
    mut response: Response,
    status: fn(ErrorCode) -> StatusCode,
    body: impl FnOnce(ApiError) -> B,
) -> Response {
    match response.extensions_mut().remove::<ApiError>() {
        Some(error) => (status(error.code), response.headers().clone(), Json(body(error))).into_response(),
        None => response,
    }
}

/// Invalid part of a request.
#[derive(Debug, Clone)]
pub(crate) struct FieldProblem {
    /// Where the value was sent.
    pub(crate) location: Location,
    /// Rule that the value breaks, for programs.
    pub(crate) kind: ProblemKind,
    /// Value and rule, for people.
    pub(crate) message: String,
    /// The value, shortened; null if none was sent.
    pub(crate) value: Value,
}

/// Location of a value in a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Location {
    /// The body as a whole.
    Body,
    /// A field of the body, under the name that the client sent.
    Field(String),
    /// A query parameter.
    Query(&'static str),
    /// A header.
    Header(&'static str),
}

/// Kinds of problem. The name is the `type` in the native API, which follows FastAPI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub(crate) enum ProblemKind {
    /// Absent although required.
    Missing,
    /// The body is not a JSON object.
    #[strum(serialize = "model_attributes_type")]
    NotAnObject,
    /// The body is not JSON.
    JsonInvalid,
    /// The body cannot be read.
    BodyInvalid,
    /// The content type is not supported.
    ContentType,
    /// Not a string.
    StringType,
    /// Not UTF-8.
    StringUnicode,
    /// Not an integer.
    IntParsing,
    /// A number with a fraction instead of an integer.
    IntFromFloat,
    /// Not a number.
    FloatParsing,
    /// Not a boolean.
    BoolParsing,
    /// Not a list.
    ListType,
    /// Not an object.
    DictType,
    /// Not one of the valid names.
    Enum,
    /// Not between the bounds.
    OutOfRange,
    /// Below the lower bound.
    GreaterThanEqual,
    /// Not below the upper bound.
    LessThan,
    /// Above the upper bound.
    LessThanEqual,
    /// Not a multiple.
    MultipleOf,
    /// Not finite.
    FiniteNumber,
    /// Text with too many characters.
    StringTooLong,
    /// List with too many elements.
    TooLong,
    /// Invalid keyframe.
    KeyframeInvalid,
    /// Invalid LoRA.
    LoraInvalid,
    /// Not an image that the server can decode.
    ImageInvalid,
    /// The image cannot be fetched.
    ImageUnreachable,
    /// Not a video or audio that the server can read.
    MediaInvalid,
    /// The video or audio cannot be fetched.
    MediaUnreachable,
    /// Unknown name of a field.
    #[strum(serialize = "extra_forbidden")]
    UnknownField,
    /// Two names of one field.
    DuplicateField,
    /// Not supported by the model set or this server's memory.
    NotPossible,
    /// The webhook may not be called.
    WebhookRefused,
    /// Invalid idempotency key.
    KeyInvalid,
    /// Idempotency key of a different request.
    KeyReused,
    /// Invalid `Last-Event-ID`.
    EventIdInvalid,
    /// Invalid query string.
    QueryInvalid,
    /// Invalid cursor.
    CursorInvalid,
}

impl FieldProblem {
    pub(crate) fn new(kind: ProblemKind, location: Location, message: impl Into<String>, value: Value) -> Self {
        Self { location, kind, message: message.into(), value: shortened(value) }
    }

    /// Returns a problem of the body as a whole.
    pub(crate) fn body(kind: ProblemKind, message: impl Into<String>, value: Value) -> Self {
        Self::new(kind, Location::Body, message, value)
    }

    /// Returns a problem of a field.
    pub(crate) fn field(kind: ProblemKind, name: &str, message: impl Into<String>, value: Value) -> Self {
        Self::new(kind, Location::Field(name.into()), message, value)
    }

    /// Returns a problem of a query parameter.
    pub(crate) fn query(kind: ProblemKind, name: &'static str, message: impl Into<String>, value: &str) -> Self {
        Self::new(kind, Location::Query(name), message, value.into())
    }

    /// Returns a problem of a header.
    pub(crate) fn header(kind: ProblemKind, name: &'static str, message: impl Into<String>) -> Self {
        Self::new(kind, Location::Header(name), message, Value::Null)
    }

    /// Returns the problem of a required field that is absent.
    pub(crate) fn missing(name: &str) -> Self {
        Self::field(ProblemKind::Missing, name, "Field required", Value::Null)
    }
}

/// Maximum length of a value in an error, bytes.
const MAX_ECHO: usize = 200;

/// Returns `value`, or the beginning of its text if it is long: a response must not be as large as the request.
pub(crate) fn shortened(value: Value) -> Value {
    let text = value.as_str().map_or_else(|| value.to_string(), Into::into);
    if text.len() <= MAX_ECHO {
        return value;
    }
    Value::String(text.chars().take(MAX_ECHO).chain(['…']).collect())
}
