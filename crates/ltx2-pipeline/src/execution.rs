//! Device and dtype of a run.

use candle_core::DType;
use ltx2_types::Device;

/// dtype of weights and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString)]
#[strum(serialize_all = "lowercase", parse_err_ty = String, parse_err_fn = unknown_precision)]
pub enum Precision {
    /// float32: the precision of the reference traces, and the faster one on CPUs.
    F32,
    /// bfloat16, as in the official pipelines, with float32 where those use it.
    Bf16,
}

impl Precision {
    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Returns candle's dtype.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

fn unknown_precision(text: &str) -> String {
    format!("dtype is {text}, but it must be f32 or bf16")
}

/// Kind of device and precision of a run, on which its memory use depends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExecutionConfig {
    /// Kind of device.
    pub device: Device,
    /// dtype of weights and activations.
    pub precision: Precision,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precisions_are_parsed_from_their_names() {
        for precision in [Precision::F32, Precision::Bf16] {
            assert_eq!(precision.name().parse(), Ok(precision));
        }
        assert_eq!("f16".parse::<Precision>(), Err("dtype is f16, but it must be f32 or bf16".into()));
    }
}
