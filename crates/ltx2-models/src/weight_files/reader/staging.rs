//! Page-locked staging buffers for reads from files to a GPU.

use bytemuck::Pod;
use candle_core::cuda_backend::cudarc::driver::{CudaEvent, CudaStream, DevicePtrMut, PinnedHostSlice, result};
use candle_core::cuda_backend::{CudaDType, WrapErr};
use candle_core::op::BackpropOp;
use candle_core::quantized::cuda::QCudaStorage;
use candle_core::quantized::{GgmlDType, QStorage};
use candle_core::{CudaDevice, CudaStorage, Result, Shape, Storage, Tensor};

pub(super) use candle_core::cuda_backend::cudarc::driver::DeviceRepr;

use crate::weight_files::file_span::FileSpan;

/// Size of a staging buffer in bytes: enough chunks for a dozen reading threads.
const BUFFER: usize = 32 << 20;
/// Smaller tensors are not staged: a plain copy by the driver is as fast.
const MIN_STAGED: usize = 1 << 20;

/// State of the staging buffers of a device.
#[derive(Debug, Default)]
pub(super) enum Staging {
    /// Not allocated yet.
    #[default]
    Unallocated,
    Allocated([StagingBuffer; 2]),
    /// No page-locked memory was available. Reads go through pageable memory.
    Unavailable,
}

/// A page-locked buffer.
#[derive(Debug)]
pub(super) struct StagingBuffer {
    memory: PinnedHostSlice<u8>,
    /// Recorded after the last copy from this buffer.
    copied: Option<CudaEvent>,
}

impl Staging {
    /// Reads a tensor to `device`; returns `None` if the tensor is too small or no buffers are available.
    pub(super) fn tensor<T: Pod + CudaDType + DeviceRepr>(
        &mut self,
        from: FileSpan,
        shape: &[usize],
        device: &CudaDevice,
    ) -> Result<Option<Tensor>> {
        let (count, stream) = (shape.iter().product::<usize>(), device.cuda_stream());
        let Some(buffers) = self.buffers(count * size_of::<T>(), &stream) else { return Ok(None) };
        // SAFETY: `copy_to_device` writes all `count` elements before the tensor is returned, and every bit pattern is a
        // valid `T: Pod`.
        let mut elements = unsafe { device.alloc::<T>(count)? };
        copy_to_device(buffers, from, elements.device_ptr_mut(&stream).0, count * size_of::<T>(), &stream)?;
        let storage = Storage::Cuda(CudaStorage::wrap_cuda_slice(elements, device.clone()));
        Ok(Some(Tensor::from_storage(storage, Shape::from(shape), BackpropOp::none(), false)))
    }

    /// Reads `elements` elements of quantisation `kind`, as [`Staging::tensor`] does.
    pub(super) fn quantized(
        &mut self,
        from: FileSpan,
        (kind, elements): (GgmlDType, usize),
        device: &CudaDevice,
    ) -> Result<Option<QStorage>> {
        let (bytes, stream) = (elements / kind.block_size() * kind.type_size(), device.cuda_stream());
        let Some(buffers) = self.buffers(bytes, &stream) else { return Ok(None) };
        let storage = QCudaStorage::zeros(device, elements, kind)?;
        copy_to_device(buffers, from, storage.device_ptr()?.addr() as u64, bytes, &stream)?;
        Ok(Some(QStorage::Cuda(storage)))
    }

    /// Returns the buffers for a tensor of `bytes`, allocated on first use.
    fn buffers(&mut self, bytes: usize, stream: &CudaStream) -> Option<&mut [StagingBuffer; 2]> {
        if bytes < MIN_STAGED {
            return None;
        }
        if let Self::Unallocated = self {
            *self = Self::allocate(stream);
        }
        match self {
            Self::Allocated(buffers) => Some(buffers),
            Self::Unallocated | Self::Unavailable => None,
        }
    }

    fn allocate(stream: &CudaStream) -> Self {
        // SAFETY: `StagingBuffer::copy_to_device` writes the bytes before it reads them, and any byte is a valid `u8`. Flags
        // of 0 ask for cached rather than write-combined memory, because CPU threads fill it.
        let allocate = || unsafe { stream.context().alloc_pinned_with_flags(BUFFER, 0) };
        match (allocate(), allocate()) {
            (Ok(first), Ok(second)) => {
                Self::Allocated([first, second].map(|memory| StagingBuffer { memory, copied: None }))
            }
            _ => Self::Unavailable,
        }
    }
}

/// Copies `bytes` from a file to the device address `to`, alternating between the two buffers.
fn copy_to_device(
    buffers: &mut [StagingBuffer; 2],
    from: FileSpan,
    to: u64,
    bytes: usize,
    stream: &CudaStream,
) -> Result<()> {
    for (index, at) in (0..bytes).step_by(BUFFER).enumerate() {
        buffers[index % 2].copy_to_device(from.skip(at), to + at as u64, BUFFER.min(bytes - at), stream)?;
    }
    Ok(())
}

impl StagingBuffer {
    /// Reads `bytes` from a file and starts their copy to the device address `to`.
    fn copy_to_device(&mut self, from: FileSpan, to: u64, bytes: usize, stream: &CudaStream) -> Result<()> {
        self.wait()?;
        let memory = &mut self.memory.as_mut_slice().w()?[..bytes];
        from.read(memory)?;
        // SAFETY: the caller allocated at least `bytes` bytes at `to`. The buffer is neither written nor freed before
        // `wait` has seen the end of this copy. If no event can be recorded for `wait`, the device is lost and no copy is
        // running.
        unsafe { result::memcpy_htod_async(to, memory, stream.cu_stream()) }.w()?;
        self.copied = Some(stream.record_event(None).w()?);
        Ok(())
    }

    fn wait(&mut self) -> Result<()> {
        self.copied.take().map_or(Ok(()), |copied| copied.synchronize().w())
    }
}

impl Drop for StagingBuffer {
    /// Waits for the last copy before the memory is freed. If waiting fails, the device is lost and no copy is running.
    fn drop(&mut self) {
        let _ = self.wait();
    }
}
