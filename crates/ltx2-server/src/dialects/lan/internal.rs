//! What operators and hubs in front of several servers call.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::{EngineActivity, Service};

/// How the server is.
#[derive(Serialize)]
pub(super) struct Status {
    status: &'static str,
    model_loaded: bool,
    device: &'static str,
    /// Tasks that wait.
    queued: u32,
    /// Tasks that run.
    running: u32,
}

/// Has the model's memory given back, once the task that runs has ended.
pub(super) async fn unload(State(service): State<Arc<Service>>) -> Json<Value> {
    (service.engine.unload)().await;
    Json(json!({"status": "models unloaded"}))
}

pub(super) async fn status(State(service): State<Arc<Service>>) -> Result<Json<Status>, ApiError> {
    let engine = (service.engine.status)();
    let open = service.store.open_tasks().await?;
    let status = match engine.activity {
        EngineActivity::Idle => "idle",
        EngineActivity::Generating => "generating",
    };
    let (queued, running) = (open.waiting, open.running);
    Ok(Json(Status { status, model_loaded: engine.loaded, device: engine.device, queued, running }))
}
