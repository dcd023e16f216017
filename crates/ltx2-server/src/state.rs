//! Shared state of the routes: store, limits and the hooks that the binary provides.

use std::fmt;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ltx2_store::Store;
use ltx2_types::{CameraMotion, FieldError, Limits, Pipeline, PlanSummary, SourceInfo, ValidRequest};
use tokio_util::sync::CancellationToken;

use crate::api_keys::ApiKeys;
use crate::base_url::PublicUrl;
use crate::cors::CorsOrigins;
use crate::outbound::Fetcher;
use crate::webhooks::WebhookRules;

/// State of the HTTP service.
pub struct Service {
    /// Tasks and files.
    pub store: Store,
    /// Limits of requests.
    pub limits: Limits,
    /// Maximum number of queued tasks.
    pub max_waiting: u32,
    /// Status and control of the engine.
    pub engine: EngineControl,
    /// Checks an image; runs on a blocking thread.
    pub check_image: Arc<ImageCheck>,
    /// Finds the streams of a video or audio; runs on a blocking thread.
    pub probe_source: Arc<SourceProbe>,
    /// Plans a request; runs on a blocking thread.
    pub plan_request: Arc<RequestPlanner>,
    /// Model set that serves all requests.
    pub model: ModelInfo,
    /// LoRAs that requests can name.
    pub loras: LoraList,
    /// URL of the server in responses; `None` derives it from the headers of each request.
    pub public_url: Option<PublicUrl>,
    /// Limits of request bodies.
    pub body: BodyLimits,
    /// API keys. Results and health need none.
    pub api_keys: ApiKeys,
    /// Origins of web pages that may use the server.
    pub cors: CorsOrigins,
    /// Secret and networks of webhooks; `None` refuses webhooks.
    pub webhooks: Option<WebhookRules>,
    /// Client for images that requests name by URL; `None` refuses them.
    pub fetcher: Option<Fetcher>,
    /// Cancelled at shutdown: ends long polls and event streams.
    pub closing: CancellationToken,
}

/// A video or audio of a request.
#[derive(Debug, Clone, Copy)]
pub enum SourceFile<'a> {
    /// In memory.
    Bytes(&'a [u8]),
    /// A stored file.
    Path(&'a Path),
}

/// Returns the streams of a video or audio, or the reason why it cannot be used.
pub type SourceProbe = dyn Fn(SourceFile<'_>) -> Result<SourceInfo, String> + Send + Sync;

/// Decodes an image and returns its width and height in pixels, or the reason why it cannot be decoded.
pub type ImageCheck = dyn Fn(&[u8]) -> Result<(u32, u32), String> + Send + Sync;

/// Plans a request for the model set of this server, or returns the field that rules it out.
pub type RequestPlanner = dyn Fn(&ValidRequest) -> Result<PlanSummary, FieldError> + Send + Sync;

/// Model set that serves all requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelInfo {
    /// Name in responses.
    pub name: String,
    /// `model_version` of the checkpoint, such as `2.3.0`.
    pub version: String,
    /// Whether the checkpoint is distilled: its steps are fixed and it uses no guidance.
    pub is_distilled: bool,
    /// Pipelines that the set supports.
    pub pipelines: Vec<Pipeline>,
}

impl ModelInfo {
    /// Returns `pipeline` if the set supports it. Otherwise adds a note, and the set's own default applies.
    pub(crate) fn prefer(&self, pipeline: Pipeline, notes: &mut Vec<String>) -> Option<Pipeline> {
        if self.pipelines.contains(&pipeline) {
            return Some(pipeline);
        }
        notes.push(format!("the model of this server has no pipeline {}; its default is used", pipeline.name()));
        None
    }

    /// Returns a note if `id`, the name of a model in another API, is of another generation than this set.
    pub(crate) fn other_model(&self, id: &str) -> Option<String> {
        let id = id.to_ascii_lowercase().replace(['.', '_'], "-");
        let generation = ["2-3", "2-5"].into_iter().find(|generation| id.contains(&format!("ltx-{generation}")));
        let generation = generation.or(id.contains("ltx-2").then_some("2-0"))?.replace('-', ".");
        let is_same = self.version.starts_with(&generation) || (generation == "2.0" && self.version == "2");
        (!is_same).then(|| format!("{} of this server made the video instead of LTX-{generation}", self.name))
    }
}

/// LoRAs of the model set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoraList {
    /// Names of the usable LoRAs.
    pub names: Vec<String>,
    /// Camera motions that have a LoRA.
    pub cameras: Vec<CameraMotion>,
    /// Files that cannot be used, with the reason.
    pub unusable: Vec<(String, String)>,
}

/// Limits of a request body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyLimits {
    /// Maximum size, bytes.
    pub max_bytes: usize,
    /// Time for the whole body.
    pub timeout: Duration,
}

impl Default for BodyLimits {
    /// 32 MiB, enough for photographs, in two minutes.
    fn default() -> Self {
        Self { max_bytes: 32 << 20, timeout: Duration::from_secs(120) }
    }
}

/// Status and control of the engine.
#[derive(Clone)]
pub struct EngineControl {
    /// Returns the status.
    pub status: Arc<dyn Fn() -> EngineStatus + Send + Sync>,
    /// Unloads the model once the running task has ended; completes when its memory is free.
    pub unload: Arc<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>,
}

/// Status of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EngineStatus {
    /// Device name: `cpu` or `cuda`.
    pub device: &'static str,
    /// Whether a model is in memory.
    pub loaded: bool,
    /// Current activity.
    pub activity: EngineActivity,
}

/// Activity of the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EngineActivity {
    /// No task is running.
    Idle,
    /// A task is running.
    Generating,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_another_generation_is_noted() {
        let model = |version: &str| ModelInfo {
            name: "ltx".into(),
            version: version.into(),
            is_distilled: false,
            pipelines: vec![Pipeline::OneStage],
        };
        for (version, id) in [
            ("2.0.0", "model_ltx-2-19b"),
            ("2.3.0", "model_ltx-2-3-fast"),
            ("2.3.0", "LTX-2.3-22b"),
            ("2.0.0", "sora-2"),
        ] {
            assert_eq!(model(version).other_model(id), None, "{version} {id}");
        }
        for (version, id) in [("2.3.0", "model_ltx-2-19b"), ("2.0.0", "model_ltx-2-3-22b"), ("2.0.0", "ltx-2.5")] {
            assert!(model(version).other_model(id).is_some(), "{version} {id}");
        }
        let mut notes = Vec::new();
        assert_eq!(model("2.0.0").prefer(Pipeline::OneStage, &mut notes), Some(Pipeline::OneStage));
        assert_eq!((model("2.0.0").prefer(Pipeline::Hq, &mut notes), notes.len()), (None, 1));
    }
}
