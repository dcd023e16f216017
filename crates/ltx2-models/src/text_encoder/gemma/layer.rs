//! Decoder layer of Gemma 3 (`Gemma3DecoderLayer`).

use candle_core::{D, DType, Result, Tensor};
use ltx2_kernels::{Rope, RopeTable, masked_attention};

use super::config::GemmaConfig;
use super::kv_cache::{LayerCache, append};
use crate::linear::Linear;
use crate::var_builder::VarBuilder;

/// RoPE table and mask of the local or the global layers. Local layers attend to a window, global ones to all earlier
/// tokens.
pub(super) struct AttentionContext {
    pub(super) rope: RopeTable,
    /// Added to the scores, `(1, 1, n, keys)`.
    pub(super) mask: Tensor,
}

/// Attention and feed-forward, each with a norm before and after.
#[derive(Debug)]
pub(super) struct Layer {
    q_proj: Linear,
    k_proj: Linear,
    v_proj: Linear,
    o_proj: Linear,
    q_norm: Tensor,
    k_norm: Tensor,
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
    input_layernorm: Tensor,
    post_attention_layernorm: Tensor,
    pre_feedforward_layernorm: Tensor,
    post_feedforward_layernorm: Tensor,
}

impl Layer {
    pub(super) fn new(config: &GemmaConfig, vb: VarBuilder) -> Result<Self> {
        let (d, ff) = (config.hidden_size, config.intermediate_size);
        let (q, kv) = (config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim);
        let (attn, mlp) = (vb.pp("self_attn"), vb.pp("mlp"));
        Ok(Self {
            q_proj: Linear::without_bias(d, q, attn.pp("q_proj"))?,
            k_proj: Linear::without_bias(d, kv, attn.pp("k_proj"))?,
            v_proj: Linear::without_bias(d, kv, attn.pp("v_proj"))?,
            o_proj: Linear::without_bias(q, d, attn.pp("o_proj"))?,
            q_norm: norm_weight(config.head_dim, attn.pp("q_norm"))?,
            k_norm: norm_weight(config.head_dim, attn.pp("k_norm"))?,
            gate_proj: Linear::without_bias(d, ff, mlp.pp("gate_proj"))?,
            up_proj: Linear::without_bias(d, ff, mlp.pp("up_proj"))?,
            down_proj: Linear::without_bias(ff, d, mlp.pp("down_proj"))?,
            input_layernorm: norm_weight(d, vb.pp("input_layernorm"))?,
            post_attention_layernorm: norm_weight(d, vb.pp("post_attention_layernorm"))?,
            pre_feedforward_layernorm: norm_weight(d, vb.pp("pre_feedforward_layernorm"))?,
            post_feedforward_layernorm: norm_weight(d, vb.pp("post_feedforward_layernorm"))?,
        })
    }

    /// `x (1, n, d)` to the same shape.
    pub(super) fn forward(
        &self,
        config: &GemmaConfig,
        x: &Tensor,
        context: &AttentionContext,
        cache: Option<&mut LayerCache>,
    ) -> Result<Tensor> {
        let eps = config.rms_norm_eps;
        let attended = self.attend(config, &norm(x, &self.input_layernorm, eps)?, context, cache)?;
        let x = (x + norm(&attended, &self.post_attention_layernorm, eps)?)?;
        let inner = norm(&x, &self.pre_feedforward_layernorm, eps)?;
        let gated = (self.gate_proj.product(&inner)?.gelu()? * self.up_proj.forward(&inner)?)?;
        x + norm(&self.down_proj.forward(&gated)?, &self.post_feedforward_layernorm, eps)?
    }

    fn attend(
        &self,
        config: &GemmaConfig,
        x: &Tensor,
        context: &AttentionContext,
        cache: Option<&mut LayerCache>,
    ) -> Result<Tensor> {
        let (b, n, _) = x.dims3()?;
        let (heads, kv_heads, d) = (config.num_attention_heads, config.num_key_value_heads, config.head_dim);
        let split = |x: Tensor, heads: usize| x.reshape((b, n, heads, d))?.transpose(1, 2)?.contiguous();
        let q = norm(&split(self.q_proj.forward(x)?, heads)?, &self.q_norm, config.rms_norm_eps)?;
        let k = norm(&split(self.k_proj.forward(x)?, kv_heads)?, &self.k_norm, config.rms_norm_eps)?;
        let v = split(self.v_proj.forward(x)?, kv_heads)?;
        let q = Rope::Split.apply(&q, &context.rope)?;
        let kv_rope =
            RopeTable { cos: context.rope.cos.narrow(0, 0, kv_heads)?, sin: context.rope.sin.narrow(0, 0, kv_heads)? };
        let k = Rope::Split.apply(&k, &kv_rope)?;
        let (k, v) = match cache {
            Some(cache) => append(cache, k, v)?,
            None => (k, v),
        };
        let keys = k.dim(2)?;
        let repeat_kv = |x: Tensor| {
            let groups = heads / kv_heads;
            x.unsqueeze(2)?.expand((b, kv_heads, groups, keys, d))?.reshape((b, heads, keys, d))
        };
        let out = masked_attention(
            &q,
            &repeat_kv(k)?,
            &repeat_kv(v)?,
            config.query_pre_attn_scalar.powf(-0.5),
            &context.mask,
        )?;
        self.o_proj.forward(&out.transpose(1, 2)?.reshape((b, n, heads * d))?)
    }
}

/// Reads the weight of a norm as `1 + weight` in float32.
pub(super) fn norm_weight(dim: usize, vb: VarBuilder) -> Result<Tensor> {
    vb.get(dim, "weight")?.to_dtype(DType::F32)? + 1.0
}

/// RMS norm in float32; `weight` is that of [`norm_weight`].
pub(super) fn norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let dtype = x.dtype();
    let x = x.to_dtype(DType::F32)?;
    let mean_square = (x.sqr()?.sum_keepdim(D::Minus1)? / x.dim(D::Minus1)? as f64)?;
    x.broadcast_div(&(mean_square + eps)?.sqrt()?)?.broadcast_mul(weight)?.to_dtype(dtype)
}
