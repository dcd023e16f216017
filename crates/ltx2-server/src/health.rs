//! Is the server up, and does it hold a model?

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;

use crate::Service;

#[derive(Serialize)]
pub(crate) struct Health {
    status: &'static str,
    device: &'static str,
    vram_loaded: bool,
}

pub(crate) async fn health(State(service): State<Arc<Service>>) -> Json<Health> {
    let engine = (service.engine.status)();
    Json(Health { status: "running", device: engine.device, vram_loaded: engine.loaded })
}
