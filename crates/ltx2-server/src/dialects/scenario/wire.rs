//! Wire types of Scenario's API.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::body::Item;

/// Name under which tasks of this dialect are stored.
pub(super) const DIALECT: &str = "scenario";

/// Fields of all models; each model takes some of them.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GenerateRequest {
    pub(super) prompt: String,
    pub(super) negative_prompt: Option<String>,
    pub(super) image: Option<String>,
    pub(super) image_strength: Option<f64>,
    pub(super) start_image: Option<String>,
    pub(super) end_image: Option<String>,
    pub(super) last_frame_image: Option<String>,
    pub(super) last_frame_image_strength: Option<f64>,
    pub(super) keyframes: Option<Vec<Item<Keyframe>>>,
    pub(super) video: Option<String>,
    pub(super) audio: Option<String>,
    pub(super) video_strength: Option<f64>,
    pub(super) audio_strength: Option<f64>,
    pub(super) audio_source: Option<String>,
    pub(super) extend_mode: Option<String>,
    pub(super) extend_duration: Option<f64>,
    pub(super) context_duration: Option<f64>,
    pub(super) mode: Option<String>,
    pub(super) retake_mode: Option<String>,
    pub(super) start_time: Option<f64>,
    pub(super) duration: Option<f64>,
    pub(super) resolution: Option<String>,
    pub(super) aspect_ratio: Option<String>,
    pub(super) width: Option<f64>,
    pub(super) height: Option<f64>,
    pub(super) fps: Option<f64>,
    pub(super) num_inference_steps: Option<i64>,
    pub(super) guidance_scale: Option<f64>,
    pub(super) camera_motion: Option<String>,
    pub(super) camera_motion_strength: Option<f64>,
    pub(super) generate_audio: Option<bool>,
    pub(super) enhance_prompt: Option<bool>,
    pub(super) seed: Option<i128>,
}

/// A keyframe. The hosted service does not document its names; those of its clients are accepted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Keyframe {
    #[serde(alias = "imageId", alias = "assetId", alias = "asset", alias = "url")]
    pub(super) image: String,
    #[serde(alias = "timestamp", alias = "seconds")]
    pub(super) time: Option<f64>,
    #[serde(alias = "frameIndex", alias = "index")]
    pub(super) frame: Option<i64>,
    pub(super) strength: Option<f64>,
}

/// Response with a job: nested as the SDK reads it, and flat as the documentation's examples read it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobResponse {
    pub(super) job: Job,
    #[serde(flatten)]
    pub(super) flat: Job,
    pub(super) creative_units_cost: f64,
}

/// A job.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Job {
    pub(super) job_id: String,
    /// The same as `jobId`: some examples read it.
    pub(super) id: String,
    pub(super) job_type: &'static str,
    pub(super) status: JobStatus,
    /// 0 to 1.
    pub(super) progress: f64,
    pub(super) status_history: Vec<StatusChange>,
    pub(super) metadata: JobMetadata,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    pub(super) author_id: String,
    pub(super) owner_id: String,
    pub(super) billing: Billing,
}

/// Status of a job.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::IntoStaticStr, strum::EnumString, strum::VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub(super) enum JobStatus {
    Queued,
    Pending,
    WarmingUp,
    InProgress,
    Finalizing,
    Success,
    Failure,
    Canceled,
}

/// A past status of a job.
#[derive(Debug, Clone, Serialize)]
pub(super) struct StatusChange {
    pub(super) status: JobStatus,
    pub(super) date: String,
}

/// Details of a job.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct JobMetadata {
    /// The request in the server's own form.
    pub(super) input: Map<String, Value>,
    pub(super) asset_ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<String>,
    /// Differences of the video from the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) hint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queue_position: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) eta_seconds: Option<u64>,
}

/// Cost of a job: none.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Billing {
    pub(super) cu_cost: f64,
    pub(super) cu_discount: f64,
}

/// An uploaded or generated file.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AssetBody {
    pub(super) id: String,
    pub(super) url: String,
    pub(super) mime_type: String,
    /// `image`, `video` or `audio`.
    pub(super) kind: &'static str,
    /// Kind of task, or `uploaded` with the kind.
    pub(super) source: &'static str,
    pub(super) status: &'static str,
    pub(super) privacy: &'static str,
    pub(super) author_id: String,
    pub(super) owner_id: String,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    pub(super) collection_ids: Vec<String>,
    pub(super) tags: Vec<String>,
    pub(super) edit_capabilities: Vec<String>,
    pub(super) metadata: AssetMetadata,
    pub(super) properties: AssetProperties,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) thumbnail: Option<AssetImage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) last_frame: Option<AssetImage>,
}

/// An image that belongs to an asset.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AssetImage {
    pub(super) asset_id: String,
    pub(super) url: String,
}

/// Origin of an asset.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AssetMetadata {
    pub(super) r#type: &'static str,
    pub(super) kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seed: Option<String>,
}

/// Properties of the file of an asset.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AssetProperties {
    pub(super) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) width: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) height: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) duration: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) frame_rate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nb_frames: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) sample_rate: Option<u32>,
}
