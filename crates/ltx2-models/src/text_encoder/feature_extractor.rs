//! All hidden states of a prompt to features per token (`FeatureExtractorV1` and `FeatureExtractorV2`).

use candle_core::{D, DType, Result, Tensor};
use serde_json::Value;

use crate::VarBuilder;
use crate::config::{ConfigError, Section};
use crate::linear::Linear;

const EPS: f64 = 1e-6;

/// Which features a model reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureExtractorConfig {
    /// LTX-2: one projection at the text encoder's width, for both modalities.
    Shared,
    /// LTX-2.3: a projection to the width of each modality.
    PerModality {
        /// Width of the picture's features.
        video: usize,
        /// Width of the sound's features.
        audio: usize,
    },
}

impl FeatureExtractorConfig {
    /// The `transformer` section has either none of the four keys of LTX-2.3 or all of them at their known values.
    pub(super) fn new(transformer: &Section) -> std::result::Result<Self, ConfigError> {
        const KEYS: [(&str, bool); 4] = [
            ("caption_proj_before_connector", true),
            ("caption_projection_first_linear", false),
            ("caption_proj_input_norm", false),
            ("caption_projection_second_linear", false),
        ];
        if !KEYS.iter().any(|(key, _)| transformer.has(key)) {
            return Ok(Self::Shared);
        }
        for (key, known) in KEYS {
            let found: Value = transformer.require(key)?;
            if found != known {
                return Err(transformer.unsupported(key, found, known));
            }
        }
        let width = |heads, width| Ok(transformer.require_size(heads)? * transformer.require_size(width)?);
        Ok(Self::PerModality {
            video: width("num_attention_heads", "attention_head_dim")?,
            audio: width("audio_num_attention_heads", "audio_attention_head_dim")?,
        })
    }
}

/// Features of a prompt's tokens, `(1, n, d)`.
#[derive(Debug, Clone)]
pub struct Features {
    /// For the picture's connector.
    pub video: Tensor,
    /// For the sound's.
    pub audio: Tensor,
}

/// Normalises hidden states and projects all layers together.
#[derive(Debug, Clone)]
pub enum FeatureExtractor {
    /// See [`FeatureExtractorConfig::Shared`].
    Shared {
        /// From all layers' widths to one.
        aggregate_embed: Linear,
    },
    /// See [`FeatureExtractorConfig::PerModality`].
    PerModality {
        /// To the picture's width.
        video: ScaledEmbed,
        /// To the sound's width.
        audio: ScaledEmbed,
    },
}

impl FeatureExtractor {
    /// Reads `text_embedding_projection.*` for `layers` hidden states of width `dim`.
    pub fn new(config: FeatureExtractorConfig, dim: usize, layers: usize, vb: VarBuilder) -> Result<Self> {
        let vb = vb.pp("text_embedding_projection");
        let scaled = |width: usize, name: &str| -> Result<ScaledEmbed> {
            let aggregate_embed = Linear::new(dim * layers, width, vb.pp(name))?;
            Ok(ScaledEmbed { scale: (width as f64 / dim as f64).sqrt(), aggregate_embed })
        };
        Ok(match config {
            FeatureExtractorConfig::Shared => {
                Self::Shared { aggregate_embed: Linear::without_bias(dim * layers, dim, vb.pp("aggregate_embed"))? }
            }
            FeatureExtractorConfig::PerModality { video, audio } => Self::PerModality {
                video: scaled(video, "video_aggregate_embed")?,
                audio: scaled(audio, "audio_aggregate_embed")?,
            },
        })
    }

    /// `hidden_states`, `(1, n, d)` each. Padding is not among the n tokens.
    pub fn forward(&self, hidden_states: &[Tensor]) -> Result<Features> {
        match self {
            Self::Shared { aggregate_embed } => {
                let features = aggregate_embed.forward(&joined(hidden_states, mean_range_norm)?)?;
                Ok(Features { video: features.clone(), audio: features })
            }
            Self::PerModality { video, audio } => {
                let normed = joined(hidden_states, rms_norm_per_token)?;
                Ok(Features { video: video.forward(&normed)?, audio: audio.forward(&normed)? })
            }
        }
    }
}

/// A projection whose input is scaled so that its norm suits the width that it leads to.
#[derive(Debug, Clone)]
pub struct ScaledEmbed {
    scale: f64,
    aggregate_embed: Linear,
}

impl ScaledEmbed {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.aggregate_embed.forward(&(x * self.scale)?)
    }
}

/// All layers normed, `(1, n, d * layers)`: widths first, layers innermost, as the projections read them.
fn joined(hidden_states: &[Tensor], norm: fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let normed = hidden_states.iter().map(norm).collect::<Result<Vec<_>>>()?;
    let (b, n, d) = normed[0].dims3()?;
    Tensor::stack(&normed, 3)?.reshape((b, n, d * normed.len()))
}

/// `8 (x - mean) / (max - min)` over a layer's tokens and widths.
fn mean_range_norm(x: &Tensor) -> Result<Tensor> {
    let dtype = x.dtype();
    let x = x.to_dtype(DType::F32)?;
    let count = x.elem_count() as f64;
    // Summing per token first keeps float32 exact enough for 1024 tokens of width 3840.
    let mean = (x.sum_keepdim(2)?.sum_keepdim(1)? / (count + EPS))?;
    let flat = x.flatten_all()?;
    let range = ((flat.max(0)? - flat.min(0)?)? + EPS)?;
    (x.broadcast_sub(&mean)? * 8.0)?.broadcast_div(&range)?.to_dtype(dtype)
}

/// Each token divided by its root mean square over the widths.
fn rms_norm_per_token(x: &Tensor) -> Result<Tensor> {
    let dtype = x.dtype();
    let x = x.to_dtype(DType::F32)?;
    let rms = (x.sqr()?.mean_keepdim(D::Minus1)? + EPS)?.sqrt()?;
    x.broadcast_div(&rms)?.to_dtype(dtype)
}
