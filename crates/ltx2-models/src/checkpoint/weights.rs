//! What stands behind a network's `VarBuilder`: files or the synthetic rule, with adapters added.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;

use super::files::Files;
use super::weight_cache::WeightCache;
use super::reader::{Reader, To};
use crate::QuantizedWeight;
use crate::lora::{self, LoraStrength};
use crate::synth::SynthBackend;

/// Weights with adapters added.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    origin: Origin,
    /// Goes with the last of those that read.
    reader: Arc<Reader>,
    loras: Arc<[LoraStrength]>,
    /// Gets what is handed out.
    keep: Option<WeightCache>,
}

/// Where a checkpoint's weights come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Files(Arc<Files>),
    Synthetic { seed: u64 },
}

/// Where a network's weights come from.
#[derive(Debug, Clone)]
enum Origin {
    Checkpoint(Source),
    /// A network that was built before.
    Kept(WeightCache),
}

impl Weights {
    pub(super) fn new(source: Source, loras: &[LoraStrength]) -> Self {
        Self { origin: Origin::Checkpoint(source), reader: Arc::default(), loras: loras.into(), keep: None }
    }

    /// Of a network that was built before.
    pub(super) fn of_kept(kept: WeightCache, loras: &[LoraStrength]) -> Self {
        Self { origin: Origin::Kept(kept), reader: Arc::default(), loras: loras.into(), keep: None }
    }

    /// Without adapters, and all of them kept.
    pub(super) fn keeping(source: Source, keep: &WeightCache) -> Self {
        Self { keep: Some(keep.clone()), ..Self::new(source, &[]) }
    }

    /// The matrix `name` as it is stored; nothing if that is number by number, or an adapter changes it.
    pub(crate) fn packed(&self, name: &str, shape: &Shape, device: &Device) -> Result<Option<QuantizedWeight>> {
        let packed = match &self.origin {
            _ if self.is_adapted(name) => None,
            Origin::Checkpoint(Source::Files(files)) => {
                files.packed(name, shape, To { device, reader: &self.reader })?
            }
            Origin::Checkpoint(Source::Synthetic { .. }) => None,
            Origin::Kept(kept) => kept.packed(name),
        };
        if let (Some(keep), Some(packed)) = (&self.keep, &packed) {
            keep.keep_packed(name, packed);
        }
        Ok(packed)
    }

    fn is_adapted(&self, name: &str) -> bool {
        self.loras.iter().any(|lora| lora.strength != 0.0 && lora.lora.changes(name))
    }

    fn tensor(&self, name: &str, shape: Option<Shape>, dtype: DType, device: &Device) -> Result<Tensor> {
        let to = To { device, reader: &self.reader };
        let is_adapted = self.is_adapted(name);
        let tensor = match &self.origin {
            Origin::Checkpoint(source) => source.tensor(name, shape, dtype, to),
            Origin::Kept(kept) if is_adapted => kept.take(name, dtype),
            Origin::Kept(kept) => kept.tensor(name, dtype),
        }?;
        if let Some(keep) = &self.keep {
            keep.keep(name, &tensor);
        }
        if is_adapted { lora::fuse(name, tensor, &self.loras, dtype, to.reader) } else { Ok(tensor) }
    }
}

impl Source {
    fn tensor(&self, name: &str, shape: Option<Shape>, dtype: DType, to: To) -> Result<Tensor> {
        match (self, shape) {
            (Self::Files(files), shape) => files.tensor(name, shape.as_ref(), dtype, to),
            (Self::Synthetic { seed }, Some(shape)) => {
                SynthBackend::new(*seed).get(shape, name, Init::default(), dtype, to.device)
            }
            (Self::Synthetic { seed }, None) => SynthBackend::new(*seed).get_unchecked(name, dtype, to.device),
        }
    }
}

impl SimpleBackend for Weights {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        self.tensor(name, Some(shape), dtype, device)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        self.tensor(name, None, dtype, device)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        match &self.origin {
            Origin::Checkpoint(Source::Files(files)) => files.contains(name),
            Origin::Checkpoint(Source::Synthetic { .. }) => true,
            Origin::Kept(kept) => kept.contains(name),
        }
    }
}
