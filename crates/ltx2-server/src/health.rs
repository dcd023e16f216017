//! Health check.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::state::Service;

/// Response of `/health`.
#[derive(Serialize)]
pub(crate) struct Health {
    status: &'static str,
    device: &'static str,
    vram_loaded: bool,
}

/// Returns the state of the server and of its engine.
pub(crate) async fn health(State(service): State<Arc<Service>>) -> Json<Health> {
    let engine = (service.engine.status)();
    Json(Health { status: "running", device: engine.device, vram_loaded: engine.loaded })
}
