//! The server's own API: submit, wait, poll, list, watch, remove.

mod events;
mod fields;
mod internal;
mod map;
mod pictures;
mod preview;
mod submit;
mod tasks;
mod wait;
mod wire;

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::Service;

/// All of its routes; they want a key where there are any.
pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/video/async_t2v", post(submit::async_t2v))
        .route("/v1/video/async_i2v", post(submit::async_i2v))
        .route("/v1/video/t2v", post(wait::t2v))
        .route("/v1/video/i2v", post(wait::i2v))
        .route("/v1/video/tasks", get(tasks::list))
        .route("/v1/video/tasks/{id}", get(tasks::poll).delete(tasks::remove))
        .route("/v1/video/tasks/{id}/events", get(events::watch))
        .route("/v1/video/tasks/{id}/preview", get(preview::preview))
        .route("/v1/internal/unload", get(internal::unload).post(internal::unload))
        .route("/v1/internal/status", get(internal::status))
}
