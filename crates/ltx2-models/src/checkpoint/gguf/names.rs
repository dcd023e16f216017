//! What GGUF files call things, in the words of the published checkpoints.

use serde_json::{Value, json};

use super::Gguf;
use crate::checkpoint::files::Found;
use crate::config::{ConfigError, Section};

/// Where a checkpoint keeps the transformer.
const MODEL: &str = "model.diffusion_model.";
/// What a checkpoint keeps beside it.
const OUTSIDE: [&str; 4] = ["text_embedding_projection.", "vae.", "audio_vae.", "vocoder."];

/// The checkpoint's name of a tensor in a transformer's file, which has the prefix or lacks it.
pub(in crate::checkpoint) fn transformer_name(name: &str) -> String {
    let whole = name.starts_with(MODEL) || OUTSIDE.iter().any(|prefix| name.starts_with(prefix));
    if whole { name.into() } else { format!("{MODEL}{name}") }
}

/// llama.cpp's word, Hugging Face's word, and what was added to the weight when it was converted.
const GEMMA: [(&str, &str, f64); 13] = [
    ("attn_norm", "input_layernorm", 1.0),
    ("attn_q", "self_attn.q_proj", 0.0),
    ("attn_k", "self_attn.k_proj", 0.0),
    ("attn_v", "self_attn.v_proj", 0.0),
    ("attn_output", "self_attn.o_proj", 0.0),
    ("attn_q_norm", "self_attn.q_norm", 1.0),
    ("attn_k_norm", "self_attn.k_norm", 1.0),
    ("post_attention_norm", "post_attention_layernorm", 1.0),
    ("ffn_norm", "pre_feedforward_layernorm", 1.0),
    ("ffn_gate", "mlp.gate_proj", 0.0),
    ("ffn_up", "mlp.up_proj", 0.0),
    ("ffn_down", "mlp.down_proj", 0.0),
    ("post_ffw_norm", "post_feedforward_layernorm", 1.0),
];

/// The name on Hugging Face of a tensor in a text encoder's file; nothing for what the text model does not have.
pub(in crate::checkpoint) fn gemma_name(name: &str) -> Option<Found> {
    let found = |name: &str, added| Some(Found { name: format!("language_model.model.{name}.weight"), added });
    match name.strip_suffix(".weight")? {
        "token_embd" => found("embed_tokens", 0.0),
        "output_norm" => found("norm", 1.0),
        other => {
            let (layer, word) = other.strip_prefix("blk.")?.split_once('.')?;
            let (_, theirs, added) = GEMMA.iter().find(|(known, _, _)| *known == word)?;
            found(&format!("layers.{layer}.{theirs}"), *added)
        }
    }
}

/// The text encoder's architecture as its `config.json` would have it.
///
/// What llama.cpp knows without being told is as there: every sixth layer is global, local layers turn with base 10000,
/// and queries are scaled by their width.
pub(in crate::checkpoint) fn gemma_config(file: &Gguf) -> Result<Value, ConfigError> {
    let metadata = Value::Object(file.metadata().clone());
    let root = Section::root(&metadata);
    let required = |key: &str| root.require::<usize>(&format!("gemma3.{key}"));
    let width = required("attention.key_length")?;
    root.expect("gemma3.attention.value_length", width)?;
    let rows = file.shape("token_embd.weight").and_then(|shape| shape.first().copied());
    let mut text = json!({
        "hidden_size": required("embedding_length")?,
        "num_hidden_layers": required("block_count")?,
        "intermediate_size": required("feed_forward_length")?,
        "num_attention_heads": required("attention.head_count")?,
        "num_key_value_heads": required("attention.head_count_kv")?,
        "head_dim": width,
        "query_pre_attn_scalar": width,
        "vocab_size": rows.ok_or(ConfigError::Missing { path: "token_embd.weight".into() })?,
        "rms_norm_eps": root.require::<f64>("gemma3.attention.layer_norm_rms_epsilon")?,
        "sliding_window": required("attention.sliding_window")?,
        "sliding_window_pattern": root.get("gemma3.attention.sliding_window_pattern", 6)?,
        "rope_theta": root.get("gemma3.rope.freq_base", 1e6)?,
        "rope_local_base_freq": root.get("gemma3.rope.freq_base_swa", 1e4)?,
    });
    root.expect("gemma3.rope.scaling.type", "linear")?;
    if root.has("gemma3.rope.scaling.factor") {
        let factor: f64 = root.require("gemma3.rope.scaling.factor")?;
        text["rope_scaling"] = json!({"rope_type": "linear", "factor": factor});
    }
    Ok(json!({"model_type": "gemma3", "text_config": text}))
}
