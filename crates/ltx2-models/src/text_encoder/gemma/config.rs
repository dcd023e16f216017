//! Architecture of the text model of Gemma 3.

use serde_json::Value;

use crate::config::{ConfigError, Section};

/// Architecture of the text model, with the names of `text_config`.
#[derive(Debug, Clone, PartialEq)]
pub struct GemmaConfig {
    /// Width of the hidden states.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_attention_heads: usize,
    pub(super) num_key_value_heads: usize,
    pub(super) head_dim: usize,
    pub(super) vocab_size: usize,
    pub(super) rms_norm_eps: f64,
    pub(super) query_pre_attn_scalar: f64,
    pub(super) sliding_window: usize,
    pub(super) sliding_window_pattern: usize,
    pub(super) rope_theta: f64,
    pub(super) rope_local_base_freq: f64,
    pub(super) rope_factor: f64,
}

impl GemmaConfig {
    /// Reads the `config.json` of a Gemma 3 folder. Defaults are those of Gemma 3 12B.
    pub fn new(config: &Value) -> std::result::Result<Self, ConfigError> {
        let root = Section::root(config);
        // The configuration of the text model alone has the same values at the top level.
        let text = if root.get("model_type", String::new())? == "gemma3_text" {
            refuse_quantization(&root)?;
            root
        } else {
            root.expect("model_type", "gemma3")?;
            let text = root.section("text_config");
            [&root, &text].into_iter().try_for_each(refuse_quantization)?;
            text
        };
        text.expect("hidden_activation", "gelu_pytorch_tanh")?;
        text.expect("attention_bias", false)?;
        text.expect("use_bidirectional_attention", false)?;
        text.expect("attn_logit_softcapping", Value::Null)?;
        text.expect("final_logit_softcapping", Value::Null)?;
        let [global, local] = rope_parameters(&text)?;
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
        let layer_types: Vec<String> = text.get("layer_types", Vec::new())?;
        for (i, kind) in layer_types.iter().enumerate() {
            let expected = if config.is_global(i) { "full_attention" } else { "sliding_attention" };
            if kind != expected {
                return Err(text.unsupported("layer_types", format!("{kind} for layer {i}"), expected));
            }
        }
        Ok(config)
    }

    /// Whether a layer attends to all earlier tokens rather than to a window.
    pub(super) fn is_global(&self, layer: usize) -> bool {
        (layer + 1).is_multiple_of(self.sliding_window_pattern)
    }
}

/// Quantisation methods whose tensors are understood or refused one by one.
const CHECKED_BY_TENSOR: [&str; 2] = ["compressed-tensors", "fp8"];

/// Refuses a `quantization_config` by the name of its method.
fn refuse_quantization(section: &Section) -> std::result::Result<(), ConfigError> {
    if !section.has("quantization_config") {
        return Ok(());
    }
    let config = section.section("quantization_config");
    let method = config.get("quant_method", "an unknown method".to_string())?;
    if CHECKED_BY_TENSOR.contains(&method.as_str()) {
        return Ok(());
    }
    let supported = "an unquantised Gemma 3, one in GGUF or one in float8 with a weight_scale";
    Err(config.unsupported("quant_method", method, supported))
}

/// RoPE parameters of the layers of one kind.
struct RopeParameters {
    theta: f64,
    factor: f64,
}

/// Reads the RoPE parameters of global and local layers: two sections, or three keys in older versions of transformers.
fn rope_parameters(text: &Section) -> std::result::Result<[RopeParameters; 2], ConfigError> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn invalid_head_sizes_are_rejected() {
        for (key, value) in
            [("num_key_value_heads", 0), ("num_key_value_heads", 3), ("head_dim", 5), ("hidden_size", 0)]
        {
            let error = GemmaConfig::new(&json!({"text_config": {key: value}})).unwrap_err().to_string();
            assert!(error.contains(&format!("text_config.{key} is {value}")), "{error}");
        }
    }

    #[test]
    fn quantized_folders_are_refused_by_method() {
        for method in ["bitsandbytes", "awq", "gptq", "torchao"] {
            let config = json!({"model_type": "gemma3", "quantization_config": {"quant_method": method}});
            let error = GemmaConfig::new(&config).unwrap_err().to_string();
            assert!(error.contains(&format!("quantization_config.quant_method is {method}")), "{error}");
        }
        let config = json!({"model_type": "gemma3", "quantization_config": {"quant_method": "compressed-tensors"}});
        assert!(GemmaConfig::new(&config).is_ok());
    }

    #[test]
    fn old_and_new_rope_keys_are_equivalent() {
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
