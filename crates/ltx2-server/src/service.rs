//! What the routes share, and the routes.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use ltx2_store::Store;
use ltx2_types::{Limits, ValidRequest};
use tokio_util::sync::CancellationToken;
use tower_http::trace::TraceLayer;

use crate::error::ApiError;
use crate::webhooks::WebhookRules;
use crate::{ApiKeys, CorsOrigins, Fetcher, PublicUrl, access, dialects, health, outputs, patience};

/// Everything that the service needs from outside.
pub struct Service {
    /// Tasks and files.
    pub store: Store,
    /// What requests may ask for.
    pub limits: Limits,
    /// Most tasks that wait.
    pub max_waiting: u32,
    /// The engine, from afar.
    pub engine: EngineControl,
    /// Decodes an uploaded picture and says what is wrong with it; may take its time.
    pub check_image: Arc<ImageCheck>,
    /// Says why a request that is within the limits cannot be run here; may take its time.
    pub check_request: Arc<RequestCheck>,
    /// How clients reach the server; `None` goes by the headers of each request.
    pub public_url: Option<PublicUrl>,
    /// What a request's body may cost.
    pub body: BodyLimits,
    /// Who may use the server; results and health are open to all.
    pub api_keys: ApiKeys,
    /// Pages of which origins may use the server from a browser.
    pub cors: CorsOrigins,
    /// Whom the server may call at the end of a task; `None` refuses webhooks.
    pub webhooks: Option<WebhookRules>,
    /// Fetches pictures that clients name by URL; `None` refuses those.
    pub fetcher: Option<Fetcher>,
    /// Cancelled when the server stops: whoever waits for something that may take long is let go.
    pub closing: CancellationToken,
}

/// Says what is wrong with the bytes of a picture, if anything.
pub type ImageCheck = dyn Fn(&[u8]) -> Result<(), String> + Send + Sync;

/// Says why a request cannot be run, if that is so.
pub type RequestCheck = dyn Fn(&ValidRequest) -> Result<(), String> + Send + Sync;

/// What a request's body may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Most bytes.
    pub max_bytes: usize,
    /// How long a client may take to send all of it.
    pub timeout: Duration,
}

impl Default for BodyLimits {
    /// 32 MiB, which photographs fit into, in two minutes.
    fn default() -> Self {
        Self { max_bytes: 32 << 20, timeout: Duration::from_secs(120) }
    }
}

/// The engine, from afar.
#[derive(Clone)]
pub struct EngineControl {
    /// Tells how it is.
    pub status: Arc<dyn Fn() -> EngineStatus + Send + Sync>,
    /// Has its memory given back once the task that runs has ended, and then returns.
    pub unload: Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>,
}

/// How the engine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineStatus {
    /// What it computes on: `cpu` or `cuda`.
    pub device: &'static str,
    /// Whether it holds a model in memory.
    pub loaded: bool,
    /// What it does.
    pub activity: EngineActivity,
}

/// What the engine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineActivity {
    /// Waits for a task.
    Idle,
    /// Runs one.
    Generating,
}

impl Service {
    /// All routes.
    pub fn into_router(self) -> Router {
        let max_bytes = self.body.max_bytes;
        let cors = self.cors.layer();
        let service = Arc::new(self);
        // Failures are logged where they are answered, so not here again.
        let trace = TraceLayer::new_for_http().on_failure(());
        dialects::lan::routes()
            .route_layer(from_fn_with_state(service.clone(), access::guard))
            .route("/health", get(health::health))
            .route("/outputs/{file}", get(outputs::output))
            .fallback(async || ApiError::NotFound)
            .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
            .layer(DefaultBodyLimit::max(max_bytes))
            .layer(from_fn_with_state(service.clone(), patience::limit))
            .layer(cors)
            .layer(trace)
            .with_state(service)
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("limits", &self.limits)
            .field("max_waiting", &self.max_waiting)
            .field("public_url", &self.public_url)
            .field("body", &self.body)
            .field("api_keys", &self.api_keys)
            .field("cors", &self.cors)
            .field("webhooks", &self.webhooks)
            .finish_non_exhaustive()
    }
}
