//! Memory estimates from a plan and the sizes of the weights.

use ltx2_types::Device;
use serde::Serialize;

use super::types::{Plan, StagePlan};
use super::weight_sizes::WeightSizes;
use crate::diffusion::guider::guiding_passes;
use crate::execution::ExecutionConfig;

/// Activations of a block that are live at the same time, in units of tokens times width. The CUDA emulator counts 16.
const LIVE_PER_TOKEN: usize = 18;
/// Copies of a prompt's hidden states that are live while its contexts are computed.
const LIVE_HIDDEN_STATES: usize = 2;
/// Bytes of one block of attention scores.
const ATTENTION_SCORES: usize = 512 << 20;

/// Returns the full-size activations of the video decoder that are live at the same time. On a GPU the CUDA emulator
/// counts 3, because the kernels need no padded copies.
fn live_in_decoder(device: Device) -> usize {
    match device {
        Device::Cpu => 9,
        Device::Cuda => 4,
    }
}

/// Estimated bytes of each phase. Weights are exact, activations a rule of thumb. Components that a phase does not need
/// stay in memory only if there is room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MemoryEstimate {
    /// Encoding of the prompts.
    pub encoding_prompt: usize,
    /// Denoising of the largest stage with the whole transformer.
    pub denoising: usize,
    /// Decoding of the latents.
    pub decoding: usize,
    /// Largest of the phases.
    pub peak: usize,
    /// Largest of the phases if the transformer's blocks are streamed: the least memory that the plan can run in.
    pub least: usize,
}

/// Estimates the memory of `plan`. `sizes` are those of the weights in the dtype of `execution`.
pub fn estimate(plan: &Plan, sizes: &WeightSizes, execution: ExecutionConfig) -> MemoryEstimate {
    let element = execution.precision.dtype().size_in_bytes();
    let encoding_prompt = encoding(plan, sizes, element);
    let activations = plan.stages.iter().map(|stage| stage_activations(stage, sizes, element)).max().unwrap_or(0);
    let denoising = sizes.transformer + sizes.upsampler + activations + ATTENTION_SCORES;
    let decoder_activations = live_in_decoder(execution.device) * decoder_activation(plan, sizes.decoder_channels);
    let decoding = sizes.autoencoders + decoder_activations * element;
    let largest = |denoising: usize| encoding_prompt.max(denoising).max(decoding);
    let (peak, least) = (largest(denoising), largest(sizes.streamed(denoising)));
    MemoryEstimate { encoding_prompt, denoising, decoding, peak, least }
}

/// Bytes of encoding: the streamed text encoder (or all of it for prompt enhancement) or the embeddings processor, and
/// the hidden states. `element` is the size of an element, bytes.
fn encoding(plan: &Plan, sizes: &WeightSizes, element: usize) -> usize {
    let prompts = 1 + usize::from(plan.negative_prompt.is_some());
    let encoder = if plan.enhance_prompt { sizes.text_encoder } else { sizes.text_encoder_part };
    encoder.max(sizes.text_projection) + (prompts + LIVE_HIDDEN_STATES) * sizes.hidden_states * element
}

/// Bytes of a stage's activations and cached keys and values. `element` is the size of an element, bytes.
fn stage_activations(stage: &StagePlan, sizes: &WeightSizes, element: usize) -> usize {
    let streams = stage.tokens.zip(sizes.stream_widths).map(|(tokens, width)| tokens * width);
    let guiding = guiding_passes(stage.guidance());
    let prompts = 1 + usize::from(guiding.negative.is_some());
    // The conditional pass keeps the hidden states from which each guiding pass is forked.
    let forked = guiding.passes().len() - 1;
    ((streams.video + streams.audio) * (LIVE_PER_TOKEN + forked) + prompts * sizes.cached_text) * element
}

/// Elements of an activation in the decoder's last level, which has a quarter of the height and width, for a tile or
/// the whole video.
fn decoder_activation(plan: &Plan, channels: usize) -> usize {
    let Some(shape) = plan.stages.last().map(|stage| stage.shape) else { return 0 };
    let limit = |tile: Option<(usize, usize)>| tile.map_or(usize::MAX, |(size, _)| size);
    let (frames, pixels) =
        plan.output.tiling.map_or((usize::MAX, usize::MAX), |tiling| (limit(tiling.frames), limit(tiling.pixels)));
    shape.frames.min(frames) * (shape.height.min(pixels) / 4) * (shape.width.min(pixels) / 4) * channels
}

#[cfg(test)]
mod tests {
    use ltx2_models::AudioVideo;
    use ltx2_types::{Guidance, ImageInput, InputRef, Limits, Pipeline, Task, ValidRequest};

    use super::*;
    use crate::execution::Precision;
    use crate::plan::{ModelCapabilities, plan_request};

    const SIZES: WeightSizes = WeightSizes {
        text_encoder: 0,
        text_encoder_part: 0,
        text_projection: 0,
        hidden_states: 0,
        transformer: 1000,
        blocks: 960,
        num_blocks: 48,
        autoencoders: 0,
        upsampler: 0,
        stream_widths: AudioVideo { video: 4, audio: 2 },
        cached_text: 0,
        decoder_channels: 0,
    };
    const OFF: Guidance = Guidance { cfg: 1.0, stg: 0.0, modality: 1.0, rescale: 0.0 };

    fn plan(guidance: Guidance, task: Task) -> Plan {
        let model = ModelCapabilities {
            version: "2.0".into(),
            num_layers: 48,
            distilled: false,
            upscaler: None,
            distilled_lora: None,
            loras: Vec::new(),
            unusable_loras: Vec::new(),
            camera_loras: Vec::new(),
        };
        let request = ValidRequest {
            task,
            pipeline: Some(Pipeline::OneStage),
            video_guidance: guidance.clone(),
            audio_guidance: guidance,
            ..Limits::server().defaults
        };
        plan_request(&request, &model).unwrap()
    }

    fn denoising(plan: &Plan, sizes: &WeightSizes) -> usize {
        let execution = ExecutionConfig { device: Device::Cuda, precision: Precision::Bf16 };
        estimate(plan, sizes, execution).denoising
    }

    #[test]
    fn guidance_keeps_hidden_states_and_a_prompt_more() {
        let on = Guidance { cfg: 3.0, stg: 1.0, modality: 3.0, rescale: 0.0 };
        let (unguided, guided) = (plan(OFF, Task::TextToVideo), plan(on, Task::TextToVideo));
        let tokens = unguided.stages[0].tokens;
        let streams = 2 * (tokens.video * 4 + tokens.audio * 2);
        assert_eq!(denoising(&guided, &SIZES) - denoising(&unguided, &SIZES), 3 * streams);
        let cached = WeightSizes { cached_text: 10_000, ..SIZES };
        assert_eq!(denoising(&unguided, &cached) - denoising(&unguided, &SIZES), 20_000);
        assert_eq!(denoising(&guided, &cached) - denoising(&guided, &SIZES), 40_000);
    }

    #[test]
    fn keyframe_tokens_are_part_of_the_estimate() {
        let image = ImageInput::first_frame(InputRef::Upload("a".into()));
        let keyframes = plan(OFF, Task::Keyframes { images: vec![image; 32] });
        let plain = plan(OFF, Task::TextToVideo);
        assert_eq!(keyframes.stages[0].tokens.video - plain.stages[0].tokens.video, 32 * 24 * 16);
        let added = 32 * 24 * 16 * 4 * LIVE_PER_TOKEN * 2;
        assert_eq!(denoising(&keyframes, &SIZES) - denoising(&plain, &SIZES), added);
    }
}
