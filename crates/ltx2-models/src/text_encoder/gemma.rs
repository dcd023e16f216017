//! Gemma 3's text model, returning the hidden states of every layer (`Gemma3TextModel`).

use candle_core::{D, DType, Device, Result, Tensor};
use ltx2_kernels::{Rope, RopeTable, attention};
use serde_json::Value;

use super::MAX_TOKENS;
use crate::VarBuilder;
use crate::config::{ConfigError, Section};
use crate::linear::Linear;

/// The architecture of the text model.
#[derive(Debug, Clone, PartialEq)]
pub struct GemmaConfig {
    /// Width.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    intermediate_size: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    vocab_size: usize,
    rms_norm_eps: f64,
    query_pre_attn_scalar: f64,
    sliding_window: usize,
    sliding_window_pattern: usize,
    rope_theta: f64,
    rope_local_base_freq: f64,
    rope_factor: f64,
}

impl GemmaConfig {
    /// Reads `config.json` of a Gemma 3 folder; what it does not say is as in Gemma 3 12B.
    pub fn new(config: &Value) -> std::result::Result<Self, ConfigError> {
        let root = Section::root(config);
        root.expect("model_type", "gemma3")?;
        let text = root.section("text_config");
        text.expect("hidden_activation", "gelu_pytorch_tanh")?;
        text.expect("attention_bias", false)?;
        text.expect("use_bidirectional_attention", false)?;
        text.expect("attn_logit_softcapping", Value::Null)?;
        text.expect("final_logit_softcapping", Value::Null)?;
        let [global, local] = ropes(&text)?;
        let config = Self {
            hidden_size: text.size("hidden_size", 3840)?,
            num_hidden_layers: text.count("num_hidden_layers", 48)?,
            intermediate_size: text.size("intermediate_size", 15360)?,
            num_attention_heads: text.size("num_attention_heads", 16)?,
            num_key_value_heads: text.size("num_key_value_heads", 8)?,
            head_dim: text.size("head_dim", 256)?,
            vocab_size: text.size("vocab_size", 262208)?,
            rms_norm_eps: text.get("rms_norm_eps", 1e-6)?,
            query_pre_attn_scalar: text.get("query_pre_attn_scalar", 256.0)?,
            sliding_window: text.get("sliding_window", 1024)?,
            sliding_window_pattern: text.get("sliding_window_pattern", text.get("_sliding_window_pattern", 6)?)?,
            rope_theta: global.theta,
            rope_local_base_freq: local.theta,
            rope_factor: global.factor,
        };
        let (heads, kv_heads) = (config.num_attention_heads, config.num_key_value_heads);
        if !heads.is_multiple_of(kv_heads) {
            return Err(text.unsupported("num_key_value_heads", kv_heads, format!("a divisor of the {heads} heads")));
        }
        if !config.head_dim.is_multiple_of(2) {
            return Err(text.unsupported("head_dim", config.head_dim, "an even number"));
        }
        let kinds: Vec<String> = text.get("layer_types", Vec::new())?;
        for (i, kind) in kinds.iter().enumerate() {
            let expected = if config.is_global(i) { "full_attention" } else { "sliding_attention" };
            if kind != expected {
                return Err(text.unsupported("layer_types", format!("{kind} for layer {i}"), expected));
            }
        }
        Ok(config)
    }

    fn is_global(&self, layer: usize) -> bool {
        (layer + 1).is_multiple_of(self.sliding_window_pattern)
    }
}

/// How the layers of one kind turn queries and keys.
struct RopeParameters {
    theta: f64,
    factor: f64,
}

/// Those of global layers, and of local ones: in two sections, or, as older versions of transformers write them, in three
/// keys.
fn ropes(text: &Section) -> std::result::Result<[RopeParameters; 2], ConfigError> {
    let scaled = |section: &Section, theta| {
        section.expect("rope_type", "linear")?;
        Ok(RopeParameters { theta, factor: section.get("factor", 1.0)? })
    };
    if !text.has("rope_parameters") {
        let theta = text.get("rope_theta", 1e6)?;
        let global = match text.has("rope_scaling") {
            true => scaled(&text.section("rope_scaling"), theta)?,
            false => RopeParameters { theta, factor: 1.0 },
        };
        return Ok([global, RopeParameters { theta: text.get("rope_local_base_freq", 1e4)?, factor: 1.0 }]);
    }
    let sections = text.section("rope_parameters");
    let (global, local) = (sections.section("full_attention"), sections.section("sliding_attention"));
    local.expect("rope_type", "default")?;
    Ok([
        scaled(&global, global.require("rope_theta")?)?,
        RopeParameters { theta: local.require("rope_theta")?, factor: 1.0 },
    ])
}

/// The text model.
#[derive(Debug)]
pub struct Gemma {
    config: GemmaConfig,
    embed_tokens: Tensor,
    layers: Vec<Layer>,
    norm: Tensor,
    dtype: DType,
    device: Device,
}

impl Gemma {
    /// Reads `language_model.model.*`.
    pub fn new(config: &GemmaConfig, vb: VarBuilder) -> Result<Self> {
        let vb = vb.pp("language_model.model");
        let layers =
            (0..config.num_hidden_layers).map(|i| Layer::new(config, vb.pp("layers").pp(i))).collect::<Result<_>>()?;
        Ok(Self {
            embed_tokens: vb.get((config.vocab_size, config.hidden_size), "embed_tokens.weight")?,
            layers,
            norm: norm_weight(config.hidden_size, vb.pp("norm"))?,
            dtype: vb.dtype(),
            device: vb.device().clone(),
            config: config.clone(),
        })
    }

    /// The hidden states of a prompt: the embedding, then after each layer (the last one normed), `(1, n, d)` each.
    ///
    /// Padding stands on the left, where the causal mask hides it and nothing downstream looks at it: it is left out,
    /// and the tokens keep the positions that they have behind it.
    pub fn hidden_states(&self, ids: &[u32]) -> Result<Vec<Tensor>> {
        let mut states = Vec::new();
        let last = self.pass(ids, MAX_TOKENS - ids.len(), None, |state| states.push(state.clone()))?;
        // In the place of the last layer's own.
        if let Some(state) = states.last_mut() {
            *state = last;
        }
        Ok(states)
    }

    /// How likely each token is to follow `cache` and then `ids`, as logits in float32; `cache` has seen them afterwards.
    pub(super) fn next_logits(&self, ids: &[u32], cache: &mut Cache) -> Result<Vec<f32>> {
        let last = self.pass(ids, cache.len(), Some(cache), |_| ())?;
        let last = last.narrow(1, ids.len() - 1, 1)?.squeeze(0)?;
        last.matmul(&self.embed_tokens.t()?)?.squeeze(0)?.to_dtype(DType::F32)?.to_vec1()
    }

    /// Shows each layer's result for `ids`, of which the first stands at position `first`, and returns the last one
    /// normed.
    fn pass(
        &self,
        ids: &[u32],
        first: usize,
        mut cache: Option<&mut Cache>,
        mut show: impl FnMut(&Tensor),
    ) -> Result<Tensor> {
        let seen = cache.as_ref().map_or(0, |cache| cache.len());
        let tokens = Tensor::new(ids, &self.device)?;
        let scale = (self.config.hidden_size as f64).sqrt();
        // The scale is rounded to the weights' dtype in the published implementation.
        let scale = Tensor::new(scale as f32, &self.device)?.to_dtype(self.dtype)?;
        let mut x = self.embed_tokens.index_select(&tokens, 0)?.unsqueeze(0)?.broadcast_mul(&scale)?;
        let span = Span { first, count: ids.len(), seen };
        let local = self.view(self.config.rope_local_base_freq, 1.0, self.config.sliding_window, span)?;
        let global = self.view(self.config.rope_theta, self.config.rope_factor, usize::MAX, span)?;
        show(&x);
        for (i, layer) in self.layers.iter().enumerate() {
            let view = if self.config.is_global(i) { &global } else { &local };
            x = layer.forward(&self.config, &x, view, cache.as_mut().map(|cache| cache.layer(i)))?;
            show(&x);
        }
        norm(&x, &self.norm, self.config.rms_norm_eps)
    }

    fn view(&self, theta: f64, factor: f64, window: usize, span: Span) -> Result<View> {
        let (half, heads) = (self.config.head_dim / 2, self.config.num_attention_heads);
        let Span { first, count: n, seen } = span;
        let mut angles = Vec::with_capacity(n * half);
        for position in first..first + n {
            for i in 0..half {
                let exponent = (2 * i) as f32 / self.config.head_dim as f32;
                let frequency = 1.0 / (theta as f32).powf(exponent) / factor as f32;
                angles.push(position as f32 * frequency);
            }
        }
        let angles = Tensor::from_vec(angles, (1, n, half), &Device::Cpu)?;
        let side = |x: Tensor| x.repeat((heads, 1, 1))?.to_device(&self.device)?.to_dtype(self.dtype);
        let keys = seen + n;
        let mask: Vec<f32> = (0..n * keys)
            .map(|i| (seen + i / keys, i % keys))
            .map(|(q, k)| if k <= q && q - k < window { 0.0 } else { f32::NEG_INFINITY })
            .collect();
        Ok(View {
            rope: RopeTable { cos: side(angles.cos()?)?, sin: side(angles.sin()?)? },
            mask: Tensor::from_vec(mask, (1, 1, n, keys), &self.device)?,
        })
    }
}

/// Where tokens stand.
#[derive(Debug, Clone, Copy)]
struct Span {
    /// Position of the first.
    first: usize,
    count: usize,
    /// How many before them the layers remember.
    seen: usize,
}

/// Keys and values of the tokens that were seen, `(1, kv_heads, n, head_dim)` each, for every layer.
#[derive(Debug, Default)]
pub(super) struct Cache {
    layers: Vec<LayerCache>,
}

type LayerCache = Option<(Tensor, Tensor)>;

impl Cache {
    fn len(&self) -> usize {
        self.layers.first().and_then(Option::as_ref).map_or(0, |(k, _)| k.dims()[2])
    }

    fn layer(&mut self, index: usize) -> &mut LayerCache {
        if self.layers.len() <= index {
            self.layers.resize(index + 1, None);
        }
        &mut self.layers[index]
    }
}

/// What was remembered and `k` and `v` behind it, which is then remembered.
fn remember(cache: &mut LayerCache, k: Tensor, v: Tensor) -> Result<(Tensor, Tensor)> {
    let both = match cache.take() {
        Some((before_k, before_v)) => (Tensor::cat(&[before_k, k], 2)?, Tensor::cat(&[before_v, v], 2)?),
        None => (k, v),
    };
    Ok(cache.insert(both).clone())
}

/// What a layer of one kind sees: local layers a window, global ones everything before.
struct View {
    rope: RopeTable,
    mask: Tensor,
}

#[derive(Debug)]
struct Layer {
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
    fn new(config: &GemmaConfig, vb: VarBuilder) -> Result<Self> {
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

    fn forward(&self, config: &GemmaConfig, x: &Tensor, view: &View, cache: Option<&mut LayerCache>) -> Result<Tensor> {
        let eps = config.rms_norm_eps;
        let attended = self.attend(config, &norm(x, &self.input_layernorm, eps)?, view, cache)?;
        let x = (x + norm(&attended, &self.post_attention_layernorm, eps)?)?;
        let inner = norm(&x, &self.pre_feedforward_layernorm, eps)?;
        let gated = (self.gate_proj.product(&inner)?.gelu()? * self.up_proj.forward(&inner)?)?;
        x + norm(&self.down_proj.forward(&gated)?, &self.post_feedforward_layernorm, eps)?
    }

    fn attend(&self, config: &GemmaConfig, x: &Tensor, view: &View, cache: Option<&mut LayerCache>) -> Result<Tensor> {
        let (b, n, _) = x.dims3()?;
        let (heads, kv_heads, d) = (config.num_attention_heads, config.num_key_value_heads, config.head_dim);
        let split = |x: Tensor, heads: usize| x.reshape((b, n, heads, d))?.transpose(1, 2)?.contiguous();
        let q = norm(&split(self.q_proj.forward(x)?, heads)?, &self.q_norm, config.rms_norm_eps)?;
        let k = norm(&split(self.k_proj.forward(x)?, kv_heads)?, &self.k_norm, config.rms_norm_eps)?;
        let v = split(self.v_proj.forward(x)?, kv_heads)?;
        let q = Rope::Split.apply(&q, &view.rope)?;
        let narrowed =
            RopeTable { cos: view.rope.cos.narrow(0, 0, kv_heads)?, sin: view.rope.sin.narrow(0, 0, kv_heads)? };
        let k = Rope::Split.apply(&k, &narrowed)?;
        let (k, v) = match cache {
            Some(cache) => remember(cache, k, v)?,
            None => (k, v),
        };
        let keys = k.dim(2)?;
        let each = |x: Tensor| {
            let groups = heads / kv_heads;
            x.unsqueeze(2)?.expand((b, kv_heads, groups, keys, d))?.reshape((b, heads, keys, d))
        };
        let out = attention(&q, &each(k)?, &each(v)?, config.query_pre_attn_scalar.powf(-0.5), Some(&view.mask))?;
        self.o_proj.forward(&out.transpose(1, 2)?.reshape((b, n, heads * d))?)
    }
}

/// Gemma multiplies by `1 + weight`, in float32.
fn norm_weight(dim: usize, vb: VarBuilder) -> Result<Tensor> {
    vb.get(dim, "weight")?.to_dtype(DType::F32)? + 1.0
}

fn norm(x: &Tensor, weight: &Tensor, eps: f64) -> Result<Tensor> {
    let dtype = x.dtype();
    let x = x.to_dtype(DType::F32)?;
    let mean_square = (x.sqr()?.sum_keepdim(D::Minus1)? / x.dim(D::Minus1)? as f64)?;
    x.broadcast_div(&(mean_square + eps)?.sqrt()?)?.broadcast_mul(weight)?.to_dtype(dtype)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn refuses_heads_that_cannot_be() {
        for (key, value) in
            [("num_key_value_heads", 0), ("num_key_value_heads", 3), ("head_dim", 5), ("hidden_size", 0)]
        {
            let error = GemmaConfig::new(&json!({"text_config": {key: value}})).unwrap_err().to_string();
            assert!(error.contains(&format!("text_config.{key} is {value}")), "{error}");
        }
    }

    #[test]
    fn both_ways_of_writing_ropes_mean_the_same() {
        let older = json!({"num_hidden_layers": 7, "rope_theta": 1e6, "rope_local_base_freq": 5e3, "head_dim": 16,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0}});
        let newer = json!({"num_hidden_layers": 7, "head_dim": 16, "_sliding_window_pattern": 6,
            "rope_parameters": {"full_attention": {"rope_theta": 1e6, "rope_type": "linear", "factor": 8.0},
                "sliding_attention": {"rope_theta": 5e3, "rope_type": "default"}},
            "layer_types": ["sliding_attention", "sliding_attention", "sliding_attention", "sliding_attention",
                "sliding_attention", "full_attention", "sliding_attention"]});
        let read = |text: &Value| GemmaConfig::new(&json!({"model_type": "gemma3", "text_config": text}));
        let config = read(&older).unwrap();
        assert_eq!((config.rope_factor, config.rope_local_base_freq), (8.0, 5e3));
        assert_eq!(read(&newer).unwrap(), config);
        let mut other = newer.clone();
        other["layer_types"][0] = json!("full_attention");
        assert!(read(&other).unwrap_err().to_string().contains("layer_types is full_attention for layer 0"));
        other = newer.clone();
        other["rope_parameters"]["full_attention"]["rope_type"] = json!("yarn");
        assert!(read(&other).unwrap_err().to_string().contains("rope_parameters.full_attention.rope_type is \"yarn\""));
    }
}
