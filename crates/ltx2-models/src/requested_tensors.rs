//! Names and shapes of the tensors that a network reads.

use std::sync::{Arc, Mutex, PoisonError};

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;

use crate::var_builder::VarBuilder;
use crate::weight_files::TensorShapes;

/// Builds a network without weights and returns the tensors that it reads. The network itself is the only definition of
/// its tensors.
///
/// # Errors
/// The network cannot be built.
pub fn requested_tensors<T>(build: impl FnOnce(VarBuilder) -> Result<T>) -> Result<TensorShapes> {
    let recorder = Recorder::default();
    build(VarBuilder::from_backend(Box::new(recorder.clone()), DType::F32, Device::Cpu))?;
    let requested = std::mem::take(&mut *recorder.0.lock().unwrap_or_else(PoisonError::into_inner));
    Ok(requested)
}

/// A backend that records the requested tensors and returns a zero broadcast to the shape.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<TensorShapes>>);

impl SimpleBackend for Recorder {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.into(), shape.dims().to_vec());
        Tensor::zeros(1, dtype, device)?.broadcast_as(shape)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        candle_core::bail!("{name} is requested without a shape")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}
