//! A forward pass of Gemma, layer by layer.

use candle_core::{DType, Device, Result, Tensor};
use ltx2_kernels::RopeTable;

use super::config::GemmaConfig;
use super::kv_cache::LayerCache;
use super::layer::{AttentionContext, Layer, norm};

/// Positions of the tokens of a pass.
#[derive(Debug, Clone, Copy)]
pub(super) struct TokenSpan {
    /// Position of the first token.
    pub(super) first: usize,
    /// Number of tokens.
    pub(super) count: usize,
    /// Number of earlier tokens in the key-value cache.
    pub(super) cached: usize,
}

/// Hidden state between two layers, with what the layers of both kinds attend with.
pub(super) struct ForwardPass<'a> {
    config: &'a GemmaConfig,
    local: AttentionContext,
    global: AttentionContext,
    /// `(1, n, d)`.
    state: Tensor,
}

impl<'a> ForwardPass<'a> {
    /// Embeds `ids` with `embed_tokens (vocab_size, d)`.
    pub(super) fn new(config: &'a GemmaConfig, embed_tokens: &Tensor, ids: &[u32], span: TokenSpan) -> Result<Self> {
        let (dtype, device) = (embed_tokens.dtype(), embed_tokens.device());
        let tokens = Tensor::new(ids, device)?;
        // The published implementation rounds the scale to the dtype of the weights.
        let scale = Tensor::new((config.hidden_size as f64).sqrt() as f32, device)?.to_dtype(dtype)?;
        let state = embed_tokens.index_select(&tokens, 0)?.unsqueeze(0)?.broadcast_mul(&scale)?;
        let local = LayerKind { theta: config.rope_local_base_freq, factor: 1.0, window: config.sliding_window };
        let global = LayerKind { theta: config.rope_theta, factor: config.rope_factor, window: usize::MAX };
        let context = |kind: LayerKind| kind.attention_context(config, span, dtype, device);
        Ok(Self { config, local: context(local)?, global: context(global)?, state })
    }

    /// Hidden state after the last applied layer.
    pub(super) fn state(&self) -> &Tensor {
        &self.state
    }

    /// Applies the layer with `index`.
    pub(super) fn apply(&mut self, index: usize, layer: &Layer, cache: Option<&mut LayerCache>) -> Result<()> {
        let context = if self.config.is_global(index) { &self.global } else { &self.local };
        self.state = layer.forward(self.config, &self.state, context, cache)?;
        Ok(())
    }

    /// Returns the hidden state after the final norm.
    pub(super) fn normed(&self, weight: &Tensor) -> Result<Tensor> {
        norm(&self.state, weight, self.config.rms_norm_eps)
    }
}

/// RoPE parameters and attention window of the local or the global layers.
struct LayerKind {
    theta: f64,
    factor: f64,
    /// Number of tokens that a query attends to, its own included.
    window: usize,
}

impl LayerKind {
    fn attention_context(
        &self,
        config: &GemmaConfig,
        TokenSpan { first, count: n, cached }: TokenSpan,
        dtype: DType,
        device: &Device,
    ) -> Result<AttentionContext> {
        let (half, heads) = (config.head_dim / 2, config.num_attention_heads);
        let mut angles = Vec::with_capacity(n * half);
        for position in first..first + n {
            for i in 0..half {
                let exponent = (2 * i) as f32 / config.head_dim as f32;
                let frequency = 1.0 / (self.theta as f32).powf(exponent) / self.factor as f32;
                angles.push(position as f32 * frequency);
            }
        }
        let angles = Tensor::from_vec(angles, (1, n, half), &Device::Cpu)?;
        let per_head = |x: Tensor| x.repeat((heads, 1, 1))?.to_device(device)?.to_dtype(dtype);
        let keys = cached + n;
        let mask: Vec<f32> = (0..n * keys)
            .map(|i| (cached + i / keys, i % keys))
            .map(|(q, k)| if k <= q && q - k < self.window { 0.0 } else { f32::NEG_INFINITY })
            .collect();
        Ok(AttentionContext {
            rope: RopeTable { cos: per_head(angles.cos()?)?, sin: per_head(angles.sin()?)? },
            mask: Tensor::from_vec(mask, (1, 1, n, keys), device)?,
        })
    }
}
