//! Calls of the CUDA driver.

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::{DriverError, result, sys};
use candle_core::{CudaDevice, Device};

/// Returns the number of GPUs.
pub(super) fn count() -> Result<usize, DriverError> {
    result::init()?;
    Ok(usize::try_from(result::device::get_count()?).unwrap_or(0))
}

/// Opens GPU number `ordinal` for one computing thread.
pub(super) fn open(ordinal: usize) -> candle_core::Result<Device> {
    // A stream of its own: the default stream synchronizes with other work of the process.
    let device = Device::new_cuda_with_stream(ordinal)?;
    let cuda = device.as_cuda_device()?;
    // SAFETY: every tensor of this device is allocated, used and freed on its one stream, in order, and other devices
    // get copies through host memory, so no event is needed to order accesses. Code that uses another stream must
    // synchronize with events of its own.
    unsafe { cuda.disable_event_tracking() };
    retain_freed_memory(cuda)?;
    Ok(device)
}

/// Configures the pool to keep freed memory for later allocations; by default it returns to the driver at every
/// synchronization.
fn retain_freed_memory(device: &CudaDevice) -> candle_core::Result<()> {
    let Some(pool) = pool(device).w()? else { return Ok(()) };
    let mut bytes = u64::MAX;
    let attribute = sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    // SAFETY: the attribute is a `u64`, and the pointer is valid for reads of one during the call.
    unsafe { result::mem_pool::set_attribute(pool, attribute, (&raw mut bytes).cast()) }.w()
}

/// Returns unused memory of the pool to the driver.
pub(super) fn release_memory(device: &CudaDevice) -> Result<(), DriverError> {
    let Some(pool) = pool(device)? else { return Ok(()) };
    // Freed memory becomes unused when the stream reaches the free.
    device.cuda_stream().synchronize()?;
    // SAFETY: the pool is the device's default pool, which is never destroyed.
    unsafe { result::mem_pool::trim_to(pool, 0) }
}

/// Returns the free and the total memory of the GPU, bytes.
pub(super) fn memory(device: &CudaDevice) -> Result<(usize, usize), DriverError> {
    device.cuda_stream().context().mem_get_info()
}

/// Returns the bytes that the pool holds and no tensor uses.
pub(super) fn pool_free(device: &CudaDevice) -> Result<usize, DriverError> {
    let Some(pool) = pool(device)? else { return Ok(0) };
    let read = |attribute| {
        let mut bytes = 0u64;
        // SAFETY: the attribute is a `u64`, and the pointer is valid for writes of one during the call.
        unsafe { result::mem_pool::get_attribute(pool, attribute, (&raw mut bytes).cast()) }.map(|()| bytes)
    };
    let reserved = read(sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)?;
    let used = read(sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)?;
    Ok(usize::try_from(reserved.saturating_sub(used)).unwrap_or(0))
}

/// Returns the peak of the pool's used memory since the last reset, bytes; `None` without a pool.
pub(super) fn peak(device: &CudaDevice) -> Result<Option<u64>, DriverError> {
    let Some(pool) = pool(device)? else { return Ok(None) };
    let mut bytes = 0u64;
    // SAFETY: the attribute is a `u64`, and the pointer is valid for writes of one during the call.
    unsafe { result::mem_pool::get_attribute(pool, PEAK, (&raw mut bytes).cast()) }?;
    Ok(Some(bytes))
}

/// Resets the value of [`peak`].
pub(super) fn reset_peak(device: &CudaDevice) -> Result<(), DriverError> {
    let Some(pool) = pool(device)? else { return Ok(()) };
    let mut zero = 0u64;
    // SAFETY: the attribute is a `u64` that may be set to 0, and the pointer is valid for reads of one during the call.
    unsafe { result::mem_pool::set_attribute(pool, PEAK, (&raw mut zero).cast()) }
}

/// Peak of the bytes in use.
const PEAK: sys::CUmemPool_attribute = sys::CUmemPool_attribute_enum::CU_MEMPOOL_ATTR_USED_MEM_HIGH;

/// Returns the pool that tensors are allocated from; some virtual GPUs have none.
fn pool(device: &CudaDevice) -> Result<Option<sys::CUmemoryPool>, DriverError> {
    let stream = device.cuda_stream();
    let context = stream.context();
    if !context.has_async_alloc() {
        return Ok(None);
    }
    // SAFETY: the device handle belongs to a live context.
    unsafe { result::device::get_default_mem_pool(context.cu_device()) }.map(Some)
}
