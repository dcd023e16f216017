//! LoRAs that fit the networks, and their fusion with the weights.

use std::collections::BTreeMap;
use std::sync::Arc;

use candle_core::{DType, Result, Tensor};

use super::update::Update;
use crate::weight_files::SafetensorsFile;
use crate::weight_files::reader::{ReadTarget, TensorReader};

/// A LoRA whose updates all have a tensor to be added to.
#[derive(Clone)]
pub struct FittedLora {
    file: Arc<SafetensorsFile>,
    /// By name of the tensor in the checkpoint.
    updates: Arc<BTreeMap<String, Vec<Update>>>,
}

/// A LoRA and the strength it is merged with.
#[derive(Debug, Clone)]
pub struct LoraStrength {
    /// The LoRA.
    pub lora: FittedLora,
    /// Factor of the update: 1 as trained, 0 for none, negative to invert.
    pub strength: f64,
}

impl std::fmt::Debug for FittedLora {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FittedLora").field("path", &self.file.path()).field("tensors", &self.updates.len()).finish()
    }
}

impl FittedLora {
    pub(super) fn new(file: Arc<SafetensorsFile>, updates: BTreeMap<String, Vec<Update>>) -> Self {
        Self { file, updates: Arc::new(updates) }
    }

    /// Whether the LoRA updates a tensor whose name starts with one of `prefixes`.
    pub fn changes_any(&self, prefixes: &[&str]) -> bool {
        self.updates.keys().any(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
    }

    /// Whether the LoRA updates the tensor `name`.
    pub(crate) fn changes(&self, name: &str) -> bool {
        self.updates.contains_key(name)
    }

    /// Computes the update of the tensor `name` at `strength` as `dtype`; `None` if the LoRA does not change the tensor.
    fn delta(&self, name: &str, strength: f64, dtype: DType, to: ReadTarget) -> Result<Option<Tensor>> {
        let Some(updates) = self.updates.get(name) else { return Ok(None) };
        let deltas = updates.iter().map(|update| update.compute(&self.file, strength, dtype, to));
        let sum = deltas.reduce(|sum, delta| sum? + delta?).transpose();
        sum.map_err(|error| error.with_path(self.file.path()))
    }
}

/// Merges `loras` into the tensor `name` and returns it as `dtype`.
pub(crate) fn merge(
    name: &str,
    weight: Tensor,
    loras: &[LoraStrength],
    dtype: DType,
    reader: &TensorReader,
) -> Result<Tensor> {
    let to = ReadTarget { device: weight.device(), reader };
    let mut sum: Option<Tensor> = None;
    for LoraStrength { lora, strength } in loras.iter().filter(|lora| lora.strength != 0.0) {
        if let Some(delta) = lora.delta(name, *strength, dtype, to)? {
            sum = Some(match sum {
                Some(sum) => (sum + delta)?,
                None => delta,
            });
        }
    }
    match sum {
        Some(delta) => delta + weight.to_dtype(dtype)?,
        None => weight.to_dtype(dtype),
    }
}
