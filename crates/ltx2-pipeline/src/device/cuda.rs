//! CUDA's driver, called once per device.

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{DriverError, result, sys};
use candle_core::{CudaDevice, Device};

/// GPUs that the driver shows.
pub(super) fn count() -> Result<usize, DriverError> {
    result::init()?;
    Ok(usize::try_from(result::device::get_count()?).unwrap_or(0))
}

/// GPU number `ordinal`, set up for one thread that computes.
pub(super) fn open(ordinal: usize) -> candle_core::Result<Device> {
    // candle's usual choice is the calling thread's default stream, which waits for other work of the process.
    let device = Device::new_cuda_with_stream(ordinal)?;
    let cuda = device.as_cuda_device()?;
    // SAFETY: every tensor of this device is allocated, used and freed on its one stream, in order, and other devices get
    // copies through the host's memory; so there is nothing that two events for each allocation would keep apart.
    // Kernels of ours that use a further stream have to wait by events of their own.
    unsafe { cuda.disable_event_tracking() };
    keep_memory(cuda)?;
    Ok(device)
}

/// Has the pool keep what is freed, for the next allocation; by default it goes back to the driver at every
/// synchronisation.
fn keep_memory(device: &CudaDevice) -> candle_core::Result<()> {
    let Some(pool) = pool(device).w()? else { return Ok(()) };
    let mut bytes = u64::MAX;
    let attribute = sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the attribute is a 64-bit number.
    unsafe { result::mem_pool::set_attribute(pool, attribute, (&raw mut bytes).cast()) }.w()
}

/// Gives the memory that no tensor holds back to the driver.
pub(super) fn give_back(device: &CudaDevice) -> Result<(), DriverError> {
    let Some(pool) = pool(device)? else { return Ok(()) };
    // What was freed is free only once the stream has come to it.
    device.cuda_stream().synchronize()?;
    // SAFETY: the pool is the device's own, which lives as long as the process.
    unsafe { result::mem_pool::trim_to(pool, 0) }
}

/// Bytes that the driver has left, and the card's.
pub(super) fn memory(device: &CudaDevice) -> Result<(usize, usize), DriverError> {
    device.cuda_stream().context().mem_get_info()
}

/// Bytes that the pool keeps and no tensor holds.
pub(super) fn kept(device: &CudaDevice) -> Result<usize, DriverError> {
    let Some(pool) = pool(device)? else { return Ok(0) };
    let read = |attribute| {
        let mut bytes = 0u64;
        // SAFETY: the attribute is a 64-bit number.
        unsafe { result::mem_pool::get_attribute(pool, attribute, (&raw mut bytes).cast()) }.map(|()| bytes)
    };
    let reserved = read(sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?;
    let used = read(sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?;
    Ok(usize::try_from(reserved.saturating_sub(used)).unwrap_or(0))
}

/// Bytes of tensors at the highest since the last reset.
pub(super) fn peak(device: &CudaDevice) -> Result<Option<u64>, DriverError> {
    let Some(pool) = pool(device)? else { return Ok(None) };
    let mut bytes = 0u64;
    // SAFETY: the attribute is a 64-bit number.
    unsafe { result::mem_pool::get_attribute(pool, HIGHEST, (&raw mut bytes).cast()) }?;
    Ok(Some(bytes))
}

/// Has [`peak`] begin anew.
pub(super) fn reset_peak(device: &CudaDevice) -> Result<(), DriverError> {
    let Some(pool) = pool(device)? else { return Ok(()) };
    let mut zero = 0u64;
    // SAFETY: the attribute is a 64-bit number, and may be set to 0 alone.
    unsafe { result::mem_pool::set_attribute(pool, HIGHEST, (&raw mut zero).cast()) }
}

/// Most bytes of the pool that were in use.
const HIGHEST: sys::CUmemPool_attribute = sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_USED_MEM_HIGH;

/// The pool that tensors are taken from; some virtual GPUs have none.
fn pool(device: &CudaDevice) -> Result<Option<sys::CUmemoryPool>, DriverError> {
    let stream = device.cuda_stream();
    let context = stream.context();
    if !context.has_async_alloc() {
        return Ok(None);
    }
    // SAFETY: the device is that of a live context.
    unsafe { result::device::get_default_mem_pool(context.cu_device()) }.map(Some)
}
