//! Memory copies and memsets.

use std::ffi::{c_uchar, c_uint, c_ushort, c_void};

use super::call::driver;
use super::device::Device;
use super::status::{CudaStatus, Result};
use crate::report::CopyKind;
use crate::settings::Mode;

/// Whether a copy is complete when the call returns.
#[derive(PartialEq, Eq)]
enum Completion {
    Asynchronous,
    Synchronous,
}

fn copy_to_device(device: &mut Device, to: u64, from: *const c_void, bytes: usize, completion: Completion) -> Result {
    if from.is_null() && bytes > 0 {
        return Err(CudaStatus::InvalidValue);
    }
    device.check("a copy to the device", to, bytes)?;
    device.report.record_copy(CopyKind::ToDevice, bytes);
    if device.mode == Mode::Run && completion == Completion::Asynchronous && device.pinned.contains(from, bytes) {
        device.pinned.start_copy(to, from, bytes);
    } else if device.mode == Mode::Run {
        device.pinned.complete(device.pinned.started());
        // SAFETY: the caller passes `bytes` readable bytes at `from`; `to` was checked to lie within one allocation.
        unsafe { std::ptr::copy(from.cast::<u8>(), to as *mut u8, bytes) };
    }
    Ok(())
}

fn copy_to_host(device: &mut Device, to: *mut c_void, from: u64, bytes: usize) -> Result {
    if to.is_null() && bytes > 0 {
        return Err(CudaStatus::InvalidValue);
    }
    device.check("a copy to the host", from, bytes)?;
    device.report.record_copy(CopyKind::ToHost, bytes);
    // SAFETY: the caller passes `bytes` writable bytes at `to`; `from` was checked to lie within one allocation, which
    // is mapped in run mode and is not read in counting mode.
    unsafe {
        match device.mode {
            Mode::Run => std::ptr::copy(from as *const u8, to.cast(), bytes),
            Mode::Count => std::ptr::write_bytes(to.cast::<u8>(), 0, bytes),
        }
    }
    Ok(())
}

fn copy_on_device(device: &mut Device, to: u64, from: u64, bytes: usize) -> Result {
    device.check("the destination of a copy", to, bytes)?;
    device.check("the source of a copy", from, bytes)?;
    device.report.record_copy(CopyKind::OnDevice, bytes);
    if device.mode == Mode::Run {
        // SAFETY: both ranges were checked to lie within one allocation each; `copy` allows overlap.
        unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
    }
    Ok(())
}

fn memset<T: Copy>(device: &mut Device, to: u64, value: T, count: usize) -> Result {
    let bytes = count.checked_mul(size_of::<T>()).ok_or(CudaStatus::InvalidValue)?;
    if !to.is_multiple_of(align_of::<T>() as u64) {
        return Err(CudaStatus::InvalidValue);
    }
    device.check("a memset", to, bytes)?;
    device.report.record_copy(CopyKind::Set, bytes);
    if device.mode == Mode::Run {
        // SAFETY: the range was checked to lie within one allocation and is aligned for `T`; the driver's lock gives
        // exclusive access to device memory, and `MaybeUninit` allows any bit pattern.
        unsafe { std::slice::from_raw_parts_mut(to as *mut std::mem::MaybeUninit<T>, count) }
            .fill(std::mem::MaybeUninit::new(value));
    }
    Ok(())
}

driver! {
    /// Copies from the host to the device.
    fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) -> Context |device| {
        copy_to_device(device, to, from, bytes, Completion::Synchronous)
    }

    /// Copies from the host to the device, asynchronously if the source is page-locked.
    fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: usize) -> Context |device| {
        device.stream(stream)?;
        copy_to_device(device, to, from, bytes, Completion::Asynchronous)
    }

    /// Copies from the device to the host.
    fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) -> Context |device| {
        copy_to_host(device, to, from, bytes)
    }

    /// Copies from the device to the host; complete when the call returns.
    fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: usize) -> Context |device| {
        device.stream(stream)?;
        copy_to_host(device, to, from, bytes)
    }

    /// Copies within the device.
    fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) -> Context |device| { copy_on_device(device, to, from, bytes) }

    /// Copies within the device.
    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: usize) -> Context |device| {
        device.stream(stream)?;
        copy_on_device(device, to, from, bytes)
    }

    /// Sets 8-bit values.
    fn cuMemsetD8_v2(to: u64, value: c_uchar, count: usize) -> Context |device| { memset(device, to, value, count) }

    /// Sets 8-bit values.
    fn cuMemsetD8Async(to: u64, value: c_uchar, count: usize, stream: usize) -> Context |device| {
        device.stream(stream)?;
        memset(device, to, value, count)
    }

    /// Sets 16-bit values.
    fn cuMemsetD16Async(to: u64, value: c_ushort, count: usize, stream: usize) -> Context |device| {
        device.stream(stream)?;
        memset(device, to, value, count)
    }

    /// Sets 32-bit values.
    fn cuMemsetD32Async(to: u64, value: c_uint, count: usize, stream: usize) -> Context |device| {
        device.stream(stream)?;
        memset(device, to, value, count)
    }
}
