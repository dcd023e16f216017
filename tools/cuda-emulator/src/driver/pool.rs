//! Allocations, and the pool that those of streams come from.

use std::ffi::{c_int, c_uint, c_void};

use super::call::{Out, driver};
use super::device::Device;
use super::status::{Result, Status};
use crate::memory::{self, Owner};

/// The device's one pool.
const POOL: usize = 0x70_0000_1000;

/// A pool's attributes, by number.
mod attribute {
    pub(super) const RELEASE_THRESHOLD: u32 = 4;
    pub(super) const RESERVED: u32 = 5;
    pub(super) const RESERVED_HIGH: u32 = 6;
    pub(super) const USED: u32 = 7;
    pub(super) const USED_HIGH: u32 = 8;
}

fn allocate(device: &mut Device, address: Out<u64>, bytes: usize, owner: Owner) -> Result {
    if bytes == 0 {
        return Err(Status::InvalidValue);
    }
    let mut memory = memory::memory();
    let allocated = memory.allocate(bytes as u64, owner);
    device.report.allocated(allocated.is_some(), &memory);
    address.put(allocated.ok_or(Status::OutOfMemory)?)
}

fn free(device: &mut Device, address: u64) -> Result {
    if address == 0 || memory::memory().free(address).is_some() {
        return Ok(());
    }
    eprintln!("emulator: {address:#x} is freed, {}", super::device::whereabouts(address));
    device.report.wrong_frees += 1;
    Err(Status::InvalidValue)
}

fn pool(handle: usize) -> Result {
    if handle == POOL { Ok(()) } else { Err(Status::InvalidValue) }
}

driver! {
    /// Memory outside of the pool.
    fn cuMemAlloc_v2(address: Out<u64>, bytes: usize) -> Context |device| {
        allocate(device, address, bytes, Owner::Driver)
    }

    /// Frees memory of either kind.
    fn cuMemFree_v2(address: u64) -> Context |device| { free(device, address) }

    /// Memory of the pool.
    fn cuMemAllocAsync(address: Out<u64>, bytes: usize, stream: usize) -> Context |device| {
        device.stream(stream)?;
        allocate(device, address, bytes, Owner::Pool)
    }

    /// Memory of the pool, which can be but the one.
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

    /// The pool.
    fn cuDeviceGetDefaultMemPool(handle: Out<usize>, number: c_int) -> Driver |_| {
        if number != 0 {
            return Err(Status::InvalidDevice);
        }
        handle.put(POOL)
    }

    /// The pool.
    fn cuDeviceGetMemPool(handle: Out<usize>, number: c_int) -> Driver |_| {
        if number != 0 {
            return Err(Status::InvalidDevice);
        }
        handle.put(POOL)
    }

    /// Has the pool give back what is not in use beyond `keep` bytes.
    fn cuMemPoolTrimTo(handle: usize, keep: usize) -> Context |_| {
        pool(handle)?;
        memory::memory().usage.trim(keep as u64);
        Ok(())
    }

    /// A number about the pool.
    fn cuMemPoolGetAttribute(handle: usize, number: c_uint, value: *mut c_void) -> Context |_| {
        pool(handle)?;
        if (1..=3).contains(&number) {
            // SAFETY: these attributes are of that type; the rules for reuse change nothing here.
            return unsafe { out::<c_int>(value) }.put(1);
        }
        let memory = memory::memory();
        let bytes = match number {
            attribute::RELEASE_THRESHOLD => memory.usage.release_threshold,
            attribute::RESERVED => memory.usage.reserved,
            attribute::RESERVED_HIGH => memory.usage.reserved_high,
            attribute::USED => memory.usage.used,
            attribute::USED_HIGH => memory.usage.used_high,
            _ => return Err(Status::InvalidValue),
        };
        // SAFETY: these attributes are of that type.
        unsafe { out::<u64>(value) }.put(bytes)
    }

    /// Sets a number of the pool. The highest can be set to 0 alone, which begins them anew.
    fn cuMemPoolSetAttribute(handle: usize, number: c_uint, value: *mut c_void) -> Context |device| {
        pool(handle)?;
        if value.is_null() {
            return Err(Status::InvalidValue);
        }
        if (1..=3).contains(&number) {
            return Ok(());
        }
        // SAFETY: the other attributes are of that type, and the caller gives one.
        let bytes = unsafe { value.cast::<u64>().read_unaligned() };
        let mut memory = memory::memory();
        match (number, bytes) {
            (attribute::RELEASE_THRESHOLD, _) => memory.usage.release_threshold = bytes,
            (attribute::RESERVED_HIGH, 0) => memory.usage.reserved_high = memory.usage.reserved,
            (attribute::USED_HIGH, 0) => {
                memory.usage.used_high = memory.usage.used;
                device.report.begin_phase(&memory);
            }
            _ => return Err(Status::InvalidValue),
        }
        Ok(())
    }
}

/// A result's place by its type.
///
/// # Safety
/// `place` is null or has room for a value of this type.
unsafe fn out<T>(place: *mut c_void) -> Out<T> {
    // SAFETY: both are one pointer.
    unsafe { std::mem::transmute::<*mut T, Out<T>>(place.cast()) }
}
