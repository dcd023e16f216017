//! Architecture of the transformer, from the `transformer` section of a checkpoint's config.

use crate::AudioVideo;
use crate::config::{ConfigError, Section};
use crate::layers::{AttentionConfig, RopeConfig};

/// Architecture of the transformer.
#[derive(Debug, Clone, PartialEq)]
pub struct TransformerConfig {
    /// Number of blocks.
    pub num_layers: usize,
    /// Dimensions of both streams.
    pub streams: AudioVideo<StreamConfig>,
    pub(super) norm_eps: f64,
    pub(super) rope: RopeConfig,
    /// Whether attention heads are gated (LTX-2.3).
    pub(super) gated: bool,
    /// Whether the noise level modulates the text cross-attention (LTX-2.3).
    pub(super) cross_attention_adaln: bool,
    /// Width of the rotary embedding of the audio-video cross-attention, the same for both streams.
    pub(super) cross_rope_dim: usize,
    /// Input width of the caption projection. `None` if the text encoder projects the contexts (LTX-2.3).
    pub(super) caption_channels: Option<usize>,
    /// Factor from noise levels to timesteps.
    pub(super) timestep_scale: f32,
    /// Factor from noise levels to timesteps for the gate of the audio-video cross-attention.
    pub(super) cross_gate_scale: f32,
}

/// Lifetime of the keys and values of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextKeysValues {
    /// They are the same at all noise levels and can be cached for a prompt (LTX-2).
    PerPrompt,
    /// The noise level modulates the text, so each pass computes them (LTX-2.3).
    PerPass,
}

/// Dimensions of one stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamConfig {
    /// Channels of a latent token.
    pub in_channels: usize,
    /// Channels of a predicted token.
    pub out_channels: usize,
    /// Number of attention heads.
    pub heads: usize,
    /// Width of a head.
    pub dim_head: usize,
    /// Width of the projected text context.
    pub context_dim: usize,
    /// Largest position on each axis.
    pub max_pos: Vec<f64>,
}

impl StreamConfig {
    /// Width of the hidden states.
    pub fn dim(&self) -> usize {
        self.heads * self.dim_head
    }
}

impl TransformerConfig {
    /// Reads the section.
    ///
    /// # Errors
    ///
    /// If a value is supported by neither LTX-2 nor LTX-2.3; the error names the key.
    pub fn new(section: &Section) -> Result<Self, ConfigError> {
        refuse_other_architectures(section)?;
        let video = StreamConfig {
            in_channels: section.size("in_channels", 128)?,
            out_channels: section.size("out_channels", 128)?,
            heads: section.size("num_attention_heads", 32)?,
            dim_head: section.size("attention_head_dim", 128)?,
            context_dim: section.size("cross_attention_dim", 4096)?,
            max_pos: section.get("positional_embedding_max_pos", vec![20.0, 2048.0, 2048.0])?,
        };
        let audio = StreamConfig {
            in_channels: section.size("audio_in_channels", 128)?,
            out_channels: section.size("audio_out_channels", 128)?,
            heads: section.size("audio_num_attention_heads", 32)?,
            dim_head: section.size("audio_attention_head_dim", 64)?,
            context_dim: section.size("audio_cross_attention_dim", 2048)?,
            max_pos: section.get("audio_positional_embedding_max_pos", vec![20.0])?,
        };
        let streams = AudioVideo { video, audio };
        check_streams(section, &streams)?;
        Ok(Self {
            num_layers: section.count("num_layers", 48)?,
            norm_eps: section.get("norm_eps", 1e-6)?,
            rope: RopeConfig::new(section)?,
            gated: section.get("apply_gated_attention", false)?,
            cross_attention_adaln: section.get("cross_attention_adaln", false)?,
            cross_rope_dim: streams.audio.context_dim,
            caption_channels: match section.get("caption_proj_before_connector", false)? {
                true => None,
                false => Some(section.size("caption_channels", 3840)?),
            },
            timestep_scale: section.get("timestep_scale_multiplier", 1000.0)?,
            cross_gate_scale: section.get("av_ca_timestep_scale_multiplier", 1.0)?,
            streams,
        })
    }

    /// Attention config with the heads of `stream`, for queries of `query_dim` and a context of `context_dim`.
    pub(super) fn attention(&self, stream: &StreamConfig, query_dim: usize, context_dim: usize) -> AttentionConfig {
        AttentionConfig {
            query_dim,
            context_dim,
            heads: stream.heads,
            dim_head: stream.dim_head,
            norm_eps: self.norm_eps,
            rope: self.rope.kind,
            gated: self.gated,
        }
    }

    /// Number of modulation rows per noise level and block: three each for self-attention, feed-forward and, in
    /// LTX-2.3, text cross-attention.
    pub(super) fn modulation_rows(&self) -> usize {
        if self.cross_attention_adaln { 9 } else { 6 }
    }

    /// Lifetime of the keys and values of the text.
    pub fn text_keys_values(&self) -> TextKeysValues {
        if self.cross_attention_adaln { TextKeysValues::PerPass } else { TextKeysValues::PerPrompt }
    }

    /// Number of elements of the cached keys and values of all blocks, for a context of `tokens` tokens.
    pub fn cached_text_elements(&self, tokens: usize) -> usize {
        let AudioVideo { video, audio } = &self.streams;
        match self.text_keys_values() {
            TextKeysValues::PerPrompt => self.num_layers * 2 * tokens * (video.dim() + audio.dim()),
            TextKeysValues::PerPass => 0,
        }
    }

    /// Largest position on the time axis in the audio-video cross-attention.
    pub(super) fn cross_max_pos(&self) -> f64 {
        self.streams.video.max_pos[0].max(self.streams.audio.max_pos[0])
    }
}

/// Refuses dimensions that the two streams cannot have together.
fn check_streams(section: &Section, AudioVideo { video, audio }: &AudioVideo<StreamConfig>) -> Result<(), ConfigError> {
    if video.heads != audio.heads {
        return Err(section.unsupported(
            "audio_num_attention_heads",
            audio.heads,
            format!("num_attention_heads, {},", video.heads),
        ));
    }
    for (stream, head_key, context_key, axes, max_pos_key) in [
        (video, "attention_head_dim", "cross_attention_dim", 3, "positional_embedding_max_pos"),
        (audio, "audio_attention_head_dim", "audio_cross_attention_dim", 1, "audio_positional_embedding_max_pos"),
    ] {
        if !stream.dim_head.is_multiple_of(2) {
            return Err(section.unsupported(head_key, stream.dim_head, "an even number"));
        }
        if stream.context_dim != stream.dim() {
            return Err(section.unsupported(
                context_key,
                stream.context_dim,
                format!("heads x head dim, {},", stream.dim()),
            ));
        }
        if stream.max_pos.len() != axes {
            return Err(section.unsupported(
                max_pos_key,
                format!("{:?}", stream.max_pos),
                format!("a list of {axes} values"),
            ));
        }
    }
    Ok(())
}

/// Refuses options that neither LTX-2 nor LTX-2.3 has.
fn refuse_other_architectures(section: &Section) -> Result<(), ConfigError> {
    section.expect("num_vector_embeds", serde_json::Value::Null)?;
    for (key, value) in [
        ("use_linear_projection", false),
        ("only_cross_attention", false),
        ("double_self_attention", false),
        ("upcast_attention", false),
        ("norm_elementwise_affine", false),
        ("share_ff", false),
        ("attention_bias", true),
        ("cross_attention_norm", true),
        ("use_audio_video_cross_attention", true),
        ("av_cross_ada_norm", true),
        ("use_middle_indices_grid", true),
    ] {
        section.expect(key, value)?;
    }
    for (key, value) in [
        ("activation_fn", "gelu-approximate"),
        ("standardization_norm", "rms_norm"),
        ("qk_norm", "rms_norm"),
        ("positional_embedding_type", "rope"),
    ] {
        section.expect(key, value)?;
    }
    section.expect("dropout", 0.0)?;
    section.expect("num_embeds_ada_norm", 1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn refuses_unsupported_values_by_key() {
        for (key, value) in [
            ("double_self_attention", json!(true)),
            ("rope_type", json!("spiral")),
            ("cross_attention_dim", json!(77)),
            ("attention_head_dim", json!(127)),
            ("audio_attention_head_dim", json!(0)),
            ("num_attention_heads", json!(1_u64 << 60)),
            ("positional_embedding_max_pos", json!([20.0])),
            ("audio_num_attention_heads", json!(16)),
        ] {
            let mut config = json!({"transformer": {}});
            config["transformer"][key] = value.clone();
            let error = TransformerConfig::new(&Section::root(&config).section("transformer")).unwrap_err();
            let path = format!("transformer.{key} is {value}");
            assert!(error.to_string().replace('"', "").contains(&path.replace('"', "")), "{error}");
        }
        let empty = json!({});
        let config = TransformerConfig::new(&Section::root(&empty).section("transformer")).unwrap();
        assert_eq!((config.num_layers, config.streams.video.dim(), config.streams.audio.dim()), (48, 4096, 2048));
        assert_eq!(config.cached_text_elements(1024), 603_979_776);
    }
}
