//! GGUF files as published: the transformer, as converted for ComfyUI, and the text encoder, as written by llama.cpp.

use std::path::Path;

use serde_json::{Value, json};

use crate::config::{ConfigError, Section};
use crate::weight_files::CheckpointError;
use crate::weight_files::gguf::GgufFile;
use crate::weight_files::tensor_files::TensorMapping;

/// Network that a GGUF file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GgufKind {
    /// The audio-video diffusion transformer.
    Transformer,
    /// The text model of Gemma 3.
    TextEncoder,
    /// Any other network, such as the vision tower of a text encoder.
    Other,
}

/// Determines the network in the GGUF file at `path`.
pub fn gguf_kind(path: &Path) -> Result<GgufKind, CheckpointError> {
    GgufFile::open(path).map(|file| kind_of(&file))
}

/// Determines the network in `file` by its architecture key and its tensor names.
pub(super) fn kind_of(file: &GgufFile) -> GgufKind {
    let architecture = file.metadata().get("general.architecture").and_then(Value::as_str);
    let is_block = |name: &String| name.ends_with("transformer_blocks.0.audio_to_video_attn.to_q.weight");
    match architecture {
        Some("gemma3") => GgufKind::TextEncoder,
        _ if file.names().any(is_block) => GgufKind::Transformer,
        _ => GgufKind::Other,
    }
}

/// Layer name of llama.cpp, layer name of Hugging Face, and the constant that the conversion added to the weight.
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

/// Maps a tensor name of a text encoder file to that of Hugging Face; `None` for tensors outside the layers of the text
/// model. An unknown name of a layer stays unknown.
pub(super) fn gemma_mapping(name: &str) -> Option<TensorMapping> {
    let unknown = || name.starts_with("blk.").then(|| format!("language_model.model.{name}").into());
    known_gemma_mapping(name).or_else(unknown)
}

fn known_gemma_mapping(name: &str) -> Option<TensorMapping> {
    let mapping =
        |name: &str, offset| Some(TensorMapping { name: format!("language_model.model.{name}.weight"), offset });
    match name.strip_suffix(".weight")? {
        "token_embd" => mapping("embed_tokens", 0.0),
        "output_norm" => mapping("norm", 1.0),
        other => {
            let (layer, part) = other.strip_prefix("blk.")?.split_once('.')?;
            let (_, hugging_face, offset) = GEMMA.iter().find(|(llama_cpp, _, _)| *llama_cpp == part)?;
            mapping(&format!("layers.{layer}.{hugging_face}"), *offset)
        }
    }
}

/// Builds the `config.json` of a text encoder from the metadata of its GGUF file.
///
/// Values that llama.cpp hard-codes are the same here: every sixth layer is global, local layers have a RoPE base of
/// 10000, and queries are scaled by the head width.
pub(super) fn gemma_config(file: &GgufFile) -> Result<Value, ConfigError> {
    let metadata = Value::Object(file.metadata().clone());
    let root = Section::root(&metadata);
    let required = |key: &str| root.require::<usize>(&format!("gemma3.{key}"));
    let head_dim = required("attention.key_length")?;
    root.expect("gemma3.attention.value_length", head_dim)?;
    let vocab_size = file.shape("token_embd.weight").and_then(|shape| shape.first().copied());
    let mut text = json!({
        "hidden_size": required("embedding_length")?,
        "num_hidden_layers": required("block_count")?,
        "intermediate_size": required("feed_forward_length")?,
        "num_attention_heads": required("attention.head_count")?,
        "num_key_value_heads": required("attention.head_count_kv")?,
        "head_dim": head_dim,
        "query_pre_attn_scalar": head_dim,
        "vocab_size": vocab_size.ok_or(ConfigError::Missing { path: "token_embd.weight".into() })?,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gemma_tensor_names_of_llama_cpp_are_mapped() {
        let list = include_str!("../../tests/fixtures/gguf/gemma3-12b.names");
        assert_eq!(list.lines().count(), 28);
        for line in list.lines() {
            let (hugging_face, llama_cpp) = line.split_once(' ').unwrap();
            let mapping = gemma_mapping(llama_cpp).unwrap_or_else(|| panic!("{llama_cpp} is not mapped"));
            assert_eq!(mapping.name, hugging_face);
            assert_eq!(mapping.offset, if hugging_face.contains("norm.weight") { 1.0 } else { 0.0 }, "{hugging_face}");
        }
        assert_eq!(gemma_mapping("output.weight"), None);
    }

    #[test]
    fn unknown_architecture_is_of_kind_other() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf/blocks.gguf");
        assert_eq!(gguf_kind(&path).unwrap(), GgufKind::Other);
    }
}
