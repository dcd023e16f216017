//! Multi-head attention of the transformer and the connectors (`Attention`). Queries and keys are RMS-normalised over
//! the full width of all heads.

use candle_core::{D, DType, Result, Tensor};
use ltx2_kernels::{AttentionKernel, NormRope, PendingBias, Rope, RopeTable, attention, norm_rope};

use crate::VarBuilder;
use crate::linear::Linear;

/// Dimensions and options of an attention layer.
#[derive(Debug, Clone, Copy)]
pub struct AttentionConfig {
    /// Width of the query input and of the output.
    pub query_dim: usize,
    /// Width of the context, the input of keys and values.
    pub context_dim: usize,
    /// Number of heads.
    pub heads: usize,
    /// Width of a head.
    pub dim_head: usize,
    /// Epsilon of the query and key norms.
    pub norm_eps: f64,
    /// Channel pairing of the rotary embedding.
    pub rope: Rope,
    /// Whether each head is scaled by a gate computed from the query input (LTX-2.3).
    pub gated: bool,
}

/// Multi-head attention.
#[derive(Debug, Clone)]
pub struct Attention {
    config: AttentionConfig,
    kernel: AttentionKernel,
    q_norm: Tensor,
    k_norm: Tensor,
    to_q: Linear,
    to_k: Linear,
    to_v: Linear,
    to_out: Linear,
    to_gate_logits: Option<Linear>,
}

/// Keys and values of a context, `(b, heads, s, d)` each.
#[derive(Debug, Clone)]
pub struct KeysValues {
    keys: Tensor,
    values: Tensor,
}

impl KeysValues {
    /// Number of elements of both tensors.
    pub fn elem_count(&self) -> usize {
        self.keys.elem_count() + self.values.elem_count()
    }
}

impl Attention {
    /// Reads `to_q`, `to_k`, `to_v`, `to_out.0`, `q_norm`, `k_norm` and, if gated, `to_gate_logits`.
    pub fn new(config: AttentionConfig, vb: VarBuilder) -> Result<Self> {
        let inner = config.heads * config.dim_head;
        Ok(Self {
            config,
            kernel: vb.attention_kernel(),
            q_norm: vb.get(inner, "q_norm.weight")?,
            k_norm: vb.get(inner, "k_norm.weight")?,
            to_q: Linear::new(config.query_dim, inner, vb.pp("to_q"))?,
            to_k: Linear::new(config.context_dim, inner, vb.pp("to_k"))?,
            to_v: Linear::new(config.context_dim, inner, vb.pp("to_v"))?,
            to_out: Linear::new(inner, config.query_dim, vb.pp("to_out.0"))?,
            to_gate_logits: match config.gated {
                true => Some(Linear::new(config.query_dim, config.heads, vb.pp("to_gate_logits"))?),
                false => None,
            },
        })
    }

    /// Attention of `x (b, t, query_dim)` to `context (b, s, context_dim)`.
    ///
    /// `q_rope` and `k_rope` are the rotary embeddings of queries and keys, if any. Returns `(b, t, query_dim)` with
    /// the output bias still to be added.
    pub fn forward(
        &self,
        x: &Tensor,
        context: &Tensor,
        q_rope: Option<&RopeTable>,
        k_rope: Option<&RopeTable>,
    ) -> Result<PendingBias> {
        self.attend(x, &self.keys_values(context, k_rope)?, q_rope)
    }

    /// Keys and values of `context (b, s, context_dim)`, the keys with the rotary embedding `rope`, if any.
    pub fn keys_values(&self, context: &Tensor, rope: Option<&RopeTable>) -> Result<KeysValues> {
        let keys = self.norm_and_rotate(&self.to_k.product(context)?, &self.k_norm, rope)?;
        Ok(KeysValues { keys, values: self.split_heads(&self.to_v.forward(context)?)? })
    }

    /// Attention of `x (b, t, query_dim)`, with the rotary embedding `rope`, if any, to precomputed keys and values.
    pub fn attend(&self, x: &Tensor, keys_values: &KeysValues, rope: Option<&RopeTable>) -> Result<PendingBias> {
        let q = self.norm_and_rotate(&self.to_q.product(x)?, &self.q_norm, rope)?;
        let KeysValues { keys, values } = keys_values;
        let out = attention(&q, keys, values, 1.0 / (self.config.dim_head as f64).sqrt(), self.kernel)?;
        let (b, _, t, _) = out.dims4()?;
        let out = out.transpose(1, 2)?.reshape((b, t, self.config.heads * self.config.dim_head))?;
        self.to_out.product(&self.gate(x, out)?)
    }

    /// Output of a self-attention that a perturbed pass skips: the values of `x (b, t, query_dim)` replace the
    /// attention result.
    pub fn values_only(&self, x: &Tensor) -> Result<PendingBias> {
        self.to_out.product(&self.gate(x, self.to_v.forward(x)?)?)
    }

    /// Scales each head of `out (b, t, heads * d)` by a gate in (0, 2) computed from `x (b, t, query_dim)`. Returns
    /// `out` unchanged if the layer is not gated.
    fn gate(&self, x: &Tensor, out: Tensor) -> Result<Tensor> {
        let Some(to_gate_logits) = &self.to_gate_logits else { return Ok(out) };
        let logits = to_gate_logits.forward(x)?;
        let gates = ((logits.to_dtype(DType::F32)?.neg()?.exp()? + 1.0)?.recip()? * 2.0)?.to_dtype(out.dtype())?;
        let (b, t, width) = out.dims3()?;
        let heads = out.reshape((b, t, self.config.heads, self.config.dim_head))?;
        heads.broadcast_mul(&gates.unsqueeze(D::Minus1)?)?.reshape((b, t, width))
    }

    /// RMS norm and rotary embedding of `x (b, t, heads * d)`; returns `(b, heads, t, d)`.
    fn norm_and_rotate(&self, x: &PendingBias, norm: &Tensor, rope: Option<&RopeTable>) -> Result<Tensor> {
        let AttentionConfig { norm_eps: eps, heads, rope: kind, .. } = self.config;
        norm_rope(x, NormRope { weight: norm, eps, heads, rope: rope.map(|table| (kind, table)) })
    }

    /// `(b, t, heads * d)` to `(b, heads, t, d)`.
    fn split_heads(&self, x: &Tensor) -> Result<Tensor> {
        let (b, t, _) = x.dims3()?;
        x.reshape((b, t, self.config.heads, self.config.dim_head))?.transpose(1, 2)
    }
}
