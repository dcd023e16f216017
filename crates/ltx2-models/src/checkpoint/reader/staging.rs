//! From a file to a card.

use bytemuck::Pod;
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream, DevicePtrMut, PinnedHostSlice, result};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::quantized::cuda::QCudaStorage;
use candle_core::quantized::{GgmlDType, QStorage};
use candle_core::{CudaDevice, CudaStorage, Result, Shape, Storage, Tensor};

pub(super) use candle_core::cuda_backend::cudarc::driver::DeviceRepr;

use super::Span;

/// Bytes that are read while those before them are copied: enough for a dozen threads.
const STAGE: usize = 32 << 20;
/// What is less is copied by the driver as well.
const SMALL: usize = 1 << 20;

/// How a card's tensors get there.
#[derive(Debug, Default)]
pub(super) enum Way {
    /// Nothing was read yet.
    #[default]
    Unknown,
    Staged([Stage; 2]),
    /// The system has no page-locked memory left: through ordinary memory.
    Plain,
}

/// Page-locked memory.
#[derive(Debug)]
pub(super) struct Stage {
    memory: PinnedHostSlice<u8>,
    /// When the copy from it is over.
    copied: Option<CudaEvent>,
}

impl Way {
    /// What stands at `from`, on `device`; `None` if that is better left to the driver.
    pub(super) fn tensor<T: Pod + CudaDType + DeviceRepr>(
        &mut self,
        from: Span,
        shape: &[usize],
        device: &CudaDevice,
    ) -> Result<Option<Tensor>> {
        let (count, stream) = (shape.iter().product::<usize>(), device.cuda_stream());
        let Some(stages) = self.stages(count * size_of::<T>(), &stream) else { return Ok(None) };
        // Wholly written below.
        let mut numbers = unsafe { device.alloc::<T>(count)? };
        bring(stages, from, numbers.device_ptr_mut(&stream).0, count * size_of::<T>(), &stream)?;
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(numbers, device.clone()));
        Ok(Some(Tensor::from_storage(storage, Shape::from(shape), BackpropOp::none(), false)))
    }

    /// The same of so many elements in blocks of a kind.
    pub(super) fn blocks(
        &mut self,
        from: Span,
        (kind, elements): (GgmlDType, usize),
        device: &CudaDevice,
    ) -> Result<Option<QStorage>> {
        let (bytes, stream) = (elements / kind.block_size() * kind.type_size(), device.cuda_stream());
        let Some(stages) = self.stages(bytes, &stream) else { return Ok(None) };
        let storage = QCudaStorage::zeros(device, elements, kind)?;
        bring(stages, from, storage.device_ptr()?.addr() as u64, bytes, &stream)?;
        Ok(Some(QStorage::Cuda(storage)))
    }

    /// What to bring `bytes` with, if that is worth it and can be had.
    fn stages(&mut self, bytes: usize, stream: &CudaStream) -> Option<&mut [Stage; 2]> {
        if bytes < SMALL {
            return None;
        }
        if let Self::Unknown = self {
            *self = Self::open(stream);
        }
        match self {
            Self::Staged(stages) => Some(stages),
            Self::Unknown | Self::Plain => None,
        }
    }

    fn open(stream: &CudaStream) -> Self {
        // SAFETY: written before it is read. Ordinary cached memory, as threads read into it.
        let stage = || unsafe { stream.context().alloc_pinned_with_flags(STAGE, 0) };
        match (stage(), stage()) {
            (Ok(first), Ok(second)) => Self::Staged([first, second].map(|memory| Stage { memory, copied: None })),
            _ => Self::Plain,
        }
    }
}

/// Brings `bytes` to the address `to`, by turns.
fn bring(stages: &mut [Stage; 2], from: Span, to: u64, bytes: usize, stream: &CudaStream) -> Result<()> {
    for (number, at) in (0..bytes).step_by(STAGE).enumerate() {
        stages[number % 2].bring(from.skip(at), to + at as u64, STAGE.min(bytes - at), stream)?;
    }
    Ok(())
}

impl Stage {
    /// Reads `bytes`, and begins to copy them to the address `to`.
    fn bring(&mut self, from: Span, to: u64, bytes: usize, stream: &CudaStream) -> Result<()> {
        self.wait()?;
        let memory = &mut self.memory.as_mut_slice().w()?[..bytes];
        from.read(memory)?;
        // SAFETY: the target has room, and the memory stays as it is until the copy is waited for.
        unsafe { result::memcpy_htod_async(to, memory, stream.cu_stream()) }.w()?;
        self.copied = Some(stream.record_event(None).w()?);
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        self.copied.take().map_or(Ok(()), |copied| copied.synchronize().w())
    }
}

impl Drop for Stage {
    /// The memory goes once nothing is copied from it any more. If waiting fails, the device is lost, and copies nothing.
    fn drop(&mut self) {
        let _ = self.wait();
    }
}
