//! LoRAs of a request.

use serde::{Deserialize, Serialize};

/// A LoRA to merge into the transformer's weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoraInput {
    /// Where the LoRA is.
    pub source: LoraSource,
    /// Scale of the LoRA's weights: 1 as trained, 0 without effect.
    pub strength: f64,
}

/// Location of a LoRA.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoraSource {
    /// Path of a file.
    File(String),
    /// Name of a file of the model set, without `.safetensors`.
    Name(String),
}
