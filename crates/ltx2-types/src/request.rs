//! Requests before and after validation.

use serde::{Deserialize, Serialize};

use crate::names::unknown_name;
use crate::{Camera, FrameRate, LoraInput, OutputSpec, SourceInfo, Task};

/// A request as a dialect or the command line parsed it. Omitted fields are `None`; integers are wide enough to hold
/// invalid values, so that validation can report them.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerationRequest {
    /// Kind of task with its inputs.
    pub task: Task,
    /// Streams of the task's source, if it has one.
    pub source: Option<SourceInfo>,
    /// Text that describes the video and its audio.
    pub prompt: String,
    /// Whether the text encoder first expands the prompt into a description of a shot.
    pub enhance_prompt: bool,
    /// Text to steer away from.
    pub negative_prompt: Option<String>,
    /// Pipeline; `None` selects the best one that the model set supports.
    pub pipeline: Option<Pipeline>,
    /// Sampler; `None` selects the pipeline's own.
    pub sampler: Option<Sampler>,
    /// LoRAs for all stages.
    pub loras: Vec<LoraInput>,
    /// Camera motion, by a LoRA of the model set.
    pub camera: Option<Camera>,
    /// Width, pixels.
    pub width: Option<i64>,
    /// Height, pixels.
    pub height: Option<i64>,
    /// Exact number of frames of the result.
    pub num_frames: Option<i64>,
    /// Frames per second.
    pub frame_rate: Option<f64>,
    /// Denoising steps.
    pub num_inference_steps: Option<i64>,
    /// Seed of the noise, 64 bits without a sign; -1 draws a random one.
    pub seed: Option<i128>,
    /// Guidance of the video.
    pub video_guidance: GuidanceRequest,
    /// Guidance of the audio.
    pub audio_guidance: GuidanceRequest,
    /// Format of the result.
    pub output: OutputSpec,
    /// Differences between the request as sent and as made, for people.
    pub notes: Vec<String>,
}

impl GenerationRequest {
    /// Returns a request with every optional field omitted.
    pub fn new(task: Task, prompt: impl Into<String>) -> Self {
        Self {
            task,
            source: None,
            prompt: prompt.into(),
            enhance_prompt: false,
            negative_prompt: None,
            pipeline: None,
            sampler: None,
            loras: Vec::new(),
            camera: None,
            width: None,
            height: None,
            num_frames: None,
            frame_rate: None,
            num_inference_steps: None,
            seed: None,
            video_guidance: GuidanceRequest::default(),
            audio_guidance: GuidanceRequest::default(),
            output: OutputSpec::default(),
            notes: Vec::new(),
        }
    }
}

/// Pipeline: the stages of a generation.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
    strum::VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = unknown_pipeline)]
pub enum Pipeline {
    /// Full size in one stage, with guidance.
    OneStage,
    /// Half size with guidance, then full size with the distilled LoRA.
    TwoStage,
    /// Half size, then full size (or full size alone, without an upscaler), with a distilled model and no guidance.
    Distilled,
    /// Two stages with part of the distilled LoRA in both and the second-order sampler.
    Hq,
}

impl Pipeline {
    /// Returns the name on the wire and on the command line.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

fn unknown_pipeline(value: &str) -> String {
    unknown_name::<Pipeline>("pipeline", value)
}

/// Sampler: the method of a denoising step.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
    strum::VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = unknown_sampler)]
pub enum Sampler {
    /// First-order Euler: one prediction per step.
    Euler,
    /// Euler with each velocity corrected by its change since the previous step.
    GradientEstimation,
    /// Second-order: two predictions per step, each followed by fresh noise.
    #[serde(rename = "res-2s")]
    #[strum(serialize = "res-2s")]
    Res2s,
}

impl Sampler {
    /// Returns the name on the wire and on the command line.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

fn unknown_sampler(value: &str) -> String {
    unknown_name::<Sampler>("sampler", value)
}

/// Requested guidance scales of one modality.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct GuidanceRequest {
    /// Classifier-free guidance; 1 is off.
    pub cfg: Option<f64>,
    /// Spatio-temporal guidance; 0 is off.
    pub stg: Option<f64>,
    /// Guidance by the other modality; 1 is off.
    pub modality: Option<f64>,
    /// Rescaling of the guided prediction's standard deviation towards the conditional one's; 0 is off.
    pub rescale: Option<f64>,
}

/// Guidance scales of one modality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Guidance {
    /// Classifier-free guidance; 1 is off.
    pub cfg: f64,
    /// Spatio-temporal guidance; 0 is off.
    pub stg: f64,
    /// Guidance by the other modality; 1 is off.
    pub modality: f64,
    /// Rescaling of the guided prediction's standard deviation towards the conditional one's; 0 is off.
    pub rescale: f64,
}

/// A validated request: defaults are filled in, the seed is drawn and every limit is checked. [`crate::validate`]
/// creates it from outside data.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ValidRequest {
    /// Kind of task with its inputs.
    pub task: Task,
    /// Streams of the task's source, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceInfo>,
    /// Text that describes the video and its audio.
    pub prompt: String,
    /// Whether the text encoder first expands the prompt into a description of a shot.
    #[serde(default)]
    pub enhance_prompt: bool,
    /// Text to steer away from.
    pub negative_prompt: String,
    /// Pipeline; `None` selects the best one that the model set supports.
    #[serde(default)]
    pub pipeline: Option<Pipeline>,
    /// Sampler; `None` selects the pipeline's own.
    #[serde(default)]
    pub sampler: Option<Sampler>,
    /// LoRAs for all stages.
    #[serde(default)]
    pub loras: Vec<LoraInput>,
    /// Camera motion, by a LoRA of the model set.
    #[serde(default)]
    pub camera: Option<Camera>,
    /// Width of the result, pixels; the transformer generates the next multiple of 32.
    pub width: u32,
    /// Height of the result, pixels; the transformer generates the next multiple of 32.
    pub height: u32,
    /// Exact number of frames of the result, or of its new part for [`Task::Extend`]; the transformer generates the
    /// next 8k + 1.
    pub num_frames: u32,
    /// Frames per second.
    pub frame_rate: FrameRate,
    /// Denoising steps.
    pub num_inference_steps: u32,
    /// Seed of the noise.
    pub seed: u64,
    /// Guidance of the video.
    pub video_guidance: Guidance,
    /// Guidance of the audio.
    pub audio_guidance: Guidance,
    /// Format of the result.
    #[serde(default)]
    pub output: OutputSpec,
    /// Differences between the request as sent and as made, for people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}
