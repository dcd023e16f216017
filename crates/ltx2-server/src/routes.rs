//! Router of all dialects and of the routes outside them.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::get;
use tower_http::trace::TraceLayer;

use crate::error::{ApiError, render};
use crate::state::Service;
use crate::{access, body_timeout, dialects, health, outputs};

/// Returns the router of `service`.
pub fn router(service: Service) -> Router {
    let (body, api_keys, cors) = (service.body, service.api_keys.clone(), service.cors.layer());
    dialects::lan::routes()
        .route_layer(from_fn_with_state(Arc::new(api_keys), access::authenticate))
        .layer(map_response(async |response: Response| render(response, dialects::lan::error_body)))
        .route("/health", get(health::health))
        .route("/outputs/{file}", get(outputs::output))
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(DefaultBodyLimit::max(body.max_bytes))
        .layer(from_fn_with_state(body.timeout, body_timeout::limit))
        // Errors outside every dialect have the form of the native API.
        .layer(map_response(async |response: Response| render(response, dialects::lan::error_body)))
        .layer(cors)
        // Failures are logged where they occur.
        .layer(TraceLayer::new_for_http().on_failure(()))
        .with_state(Arc::new(service))
}
