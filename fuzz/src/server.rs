//! A server without a network that fuzz targets send requests to.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use ltx2_media::read_image;
use ltx2_server::{
    AllowedNetworks, ApiKeys, BodyLimits, CorsOrigins, EngineActivity, EngineControl, EngineStatus, LoraList, ModelInfo, Secret,
    Service, WebhookRules, router,
};
use ltx2_store::{Artifact, Completion, FileName, Store};
use ltx2_types::ImageLimits;
use ltx2_types::{Limits, OutputRole, Pipeline, PlanSummary};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Contents of files beside the results, which no response may contain.
const PRIVATE: &[u8] = b"nobody is to read this";
/// Status codes of file requests that have no body.
const WITHOUT_BODY: [StatusCode; 2] = [StatusCode::PRECONDITION_FAILED, StatusCode::RANGE_NOT_SATISFIABLE];
/// Maximum number of pixels of an image.
pub const MAX_PIXELS: u64 = 1 << 20;

/// A server with a full queue: it validates requests, but accepts no task.
pub struct Server {
    runtime: Runtime,
    router: Router,
    /// Path of a completed video.
    pub result: String,
    _data: TempDir,
}

impl Server {
    /// Creates a server with these API keys.
    pub fn new(keys: &[&str]) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let data = tempfile::tempdir().expect("a folder");
        let store = runtime.block_on(Store::open(data.path())).expect("a store");
        for folder in [data.path(), &data.path().join("outputs"), &data.path().join("inputs")] {
            std::fs::write(folder.join("private.txt"), PRIVATE).expect("a file");
        }
        let result = format!("/outputs/{}", runtime.block_on(complete_task(&store)));
        let router = router(service(store, keys));
        Self { runtime, router, result, _data: data }
    }

    /// Sends a request. Panics on an internal server error, or if the response contains private data.
    pub fn send(&self, request: Request<Body>) {
        let is_for_file = request.uri().path().starts_with("/outputs/");
        // Unsatisfiable ranges and failed preconditions have no body.
        let may_lack_body = |status| is_for_file && WITHOUT_BODY.contains(&status);
        self.runtime.block_on(async {
            let (head, body) = request.into_parts();
            let sent = to_bytes(body, usize::MAX).await.expect("a complete request");
            // A fuzzer can find the private text, and responses may echo the request.
            let is_echo = contains_private(&sent) || contains_private(format!("{head:?}").as_bytes());
            let request = Request::from_parts(head, Body::from(sent));
            let response = self.router.clone().oneshot(request).await.expect("a response");
            let status = response.status();
            let body = to_bytes(response.into_body(), usize::MAX).await.expect("a complete response");
            assert!(!status.is_server_error() || status == StatusCode::SERVICE_UNAVAILABLE, "{status}: {body:?}");
            assert!(is_echo || !contains_private(&body), "the response contains private data");
            if (status.is_client_error() || status.is_server_error()) && !may_lack_body(status) {
                serde_json::from_slice::<serde_json::Value>(&body).expect("an error response is JSON");
            }
        });
    }
}

fn contains_private(text: &[u8]) -> bool {
    text.windows(PRIVATE.len()).any(|window| window == PRIVATE)
}

/// Completes a task and returns the name of its video.
async fn complete_task(store: &Store) -> FileName {
    let id = store.enqueue(&Limits::server().defaults, vec![]).await.expect("a task");
    let claim = store.claim("fuzz", Duration::from_secs(60)).await.expect("a store").expect("the task");
    let video = Artifact {
        role: OutputRole::Video,
        key: FileName::of_output(&id, "mp4"),
        mime: "video/mp4".into(),
        bytes: 0,
        width: None,
        height: None,
        duration: None,
        note: None,
    };
    let key = video.key.clone();
    std::fs::write(store.output_path(&key), [7; 1000]).expect("a file");
    let completion = Completion { outputs: vec![video], pipeline: Pipeline::OneStage, enhanced_prompt: None };
    store.complete(&claim.lease, &completion).await.expect("a completed task");
    key
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
        check_image: Arc::new(move |bytes: &[u8]| {
            let image = read_image(bytes, limits).map_err(|error| error.to_string())?;
            Ok((image.width, image.height))
        }),
        probe_source: Arc::new(|_| Err("no source is readable".into())),
        model: ModelInfo {
            name: "ltx-2.0.0".into(),
            version: "2.0.0".into(),
            is_distilled: false,
            pipelines: vec![Pipeline::OneStage],
        },
        loras: LoraList::default(),
        plan_request: Arc::new(|_| Ok(PlanSummary { pipeline: Pipeline::OneStage, stages: Vec::new() })),
        public_url: None,
        body: BodyLimits { max_bytes: 1 << 20, timeout: Duration::from_secs(60) },
        api_keys: ApiKeys::new(keys),
        cors: CorsOrigins::Any,
        webhooks: Some(WebhookRules { secret, allowed: AllowedNetworks::default() }),
        fetcher: None,
        closing: CancellationToken::new(),
    }
}
