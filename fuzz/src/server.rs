//! A whole server without a network, for targets to send requests to.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use ltx2_media::read_image;
use ltx2_types::ImageLimits;
use ltx2_server::{
    AllowedNetworks, ApiKeys, BodyLimits, CorsOrigins, EngineActivity, EngineControl, EngineStatus, Secret, Service,
    WebhookRules,
};
use ltx2_store::{Artifact, FileName, Store};
use ltx2_types::{Limits, Pipeline};
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// What a file beside the results says, which no answer may have in it.
const PRIVATE: &[u8] = b"nobody is to read this";
/// What a file's request may be answered with without a word.
const BARE: [StatusCode; 2] = [StatusCode::PRECONDITION_FAILED, StatusCode::RANGE_NOT_SATISFIABLE];
/// Pictures have at most as many pixels.
pub const MAX_PIXELS: u64 = 1 << 20;

/// A server that takes no task: its queue is full from the start, which it finds out once a request is understood.
pub struct Server {
    runtime: Runtime,
    router: Router,
    /// The address of a finished video.
    pub result: String,
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
        let result = format!("/outputs/{}", runtime.block_on(finish_one(&store)));
        let router = service(store, keys).into_router();
        Self { runtime, router, result, _data: data }
    }

    /// Panics where the answer is the server's own trouble, or says what nobody may read.
    pub fn send(&self, request: Request<Body>) {
        let is_for_file = request.uri().path().starts_with("/outputs/");
        // Ranges of files that cannot be are answered by the status alone.
        let may_be_bare = |status| is_for_file && BARE.contains(&status);
        self.runtime.block_on(async {
            let (head, body) = request.into_parts();
            let sent = to_bytes(body, usize::MAX).await.expect("a whole request");
            // Fuzzers find out what is looked for, and answers may repeat what was sent.
            let knows = tells(&sent) || tells(format!("{head:?}").as_bytes());
            let request = Request::from_parts(head, Body::from(sent));
            let response = self.router.clone().oneshot(request).await.expect("an answer");
            let status = response.status();
            let body = to_bytes(response.into_body(), usize::MAX).await.expect("a whole answer");
            assert!(!status.is_server_error() || status == StatusCode::SERVICE_UNAVAILABLE, "{status}: {body:?}");
            assert!(knows || !tells(&body), "it told what is private");
            if (status.is_client_error() || status.is_server_error()) && !may_be_bare(status) {
                serde_json::from_slice::<serde_json::Value>(&body).expect("errors are JSON");
            }
        });
    }
}

fn tells(text: &[u8]) -> bool {
    text.windows(PRIVATE.len()).any(|window| window == PRIVATE)
}

/// A task with a result, whose name is returned.
async fn finish_one(store: &Store) -> FileName {
    let id = store.enqueue(&Limits::server().defaults, vec![]).await.expect("a task");
    let claim = store.claim("fuzz", Duration::from_secs(60)).await.expect("a store").expect("the task");
    let artifact = Artifact {
        file: FileName::of_video(&id),
        thumbnail: None,
        pipeline: Pipeline::OneStage,
        enhanced_prompt: None,
    };
    std::fs::write(store.output_path(&artifact.file), [7; 1000]).expect("a file");
    store.complete(&claim.lease, &artifact).await.expect("an end");
    artifact.file
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
