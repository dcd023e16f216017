//! The words of this API: what is sent, and what is answered.

use ltx2_store::TaskId;
use ltx2_types::{Camera, LoraInput, LoraSource, Pipeline, Sampler};
use serde::Serialize;
use serde_json::Value;

use super::fields::Fields;

/// A request's settings; what the client left out is `None`.
pub(super) struct Settings {
    pub(super) prompt: String,
    pub(super) enhance_prompt: bool,
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
    pub(super) sampler: Option<Sampler>,
    pub(super) loras: Vec<LoraInput>,
    pub(super) camera: Option<Camera>,
    pub(super) priority: i32,
    pub(super) webhook_url: Option<String>,
}

impl Settings {
    /// Reads every field that this API knows; faults are noted in `fields`.
    pub(super) fn read(fields: &mut Fields) -> Self {
        Self {
            prompt: fields.required_text("prompt"),
            enhance_prompt: fields.flag("enhance_prompt").unwrap_or(false),
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
            sampler: fields.parsed("sampler"),
            loras: loras(fields),
            camera: fields.parsed("camera"),
            priority: priority(fields),
            webhook_url: fields.text("webhook_url"),
        }
    }
}

/// Adapters of the model set: objects with a `name` and perhaps a `strength`.
fn loras(fields: &mut Fields) -> Vec<LoraInput> {
    let mut loras = Vec::new();
    for item in fields.objects("loras") {
        let name = item.get("name").and_then(Value::as_str);
        let strength = item.get("strength").map_or(Some(1.0), Value::as_f64);
        match (name, strength) {
            (Some(name), Some(strength)) => loras.push(LoraInput { source: LoraSource::Name(name.into()), strength }),
            _ => fields.reject("lora_invalid", "loras", "each must have a name and may have a strength, a number"),
        }
    }
    loras
}

/// Priorities are from minus this to this.
const HIGHEST_PRIORITY: i64 = 100;

fn priority(fields: &mut Fields) -> i32 {
    let priority = fields.integer("priority").unwrap_or(0);
    if (-HIGHEST_PRIORITY..=HIGHEST_PRIORITY).contains(&priority) {
        return priority as i32;
    }
    let rule = format!("it must be between -{HIGHEST_PRIORITY} and {HIGHEST_PRIORITY}");
    fields.reject("out_of_range", "priority", &rule);
    0
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

/// The answer to a poll, and an entry of a list.
#[derive(Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(super) enum TaskBody {
    Processing {
        #[serde(flatten)]
        place: Place,
        #[serde(flatten)]
        common: Common,
    },
    Completed {
        url: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        thumbnail_url: Option<String>,
        /// Which stages made it.
        pipeline: Pipeline,
        /// What became of the prompt, where it was to be enhanced.
        #[serde(skip_serializing_if = "Option::is_none")]
        enhanced_prompt: Option<String>,
        /// 0 to 1.
        progress: f64,
        #[serde(flatten)]
        common: Common,
    },
    Failed {
        error: String,
        #[serde(flatten)]
        common: Option<Common>,
    },
}

/// Where a task that has not ended stands.
#[derive(Serialize)]
pub(super) struct Place {
    /// 0 to 1.
    pub(super) progress: f64,
    /// `queued`, or the part of the run.
    pub(super) stage: &'static str,
    #[serde(flatten)]
    pub(super) steps: Option<Steps>,
    /// 1 is next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queue_position: Option<u32>,
    /// Seconds until the end, guessed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) eta_seconds: Option<u64>,
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
    pub(super) task_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seed: Option<u64>,
    pub(super) priority: i32,
    /// Unix time, seconds; as the next two.
    pub(super) created_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) started_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finished_at: Option<i64>,
    pub(super) timings: Timings,
}

/// How long the parts of a task took, seconds.
#[derive(Serialize)]
pub(super) struct Timings {
    /// Until its last start, or until now.
    pub(super) queued: f64,
    /// From its last start to its end, or until now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) running: Option<f64>,
}

/// What is told of tasks that are not there; clients check the HTTP status first, and that is 200 for a poll.
pub(super) const UNKNOWN: &str =
    "Task not found (server may have restarted or ID is invalid). Please submit a new request.";

impl TaskBody {
    /// A task that nobody knows.
    pub(super) fn unknown() -> Self {
        Self::Failed { error: UNKNOWN.into(), common: None }
    }
}

/// A page of tasks, the newest first.
#[derive(Serialize)]
pub(super) struct TaskList {
    pub(super) tasks: Vec<TaskBody>,
    /// To be sent as `cursor` for the next page; null on the last.
    pub(super) next_cursor: Option<String>,
}

/// The answer to a removal.
#[derive(Serialize)]
pub(super) struct Removed {
    pub(super) task_id: String,
    pub(super) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'static str>,
    /// Whether the task and its files are gone.
    pub(super) deleted: bool,
    pub(super) message: &'static str,
}

/// The name here of the request's field `field`.
pub(super) fn name_of(field: &'static str) -> &'static str {
    match field {
        "modality_scale_video" | "modality_scale_audio" => "modality_scale",
        "stg_scale_audio" => "stg_scale_video",
        "camera_strength" => "camera",
        "lora_strength" => "loras",
        "image_frame" => "keyframes",
        same => same,
    }
}
