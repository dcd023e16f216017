//! How precisely to compute.

use std::str::FromStr;

use candle_core::DType;

/// The dtype of weights and activations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// float32: the yardstick, and the fast one on CPUs.
    F32,
    /// bfloat16, as the official pipelines run; float32 where they have it.
    Bf16,
}

impl Precision {
    /// As it is written on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// candle's name for it.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            other => Err(format!("dtype is {other}, but it must be f32 or bf16")),
        }
    }
}
