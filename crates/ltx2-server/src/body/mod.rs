//! Request bodies, JSON or multipart form, as named fields.

mod diagnosis;
mod fields;
mod lenient;
mod names;
pub(crate) mod parameters;

use axum::body::Bytes;
use axum::extract::multipart::{MultipartError, MultipartRejection};
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Multipart, Request};
use axum::http::{HeaderMap, StatusCode, header};
use mime::Mime;
use serde_json::Value;

pub(crate) use fields::Fields;
pub(crate) use lenient::Item;
pub(crate) use names::unknown_name;

use crate::error::{ApiError, FieldProblem, ProblemKind, shortened};

/// Reads a JSON object, or a multipart form if the content type says so.
pub(crate) async fn read(request: Request, max_bytes: usize) -> Result<Fields, ApiError> {
    let headers = request.headers().clone();
    if is_json(&headers) {
        return from_json(&headers, Bytes::from_request(request, &()).await, max_bytes);
    }
    from_form(&headers, Multipart::from_request(request, &()).await, max_bytes).await
}

/// Reads a JSON object. The content type may be absent.
pub(crate) fn from_json(
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
    max_bytes: usize,
) -> Result<Fields, ApiError> {
    if headers.contains_key(header::CONTENT_TYPE) && !is_json(headers) {
        return Err(wrong_content_type(headers, "application/json"));
    }
    let body = body.map_err(|rejection| unreadable(rejection.status(), &rejection.body_text(), max_bytes))?;
    // Windows tools write a byte order mark.
    let text = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&body);
    if text.is_empty() {
        return Err(FieldProblem::body(ProblemKind::Missing, "Field required", Value::Null).into());
    }
    match serde_json::from_slice(text) {
        Ok(Value::Object(values)) => {
            let mut fields = Fields::new(values);
            fields.reject_repeated(&diagnosis::repeated_names(text));
            Ok(fields)
        }
        Ok(other) => Err(FieldProblem::body(ProblemKind::NotAnObject, "the body must be a JSON object", other).into()),
        Err(error) => {
            let (kind, message) = diagnosis::invalid_json(text, &error);
            Err(FieldProblem::body(kind, message, Value::Null).into())
        }
    }
}

/// Reads a multipart form. Empty texts and unselected files of browsers count as omitted.
async fn from_form(
    headers: &HeaderMap,
    form: Result<Multipart, MultipartRejection>,
    max_bytes: usize,
) -> Result<Fields, ApiError> {
    let mut form =
        form.map_err(|_| wrong_content_type(headers, "multipart/form-data with a boundary, or application/json"))?;
    let unreadable = |error: MultipartError| unreadable(error.status(), &error.body_text(), max_bytes);
    let mut fields = Fields::default();
    while let Some(part) = form.next_field().await.map_err(unreadable)? {
        let Some(name) = part.name().map(str::to_owned) else { continue };
        let file_name = part.file_name().map(str::to_owned);
        let bytes = part.bytes().await.map_err(unreadable)?;
        if file_name.as_deref() == Some("") && bytes.is_empty() {
            continue;
        }
        // Some clients send an image without a file name.
        if file_name.is_some() || (name == "image" && str::from_utf8(&bytes).is_err()) {
            fields.insert_file(name, bytes);
        } else {
            fields.insert_text(name, bytes);
        }
    }
    Ok(fields)
}

fn is_json(headers: &HeaderMap) -> bool {
    let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let Some(Ok(mime)) = content_type.map(str::parse::<Mime>) else { return false };
    mime.type_() == mime::APPLICATION && (mime.subtype() == mime::JSON || mime.suffix() == Some(mime::JSON))
}

fn wrong_content_type(headers: &HeaderMap, expected: &str) -> ApiError {
    let sent = headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let sent = sent.map_or_else(|| "missing".into(), |value| shortened(value.into()).to_string());
    let message = format!("Content-Type is {sent}, but it must be {expected}");
    FieldProblem::body(ProblemKind::ContentType, message, Value::Null).into()
}

fn unreadable(status: StatusCode, reason: &str, max_bytes: usize) -> ApiError {
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::too_large(max_bytes),
        _ => {
            let message = format!("the body cannot be read: {reason}");
            FieldProblem::body(ProblemKind::BodyInvalid, message, Value::Null).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_content_types_are_recognised() {
        let is_json = |value: &str| is_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, value.parse().unwrap())]));
        for good in
            ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+JSON", "application/json;"]
        {
            assert!(is_json(good), "{good}");
        }
        for bad in ["", "text/json", "application/jsonp", "multipart/form-data", "json"] {
            assert!(!is_json(bad), "{bad}");
        }
    }
}
