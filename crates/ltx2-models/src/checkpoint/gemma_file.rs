//! A text encoder in one safetensors file without `config.json`, as published for ComfyUI.

use serde_json::{Value, json};

use crate::config::ConfigError;
use crate::weight_files::TensorShapes;

/// Prefix of the text model's tensors.
const MODEL: &str = "language_model.model.";

/// Builds the `config.json` of a text encoder from the tensors `shapes` of the published names. The other values are
/// those of the published Gemma 3 models that fit LTX-2; queries are scaled by the head width.
pub(super) fn gemma_config(shapes: &TensorShapes) -> Result<Value, ConfigError> {
    let side = |name: &str, axis: usize| {
        let found = shapes.get(&format!("{MODEL}{name}")).and_then(|shape| shape.get(axis)).copied();
        found.ok_or_else(|| ConfigError::Missing { path: format!("{MODEL}{name}") })
    };
    let layers = (0..).take_while(|i| shapes.contains_key(&format!("{MODEL}layers.{i}.input_layernorm.weight")));
    let head_dim = side("layers.0.self_attn.q_norm.weight", 0)?;
    let heads = |name: &str| Ok::<usize, ConfigError>(side(name, 0)? / head_dim.max(1));
    Ok(json!({"model_type": "gemma3", "text_config": {
        "hidden_size": side("embed_tokens.weight", 1)?,
        "vocab_size": side("embed_tokens.weight", 0)?,
        "num_hidden_layers": layers.count(),
        "intermediate_size": side("layers.0.mlp.gate_proj.weight", 0)?,
        "num_attention_heads": heads("layers.0.self_attn.q_proj.weight")?,
        "num_key_value_heads": heads("layers.0.self_attn.k_proj.weight")?,
        "head_dim": head_dim,
        "query_pre_attn_scalar": head_dim,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0},
    }}))
}
