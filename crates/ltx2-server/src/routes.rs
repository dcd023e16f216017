//! Router of all dialects and of the routes outside them.

use std::sync::Arc;

use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use tower_http::decompression::RequestDecompressionLayer;
use tower_http::normalize_path::NormalizePath;
use tower_http::trace::TraceLayer;

use crate::error::{ApiError, ErrorCode, render};
use crate::state::Service;
use crate::{access, body_timeout, content_encoding, dialects, health, outputs};

/// Returns the router of `service`. A slash at the end of a path is ignored.
pub fn router(service: Service) -> Router {
    let (body, api_keys, cors) = (service.body, service.api_keys.clone(), service.cors.layer());
    let authenticate = from_fn_with_state(Arc::new(api_keys), access::authenticate);
    let native = dialects::lan::routes()
        .route_layer(authenticate.clone())
        .layer(map_response(async |response: Response| render(response, ErrorCode::status, dialects::lan::error_body)));
    let hosted =
        dialects::hosted_routes().nest("/v1", dialects::model_routes()).route_layer(authenticate).layer(map_response(
            async |response: Response| render(response, ErrorCode::hosted_status, dialects::hosted_error_body),
        ));
    let routes = native
        .merge(hosted)
        .route("/", get(index))
        .route("/health", get(health::health))
        .route("/outputs/{file}", get(outputs::output))
        .route("/assets/{file}", get(outputs::asset))
        .fallback(async || ApiError::not_found())
        .method_not_allowed_fallback(async || ApiError::method_not_allowed())
        .layer(DefaultBodyLimit::max(body.max_bytes))
        .layer(RequestDecompressionLayer::new())
        .layer(from_fn(content_encoding::check))
        .layer(from_fn_with_state(body.timeout, body_timeout::limit))
        // Errors outside every dialect have the form of the native API.
        .layer(map_response(async |response: Response| render(response, ErrorCode::status, dialects::lan::error_body)))
        .layer(cors)
        // Failures are logged where they occur.
        .layer(TraceLayer::new_for_http().on_failure(()))
        .with_state(Arc::new(service));
    Router::new().fallback_service(NormalizePath::trim_trailing_slash(routes))
}

/// Description of the server, for a person who opens its address.
#[derive(Serialize)]
struct Index {
    name: &'static str,
    version: &'static str,
    /// Routes to begin with, by purpose.
    routes: [(&'static str, &'static str); 5],
}

async fn index() -> Json<Index> {
    let routes = [
        ("generate from text", "POST /v1/video/async_t2v"),
        ("generate from images", "POST /v1/video/async_i2v"),
        ("tasks", "GET /v1/video/tasks"),
        ("LoRAs", "GET /v1/loras"),
        ("health", "GET /health"),
    ];
    Json(Index { name: "ltx2", version: env!("CARGO_PKG_VERSION"), routes })
}
