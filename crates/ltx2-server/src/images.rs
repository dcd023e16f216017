//! Uploaded pictures, checked before a task is made of them.

use std::sync::Arc;

use axum::body::Bytes;
use serde_json::Value;

use crate::Service;
use crate::error::{ApiError, Fault};

/// What is wrong with the picture in `field`, if anything.
pub(crate) async fn image_fault(service: &Arc<Service>, field: &str, bytes: Bytes) -> Result<Option<Fault>, ApiError> {
    let fault = |reason: String| Fault::new("image_invalid", Some(field), format!("{field}: {reason}"), Value::Null);
    if bytes.is_empty() {
        return Ok(Some(fault("the file is empty; it must be a PNG, JPEG or WebP picture".into())));
    }
    if !is_known_format(&bytes) {
        return Ok(Some(fault("the file is not a PNG, JPEG or WebP picture".into())));
    }
    let check = service.check_image.clone();
    match tokio::task::spawn_blocking(move || check(&bytes)).await {
        Ok(checked) => Ok(checked.err().map(fault)),
        Err(error) => {
            tracing::error!(%error, "checking a picture failed: {error}");
            Err(ApiError::Internal)
        }
    }
}

fn is_known_format(bytes: &[u8]) -> bool {
    let is_webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    is_webp || bytes.starts_with(b"\x89PNG\r\n\x1a\n") || bytes.starts_with(b"\xff\xd8\xff")
}
