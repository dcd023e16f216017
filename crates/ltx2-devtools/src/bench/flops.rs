//! Floating-point operations of a phase: a lower bound that counts a multiplication with its addition as two.

use ltx2_models::AudioVideo;
use ltx2_models::text_encoder::MAX_TOKENS;
use ltx2_models::transformer::{
    Pass, Perturbations, Sublayer, SublayerIndex, TextKeysValues, TransformerConfig, forks,
};
use ltx2_pipeline::ModelSet;
use ltx2_pipeline::diffusion::guider::guiding_passes;

use super::phase::{BenchPhase, Denoising, Extent};
use super::settings::BenchSettings;

/// Returns the FLOP of one run of `phase`; `None` for phases that are not counted.
pub(super) fn flops_of(phase: BenchPhase, models: &ModelSet, settings: &BenchSettings) -> Option<f64> {
    let Denoising { guidance, extent } = phase.denoising(models)?;
    let config = models.transformer_config();
    let tokens = [settings.shape.latent().tokens(), settings.shape.audio_frames()].map(|n| n as f64);
    let guiding = guiding_passes(AudioVideo { video: &guidance, audio: &guidance });
    let step = step_flops(config, tokens, &guiding.passes());
    Some(match extent {
        Extent::Step => step,
        Extent::Stage => {
            let prompts = if guiding.negative.is_some() { 2.0 } else { 1.0 };
            step * settings.steps as f64 + prompts * prompt_flops(config)
        }
    })
}

/// FLOP of the keys and values that are computed once per prompt and stage.
fn prompt_flops(config: &TransformerConfig) -> f64 {
    match config.text_keys_values() {
        TextKeysValues::PerPrompt => config.num_layers as f64 * text_kv_flops(config),
        TextKeysValues::PerPass => 0.0,
    }
}

/// FLOP of a prompt's keys and values in one block.
fn text_kv_flops(config: &TransformerConfig) -> f64 {
    let widths = [config.streams.video.dim(), config.streams.audio.dim()].map(|width| width as f64);
    widths.map(|width| 2.0 * MAX_TOKENS as f64 * 2.0 * width * width).iter().sum()
}

/// FLOP of one step: the linear layers and attention of the blocks, for each pass without the layers that it shares
/// with an earlier pass. Modulation is small and not counted.
fn step_flops(config: &TransformerConfig, tokens: [f64; 2], passes: &[Pass]) -> f64 {
    let layers = config.num_layers;
    let pass_flops = |pass: &Pass, from: SublayerIndex| -> f64 {
        from.onwards(layers).map(|index| sublayer_flops(config, tokens, index, &pass.perturbations)).sum()
    };
    let starts = forks(passes, layers).into_iter().map(|fork| fork.map_or(SublayerIndex::FIRST, |fork| fork.point));
    passes.iter().zip(starts).map(|(pass, from)| pass_flops(pass, from)).sum()
}

fn sublayer_flops(
    config: &TransformerConfig,
    [video, audio]: [f64; 2],
    index: SublayerIndex,
    skipped: &Perturbations,
) -> f64 {
    let (d, a) = (config.streams.video.dim() as f64, config.streams.audio.dim() as f64);
    let SublayerIndex { block, sublayer } = index;
    match sublayer {
        // Perturbed self-attention computes the values and the output projection only.
        Sublayer::SelfAttention => {
            [(video, d, &skipped.skip_self_attn.video), (audio, a, &skipped.skip_self_attn.audio)]
                .map(|(tokens, width, skipped)| match skipped.contains(block) {
                    true => 2.0 * tokens * 2.0 * width * width,
                    false => 2.0 * tokens * 4.0 * width * width + 4.0 * tokens * tokens * width,
                })
                .iter()
                .sum()
        }
        // Queries and output of the tokens, and the text's keys and values unless they are cached.
        Sublayer::TextCrossAttention => {
            let tokens: f64 = [(video, d), (audio, a)]
                .map(|(tokens, width)| 2.0 * tokens * 2.0 * width * width + 4.0 * tokens * MAX_TOKENS as f64 * width)
                .iter()
                .sum();
            match config.text_keys_values() {
                TextKeysValues::PerPrompt => tokens,
                TextKeysValues::PerPass => tokens + text_kv_flops(config),
            }
        }
        // The inner width is that of audio in both directions.
        Sublayer::AudioVideoCrossAttention => {
            let directions = [&skipped.skip_cross_attn.video, &skipped.skip_cross_attn.audio];
            let one = 2.0 * (video * 2.0 * d * a + audio * 2.0 * a * a) + 4.0 * video * audio * a;
            one * directions.iter().filter(|skipped| !skipped.contains(block)).count() as f64
        }
        Sublayer::FeedForward => 2.0 * 8.0 * (video * d * d + audio * a * a),
    }
}

#[cfg(test)]
mod tests {
    use ltx2_models::Section;
    use ltx2_pipeline::diffusion::guider::GuiderParams;
    use serde_json::json;

    use super::*;

    /// Video and audio tokens of 768x512 with 121 frames.
    const TOKENS: [f64; 2] = [6144.0, 126.0];

    fn config_19b() -> TransformerConfig {
        let config = json!({});
        TransformerConfig::new(&Section::root(&config)).unwrap()
    }

    /// Returns the TFLOP of `passes` of the 19B model.
    fn tflop(passes: &[Pass]) -> f64 {
        step_flops(&config_19b(), TOKENS, passes) / 1e12
    }

    #[test]
    fn one_pass_of_the_19b_has_the_flops_that_torch_counts() {
        // torch's FlopCounterMode over the official module: 200.23 TFLOP, of which 1.57 are per-token modulation. The
        // official module computes the text's keys and values in each pass.
        let counted = tflop(&[Pass::default()]) + prompt_flops(&config_19b()) / 1e12;
        assert!((counted - (200.23 - 1.57)).abs() < 0.05, "{counted}");
    }

    #[test]
    fn a_guided_step_costs_less_than_its_passes_alone() {
        let guidance = GuiderParams { cfg_scale: 3.0, stg_scale: 1.0, stg_blocks: vec![29], ..GuiderParams::off() };
        let guidance = GuiderParams { modality_scale: 3.0, ..guidance };
        let passes = guiding_passes(AudioVideo { video: &guidance, audio: &guidance }).passes();
        let [cond, negative, perturbed, isolated] = [0, 1, 2, 3].map(|i| tflop(&passes[i..=i]));
        let tflop_of = |sublayer| {
            let index = SublayerIndex { block: 0, sublayer };
            sublayer_flops(&config_19b(), TOKENS, index, &Perturbations::default()) / 1e12
        };
        let (self_attention, text) = (tflop_of(Sublayer::SelfAttention), tflop_of(Sublayer::TextCrossAttention));
        // The perturbed pass is forked after 29 blocks, the others within the first block.
        let expected =
            cond + (negative - self_attention) + (perturbed - cond * 29.0 / 48.0) + (isolated - self_attention - text);
        let step = tflop(&passes);
        assert!((step - expected).abs() < 1e-6, "{step}, not {expected}");
        assert!(step < 0.85 * 4.0 * cond, "{step}");
    }
}
