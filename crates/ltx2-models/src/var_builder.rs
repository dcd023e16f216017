//! Where a network reads its weights.

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;

use crate::QuantizedWeight;
use crate::checkpoint::Weights;

/// The methods of candle_nn's `VarBuilder` that the networks use, and one that gives a linear layer its weight as small
/// as it is stored: candle's hands out tensors only, and a tensor cannot hold blocks.
#[derive(Clone)]
pub struct VarBuilder {
    tensors: candle_nn::VarBuilder<'static>,
    /// What may be packed.
    weights: Option<Weights>,
}

impl VarBuilder {
    /// Over any source of tensors, as `dtype` on `device`.
    pub fn from_backend(backend: Box<dyn SimpleBackend>, dtype: DType, device: Device) -> Self {
        Self { tensors: candle_nn::VarBuilder::from_backend(backend, dtype, device), weights: None }
    }

    pub(crate) fn from_weights(weights: Weights, dtype: DType, device: &Device) -> Self {
        let builder = Self::from_backend(Box::new(weights.clone()), dtype, device.clone());
        Self { weights: Some(weights), ..builder }
    }

    /// The part of the network called `name`.
    pub fn pp(&self, name: impl ToString) -> Self {
        Self { tensors: self.tensors.pp(name), weights: self.weights.clone() }
    }

    /// The tensor `name` of this part, which has to have `shape`; whole, if it is stored packed.
    pub fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        self.tensors.get(shape, name)
    }

    /// The matrix `name` `(d_out, d_in)` of this part as it is stored; nothing if that is number by number.
    pub fn get_quantized(&self, shape: (usize, usize), name: &str) -> Result<Option<QuantizedWeight>> {
        let Some(weights) = &self.weights else { return Ok(None) };
        let part = self.tensors.prefix();
        let name = if part.is_empty() { name.to_string() } else { format!("{part}.{name}") };
        weights.packed(&name, &Shape::from(shape), self.device())
    }

    /// Whether this part has a tensor `name`.
    pub fn contains_tensor(&self, name: &str) -> bool {
        self.tensors.contains_tensor(name)
    }

    /// What tensors are given as.
    pub fn dtype(&self) -> DType {
        self.tensors.dtype()
    }

    /// Where tensors are given.
    pub fn device(&self) -> &Device {
        self.tensors.device()
    }
}
