//! The latest small picture of a video that is being made.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use ltx2_store::TaskStatus;

use super::tasks::{id, unknown};
use crate::Service;
use crate::error::ApiError;

/// A JPEG, or 404 while there is none; asking has further ones made for some minutes.
pub(super) async fn preview(
    State(service): State<Arc<Service>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Some(id) = id(path) else { return Ok(unknown()) };
    let Some(record) = service.store.task(&id).await? else { return Ok(unknown()) };
    if !matches!(record.status, TaskStatus::Queued { .. } | TaskStatus::Running { .. }) {
        return Err(ApiError::NotFound);
    }
    service.store.want_previews(&id);
    let jpeg = service.store.preview(&id).await?.ok_or(ApiError::NotFound)?;
    let headers = [(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, jpeg).into_response())
}
