//! How much memory a plan will take, from headers and arithmetic alone.

use ltx2_types::Device;
use serde::Serialize;

use super::{Plan, StagePlan};
use crate::diffusion::guider::guiding_passes;
use crate::{ModelSet, Precision};

/// Activations of a block that live at the same time, in units of tokens x width; 16 are counted on the emulated card.
const LIVE_PER_TOKEN: usize = 18;
/// Full-size activations that live at the same time in the video decoder; on a card 3 are counted, as its kernels need no
/// padded copies.
fn live_in_decoder(device: Device) -> usize {
    match device {
        Device::Cpu => 9,
        Device::Cuda => 4,
    }
}
/// Copies of a prompt's hidden states that live at the same time while contexts are made of them.
const LIVE_STATES: usize = 2;
/// One block of attention scores.
const SCORES: usize = 512 << 20;

/// What memory depends on beside the plan and the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Computing {
    /// What computes.
    pub device: Device,
    /// dtype of weights and activations.
    pub precision: Precision,
}

/// Bytes, phase by phase; the largest phase is the peak. Weights are exact, activations a rule of thumb.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryEstimate {
    /// Reading the prompts; other parts stay beside it only where there is room, here and below.
    pub encoding_prompt: usize,
    /// The transformer, and activations and prompts of the largest stage.
    pub denoising: usize,
    /// Autoencoders and the decoder's activations.
    pub decoding: usize,
    /// The largest of them.
    pub peak: usize,
    /// The least that it can be made with, where each step reads the transformer's blocks.
    pub least: usize,
}

/// The estimate for `plan` on `models`.
pub fn estimate(plan: &Plan, models: &ModelSet, computing: Computing) -> MemoryEstimate {
    estimate_of(plan, &models.parameters(computing.precision.dtype()), computing)
}

/// The same, from what the estimate asks of the models.
pub fn estimate_of(plan: &Plan, sizes: &Parameters, computing: Computing) -> MemoryEstimate {
    let bytes = computing.precision.dtype().size_in_bytes();
    let stages = plan.stages.iter().map(|stage| denoising_of(stage, sizes, bytes));
    let encoding_prompt = encoding_of(plan, sizes, bytes);
    let denoising = sizes.transformer + sizes.upsampler + stages.max().unwrap_or(0) + SCORES;
    let decoder_activations =
        live_in_decoder(computing.device) * decoder_activation(plan, sizes.decoder_channels) * bytes;
    let decoding = sizes.autoencoders + decoder_activations;
    let largest = |denoising: usize| encoding_prompt.max(denoising).max(decoding);
    let (peak, least) = (largest(denoising), largest(sizes.streamed(denoising)));
    MemoryEstimate { encoding_prompt, denoising, decoding, peak, least }
}

/// A part of the text encoder, or all of it to write the prompt out; and then what makes contexts of the hidden states.
fn encoding_of(plan: &Plan, sizes: &Parameters, bytes: usize) -> usize {
    let prompts = 1 + usize::from(plan.negative_prompt.is_some());
    let encoder = if plan.enhance_prompt { sizes.text_encoder } else { sizes.text_encoder_part };
    encoder.max(sizes.text_projection) + (prompts + LIVE_STATES) * sizes.hidden_states * bytes
}

/// What a stage takes besides weights: activations and what it keeps, in numbers of `bytes`.
fn denoising_of(stage: &StagePlan, sizes: &Parameters, bytes: usize) -> usize {
    let streams = stage.tokens.0 * sizes.video_width + stage.tokens.1 * sizes.audio_width;
    let guiding = guiding_passes([&stage.video.guidance, &stage.audio.guidance]);
    let prompts = 1 + usize::from(guiding.negative.is_some());
    // Each guiding pass may begin with what the conditional one kept for it.
    let kept = guiding.passes().len() - 1;
    (streams * (LIVE_PER_TOKEN + kept) + prompts * sizes.kept_text) * bytes
}

/// Numbers in an activation of the decoder's last level, which works on a quarter of the height and width, of all or of a tile.
fn decoder_activation(plan: &Plan, channels: usize) -> usize {
    let Some(shape) = plan.stages.last().map(|stage| stage.shape) else { return 0 };
    let most = |size: Option<(usize, usize)>| size.map_or(usize::MAX, |(size, _)| size);
    let (frames, pixels) =
        plan.output.tiling.as_ref().map_or((usize::MAX, usize::MAX), |tile| (most(tile.frames), most(tile.pixels)));
    shape.frames.min(frames) * (shape.height.min(pixels) / 4) * (shape.width.min(pixels) / 4) * channels
}

/// What the estimate asks of a model: bytes of the parts' weights, widths of its activations, and what it keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    /// Of the text encoder.
    pub text_encoder: usize,
    /// Of the largest part of it that is read at once.
    pub text_encoder_part: usize,
    /// Of what makes contexts of its hidden states.
    pub text_projection: usize,
    /// Numbers in the hidden states of a prompt.
    pub hidden_states: usize,
    /// Of the transformer, without the connectors.
    pub transformer: usize,
    /// Of all of its blocks.
    pub blocks: usize,
    /// How many there are.
    pub num_blocks: usize,
    /// Of the autoencoders and the vocoder.
    pub autoencoders: usize,
    /// Of the spatial upscaler, if there is one.
    pub upsampler: usize,
    /// Width of the picture's stream.
    pub video_width: usize,
    /// Width of the sound's stream.
    pub audio_width: usize,
    /// Numbers that the transformer keeps of a prompt.
    pub kept_text: usize,
    /// Channels of the decoder's last level.
    pub decoder_channels: usize,
}

/// Blocks that there has to be room for beside those that stay: the one that is read, and what making it whole takes.
const READ_BLOCKS: usize = 2;

impl Parameters {
    /// Bytes of the transformer with its first `resident` blocks.
    pub(crate) fn transformer_with(&self, resident: usize) -> usize {
        self.transformer - self.blocks + self.block() * resident.min(self.num_blocks)
    }

    /// How many blocks may stay in memory where there are `room` bytes, and denoising takes `bytes` with all of them.
    pub(crate) fn resident_blocks(&self, room: usize, bytes: usize) -> usize {
        if room >= bytes || self.blocks == 0 {
            return self.num_blocks;
        }
        (room.saturating_sub(self.streamed(bytes)) / self.block()).min(self.num_blocks)
    }

    /// What denoising takes with no block staying in memory, where it takes `bytes` with all of them.
    fn streamed(&self, bytes: usize) -> usize {
        (bytes - self.blocks + READ_BLOCKS * self.block()).min(bytes)
    }

    /// Bytes of a block, if all were alike.
    fn block(&self) -> usize {
        self.blocks.div_ceil(self.num_blocks.max(1))
    }
}

#[cfg(test)]
mod tests {
    use ltx2_types::{Guidance, Limits, Pipeline, ValidRequest};

    use super::*;
    use crate::plan::{ModelFacts, choose};

    const SIZES: Parameters = Parameters {
        text_encoder: 0,
        text_encoder_part: 0,
        text_projection: 0,
        hidden_states: 0,
        transformer: 1000,
        blocks: 960,
        num_blocks: 48,
        autoencoders: 0,
        upsampler: 0,
        video_width: 4,
        audio_width: 2,
        kept_text: 0,
        decoder_channels: 0,
    };

    fn denoising(guidance: Guidance, sizes: &Parameters) -> (usize, usize) {
        let facts = ModelFacts {
            version: "2.0".into(),
            num_layers: 48,
            distilled: false,
            upscaler: None,
            distilled_lora: None,
            loras: Vec::new(),
            camera_loras: Vec::new(),
        };
        let request = ValidRequest {
            pipeline: Some(Pipeline::OneStage),
            video_guidance: guidance.clone(),
            audio_guidance: guidance,
            ..Limits::server().defaults
        };
        let plan = choose(&request, &facts).unwrap();
        let (video, audio) = plan.stages[0].tokens;
        let computing = Computing { device: Device::Cuda, precision: Precision::Bf16 };
        (estimate_of(&plan, sizes, computing).denoising, 2 * (video * 4 + audio * 2))
    }

    #[test]
    fn blocks_stay_as_far_as_there_is_room() {
        // Blocks of 20, 40 for all else of the transformer, and 100 for what it computes.
        let resident = |room| SIZES.resident_blocks(room, 1100);
        assert_eq!((resident(1100), resident(5000)), (48, 48));
        assert_eq!((resident(1099), resident(1080), resident(201), resident(200), resident(0)), (45, 45, 1, 1, 0));
        assert_eq!((SIZES.transformer_with(48), SIZES.transformer_with(0)), (1000, 40));
    }

    #[test]
    fn guidance_keeps_streams_and_a_prompt_more() {
        let off = Guidance { cfg: 1.0, stg: 0.0, modality: 1.0, rescale: 0.0 };
        let on = Guidance { cfg: 3.0, stg: 1.0, modality: 3.0, rescale: 0.0 };
        let ((unguided, streams), (guided, _)) = (denoising(off.clone(), &SIZES), denoising(on.clone(), &SIZES));
        assert_eq!(guided - unguided, 3 * streams);
        let keeping = Parameters { kept_text: 10_000, ..SIZES };
        assert_eq!(denoising(off, &keeping).0 - unguided, 20_000);
        assert_eq!(denoising(on, &keeping).0 - guided, 40_000);
    }
}
