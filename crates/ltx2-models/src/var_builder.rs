//! The weights of a network by name.

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use ltx2_kernels::AttentionKernel;

use crate::quantized::QuantizedWeight;
use crate::weight_backend::WeightBackend;

/// The methods of candle_nn's `VarBuilder` that the networks use, and [`VarBuilder::get_quantized`].
///
/// candle's own type hands out tensors only, and a `Tensor` cannot hold quantised blocks.
#[derive(Clone)]
pub struct VarBuilder {
    tensors: candle_nn::VarBuilder<'static>,
    /// Source of quantised weights.
    backend: Option<WeightBackend>,
    attention_kernel: AttentionKernel,
}

impl VarBuilder {
    /// A builder over any source of tensors, which are handed out as `dtype` on `device`.
    pub fn from_backend(backend: Box<dyn SimpleBackend>, dtype: DType, device: Device) -> Self {
        let tensors = candle_nn::VarBuilder::from_backend(backend, dtype, device);
        Self { tensors, backend: None, attention_kernel: AttentionKernel::default() }
    }

    pub(crate) fn from_weights(backend: WeightBackend, dtype: DType, device: &Device) -> Self {
        let builder = Self::from_backend(Box::new(backend.clone()), dtype, device.clone());
        Self { backend: Some(backend), ..builder }
    }

    /// A builder whose names are prefixed with `name`.
    pub fn pp(&self, name: impl ToString) -> Self {
        Self { tensors: self.tensors.pp(name), ..self.clone() }
    }

    /// The same builder with `kernel` for the attention layers built from it.
    pub fn with_attention_kernel(self, kernel: AttentionKernel) -> Self {
        Self { attention_kernel: kernel, ..self }
    }

    /// Returns the tensor `name`, dequantised if it is stored quantised. Fails if its shape is not `shape`.
    pub fn get(&self, shape: impl Into<Shape>, name: &str) -> Result<Tensor> {
        self.tensors.get(shape, name)
    }

    /// Returns the weight `name` `(d_out, d_in)` in its quantised form; `None` if it is dense.
    pub fn get_quantized(&self, shape: (usize, usize), name: &str) -> Result<Option<QuantizedWeight>> {
        let Some(backend) = &self.backend else { return Ok(None) };
        let prefix = self.tensors.prefix();
        let name = if prefix.is_empty() { name.to_string() } else { format!("{prefix}.{name}") };
        backend.quantized(&name, &Shape::from(shape), self.device())
    }

    /// Whether there is a tensor `name` under the prefix.
    pub fn contains_tensor(&self, name: &str) -> bool {
        self.tensors.contains_tensor(name)
    }

    /// Dtype of the tensors.
    pub fn dtype(&self) -> DType {
        self.tensors.dtype()
    }

    /// Kernel of the attention layers on CUDA.
    pub(crate) fn attention_kernel(&self) -> AttentionKernel {
        self.attention_kernel
    }

    /// Device of the tensors.
    pub fn device(&self) -> &Device {
        self.tensors.device()
    }
}
