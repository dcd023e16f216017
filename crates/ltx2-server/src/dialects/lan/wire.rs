//! The words of this API: what is sent, and what is answered.

use ltx2_store::TaskId;
use ltx2_types::{Camera, Pipeline};
use serde::Serialize;

use super::fields::Fields;

/// A request's settings; what the client left out is `None`.
pub(super) struct Settings {
    pub(super) prompt: String,
    pub(super) negative_prompt: Option<String>,
    pub(super) height: Option<i64>,
    pub(super) width: Option<i64>,
    pub(super) num_frames: Option<i64>,
    pub(super) frame_rate: Option<f64>,
    pub(super) num_inference_steps: Option<i64>,
    pub(super) seed: Option<i64>,
    pub(super) cfg_scale_video: Option<f64>,
    pub(super) stg_scale_video: Option<f64>,
    pub(super) cfg_scale_audio: Option<f64>,
    pub(super) modality_scale: Option<f64>,
    pub(super) pipeline: Option<Pipeline>,
    pub(super) camera: Option<Camera>,
}

impl Settings {
    /// Reads every field that this API knows; faults are noted in `fields`.
    pub(super) fn read(fields: &mut Fields) -> Self {
        if fields.flag("enhance_prompt") == Some(true) {
            fields.reject("not_supported", "enhance_prompt", "this server cannot enhance prompts yet; leave it out");
        }
        Self {
            prompt: fields.required_text("prompt"),
            negative_prompt: fields.text("negative_prompt"),
            height: fields.integer("height"),
            width: fields.integer("width"),
            num_frames: fields.integer("num_frames"),
            frame_rate: fields.number("frame_rate"),
            num_inference_steps: fields.integer("num_inference_steps"),
            seed: fields.integer("seed"),
            cfg_scale_video: fields.number("cfg_scale_video"),
            stg_scale_video: fields.number("stg_scale_video"),
            cfg_scale_audio: fields.number("cfg_scale_audio"),
            modality_scale: fields.number("modality_scale"),
            pipeline: fields.parsed("pipeline"),
            camera: fields.parsed("camera"),
        }
    }
}

/// The answer to a submit.
#[derive(Serialize)]
pub(super) struct Submitted {
    task_id: String,
    status: &'static str,
    message: &'static str,
}

impl Submitted {
    pub(super) fn new(id: &TaskId) -> Self {
        // The braces are on the API's page too: the message is a constant.
        let message = "Task queued. Poll GET /v1/video/tasks/{task_id}";
        Self { task_id: id.to_string(), status: "processing", message }
    }
}

/// The answer to a poll.
#[derive(Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(super) enum TaskBody {
    Processing {
        /// 0 to 1.
        progress: f64,
        /// `queued`, or the part of the run.
        stage: &'static str,
        #[serde(flatten)]
        steps: Option<Steps>,
        /// 1 is next.
        #[serde(skip_serializing_if = "Option::is_none")]
        queue_position: Option<u32>,
        #[serde(flatten)]
        common: Common,
    },
    Completed {
        url: String,
        /// Which stages made it.
        pipeline: Pipeline,
        #[serde(flatten)]
        common: Common,
    },
    Failed {
        error: String,
        #[serde(flatten)]
        common: Option<Common>,
    },
}

/// Steps of the stage.
#[derive(Serialize)]
pub(super) struct Steps {
    pub(super) step: u32,
    pub(super) total_steps: u32,
}

/// What is told of a task in every state.
#[derive(Serialize)]
pub(super) struct Common {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seed: Option<u64>,
    /// Unix time, seconds.
    pub(super) created_at: i64,
}

impl TaskBody {
    /// A task that nobody knows; clients check the HTTP status first, and this one is not an error to them.
    pub(super) fn unknown() -> Self {
        let error = "Task not found (server may have restarted or ID is invalid). Please submit a new request.";
        Self::Failed { error: error.into(), common: None }
    }
}

/// The name here of the request's field `field`.
pub(super) fn name_of(field: &'static str) -> &'static str {
    match field {
        "modality_scale_video" | "modality_scale_audio" => "modality_scale",
        "stg_scale_audio" => "stg_scale_video",
        "camera_strength" => "camera",
        same => same,
    }
}
