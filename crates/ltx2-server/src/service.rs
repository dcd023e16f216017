//! What the routes share, and the routes.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::get;
use ltx2_store::Store;
use ltx2_types::Limits;
use tower_http::trace::TraceLayer;

use crate::error::ApiError;
use crate::{PublicUrl, dialects, health, outputs};

/// A body size that photographs fit into: 32 MiB.
pub const DEFAULT_MAX_BODY: usize = 32 << 20;

/// Everything that the service needs from outside.
pub struct Service {
    /// Tasks and files.
    pub store: Store,
    /// What requests may ask for.
    pub limits: Limits,
    /// Tells how the engine is; called for each health check.
    pub engine: Arc<dyn Fn() -> EngineStatus + Send + Sync>,
    /// Decodes an uploaded picture and says what is wrong with it; may take its time.
    pub check_image: Arc<ImageCheck>,
    /// How clients reach the server; `None` goes by the headers of each request.
    pub public_url: Option<PublicUrl>,
    /// Most bytes of a request's body.
    pub max_body: usize,
}

/// Says what is wrong with the bytes of a picture, if anything.
pub type ImageCheck = dyn Fn(&[u8]) -> Result<(), String> + Send + Sync;

/// How the engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineStatus {
    /// What it computes on: `cpu` or `cuda`.
    pub device: &'static str,
    /// Whether it holds a model in memory.
    pub loaded: bool,
}

impl Service {
    /// All routes.
    pub fn into_router(self) -> Router {
        let max_body = self.max_body;
        // Failures are logged where they are answered, so not here again.
        let trace = TraceLayer::new_for_http().on_failure(());
        Router::new()
            .route("/health", get(health::health))
            .route("/outputs/{file}", get(outputs::output))
            .merge(dialects::lan::routes())
            .fallback(async || ApiError::NotFound)
            .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
            .layer(DefaultBodyLimit::max(max_body))
            .layer(trace)
            .with_state(Arc::new(self))
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("limits", &self.limits)
            .field("public_url", &self.public_url)
            .finish_non_exhaustive()
    }
}
