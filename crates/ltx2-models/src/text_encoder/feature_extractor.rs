//! Feature extractor: the hidden states of all layers to features per token (`FeatureExtractorV1`, `FeatureExtractorV2`).

use candle_core::{D, DType, Result, Tensor};
use serde_json::Value;

use crate::config::{ConfigError, Section};
use crate::linear::Linear;
use crate::var_builder::VarBuilder;

const EPS: f64 = 1e-6;

/// Variant of the feature extractor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureExtractorConfig {
    /// LTX-2: one projection for both modalities, at the width of the text encoder.
    Shared,
    /// LTX-2.3: a projection to the width of each modality.
    PerModality {
        /// Width of the video features.
        video: usize,
        /// Width of the audio features.
        audio: usize,
    },
}

impl FeatureExtractorConfig {
    /// Reads the `transformer` section. It must have none of the four keys of LTX-2.3, or all of them with the supported
    /// values.
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

/// Features of the tokens of a prompt, `(1, n, d)` each.
#[derive(Debug, Clone)]
pub struct Features {
    /// Input of the video connector.
    pub video: Tensor,
    /// Input of the audio connector.
    pub audio: Tensor,
}

/// Normalises the hidden states and projects those of all layers together.
#[derive(Debug, Clone)]
pub enum FeatureExtractor {
    /// See [`FeatureExtractorConfig::Shared`].
    Shared {
        /// `layers * d` to `d`.
        aggregate_embed: Linear,
    },
    /// See [`FeatureExtractorConfig::PerModality`].
    PerModality {
        /// Projection to the width of the video features.
        video: ScaledEmbed,
        /// Projection to the width of the audio features.
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

    /// Returns the features of `hidden_states`, `(1, n, d)` per layer, without padding.
    pub fn forward(&self, hidden_states: &[Tensor]) -> Result<Features> {
        match self {
            Self::Shared { aggregate_embed } => {
                let features = aggregate_embed.forward(&join_layers(hidden_states, mean_range_norm)?)?;
                Ok(Features { video: features.clone(), audio: features })
            }
            Self::PerModality { video, audio } => {
                let normed = join_layers(hidden_states, rms_norm_per_token)?;
                Ok(Features { video: video.forward(&normed)?, audio: audio.forward(&normed)? })
            }
        }
    }
}

/// A projection with its input scaled by `sqrt(d_out / d)`.
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

/// Normalises each layer and joins them to `(1, n, d * layers)`, layers innermost.
fn join_layers(hidden_states: &[Tensor], norm: fn(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    let normed = hidden_states.iter().map(norm).collect::<Result<Vec<_>>>()?;
    let (b, n, d) = normed[0].dims3()?;
    Tensor::stack(&normed, 3)?.reshape((b, n, d * normed.len()))
}

/// `8 (x - mean) / (max - min)` over all elements of a layer.
fn mean_range_norm(x: &Tensor) -> Result<Tensor> {
    let dtype = x.dtype();
    let x = x.to_dtype(DType::F32)?;
    let count = x.elem_count() as f64;
    // Summing per token first keeps float32 accurate enough for 1024 tokens of width 3840.
    let mean = (x.sum_keepdim(2)?.sum_keepdim(1)? / (count + EPS))?;
    let flat = x.flatten_all()?;
    let range = ((flat.max(0)? - flat.min(0)?)? + EPS)?;
    (x.broadcast_sub(&mean)? * 8.0)?.broadcast_div(&range)?.to_dtype(dtype)
}

/// Divides each token by its root mean square over the width.
fn rms_norm_per_token(x: &Tensor) -> Result<Tensor> {
    let dtype = x.dtype();
    let x = x.to_dtype(DType::F32)?;
    let rms = (x.sqr()?.mean_keepdim(D::Minus1)? + EPS)?.sqrt()?;
    x.broadcast_div(&rms)?.to_dtype(dtype)
}
