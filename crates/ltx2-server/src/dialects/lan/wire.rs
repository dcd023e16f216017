//! Wire types of the native API.

use ltx2_types::{Camera, CameraMotion, ExtendSide, Pipeline, Quality, RetakePart, Sampler, VideoFormat};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::body::{Item, unknown_name};
use crate::error::{FieldProblem, ProblemKind};

/// Name under which tasks of this dialect are stored.
pub(super) const DIALECT: &str = "lan";

/// Names that clients send instead of a field's own name: pairs of alias and field.
pub(super) const ALIASES: &[(&str, &str)] = &[
    ("fps", "frame_rate"),
    ("frames", "num_frames"),
    ("steps", "num_inference_steps"),
    ("num_steps", "num_inference_steps"),
    ("image_url", "image"),
];

/// Request for a video. Omitted fields have the defaults of the server.
#[derive(Debug, Deserialize)]
pub(super) struct VideoRequest {
    /// Strength of `image`, 0 to 1.
    pub(super) image_strength: Option<f64>,
    /// First frame: a URL or data URL. In a form it may also be a file.
    pub(super) image: Option<String>,
    /// Images at given times.
    pub(super) keyframes: Option<Vec<Item<Keyframe>>>,
    /// Text that describes the video and its audio.
    pub(super) prompt: String,
    /// Whether the text encoder first expands the prompt.
    pub(super) enhance_prompt: Option<bool>,
    /// Text to steer away from.
    pub(super) negative_prompt: Option<String>,
    /// Height, pixels.
    pub(super) height: Option<i64>,
    /// Width, pixels.
    pub(super) width: Option<i64>,
    /// Number of frames.
    pub(super) num_frames: Option<i64>,
    /// Frames per second.
    pub(super) frame_rate: Option<f64>,
    /// Denoising steps.
    pub(super) num_inference_steps: Option<i64>,
    /// Seed of the noise; -1 draws a random one.
    pub(super) seed: Option<i128>,
    /// Classifier-free guidance of video and audio.
    pub(super) guidance_scale: Option<f64>,
    /// Classifier-free guidance of the video.
    pub(super) cfg_scale_video: Option<f64>,
    /// Spatio-temporal guidance of video and audio.
    pub(super) stg_scale_video: Option<f64>,
    /// Classifier-free guidance of the audio.
    pub(super) cfg_scale_audio: Option<f64>,
    /// Guidance by the other modality, of video and audio.
    pub(super) modality_scale: Option<f64>,
    /// Pipeline.
    pub(super) pipeline: Option<Pipeline>,
    /// Sampler.
    pub(super) sampler: Option<Sampler>,
    /// LoRAs of the model set.
    pub(super) loras: Option<Vec<Item<Lora>>>,
    /// Camera motion, as `MOTION` or `MOTION:STRENGTH`.
    #[serde(default, deserialize_with = "camera")]
    pub(super) camera: Option<Camera>,
    /// Format of the video file.
    pub(super) format: Option<VideoFormat>,
    /// Quality of the video file.
    pub(super) quality: Option<Quality>,
    /// Maximum size of the video file, bytes.
    pub(super) max_bytes: Option<u64>,
    /// Whether the file holds the prompt, the seed, the model version and the settings; true by default.
    pub(super) metadata: Option<bool>,
    /// Whether the video has audio; true by default. Formats without audio ignore it.
    pub(super) generate_audio: Option<bool>,
    /// Priority, -100 to 100; higher runs first.
    pub(super) priority: Option<i64>,
    /// URL to call when the task has ended.
    pub(super) webhook_url: Option<String>,
}

fn camera<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Camera>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    text.map(|text| text.parse()).transpose().map_err(D::Error::custom)
}

/// Image at a time or frame of the video.
#[derive(Debug, Deserialize)]
pub(super) struct Keyframe {
    /// Name of a file of the form, a URL or a data URL.
    pub(super) image: String,
    /// Time, seconds. Excludes `frame`.
    pub(super) time: Option<f64>,
    /// Index of the frame. Excludes `time`.
    pub(super) frame: Option<i64>,
    /// Strength, 0 to 1.
    pub(super) strength: Option<f64>,
}

/// Fields of the tasks that work on a video or audio. Each route takes some of them.
#[derive(Debug, Default, Deserialize)]
pub(super) struct SourceRequest {
    /// Video: a URL, a data URL or the id of a task. In a form it may also be a file.
    pub(super) video: Option<String>,
    /// Audio, in the forms of `video`.
    pub(super) audio: Option<String>,
    /// End of the video to extend.
    pub(super) direction: Option<ExtendSide>,
    /// Length of the extension, seconds. Excludes `num_frames`.
    pub(super) duration: Option<f64>,
    /// Length of the part that an extension follows from, seconds.
    pub(super) context: Option<f64>,
    /// Conditioning strength of the video to extend, 0 to 1.
    pub(super) video_strength: Option<f64>,
    /// Conditioning strength of the audio of the video to extend, 0 to 1.
    pub(super) audio_strength: Option<f64>,
    /// Start of the window to generate again, seconds.
    pub(super) start_time: Option<f64>,
    /// End of the window to generate again, seconds.
    pub(super) end_time: Option<f64>,
    /// Modalities to generate again.
    pub(super) part: Option<RetakePart>,
    /// Noise level of the video to make another one from, 0 to 1.
    pub(super) strength: Option<f64>,
}

/// LoRA of the model set.
#[derive(Debug, Deserialize)]
pub(super) struct Lora {
    /// Name of the file, without `.safetensors`.
    pub(super) name: String,
    /// Scale of the weights, -2 to 2.
    #[serde(alias = "weight", alias = "scale")]
    pub(super) strength: Option<f64>,
}

/// Response to a submit.
#[derive(Serialize)]
pub(super) struct SubmitResponse {
    pub(super) task_id: String,
    pub(super) status: &'static str,
    pub(super) message: &'static str,
}

/// A task, as response to a poll, in a list and in events.
#[derive(Serialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub(super) enum TaskBody {
    /// Queued or running.
    Processing {
        #[serde(flatten)]
        progress: TaskProgress,
        /// URL of the events; with API keys it is signed, for browsers.
        events_url: String,
        /// URL of the preview, as that of the events.
        preview_url: String,
        #[serde(flatten)]
        info: TaskInfo,
    },
    /// Ended with a result.
    Completed {
        /// URL of the video.
        url: String,
        /// URL of the first frame.
        #[serde(skip_serializing_if = "Option::is_none")]
        thumbnail_url: Option<String>,
        /// URL of the last frame, a PNG.
        #[serde(skip_serializing_if = "Option::is_none")]
        last_frame_url: Option<String>,
        /// Difference of the video from the request, such as a lower quality to fit `max_bytes`.
        #[serde(skip_serializing_if = "Option::is_none")]
        note: Option<String>,
        /// Pipeline that ran.
        pipeline: Pipeline,
        /// Enhanced prompt, if the request asked for one.
        #[serde(skip_serializing_if = "Option::is_none")]
        enhanced_prompt: Option<String>,
        /// 1.
        progress: f64,
        #[serde(flatten)]
        info: TaskInfo,
    },
    /// Ended without a result, or unknown.
    Failed {
        /// Reason.
        error: String,
        #[serde(flatten)]
        info: Option<TaskInfo>,
    },
}

/// Progress of a task that has not ended.
#[derive(Serialize)]
pub(super) struct TaskProgress {
    /// 0 to 1.
    pub(super) progress: f64,
    /// `queued`, `starting`, `stopping` or the phase of the run.
    pub(super) stage: &'static str,
    #[serde(flatten)]
    pub(super) steps: Option<Steps>,
    /// Position in the queue; 1 is next.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) queue_position: Option<u32>,
    /// Estimated time until the end, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) eta_seconds: Option<u64>,
}

/// Steps of the current phase.
#[derive(Serialize)]
pub(super) struct Steps {
    /// Completed steps.
    pub(super) step: u32,
    /// All steps.
    pub(super) total_steps: u32,
}

/// Properties of a task in every state. Times are Unix seconds.
#[derive(Serialize)]
pub(super) struct TaskInfo {
    pub(super) task_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seed: Option<u64>,
    pub(super) priority: i32,
    pub(super) created_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) started_at: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) finished_at: Option<i64>,
    pub(super) timings: Timings,
}

/// Durations of a task so far, seconds.
#[derive(Serialize)]
pub(super) struct Timings {
    /// Until its last start.
    pub(super) queued: f64,
    /// Since its last start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) running: Option<f64>,
}

/// Error of an unknown task. Clients check the HTTP status first, and a poll answers 200.
pub(super) const UNKNOWN_TASK: &str =
    "Task not found (server may have restarted or ID is invalid). Please submit a new request.";

impl TaskBody {
    /// Returns the body for an unknown task.
    pub(super) fn unknown() -> Self {
        Self::Failed { error: UNKNOWN_TASK.into(), info: None }
    }
}

/// Query of a list, as sent.
#[derive(Default)]
pub(super) struct ListQuery {
    pub(super) status: Option<String>,
    pub(super) limit: Option<String>,
    pub(super) cursor: Option<String>,
}

impl ListQuery {
    /// Returns the query with the given parameters.
    ///
    /// # Errors
    /// A parameter is unknown or repeated.
    pub(super) fn new(parameters: Vec<(String, String)>) -> Result<Self, FieldProblem> {
        let mut query = Self::default();
        for (name, value) in parameters {
            let parameter = match name.as_str() {
                "status" => &mut query.status,
                "limit" => &mut query.limit,
                "cursor" => &mut query.cursor,
                _ => {
                    let message = unknown_name(&name, &["status", "limit", "cursor"]);
                    return Err(FieldProblem::query(ProblemKind::UnknownField, "query", message, &value));
                }
            };
            if parameter.replace(value).is_some() {
                let message = format!("{name} is given more than once; send one value");
                return Err(FieldProblem::query(ProblemKind::DuplicateField, "query", message, ""));
            }
        }
        Ok(query)
    }
}

/// A page of tasks, the newest first.
#[derive(Serialize)]
pub(super) struct TaskList {
    pub(super) tasks: Vec<TaskBody>,
    /// `cursor` of the next page; null on the last one.
    pub(super) next_cursor: Option<String>,
}

/// Response to a removal.
#[derive(Serialize)]
pub(super) struct RemoveResponse {
    pub(super) task_id: String,
    pub(super) status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) error: Option<&'static str>,
    /// Whether the task and its files are deleted.
    pub(super) deleted: bool,
    pub(super) message: &'static str,
}

/// Data of a `preview` event.
#[derive(Serialize)]
pub(super) struct PreviewBody {
    pub(super) url: String,
}

/// LoRAs of the model set.
#[derive(Serialize)]
pub(super) struct LoraListBody {
    /// Names for the field `loras`.
    pub(super) loras: Vec<String>,
    /// Values of the field `camera`.
    pub(super) cameras: Vec<CameraMotion>,
    pub(super) unusable: Vec<UnusableLora>,
}

/// File that cannot be used as a LoRA.
#[derive(Serialize)]
pub(super) struct UnusableLora {
    /// Path below the folder of the model set.
    pub(super) file: String,
    pub(super) reason: String,
}

/// Response of `/v1/internal/unload`.
#[derive(Serialize)]
pub(super) struct UnloadResponse {
    pub(super) status: &'static str,
}

/// Response of `/v1/internal/status`.
#[derive(Serialize)]
pub(super) struct StatusResponse {
    pub(super) status: &'static str,
    pub(super) model_loaded: bool,
    pub(super) device: &'static str,
    /// Queued tasks.
    pub(super) queued: u32,
    /// Running tasks.
    pub(super) running: u32,
}

/// Error in FastAPI's form.
#[derive(Serialize)]
pub(crate) struct ErrorBody {
    pub(super) detail: Detail,
}

/// Detail of an error.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Detail {
    /// Every invalid part of the request.
    Problems(Vec<Problem>),
    /// Message.
    Message(String),
}

/// Invalid part of a request.
#[derive(Serialize)]
pub(super) struct Problem {
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    /// `body`, `query` or `header`, then the name.
    pub(super) loc: Vec<String>,
    pub(super) msg: String,
    /// The value as sent, shortened.
    pub(super) input: Value,
}
