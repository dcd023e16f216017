//! Embeddings connector: a small 1-D transformer over the features of a prompt, with learnable registers in place of
//! padding (`Embeddings1DConnector`).

use candle_core::{Result, Tensor};
use ltx2_kernels::{RopeTable, residual, rms_norm};

use super::tokenizer::MAX_TOKENS;
use crate::config::{ConfigError, Section};
use crate::layers::{Attention, AttentionConfig, FeedForward, Positions, RopeConfig};
use crate::var_builder::VarBuilder;

const NORM_EPS: f64 = 1e-6;

/// Architecture of a connector.
#[derive(Debug, Clone, PartialEq)]
pub struct ConnectorConfig {
    heads: usize,
    dim_head: usize,
    layers: usize,
    registers: usize,
    max_pos: Vec<f64>,
    rope: RopeConfig,
    gated: bool,
}

impl ConnectorConfig {
    /// Reads the video connector from the `connector_*` keys of the `transformer` section.
    pub fn video(transformer: &Section) -> std::result::Result<Self, ConfigError> {
        transformer.expect("use_embeddings_connector", true)?;
        transformer.expect("connector_norm_output", true)?;
        let config = Self {
            heads: transformer.size("connector_num_attention_heads", 30)?,
            dim_head: even_size(transformer, "connector_attention_head_dim", 128)?,
            layers: transformer.count("connector_num_layers", 2)?,
            registers: transformer.size("connector_num_learnable_registers", 128)?,
            max_pos: transformer.get("connector_positional_embedding_max_pos", vec![1.0])?,
            // Fixed in the official connector.
            rope: RopeConfig { theta: 10000.0, ..RopeConfig::new(transformer)? },
            gated: transformer.get("connector_apply_gated_attention", false)?,
        };
        if !MAX_TOKENS.is_multiple_of(config.registers) {
            let supported = format!("a divisor of {MAX_TOKENS}");
            return Err(transformer.unsupported("connector_num_learnable_registers", config.registers, supported));
        }
        if config.max_pos.len() != 1 {
            let found = format!("{:?}", config.max_pos);
            return Err(transformer.unsupported("connector_positional_embedding_max_pos", found, "a list of 1"));
        }
        Ok(config)
    }

    /// Reads the audio connector from the `audio_connector_*` keys. Absent values are those of the video connector.
    pub fn audio(transformer: &Section) -> std::result::Result<Self, ConfigError> {
        let video = Self::video(transformer)?;
        Ok(Self {
            heads: transformer.size("audio_connector_num_attention_heads", video.heads)?,
            dim_head: even_size(transformer, "audio_connector_attention_head_dim", video.dim_head)?,
            layers: transformer.count("audio_connector_num_layers", video.layers)?,
            ..video
        })
    }

    /// Number of attention heads.
    pub fn heads(&self) -> usize {
        self.heads
    }

    /// Width of the features.
    pub fn dim(&self) -> usize {
        self.heads * self.dim_head
    }
}

/// Reads the width of a head, which RoPE requires to be even.
fn even_size(transformer: &Section, key: &str, default: usize) -> std::result::Result<usize, ConfigError> {
    let width = transformer.size(key, default)?;
    if width.is_multiple_of(2) { Ok(width) } else { Err(transformer.unsupported(key, width, "an even number")) }
}

/// Connector of a modality: features `(1, n, d)` to a context `(1, 1024, d)`.
#[derive(Debug)]
pub struct Connector {
    blocks: Vec<(Attention, FeedForward)>,
    registers: Tensor,
    rope: RopeTable,
}

impl Connector {
    /// Reads `transformer_1d_blocks.*` and `learnable_registers`.
    pub fn new(config: &ConnectorConfig, vb: VarBuilder) -> Result<Self> {
        let dim = config.dim();
        let attention = AttentionConfig {
            query_dim: dim,
            context_dim: dim,
            heads: config.heads,
            dim_head: config.dim_head,
            norm_eps: NORM_EPS,
            rope: config.rope.kind,
            gated: config.gated,
        };
        let blocks = (0..config.layers)
            .map(|i| {
                let vb = vb.pp("transformer_1d_blocks").pp(i);
                Ok((Attention::new(attention, vb.pp("attn1"))?, FeedForward::new(dim, vb.pp("ff"))?))
            })
            .collect::<Result<_>>()?;
        let positions = Positions::new(vec![(0..MAX_TOKENS).map(|i| (i as f32, i as f32)).collect()]);
        Ok(Self {
            blocks,
            registers: vb.get((config.registers, dim), "learnable_registers")?,
            rope: config.rope.table(&positions, dim, config.heads, &config.max_pos, (vb.dtype(), vb.device()))?,
        })
    }

    /// Returns the context `(1, 1024, d)` of `features (1, n, d)`.
    ///
    /// The prompt comes first. The registers, repeated to length 1024, fill the positions from `n` on.
    pub fn forward(&self, features: &Tensor) -> Result<Tensor> {
        let n = features.dim(1)?;
        let repeats = MAX_TOKENS / self.registers.dim(0)?;
        let fill = self.registers.repeat((repeats, 1))?.narrow(0, n, MAX_TOKENS - n)?.unsqueeze(0)?;
        let mut x = if n == MAX_TOKENS { features.clone() } else { Tensor::cat(&[features, &fill], 1)? };
        for (attention, feed_forward) in &self.blocks {
            let normed = rms_norm(&x, None, NORM_EPS)?;
            x = residual(&x, &attention.forward(&normed, &normed, Some(&self.rope), Some(&self.rope))?)?;
            x = residual(&x, &feed_forward.forward(&rms_norm(&x, None, NORM_EPS)?)?)?;
        }
        rms_norm(&x, None, NORM_EPS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn invalid_values_are_rejected_by_name() {
        let read = |key: &str, value: Value| {
            let config = json!({key: value});
            ConnectorConfig::audio(&Section::root(&config))
                .map(|config| config.dim())
                .map_err(|error| error.to_string())
        };
        assert_eq!(read("audio_connector_num_attention_heads", json!(2)), Ok(256));
        for (key, value) in [
            ("connector_positional_embedding_max_pos", json!([])),
            ("connector_positional_embedding_max_pos", json!([20.0, 20.0])),
            ("connector_attention_head_dim", json!(1)),
            ("audio_connector_attention_head_dim", json!(0)),
            ("connector_num_attention_heads", json!(u64::MAX)),
            ("connector_num_learnable_registers", json!(0)),
            ("audio_connector_num_layers", json!(u64::MAX)),
        ] {
            let error = read(key, value.clone()).unwrap_err();
            assert!(error.contains(&format!("{key} is")), "{key} {value}: {error}");
        }
    }
}
