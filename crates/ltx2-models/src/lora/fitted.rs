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

    /// Adds the updates of the tensor `name` at `strength` to `sum`, the sum of earlier updates.
    fn add_to(&self, sum: Option<Tensor>, name: &str, strength: f64, to: ReadTarget) -> Result<Option<Tensor>> {
        let mut updates = self.updates.get(name).into_iter().flatten();
        let sum = updates.try_fold(sum, |sum, update| update.add_to(sum, &self.file, strength, to).map(Some));
        sum.map_err(|error| error.with_path(self.file.path()))
    }
}

/// Merges `loras` into the tensor `name` and returns it as `dtype`. The sum of tensor and updates is rounded to bfloat16,
/// the dtype of the published checkpoints (`fuse_loras.py`).
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
        sum = lora.add_to(sum, name, *strength, to)?;
    }
    match sum {
        Some(sum) => (sum.to_dtype(DType::F32)? + weight.to_dtype(DType::F32)?)?.to_dtype(DType::BF16)?.to_dtype(dtype),
        None => weight.to_dtype(dtype),
    }
}
