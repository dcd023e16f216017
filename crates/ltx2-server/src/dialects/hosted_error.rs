//! Error body that the client libraries of several hosted services read.

use serde::Serialize;

use crate::error::{ApiError, ErrorCode, Location};

/// Error in the forms of OpenAI (`error`), Scenario (`reason`) and FastAPI (`detail`) at once.
#[derive(Debug, Serialize)]
pub(crate) struct HostedErrorBody {
    error: OpenAiError,
    reason: String,
    detail: String,
}

#[derive(Debug, Serialize)]
struct OpenAiError {
    message: String,
    r#type: &'static str,
    param: Option<String>,
    code: &'static str,
}

/// Returns the body for `error`: the messages of all problems, and the name of the first field.
pub(crate) fn hosted_error_body(error: ApiError) -> HostedErrorBody {
    let param = error.problems.first().and_then(|problem| match &problem.location {
        Location::Field(name) => Some(name.clone()),
        Location::Query(name) | Location::Header(name) => Some((*name).into()),
        Location::Body => None,
    });
    let message = message(&error);
    let (r#type, code) = type_and_code(error.code);
    let openai = OpenAiError { message: message.clone(), r#type, param, code };
    HostedErrorBody { error: openai, reason: message.clone(), detail: message }
}

/// Returns the messages of all problems, each with the name of its field, or the message of `error`.
pub(crate) fn message(error: &ApiError) -> String {
    let messages: Vec<String> = error
        .problems
        .iter()
        .map(|problem| match &problem.location {
            Location::Field(name) if !problem.message.contains(name.as_str()) => format!("{name}: {}", problem.message),
            _ => problem.message.clone(),
        })
        .collect();
    if messages.is_empty() { error.message.clone() } else { messages.join("; ") }
}

fn type_and_code(code: ErrorCode) -> (&'static str, &'static str) {
    let invalid = "invalid_request_error";
    match code {
        ErrorCode::InvalidRequest => (invalid, "invalid_value"),
        ErrorCode::BodyTooLarge => (invalid, "request_too_large"),
        ErrorCode::UnsupportedEncoding => (invalid, "unsupported_encoding"),
        ErrorCode::NotFound => (invalid, "not_found"),
        ErrorCode::MethodNotAllowed => (invalid, "method_not_allowed"),
        ErrorCode::Conflict => (invalid, "conflict"),
        ErrorCode::BodyTimeout => (invalid, "request_timeout"),
        ErrorCode::Forbidden => (invalid, "url_expired"),
        ErrorCode::Unauthorized => ("authentication_error", "invalid_api_key"),
        ErrorCode::QueueFull => ("rate_limit_error", "queue_full"),
        ErrorCode::DiskFull => ("server_error", "disk_full"),
        ErrorCode::ShuttingDown => ("server_error", "shutting_down"),
        ErrorCode::TaskFailed => ("server_error", "task_failed"),
        ErrorCode::Internal => ("server_error", "internal_error"),
    }
}
