//! Weights that a network was built from.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Error, Result, Tensor};

use crate::QuantizedWeight;

/// The weights of a network by their names, sharing its memory: it can be built anew with adapters added to them, without
/// reading them again.
#[derive(Debug, Clone, Default)]
pub struct WeightCache(Arc<Mutex<HashMap<String, Kept>>>);

#[derive(Debug, Clone)]
enum Kept {
    Tensor(Tensor),
    Quantized(QuantizedWeight),
}

impl WeightCache {
    pub(super) fn keep(&self, name: &str, tensor: &Tensor) {
        self.lock().insert(name.into(), Kept::Tensor(tensor.clone()));
    }

    pub(super) fn keep_packed(&self, name: &str, packed: &QuantizedWeight) {
        self.lock().insert(name.into(), Kept::Quantized(packed.clone()));
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    /// The weight `name` as `dtype`.
    pub(super) fn tensor(&self, name: &str, dtype: DType) -> Result<Tensor> {
        whole(self.lock().get(name).cloned(), name, dtype)
    }

    /// The same, and it is no longer kept.
    pub(super) fn take(&self, name: &str, dtype: DType) -> Result<Tensor> {
        let kept = self.lock().remove(name);
        whole(kept, name, dtype)
    }

    /// The matrix `name`, if it is packed.
    pub(super) fn packed(&self, name: &str) -> Option<QuantizedWeight> {
        match self.lock().get(name) {
            Some(Kept::Quantized(packed)) => Some(packed.clone()),
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Kept>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn whole(kept: Option<Kept>, name: &str, dtype: DType) -> Result<Tensor> {
    match kept {
        Some(Kept::Tensor(tensor)) => tensor.to_dtype(dtype),
        Some(Kept::Quantized(packed)) => packed.matrix(dtype),
        None => Err(Error::CannotFindTensor { path: name.into() }.bt()),
    }
}
