//! Lists of models in the forms of OpenAI and of Scenario at once: both services have them at the same path.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::scenario::{model_body, models_body};
use crate::error::ApiError;
use crate::query::Parameters;
use crate::state::Service;

/// Time of creation of models, Unix seconds.
const CREATED: i64 = 1_767_225_600;

/// Returns the routes of the lists, below `/v1`.
pub(crate) fn model_routes() -> Router<Arc<Service>> {
    Router::new().route("/models", get(list)).route("/models/{id}", get(retrieve))
}

/// Lists the model of this server for OpenAI, and the model ids that it serves for Scenario.
async fn list(State(service): State<Arc<Service>>, mut query: Parameters) -> Result<Json<Value>, ApiError> {
    query.ignore(&["projectId", "teamId", "pageSize", "paginationToken", "privacy", "originalAssets", "collectionId"]);
    query.finish()?;
    Ok(Json(json!({ "object": "list", "data": [openai(&service.model.name)], "models": models_body() })))
}

async fn retrieve(
    State(service): State<Arc<Service>>,
    Path(id): Path<String>,
    mut query: Parameters,
) -> Result<Json<Value>, ApiError> {
    query.ignore(&["projectId", "teamId", "originalAssets"]);
    query.finish()?;
    let scenario = model_body(&id);
    if scenario.is_none() && id != service.model.name {
        return Err(ApiError::unknown("model", &id));
    }
    let mut body = openai(&id);
    if let Some(model) = scenario {
        body["model"] = model;
    }
    Ok(Json(body))
}

fn openai(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": CREATED, "owned_by": "local" })
}
