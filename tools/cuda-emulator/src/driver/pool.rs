//! Device memory allocations and the memory pool of stream-ordered allocations.

use std::ffi::{c_int, c_uint, c_void};

use super::call::{Out, driver};
use super::device::Device;
use super::status::{CudaStatus, Result};
use crate::memory::{self, Owner};

/// Handle of the default pool, the only pool.
const POOL: usize = 0x70_0000_1000;

/// Values of `CUmemPool_attribute`.
mod attribute {
    pub(super) const RELEASE_THRESHOLD: u32 = 4;
    pub(super) const RESERVED: u32 = 5;
    pub(super) const RESERVED_HIGH: u32 = 6;
    pub(super) const USED: u32 = 7;
    pub(super) const USED_HIGH: u32 = 8;
}

fn allocate(device: &mut Device, address: Out<u64>, bytes: usize, owner: Owner) -> Result {
    if bytes == 0 {
        return Err(CudaStatus::InvalidValue);
    }
    let mut memory = memory::memory();
    let allocated = memory.allocate(bytes as u64, owner);
    device.report.record_allocation(allocated.is_some(), &memory);
    address.write(allocated.ok_or(CudaStatus::OutOfMemory)?)
}

fn free(device: &mut Device, address: u64) -> Result {
    if address == 0 || memory::memory().free(address).is_some() {
        return Ok(());
    }
    eprintln!("emulator: invalid free of {address:#x}, {}", super::device::describe_address(address));
    device.report.invalid_frees += 1;
    Err(CudaStatus::InvalidValue)
}

fn pool(handle: usize) -> Result {
    if handle == POOL { Ok(()) } else { Err(CudaStatus::InvalidValue) }
}

driver! {
    /// Allocates memory outside the pool.
    fn cuMemAlloc_v2(address: Out<u64>, bytes: usize) -> Context |device| {
        allocate(device, address, bytes, Owner::Driver)
    }

    /// Frees memory of either kind.
    fn cuMemFree_v2(address: u64) -> Context |device| { free(device, address) }

    /// Allocates memory from the default pool.
    fn cuMemAllocAsync(address: Out<u64>, bytes: usize, stream: usize) -> Context |device| {
        device.stream(stream)?;
        allocate(device, address, bytes, Owner::Pool)
    }

    /// Allocates memory from a pool, which must be the default pool.
    fn cuMemAllocFromPoolAsync(address: Out<u64>, bytes: usize, from: usize, stream: usize) -> Context |device| {
        pool(from)?;
        device.stream(stream)?;
        allocate(device, address, bytes, Owner::Pool)
    }

    /// Frees memory of either kind.
    fn cuMemFreeAsync(address: u64, stream: usize) -> Context |device| {
        device.stream(stream)?;
        free(device, address)
    }

    /// Returns the default pool.
    fn cuDeviceGetDefaultMemPool(handle: Out<usize>, number: c_int) -> Driver |_| {
        if number != 0 {
            return Err(CudaStatus::InvalidDevice);
        }
        handle.write(POOL)
    }

    /// Returns the current pool, which is the default pool.
    fn cuDeviceGetMemPool(handle: Out<usize>, number: c_int) -> Driver |_| {
        if number != 0 {
            return Err(CudaStatus::InvalidDevice);
        }
        handle.write(POOL)
    }

    /// Releases unused memory of the pool beyond `keep` bytes.
    fn cuMemPoolTrimTo(handle: usize, keep: usize) -> Context |_| {
        pool(handle)?;
        memory::memory().usage.trim(keep as u64);
        Ok(())
    }

    /// Returns an attribute of the pool.
    fn cuMemPoolGetAttribute(handle: usize, number: c_uint, value: *mut c_void) -> Context |_| {
        pool(handle)?;
        if (1..=3).contains(&number) {
            // SAFETY: these attributes (reuse policies, which have no effect here) are of type `int`.
            return unsafe { typed_output::<c_int>(value) }.write(1);
        }
        let memory = memory::memory();
        let bytes = match number {
            attribute::RELEASE_THRESHOLD => memory.usage.release_threshold,
            attribute::RESERVED => memory.usage.reserved,
            attribute::RESERVED_HIGH => memory.usage.reserved_high,
            attribute::USED => memory.usage.used,
            attribute::USED_HIGH => memory.usage.used_high,
            _ => return Err(CudaStatus::InvalidValue),
        };
        // SAFETY: these attributes are of type `cuuint64_t`.
        unsafe { typed_output::<u64>(value) }.write(bytes)
    }

    /// Sets an attribute of the pool. A high-water mark can only be reset, by 0; resetting the used one starts a new
    /// phase of the report.
    fn cuMemPoolSetAttribute(handle: usize, number: c_uint, value: *mut c_void) -> Context |device| {
        pool(handle)?;
        if value.is_null() {
            return Err(CudaStatus::InvalidValue);
        }
        if (1..=3).contains(&number) {
            return Ok(());
        }
        // SAFETY: the remaining attributes are of type `cuuint64_t`, and the caller passes a pointer to one.
        let bytes = unsafe { value.cast::<u64>().read_unaligned() };
        let mut memory = memory::memory();
        match (number, bytes) {
            (attribute::RELEASE_THRESHOLD, _) => memory.usage.release_threshold = bytes,
            (attribute::RESERVED_HIGH, 0) => memory.usage.reserved_high = memory.usage.reserved,
            (attribute::USED_HIGH, 0) => {
                memory.usage.used_high = memory.usage.used;
                device.report.begin_phase(&memory);
            }
            _ => return Err(CudaStatus::InvalidValue),
        }
        Ok(())
    }
}

/// Converts an untyped output argument to a typed one.
///
/// # Safety
/// `pointer` is null or valid for writes of a `T`.
unsafe fn typed_output<T>(pointer: *mut c_void) -> Out<T> {
    // SAFETY: `Out<T>` is a transparent wrapper around `*mut T`.
    unsafe { std::mem::transmute::<*mut T, Out<T>>(pointer.cast()) }
}
