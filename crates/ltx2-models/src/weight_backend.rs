//! The backend of [`VarBuilder`](crate::VarBuilder): weights from files, a cache or a generator, with LoRAs merged.

use std::fmt;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;

use crate::lora::{LoraStrength, merge};
use crate::quantized::QuantizedWeight;
use crate::weight_cache::WeightCache;
use crate::weight_files::reader::{ReadTarget, TensorReader};
use crate::weight_files::tensor_files::TensorFiles;

/// Weights of a network with LoRAs merged.
#[derive(Debug, Clone)]
pub(crate) struct WeightBackend {
    source: WeightSource,
    /// Freed with the last clone of the backend.
    reader: Arc<TensorReader>,
    loras: Arc<[LoraStrength]>,
    /// Receives every weight that is handed out.
    fill: Option<WeightCache>,
}

/// Source of weights before LoRAs are merged.
#[derive(Clone)]
pub(crate) enum WeightSource {
    Files(Arc<TensorFiles>),
    /// Computes a tensor for any name and shape.
    Generator(Arc<dyn SimpleBackend>),
    /// Weights of a network that was built before.
    Cache(WeightCache),
}

impl WeightBackend {
    pub(crate) fn new(source: WeightSource, loras: &[LoraStrength]) -> Self {
        Self { source, reader: Arc::default(), loras: loras.into(), fill: None }
    }

    /// A backend without LoRAs that fills `cache`.
    pub(crate) fn filling(source: WeightSource, cache: &WeightCache) -> Self {
        Self { fill: Some(cache.clone()), ..Self::new(source, &[]) }
    }

    /// Reads the weight `name` in its quantised form; `None` if it is dense or changed by a LoRA.
    pub(crate) fn quantized(&self, name: &str, shape: &Shape, device: &Device) -> Result<Option<QuantizedWeight>> {
        if self.has_lora(name) {
            return Ok(None);
        }
        let weight = match &self.source {
            WeightSource::Files(files) => files.quantized(name, shape, ReadTarget { device, reader: &self.reader })?,
            WeightSource::Generator(_) => None,
            WeightSource::Cache(cache) => cache.quantized(name),
        };
        if let (Some(cache), Some(weight)) = (&self.fill, &weight) {
            cache.insert_quantized(name, weight);
        }
        Ok(weight)
    }

    /// Whether a LoRA changes the weight `name`.
    fn has_lora(&self, name: &str) -> bool {
        self.loras.iter().any(|lora| lora.strength != 0.0 && lora.lora.changes(name))
    }

    fn tensor(&self, name: &str, shape: Option<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
        let has_lora = self.has_lora(name);
        let tensor = match (&self.source, shape) {
            (WeightSource::Files(files), shape) => {
                files.tensor(name, shape.as_ref(), dtype, ReadTarget { device, reader: &self.reader })
            }
            (WeightSource::Generator(generator), Some(shape)) => {
                generator.get(shape, name, Init::default(), dtype, device)
            }
            (WeightSource::Generator(generator), None) => generator.get_unchecked(name, dtype, device),
            // The merged weight replaces the cached one, whose memory can then be freed.
            (WeightSource::Cache(cache), _) if has_lora => cache.take(name, dtype),
            (WeightSource::Cache(cache), _) => cache.tensor(name, dtype),
        }?;
        if let Some(cache) = &self.fill {
            cache.insert(name, &tensor);
        }
        if has_lora { merge(name, tensor, &self.loras, dtype, &self.reader) } else { Ok(tensor) }
    }
}

impl SimpleBackend for WeightBackend {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        self.tensor(name, Some(shape), dtype, device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        self.tensor(name, None, dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        match &self.source {
            WeightSource::Files(files) => files.contains(name),
            WeightSource::Generator(generator) => generator.contains_tensor(name),
            WeightSource::Cache(cache) => cache.contains(name),
        }
    }
}

impl fmt::Debug for WeightSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(files) => f.debug_tuple("Files").field(files).finish(),
            Self::Generator(_) => f.write_str("Generator"),
            Self::Cache(cache) => f.debug_tuple("Cache").field(cache).finish(),
        }
    }
}
