//! Encodings of stored tensors.

use ltx2_kernels::CodeFormat;
use safetensors::Dtype;

use super::layer_format::LayerFormat;

/// Encoding of the elements of a stored tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum StoredEncoding {
    /// Floating-point elements.
    Dense,
    /// GGUF blocks of this many bytes.
    Blocks(usize),
    /// 8-bit codes, one per element.
    Codes(CodeFormat),
    /// Elements of unknown meaning, with a description.
    Unsupported(String),
}

impl StoredEncoding {
    /// Returns the encoding of elements of `dtype` whose quantisation is declared by `format`.
    pub(super) fn new(dtype: Dtype, format: Option<&LayerFormat>) -> Self {
        let format = match format.map(LayerFormat::name).transpose() {
            Ok(format) => format,
            Err(reason) => return Self::Unsupported(reason),
        };
        let declared = match (dtype, format) {
            (Dtype::F32 | Dtype::F16 | Dtype::BF16 | Dtype::F64, None) => return Self::Dense,
            (Dtype::F8_E4M3, None) | (Dtype::F8_E4M3 | Dtype::U8, Some("float8_e4m3fn")) => CodeFormat::E4m3,
            (Dtype::F8_E5M2, None) | (Dtype::F8_E5M2 | Dtype::U8, Some("float8_e5m2")) => CodeFormat::E5m2,
            (Dtype::I8, None | Some("int8_tensorwise")) => CodeFormat::Int8,
            (dtype, Some(format)) => {
                return Self::Unsupported(format!(
                    "it is stored as {dtype:?} in the format {format}, which is not supported"
                ));
            }
            (Dtype::U8, None) => {
                let reason = "it is stored as U8 without a description of the codes (comfy_quant or \
                              _quantization_metadata), so its values are unknown";
                return Self::Unsupported(reason.into());
            }
            (dtype, None) => return Self::Unsupported(format!("it is stored as {dtype:?}, which is not supported")),
        };
        Self::Codes(declared)
    }
}

/// Formats that are not supported, by a tensor name below a layer.
const KNOWN: [(&str, &str); 21] = [
    ("weight_scale_2", "NVFP4 (packed 4-bit floats)"),
    ("pre_quant_scale", "a quantisation with scaled inputs (pre_quant_scale)"),
    ("weight_scale_inv", "block-wise float8 with weight_scale_inv"),
    ("absmax", "bitsandbytes"),
    ("quant_map", "bitsandbytes"),
    ("nested_absmax", "bitsandbytes"),
    ("quant_state", "bitsandbytes"),
    ("SCB", "bitsandbytes (int8)"),
    ("weight_format", "bitsandbytes (int8)"),
    ("qweight", "GPTQ or AWQ"),
    ("qzeros", "GPTQ or AWQ"),
    ("scales", "GPTQ or AWQ"),
    ("g_idx", "GPTQ or AWQ"),
    ("weight_packed", "packed compressed-tensors"),
    ("weight_shape", "packed compressed-tensors"),
    ("weight_zero_point", "compressed-tensors with zero points"),
    ("weight_g_idx", "packed compressed-tensors"),
    ("_data", "optimum-quanto"),
    ("_scale", "optimum-quanto"),
    ("wscales", "SVDQuant (Nunchaku)"),
    ("smooth_factor", "SVDQuant (Nunchaku)"),
];

/// Returns the format that has a tensor `suffix` below a layer, such as `weight_scale_2` or `weight.absmax`.
pub(super) fn format_with(suffix: &str) -> Option<&'static str> {
    let name = suffix.strip_prefix("weight.").unwrap_or(suffix);
    let first = name.split('.').next().unwrap_or(name);
    KNOWN.iter().find(|(known, _)| *known == first).map(|(_, format)| *format)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn only_published_combinations_of_dtype_and_format_are_decoded() {
        let encoding = |dtype, format: Value| {
            let format = (!format.is_null()).then(|| LayerFormat::new(format));
            StoredEncoding::new(dtype, format.as_ref())
        };
        for dtype in [Dtype::F8_E4M3, Dtype::U8] {
            let format = json!({"format": "float8_e4m3fn", "full_precision_matrix_mult": true, "convrot": false});
            assert_eq!(encoding(dtype, format), StoredEncoding::Codes(CodeFormat::E4m3));
        }
        assert_eq!(encoding(Dtype::F8_E5M2, Value::Null), StoredEncoding::Codes(CodeFormat::E5m2));
        assert_eq!(encoding(Dtype::BF16, Value::Null), StoredEncoding::Dense);
        for (dtype, format, expected) in [
            (Dtype::U8, Value::Null, "U8 without a description"),
            (Dtype::U8, json!({"format": "nvfp4"}), "nvfp4"),
            (Dtype::I8, json!({"format": "int8_tensorwise", "convrot": true}), "convrot"),
            (Dtype::I8, json!({"format": "int8_blockwise", "group_size": 128}), "group_size"),
            (Dtype::BF16, json!({"format": "float8_e4m3fn"}), "BF16"),
            (Dtype::F8_E5M2, json!({"format": "float8_e4m3fn"}), "F8_E5M2"),
            (Dtype::F8_E4M3, json!({}), "has no format"),
            (Dtype::I32, Value::Null, "I32"),
        ] {
            match encoding(dtype, format) {
                StoredEncoding::Unsupported(reason) => assert!(reason.contains(expected), "{reason}"),
                other => panic!("{dtype:?} is {other:?}"),
            }
        }
    }

    #[test]
    fn formats_are_recognised_by_the_tensors_beside_a_weight() {
        for (suffix, format) in [
            ("weight_scale_2", "NVFP4"),
            ("weight.quant_state.bitsandbytes__nf4", "bitsandbytes"),
            ("qweight", "GPTQ"),
            ("weight._data", "quanto"),
        ] {
            assert!(format_with(suffix).unwrap().contains(format), "{suffix}");
        }
        assert_eq!(format_with("bias"), None);
    }
}
