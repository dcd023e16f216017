//! A whole server without a network, for targets to send requests to.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use ltx2_media::{ImageLimits, read_image};
use ltx2_server::{
    AllowedNetworks, ApiKeys, BodyLimits, CorsOrigins, EngineActivity, EngineControl, EngineStatus, Secret, Service,
    WebhookRules,
};
use ltx2_store::Store;
use ltx2_types::Limits;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// What a file beside the results says, which no answer may have in it.
const PRIVATE: &[u8] = b"nobody is to read this";
/// Pictures have at most as many pixels.
pub const MAX_PIXELS: u64 = 1 << 20;

/// A server that takes no task: its queue is full from the start, which it finds out once a request is understood.
pub struct Server {
    runtime: Runtime,
    router: Router,
    _data: TempDir,
}

impl Server {
    /// With these keys.
    pub fn new(keys: &[&str]) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let data = tempfile::tempdir().expect("a folder");
        let store = runtime.block_on(Store::open(data.path())).expect("a store");
        for folder in [data.path(), &data.path().join("outputs"), &data.path().join("inputs")] {
            std::fs::write(folder.join("private.txt"), PRIVATE).expect("a file");
        }
        let router = service(store, keys).into_router();
        Self { runtime, router, _data: data }
    }

    /// Panics where the answer is the server's own trouble, or says what nobody may read.
    pub fn send(&self, request: Request<Body>) {
        self.runtime.block_on(async {
            let response = self.router.clone().oneshot(request).await.expect("an answer");
            let status = response.status();
            let body = to_bytes(response.into_body(), usize::MAX).await.expect("a whole answer");
            assert!(!status.is_server_error() || status == StatusCode::SERVICE_UNAVAILABLE, "{status}: {body:?}");
            assert!(!body.windows(PRIVATE.len()).any(|window| window == PRIVATE), "it told what is private");
            if status.is_client_error() || status.is_server_error() {
                serde_json::from_slice::<serde_json::Value>(&body).expect("errors are JSON");
            }
        });
    }
}

fn service(store: Store, keys: &[&str]) -> Service {
    let status = EngineStatus { device: "cpu", loaded: false, activity: EngineActivity::Idle };
    let limits = ImageLimits { max_pixels: MAX_PIXELS, ..ImageLimits::default() };
    let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a secret");
    Service {
        store,
        limits: Limits::server(),
        max_waiting: 0,
        engine: EngineControl { status: Arc::new(move || status), unload: Arc::new(|| Box::pin(async {})) },
        check_image: Arc::new(move |bytes| read_image(bytes, limits).map(drop).map_err(|error| error.to_string())),
        check_request: Arc::new(|_| Ok(())),
        public_url: None,
        body: BodyLimits { max_bytes: 1 << 20, timeout: Duration::from_secs(60) },
        api_keys: ApiKeys::new(keys),
        cors: CorsOrigins::Any,
        webhooks: Some(WebhookRules { secret, allowed: AllowedNetworks::default() }),
        fetcher: None,
        closing: CancellationToken::new(),
    }
}
