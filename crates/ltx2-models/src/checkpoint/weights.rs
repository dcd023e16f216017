//! What stands behind a network's `VarBuilder`: files or the synthetic rule, with adapters added.

use std::sync::Arc;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;

use super::files::Files;
use super::kept::KeptWeights;
use super::reader::{Reader, To};
use crate::Packed;
use crate::lora::{self, LoraStrength};
use crate::synth::SynthBackend;

/// Weights with adapters added.
#[derive(Debug, Clone)]
pub(crate) struct Weights {
    source: Source,
    /// Goes with the last of those that read.
    reader: Arc<Reader>,
    loras: Arc<[LoraStrength]>,
    /// Gets what is handed out.
    keep: Option<KeptWeights>,
}

/// Where weights come from.
#[derive(Debug, Clone)]
pub(super) enum Source {
    Files(Arc<Files>),
    Synthetic { seed: u64 },
    Kept(KeptWeights),
}

impl Weights {
    pub(super) fn new(source: Source, loras: &[LoraStrength]) -> Self {
        Self { source, reader: Arc::default(), loras: loras.into(), keep: None }
    }

    /// Without adapters, and all of them kept.
    pub(super) fn keeping(source: Source, keep: &KeptWeights) -> Self {
        Self { keep: Some(keep.clone()), ..Self::new(source, &[]) }
    }

    /// The matrix `name` as it is stored; nothing if that is number by number, or an adapter changes it.
    pub(crate) fn packed(&self, name: &str, shape: &Shape, device: &Device) -> Result<Option<Packed>> {
        let packed = match &self.source {
            _ if self.is_adapted(name) => None,
            Source::Files(files) => files.packed(name, shape, To { device, reader: &self.reader })?,
            Source::Synthetic { .. } => None,
            Source::Kept(kept) => kept.packed(name),
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
        let tensor = match (&self.source, shape) {
            (Source::Files(files), shape) => files.tensor(name, shape.as_ref(), dtype, to),
            (Source::Synthetic { seed }, Some(shape)) => {
                SynthBackend::new(*seed).get(shape, name, Init::default(), dtype, device)
            }
            (Source::Synthetic { seed }, None) => SynthBackend::new(*seed).get_unchecked(name, dtype, device),
            (Source::Kept(kept), _) if is_adapted => kept.take(name, dtype),
            (Source::Kept(kept), _) => kept.tensor(name, dtype),
        }?;
        if let Some(keep) = &self.keep {
            keep.keep(name, &tensor);
        }
        if is_adapted { lora::fuse(name, tensor, &self.loras, dtype, to.reader) } else { Ok(tensor) }
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
        match &self.source {
            Source::Files(files) => files.contains(name),
            Source::Synthetic { .. } => true,
            Source::Kept(kept) => kept.contains(name),
        }
    }
}
