//! How much memory a plan will take, from headers and arithmetic alone.

use serde::Serialize;

use super::{Plan, StagePlan};
use crate::diffusion::guider::guiding_passes;
use crate::{ModelSet, Precision};

/// Activations of a block that live at the same time, in units of tokens x width.
const LIVE_PER_TOKEN: usize = 24;
/// Full-size activations that live at the same time in the video decoder.
const LIVE_IN_DECODER: usize = 8;
/// One block of attention scores.
const SCORES: usize = 512 << 20;

/// Bytes, phase by phase; the largest phase is the peak. Weights are exact, activations a rule of thumb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryEstimate {
    /// The text encoder, alone.
    pub encoding_prompt: usize,
    /// The transformer and the largest stage's activations.
    pub denoising: usize,
    /// Transformer, autoencoders and the decoder's activations.
    pub decoding: usize,
    /// The largest of them.
    pub peak: usize,
}

/// The estimate for `plan` on `models`.
pub fn estimate(plan: &Plan, models: &ModelSet, precision: Precision) -> MemoryEstimate {
    estimate_of(plan, &models.parameters(precision.dtype()), precision)
}

/// The same, from what the estimate asks of the models.
pub fn estimate_of(plan: &Plan, sizes: &Parameters, precision: Precision) -> MemoryEstimate {
    let bytes = precision.dtype().size_in_bytes();
    let of_stage = |stage: &StagePlan| {
        let streams = stage.tokens.0 * sizes.video_width + stage.tokens.1 * sizes.audio_width;
        // Each guiding pass may begin with what the conditional one kept for it.
        let kept = guiding_passes([&stage.video.guidance, &stage.audio.guidance]).passes().len() - 1;
        streams * (LIVE_PER_TOKEN + kept)
    };
    let activations = plan.stages.iter().map(of_stage).max().unwrap_or(0) * bytes;
    let encoding_prompt = sizes.text_encoder;
    let denoising = sizes.transformer + sizes.upsampler + activations + SCORES;
    let decoding = sizes.transformer + sizes.autoencoders + decoder_activations(plan, sizes.decoder_channels) * bytes;
    MemoryEstimate { encoding_prompt, denoising, decoding, peak: encoding_prompt.max(denoising).max(decoding) }
}

/// The decoder's last level works on a quarter of the height and width.
fn decoder_activations(plan: &Plan, channels: usize) -> usize {
    let shape = plan.stages.last().map(|stage| stage.shape);
    shape.map_or(0, |shape| LIVE_IN_DECODER * shape.frames * (shape.height / 4) * (shape.width / 4) * channels)
}

/// What the estimate asks of a model: bytes of the parts' weights, and the widths of its activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Of the text encoder.
    pub text_encoder: usize,
    /// Of the transformer with its connectors.
    pub transformer: usize,
    /// Of the autoencoders and the vocoder.
    pub autoencoders: usize,
    /// Of the spatial upscaler, if there is one.
    pub upsampler: usize,
    /// Width of the picture's stream.
    pub video_width: usize,
    /// Width of the sound's stream.
    pub audio_width: usize,
    /// Channels of the decoder's last level.
    pub decoder_channels: usize,
}
