//! Cache of the weights of a loaded network.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Error, Result, Tensor};

use crate::quantized::QuantizedWeight;

/// The weights of a network by name. They share memory with the network, so that it can be rebuilt with LoRAs merged
/// without reading the files again.
#[derive(Debug, Clone, Default)]
pub struct WeightCache(Arc<Mutex<HashMap<String, CachedWeight>>>);

#[derive(Debug, Clone)]
enum CachedWeight {
    Dense(Tensor),
    Quantized(QuantizedWeight),
}

impl WeightCache {
    pub(crate) fn insert(&self, name: &str, tensor: &Tensor) {
        self.lock().insert(name.into(), CachedWeight::Dense(tensor.clone()));
    }

    pub(crate) fn insert_quantized(&self, name: &str, weight: &QuantizedWeight) {
        self.lock().insert(name.into(), CachedWeight::Quantized(weight.clone()));
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.lock().contains_key(name)
    }

    /// Returns the tensor `name` as `dtype`, dequantised.
    pub(crate) fn tensor(&self, name: &str, dtype: DType) -> Result<Tensor> {
        dense(self.lock().get(name).cloned(), name, dtype)
    }

    /// Removes the tensor `name` and returns it as `dtype`, dequantised.
    pub(crate) fn take(&self, name: &str, dtype: DType) -> Result<Tensor> {
        let cached = self.lock().remove(name);
        dense(cached, name, dtype)
    }

    /// Returns the weight `name` if it is quantised.
    pub(crate) fn quantized(&self, name: &str) -> Option<QuantizedWeight> {
        match self.lock().get(name) {
            Some(CachedWeight::Quantized(weight)) => Some(weight.clone()),
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, CachedWeight>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn dense(cached: Option<CachedWeight>, name: &str, dtype: DType) -> Result<Tensor> {
    match cached {
        Some(CachedWeight::Dense(tensor)) => tensor.to_dtype(dtype),
        Some(CachedWeight::Quantized(weight)) => weight.dequantize(dtype),
        None => Err(Error::CannotFindTensor { path: name.into() }.bt()),
    }
}
