//! How many floating-point operations a phase takes at the least, a multiplication with its addition counted as two.

use ltx2_models::text_encoder::MAX_TOKENS;
use ltx2_models::transformer::TransformerConfig;

use super::{Phase, Settings};
use crate::ModelSet;

/// Of one run of `phase`; `None` where they are not counted.
pub(super) fn of(phase: Phase, models: &ModelSet, settings: &Settings) -> Option<f64> {
    let forward = || {
        let tokens = [settings.shape.latent().tokens(), settings.shape.audio_frames()].map(|n| n as f64);
        transformer(models.transformer_config(), tokens)
    };
    match phase {
        Phase::Forward => Some(forward().whole),
        Phase::GuidedStep => Some(forward().guided_step()),
        Phase::Denoise => Some(forward().guided_step() * settings.steps as f64),
        Phase::DenoiseUnguided => Some(forward().whole * settings.steps as f64),
        Phase::Load | Phase::EncodePrompt | Phase::DecodeVideo | Phase::DecodeVideoTiled | Phase::DecodeAudio => None,
    }
}

/// Of one pass.
struct Forward {
    whole: f64,
    /// The share of the attention between picture and sound, which one pass of guidance leaves out.
    between: f64,
}

impl Forward {
    fn guided_step(&self) -> f64 {
        4.0 * self.whole - self.between
    }
}

/// Linear layers and attention of all blocks; modulation, which is small, is left out.
fn transformer(config: &TransformerConfig, [video, audio]: [f64; 2]) -> Forward {
    let layers = config.num_layers as f64;
    let (d, a) = (config.video.dim() as f64, config.audio.dim() as f64);
    let text = MAX_TOKENS as f64;
    // Per stream: self-attention, query and output of the attention to the text, feed-forward; keys and values of the text.
    let stream = |tokens: f64, width: f64| {
        let linear = 2.0 * (tokens * 14.0 * width * width + text * 2.0 * width * width);
        linear + 4.0 * (tokens * tokens * width + tokens * text * width)
    };
    // Between the modalities the inner width is the sound's, both ways.
    let between = 2.0 * (2.0 * video * 2.0 * d * a + 2.0 * audio * 2.0 * a * a) + 8.0 * video * audio * a;
    Forward { whole: layers * (stream(video, d) + stream(audio, a) + between), between: layers * between }
}

#[cfg(test)]
mod tests {
    use ltx2_models::Section;
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pass_of_the_19b_is_what_torch_counts() {
        let config = json!({});
        let config = TransformerConfig::new(&Section::root(&config)).unwrap();
        // torch's FlopCounterMode over the official module at 768x512x121 (6144 and 126 tokens): 200.23 TFLOP, of which
        // 1.57 are modulation for each token.
        let counted = transformer(&config, [6144.0, 126.0]).whole / 1e12;
        assert!((counted - (200.23 - 1.57)).abs() < 0.05, "{counted}");
    }
}
