//! Quantisation of layers as declared by ComfyUI's `comfy_quant` tensors and `_quantization_metadata`.

use serde_json::Value;

/// Keys that do not change the meaning of the codes.
const HARMLESS: [&str; 2] = ["full_precision_matrix_mult", "orig_dtype"];

/// Declared format of the weight of a layer.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LayerFormat(Value);

impl LayerFormat {
    pub(super) fn new(value: Value) -> Self {
        Self(value)
    }

    /// Parses the content of a `comfy_quant` tensor.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        Self(serde_json::from_slice(bytes).unwrap_or(Value::Null))
    }

    /// Returns the name of the format, such as `float8_e4m3fn`.
    ///
    /// # Errors
    /// A message if there is none, or if an option changes the meaning of the codes, as `convrot` does.
    pub(super) fn name(&self) -> Result<&str, String> {
        let Some((format, options)) = self.0.get("format").and_then(Value::as_str).zip(self.0.as_object()) else {
            return Err(format!("its quantisation is described by {}, which has no format", self.0));
        };
        for (key, value) in options {
            let is_off = value.is_null() || value == false;
            if key != "format" && !HARMLESS.contains(&key.as_str()) && !is_off {
                return Err(format!(
                    "its quantisation {format} has the option {key} = {value}, which is not supported"
                ));
            }
        }
        Ok(format)
    }
}
