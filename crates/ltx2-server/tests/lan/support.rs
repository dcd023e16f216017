//! A service on a temporary folder, and requests to it.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use ltx2_server::{
    AllowedNetworks, ApiKeys, BodyLimits, CorsOrigins, EngineActivity, EngineControl, EngineStatus, Fetcher, LoraList,
    ModelInfo, PublicUrl, Service, SourceFile, router,
};
use ltx2_store::{Artifact, Claim, Completion, FileName, Store, TaskId};
use ltx2_types::{
    AudioInfo, Field, FieldError, FrameRate, Limits, OutputRole, Pipeline, PlanSummary, Rule, SourceInfo, ValidRequest,
    VideoInfo,
};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";
pub const MAX_BODY: usize = 64 << 10;
pub const BOUNDARY: &str = "xyz";

pub struct Bench {
    pub store: Store,
    pub router: Router,
    pub data: TempDir,
    pub closing: CancellationToken,
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    /// Returns `(field, type, msg)` of every problem of a 422.
    pub fn problems(&self) -> Vec<(String, String, String)> {
        assert_eq!(self.status, StatusCode::UNPROCESSABLE_ENTITY, "{}", String::from_utf8_lossy(&self.body));
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let detail = self.json()["detail"].as_array().expect("a list").clone();
        let of = |problem: &Value| {
            assert_eq!(problem["loc"][0], "body");
            assert!(problem.get("input").is_some());
            let field = problem["loc"].get(1).map(text).unwrap_or_default();
            (field, text(&problem["type"]), text(&problem["msg"]))
        };
        detail.iter().map(of).collect()
    }
}

pub async fn bench() -> Bench {
    bench_with(|_| {}).await
}

pub async fn bench_at(public_url: Option<&str>) -> Bench {
    bench_with(|service| service.public_url = public_url.map(|url| PublicUrl::parse(url).unwrap())).await
}

/// The image check refuses images that end with `bad` and panics at `panic`; the planner refuses the prompt
/// `impossible`.
pub async fn bench_with(change: impl FnOnce(&mut Service)) -> Bench {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let check_image = |bytes: &[u8]| {
        assert!(!bytes.ends_with(b"panic"), "a bug in the decoder");
        if bytes.ends_with(b"bad") { Err("the PNG is damaged".to_owned()) } else { Ok((64, 32)) }
    };
    let plan_request = |request: &ValidRequest| {
        let rule = Rule::Supported("it takes 93 GiB and 80 GiB are allowed".into());
        match request.prompt.as_str() {
            "impossible" => Err(FieldError::new(Field::NumFrames, request.num_frames, rule)),
            _ => Ok(PlanSummary { pipeline: request.pipeline.unwrap_or(Pipeline::TwoStage), stages: Vec::new() }),
        }
    };
    let status = EngineStatus { device: "cpu", loaded: false, activity: EngineActivity::Idle };
    let mut service = Service {
        store: store.clone(),
        limits: Limits::server(),
        max_waiting: 1000,
        engine: EngineControl { status: Arc::new(move || status), unload: Arc::new(|| Box::pin(async {})) },
        check_image: Arc::new(check_image),
        probe_source: Arc::new(probe_source),
        plan_request: Arc::new(plan_request),
        model: ModelInfo {
            name: "ltx-2.0.0".into(),
            version: "2.0.0".into(),
            is_distilled: false,
            pipelines: vec![Pipeline::OneStage, Pipeline::TwoStage],
        },
        loras: LoraList::default(),
        public_url: None,
        body: BodyLimits { max_bytes: MAX_BODY, timeout: Duration::from_secs(60) },
        api_keys: ApiKeys::default(),
        cors: CorsOrigins::None,
        webhooks: None,
        fetcher: Some(Fetcher::new(AllowedNetworks::default(), MAX_BODY).unwrap()),
        closing: CancellationToken::new(),
    };
    let closing = service.closing.clone();
    change(&mut service);
    Bench { store, router: router(service), data, closing }
}

impl Bench {
    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap().into();
        Answer { status: parts.status, headers: parts.headers, body }
    }

    pub async fn call(&self, method: Method, path: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).header(header::HOST, "lan:8004");
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call(Method::GET, path).await
    }

    pub async fn post(&self, path: &str, content_type: Option<&str>, body: impl Into<Body>) -> Answer {
        let mut request = Request::builder().method(Method::POST).uri(path);
        if let Some(content_type) = content_type {
            request = request.header(header::CONTENT_TYPE, content_type);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub async fn t2v(&self, body: &str) -> Answer {
        self.post("/v1/video/async_t2v", Some("application/json"), body.to_owned()).await
    }

    pub async fn i2v(&self, fields: &[(&str, &[u8])]) -> Answer {
        let content_type = format!("multipart/form-data; boundary={BOUNDARY}");
        self.post("/v1/video/async_i2v", Some(&content_type), form(fields)).await
    }

    /// Checks that a submit succeeded, and claims its task.
    pub async fn accepted(&self, answer: Answer) -> Claim {
        assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
        let claim = self.claim().await;
        assert_eq!(answer.json()["task_id"], claim.lease.task().as_str());
        claim
    }

    pub async fn claim(&self) -> Claim {
        self.store.claim("test", Duration::from_secs(60)).await.unwrap().expect("a queued task")
    }

    /// Submits and completes a task with the video `content`.
    pub async fn completed(&self, content: &[u8]) -> TaskId {
        let claim = self.accepted(self.t2v(r#"{"prompt":"a fox"}"#).await).await;
        self.complete(&claim, content).await;
        claim.lease.task().clone()
    }

    /// Completes a task with the video `content`, a thumbnail and a last frame.
    pub async fn complete(&self, claim: &Claim, content: &[u8]) {
        let output = |role, extension, mime: &str, content: &[u8]| {
            let key = FileName::of_output(claim.lease.task(), extension);
            std::fs::write(self.store.output_path(&key), content).unwrap();
            let note = (role == OutputRole::Video).then(|| "a lower quality".into());
            Artifact { role, key, mime: mime.into(), bytes: 0, width: None, height: None, duration: None, note }
        };
        let outputs = vec![
            output(OutputRole::Video, "mp4", "video/mp4", content),
            output(OutputRole::Thumbnail, "jpg", "image/jpeg", b"\xff\xd8\xff"),
            output(OutputRole::LastFrame, "png", "image/png", b"\x89PNG"),
        ];
        let enhanced_prompt = claim.request.enhance_prompt.then(|| format!("{}, at length", claim.request.prompt));
        let completion = Completion { outputs, pipeline: Pipeline::TwoStage, enhanced_prompt };
        self.store.complete(&claim.lease, &completion).await.unwrap();
    }

    /// Submits a task and returns its id.
    pub async fn queued(&self, body: &str) -> TaskId {
        let answer = self.t2v(body).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer.body));
        TaskId::parse(answer.json()["task_id"].as_str().unwrap()).unwrap()
    }
}

/// Returns a form: `image`, `end` and `video!` are files, `image!` is a file `image` without a file name, all else is text.
pub fn form(fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in fields {
        let (name, file) = match *name {
            "image" => ("image", "; filename=\"first.png\"\r\nContent-Type: image/png"),
            "image!" => ("image", ""),
            "video!" => ("video", "; filename=\"in.mp4\"\r\nContent-Type: video/mp4"),
            "end" => ("end", "; filename=\"end.png\"\r\nContent-Type: image/png"),
            text => (text, ""),
        };
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"{file}\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(value);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    body
}

/// Every source that does not end with `bad` has 50 frames of 128x64 pixels at 25 per second, and two seconds of audio.
fn probe_source(file: SourceFile<'_>) -> Result<SourceInfo, String> {
    let is_bad = matches!(file, SourceFile::Bytes(bytes) if bytes.ends_with(b"bad"));
    let frame_rate = FrameRate::new(25.0).unwrap();
    let video = Some(VideoInfo { width: 128, height: 64, num_frames: 50, frame_rate });
    let audio = Some(AudioInfo { sample_rate: 48000, seconds: 2.0 });
    if is_bad { Err("the file is damaged".into()) } else { Ok(SourceInfo { video, audio }) }
}
