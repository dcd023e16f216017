//! Plans as plain data.

use std::path::PathBuf;

use ltx2_models::AudioVideo;
use ltx2_types::{FrameRate, InputId, Pipeline, PlanSummary, Sampler, StageSummary, TimeWindow};
use serde::{Deserialize, Serialize};

use crate::diffusion::guider::{GuiderParams, guiding_passes};
use crate::diffusion::patchifier::PixelShape;
use crate::diffusion::sampler::predictions_per_step;

/// A planned run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// `model_version` of the checkpoint.
    pub model: String,
    /// Pipeline of the stages.
    pub pipeline: Pipeline,
    /// Text that describes the video and its audio.
    pub prompt: String,
    /// Whether the text encoder first expands the prompt.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub enhance_prompt: bool,
    /// Text to steer away from; `None` if no guidance uses it.
    pub negative_prompt: Option<String>,
    /// Seed of the noise.
    pub seed: u64,
    /// Diffusion stages in order.
    pub stages: Vec<StagePlan>,
    /// Frames and audio of the result.
    pub output: OutputPlan,
}

/// A diffusion stage at one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StagePlan {
    /// Size and length.
    pub shape: PixelShape,
    /// Tokens of each modality, those that conditioning items append included.
    pub tokens: AudioVideo<usize>,
    /// Noise levels from the first to 0.
    pub sigmas: Vec<f32>,
    /// Method of a step.
    pub sampler: Sampler,
    /// LoRAs of the transformer.
    pub loras: Vec<LoraPlan>,
    /// Both modalities.
    #[serde(flatten)]
    pub modalities: AudioVideo<ModalityPlan>,
}

/// One modality of a stage.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModalityPlan {
    /// Latents that noise is added to.
    pub start: Start,
    /// Whether the start is kept: the transformer sees noise level 0. The noise scale is then 0 as well.
    pub frozen: bool,
    /// Guidance.
    pub guidance: GuiderParams,
    /// Whether the pass with the negative prompt, which the other modality's guidance needs, keeps the prompt for this
    /// modality.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub keeps_prompt: bool,
    /// Noise level of the start: 1 is pure noise.
    pub noise_scale: f64,
    /// Conditioning items in the order of application.
    pub items: Vec<ItemPlan>,
}

/// Start of a modality in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Start {
    /// Zeros.
    Empty,
    /// Latents of the previous stage.
    Previous,
    /// Latents of the previous stage, upscaled to this stage's size.
    Upscaled,
    /// Encoded latents of an input, then zeros.
    Input(SourcePlan),
}

/// Part of a video or audio input that is encoded, in frames of the result. Audio is cut at the times of the frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourcePlan {
    /// The input.
    pub input: InputId,
    /// Frames of the input before the part.
    pub skip: usize,
    /// Frames of the part.
    pub frames: usize,
    /// Frames of padding before the part: its first frame, or silence.
    pub lead: usize,
}

/// A LoRA of the transformer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraPlan {
    /// The file.
    pub file: PathBuf,
    /// Scale of the LoRA's weights: 1 as trained.
    pub strength: f64,
}

/// A conditioning item whose input is not encoded yet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ItemPlan {
    /// An image in place of the latents at `latent_index`.
    ReplaceLatent {
        /// The image.
        input: InputId,
        /// CRF of the image's H.264 pass.
        crf: u32,
        /// Latent frame.
        latent_index: usize,
        /// Conditioning strength: 1 keeps the image.
        strength: f64,
    },
    /// The start of the modality, generated again within a window.
    Region {
        /// The window, seconds.
        window: TimeWindow,
        /// Conditioning strength outside the window: 1 keeps the start.
        strength: f64,
    },
    /// An image as appended tokens at `frame`.
    Keyframe {
        /// The image.
        input: InputId,
        /// CRF of the image's H.264 pass.
        crf: u32,
        /// Frame of the result.
        frame: usize,
        /// Conditioning strength: 1 keeps the image.
        strength: f64,
    },
}

/// Frames and audio of the result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputPlan {
    /// Number of frames, at most those of the last stage.
    pub num_frames: usize,
    /// Frames per second.
    pub frame_rate: FrameRate,
    /// Stage whose audio is decoded and part of the result; `None` for a video without audio.
    pub audio_stage: Option<usize>,
    /// Tiles of the video decoder; `None` decodes at once.
    pub tiling: Option<TilingPlan>,
    /// Parts of the result that come from an input; `None` if the whole result is generated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceOutput>,
}

/// A result that consists of an input's frames and samples, and of generated ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SourceOutput {
    /// The input.
    pub input: InputId,
    /// Samples per second of the input's audio; `None` for an input without audio.
    pub sample_rate: Option<u32>,
    /// Width and height of the result, pixels, at most those of the last stage.
    pub size: (usize, usize),
    /// Spans of each modality in order. Both have the length of the result, unless there is no audio.
    pub spans: AudioVideo<Vec<Span>>,
}

/// Consecutive frames of the result, or the audio of their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Origin of the frames.
    pub from: Origin,
    /// First frame, in frames of the origin.
    pub start: usize,
    /// Number of frames.
    pub frames: usize,
}

/// Origin of a span.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// The input. The audio of an input without audio is silence.
    Source,
    /// The latents of the last stage, or of the audio stage.
    Generated,
}

/// Tiles of the video decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TilingPlan {
    /// Size and overlap in frames; `None` for all frames at once.
    pub frames: Option<(usize, usize)>,
    /// Size and overlap in pixels; `None` for whole frames.
    pub pixels: Option<(usize, usize)>,
}

impl Plan {
    /// Returns the pipeline and the work of each stage.
    pub fn summary(&self) -> PlanSummary {
        PlanSummary { pipeline: self.pipeline, stages: self.stages.iter().map(StagePlan::summary).collect() }
    }

    /// Returns the cost of the run: tokens times steps times passes, summed over the stages.
    pub fn cost(&self) -> u64 {
        self.summary().cost()
    }

    /// Returns the number of denoising steps of all stages.
    pub(crate) fn steps(&self) -> usize {
        self.stages.iter().map(StagePlan::steps).sum()
    }
}

impl StagePlan {
    /// Returns the number of denoising steps.
    pub(crate) fn steps(&self) -> usize {
        self.sigmas.len() - 1
    }

    /// Returns the guidance of both modalities.
    pub(crate) fn guidance(&self) -> AudioVideo<&GuiderParams> {
        self.modalities.as_ref().map(|modality| &modality.guidance)
    }

    /// Returns the transformer passes per step: those of guidance, for each prediction of the sampler.
    fn passes(&self) -> usize {
        guiding_passes(self.guidance()).passes().len() * predictions_per_step(self.sampler)
    }

    fn summary(&self) -> StageSummary {
        StageSummary {
            width: self.shape.width as u32,
            height: self.shape.height as u32,
            num_frames: self.shape.frames as u32,
            video_tokens: self.tokens.video as u64,
            audio_tokens: self.tokens.audio as u64,
            steps: self.steps() as u32,
            passes: self.passes() as u32,
        }
    }
}

impl ItemPlan {
    /// Returns the number of tokens that the item appends in a stage of size `shape`.
    pub(super) fn appended_tokens(&self, shape: PixelShape) -> usize {
        match self {
            Self::ReplaceLatent { .. } | Self::Region { .. } => 0,
            Self::Keyframe { .. } => shape.latent().tokens_per_frame(),
        }
    }
}
