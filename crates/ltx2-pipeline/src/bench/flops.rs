//! How many floating-point operations a phase takes at the least, a multiplication with its addition counted as two.

use ltx2_models::text_encoder::MAX_TOKENS;
use ltx2_models::transformer::{Part, Pass, Perturbations, Place, TextReading, TransformerConfig, forks};

use super::Settings;
use super::phase::{Denoising, Extent, Phase};
use crate::ModelSet;
use crate::diffusion::guider::guiding_passes;

/// Of one run of `phase`; `None` where they are not counted.
pub(super) fn of(phase: Phase, models: &ModelSet, settings: &Settings) -> Option<f64> {
    let Denoising { guidance, extent } = phase.denoising(models)?;
    let config = models.transformer_config();
    let tokens = [settings.shape.latent().tokens(), settings.shape.audio_frames()].map(|n| n as f64);
    let guiding = guiding_passes([&guidance; 2]);
    let step = of_step(config, tokens, &guiding.passes());
    Some(match extent {
        Extent::Step => step,
        Extent::Stage => {
            let prompts = if guiding.negative.is_some() { 2.0 } else { 1.0 };
            step * settings.steps as f64 + prompts * of_reading(config)
        }
    })
}

/// Of a prompt's keys and values that are kept for a whole stage.
fn of_reading(config: &TransformerConfig) -> f64 {
    match config.text() {
        TextReading::OncePerPrompt => config.num_layers as f64 * of_keys_values(config),
        TextReading::EachPass => 0.0,
    }
}

/// Of a text, in one block.
fn of_keys_values(config: &TransformerConfig) -> f64 {
    let widths = [config.video.dim(), config.audio.dim()].map(|width| width as f64);
    widths.map(|width| 2.0 * MAX_TOKENS as f64 * 2.0 * width * width).iter().sum()
}

/// Of one step: for each of its passes, of what it does not take from an earlier one. Linear layers and attention of the
/// blocks; modulation, which is small, is left out.
fn of_step(config: &TransformerConfig, tokens: [f64; 2], passes: &[Pass]) -> f64 {
    let layers = config.num_layers;
    let of_pass = |pass: &Pass, from: Place| -> f64 {
        from.onwards(layers).map(|place| of_part(config, tokens, place, &pass.perturbations)).sum()
    };
    let begins = forks(passes, layers).into_iter().map(|fork| fork.map_or(Place::FIRST, |fork| fork.at));
    passes.iter().zip(begins).map(|(pass, from)| of_pass(pass, from)).sum()
}

fn of_part(config: &TransformerConfig, [video, audio]: [f64; 2], place: Place, left_out: &Perturbations) -> f64 {
    let (d, a) = (config.video.dim() as f64, config.audio.dim() as f64);
    let Place { block, part } = place;
    match part {
        // A perturbed one has values and output only.
        Part::SelfAttention => [(video, d, &left_out.skip_video_self_attn), (audio, a, &left_out.skip_audio_self_attn)]
            .map(|(tokens, width, skipped)| match skipped.contains(block) {
                true => 2.0 * tokens * 2.0 * width * width,
                false => 2.0 * tokens * 4.0 * width * width + 4.0 * tokens * tokens * width,
            })
            .iter()
            .sum(),
        // Queries and output of the tokens, and keys and values of the text where they are not kept.
        Part::Text => {
            let tokens: f64 = [(video, d), (audio, a)]
                .map(|(tokens, width)| 2.0 * tokens * 2.0 * width * width + 4.0 * tokens * MAX_TOKENS as f64 * width)
                .iter()
                .sum();
            match config.text() {
                TextReading::OncePerPrompt => tokens,
                TextReading::EachPass => tokens + of_keys_values(config),
            }
        }
        // The inner width is the sound's, both ways.
        Part::Between => {
            let directions = [&left_out.skip_a2v_cross_attn, &left_out.skip_v2a_cross_attn];
            let one = 2.0 * (video * 2.0 * d * a + audio * 2.0 * a * a) + 4.0 * video * audio * a;
            one * directions.iter().filter(|skipped| !skipped.contains(block)).count() as f64
        }
        Part::FeedForward => 2.0 * 8.0 * (video * d * d + audio * a * a),
    }
}

#[cfg(test)]
mod tests {
    use ltx2_models::Section;
    use serde_json::json;

    use super::*;
    use crate::diffusion::guider::GuiderParams;

    /// At 768x512x121.
    const TOKENS: [f64; 2] = [6144.0, 126.0];

    fn the_19b() -> TransformerConfig {
        let config = json!({});
        TransformerConfig::new(&Section::root(&config)).unwrap()
    }

    /// TFLOP of `passes` of the 19B.
    fn counted(passes: &[Pass]) -> f64 {
        of_step(&the_19b(), TOKENS, passes) / 1e12
    }

    #[test]
    fn a_pass_of_the_19b_is_what_torch_counts() {
        // torch's FlopCounterMode over the official module: 200.23 TFLOP, of which 1.57 are modulation for each token. It
        // reads the text in each pass.
        let counted = counted(&[Pass::default()]) + of_reading(&the_19b()) / 1e12;
        assert!((counted - (200.23 - 1.57)).abs() < 0.05, "{counted}");
    }

    #[test]
    fn a_guided_step_is_less_than_its_passes() {
        let guidance = GuiderParams { cfg_scale: 3.0, stg_scale: 1.0, stg_blocks: vec![29], ..GuiderParams::off() };
        let passes = guiding_passes([&GuiderParams { modality_scale: 3.0, ..guidance }; 2]).passes();
        let [cond, negative, perturbed, isolated] = [0, 1, 2, 3].map(|i| counted(&passes[i..=i]));
        let of_block = |part| of_part(&the_19b(), TOKENS, Place { block: 0, part }, &Perturbations::default()) / 1e12;
        let (own, text) = (of_block(Part::SelfAttention), of_block(Part::Text));
        // The perturbed pass begins behind 29 whole blocks, the others in the first one.
        let expected = cond + (negative - own) + (perturbed - cond * 29.0 / 48.0) + (isolated - own - text);
        let step = counted(&passes);
        assert!((step - expected).abs() < 1e-6, "{step}, not {expected}");
        assert!(step < 0.85 * 4.0 * cond, "{step}");
    }
}
