//! Compressed request bodies: the encodings that the server decodes, and the refusal of others.

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::error::ApiError;

/// Middleware before the decompression: normalises `Content-Encoding`, whose names the decompression compares with
/// case, and refuses encodings that it does not know. The size limit applies to the decoded body.
pub(crate) async fn check(mut request: Request, next: Next) -> Result<Response, ApiError> {
    let Some(sent) = request.headers().get(header::CONTENT_ENCODING) else { return Ok(next.run(request).await) };
    let name = String::from_utf8_lossy(sent.as_bytes()).trim().to_ascii_lowercase();
    let normalised = match name.as_str() {
        "gzip" | "x-gzip" => Some("gzip"),
        "deflate" => Some("deflate"),
        "identity" | "" => None,
        _ => return Err(ApiError::unsupported_encoding(&name)),
    };
    match normalised {
        Some(name) => request.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static(name)),
        None => request.headers_mut().remove(header::CONTENT_ENCODING),
    };
    Ok(next.run(request).await)
}
