//! What a run will do, as plain data: decided once, before anything is loaded.

mod choose;
mod defaults;
mod fit;
mod memory;
mod stages;

use std::path::PathBuf;

use ltx2_types::{FrameRate, InputId, Pipeline, Sampler};
use serde::Serialize;

pub use choose::{ModelFacts, choose};
pub use defaults::{TILING, default_steps, default_stg_block};
pub use fit::{Fit, largest_that_fits};
pub use memory::{Computing, MemoryEstimate, Parameters, estimate, estimate_of};

use crate::diffusion::guider::GuiderParams;
use crate::diffusion::patchifier::PixelShape;

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// `model_version` of the checkpoint.
    pub model: String,
    /// Which stages.
    pub pipeline: Pipeline,
    /// Text to be turned into picture and sound.
    pub prompt: String,
    /// Whether the text encoder first writes the prompt out.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub enhance_prompt: bool,
    /// Text to steer away from; absent where no guidance does.
    pub negative_prompt: Option<String>,
    /// Seed of the noise.
    pub seed: u64,
    /// Diffusion, in order.
    pub stages: Vec<StagePlan>,
    /// What is cut from the last stage.
    pub output: OutputPlan,
}

/// One diffusion run at one size.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StagePlan {
    /// Size in pixels.
    pub shape: PixelShape,
    /// Tokens of picture (without keyframes) and sound.
    pub tokens: (usize, usize),
    /// Noise levels, from the first to 0.
    pub sigmas: Vec<f32>,
    /// From one to the next.
    pub sampler: Sampler,
    /// Adapters on the transformer.
    pub loras: Vec<LoraPlan>,
    /// The picture.
    pub video: ModalityPlan,
    /// The sound.
    pub audio: ModalityPlan,
}

/// One modality of a stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ModalityPlan {
    /// What noise is added to.
    pub start: Start,
    /// Guidance.
    pub guidance: GuiderParams,
    /// Share of noise at the start.
    pub noise_scale: f64,
    /// What the result has to agree with.
    pub items: Vec<ItemPlan>,
}

/// What a modality of a stage starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Start {
    /// Nothing.
    Empty,
    /// The previous stage's latents.
    Previous,
    /// The previous stage's latents, upscaled to this one's height and width.
    Upscaled,
}

/// An adapter on the transformer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LoraPlan {
    /// The file.
    pub file: PathBuf,
    /// 1 adds it as trained.
    pub strength: f64,
}

/// A conditioning item before its input is encoded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum ItemPlan {
    /// An image in place of the latents at `latent_index`.
    ReplaceLatent {
        /// The image.
        input: InputId,
        /// CRF of its H.264 pass.
        crf: u32,
        /// Latent frame.
        latent_index: usize,
        /// Conditioning strength: 1 keeps the image.
        strength: f64,
    },
    /// An image as further tokens at `frame`.
    Keyframe {
        /// The image.
        input: InputId,
        /// CRF of its H.264 pass.
        crf: u32,
        /// Frame of the result.
        frame: usize,
        /// Conditioning strength: 1 keeps the image.
        strength: f64,
    },
}

impl ItemPlan {
    /// Returns the input.
    pub fn input(&self) -> InputId {
        match self {
            Self::ReplaceLatent { input, .. } | Self::Keyframe { input, .. } => *input,
        }
    }

    /// Returns the CRF of the image's H.264 pass.
    pub fn crf(&self) -> u32 {
        match self {
            Self::ReplaceLatent { crf, .. } | Self::Keyframe { crf, .. } => *crf,
        }
    }
}

/// What is handed over.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutputPlan {
    /// Pictures, at most those of the last stage.
    pub num_frames: usize,
    /// Frames per second.
    pub frame_rate: FrameRate,
    /// How the picture is decoded; absent, at once.
    pub tiling: Option<TilingPlan>,
}

/// Tiles of the decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct TilingPlan {
    /// Size and overlap in frames; absent, all frames at once.
    pub frames: Option<(usize, usize)>,
    /// Size and overlap in pixels; absent, whole frames.
    pub pixels: Option<(usize, usize)>,
}
