//! Copies, and setting memory.

use std::ffi::{c_uchar, c_uint, c_ushort, c_void};

use super::call::driver;
use super::device::Device;
use super::status::{Result, Status};
use crate::report::Copy;
use crate::settings::Mode;

/// Whether the caller waits for the copy.
#[derive(PartialEq, Eq)]
enum Until {
    Begun,
    Done,
}

fn to_device(device: &mut Device, to: u64, from: *const c_void, bytes: usize, until: Until) -> Result {
    if from.is_null() && bytes > 0 {
        return Err(Status::InvalidValue);
    }
    device.check("a copy to the device", to, bytes)?;
    device.report.copied(Copy::ToDevice, bytes);
    if device.mode == Mode::Run && until == Until::Begun && device.pinned.holds(from, bytes) {
        device.pinned.copy(to, from, bytes);
    } else if device.mode == Mode::Run {
        device.pinned.land(device.pinned.begun());
        // SAFETY: the caller has that many bytes there, and the device's were checked.
        unsafe { std::ptr::copy(from.cast::<u8>(), to as *mut u8, bytes) };
    }
    Ok(())
}

fn to_host(device: &mut Device, to: *mut c_void, from: u64, bytes: usize) -> Result {
    if to.is_null() && bytes > 0 {
        return Err(Status::InvalidValue);
    }
    device.check("a copy to the host", from, bytes)?;
    device.report.copied(Copy::ToHost, bytes);
    // SAFETY: the caller has room for that many bytes there, and the device's were checked.
    unsafe {
        match device.mode {
            Mode::Run => std::ptr::copy(from as *const u8, to.cast(), bytes),
            Mode::Count => std::ptr::write_bytes(to.cast::<u8>(), 0, bytes),
        }
    }
    Ok(())
}

fn on_device(device: &mut Device, to: u64, from: u64, bytes: usize) -> Result {
    device.check("a copy's target", to, bytes)?;
    device.check("a copy's source", from, bytes)?;
    device.report.copied(Copy::OnDevice, bytes);
    if device.mode == Mode::Run {
        // SAFETY: both were checked.
        unsafe { std::ptr::copy(from as *const u8, to as *mut u8, bytes) };
    }
    Ok(())
}

fn set<T: std::marker::Copy>(device: &mut Device, to: u64, value: T, count: usize) -> Result {
    let bytes = count.checked_mul(size_of::<T>()).ok_or(Status::InvalidValue)?;
    if !to.is_multiple_of(align_of::<T>() as u64) {
        return Err(Status::InvalidValue);
    }
    device.check("setting memory", to, bytes)?;
    device.report.copied(Copy::Set, bytes);
    if device.mode == Mode::Run {
        // SAFETY: the bytes were checked, and all of them are open to the emulator alone while it has its lock.
        unsafe { std::slice::from_raw_parts_mut(to as *mut std::mem::MaybeUninit<T>, count) }
            .fill(std::mem::MaybeUninit::new(value));
    }
    Ok(())
}

driver! {
    /// From the host to the device.
    fn cuMemcpyHtoD_v2(to: u64, from: *const c_void, bytes: usize) -> Context |device| {
        to_device(device, to, from, bytes, Until::Done)
    }

    /// From the host to the device.
    fn cuMemcpyHtoDAsync_v2(to: u64, from: *const c_void, bytes: usize, stream: usize) -> Context |device| {
        device.stream(stream)?;
        to_device(device, to, from, bytes, Until::Begun)
    }

    /// From the device to the host.
    fn cuMemcpyDtoH_v2(to: *mut c_void, from: u64, bytes: usize) -> Context |device| {
        to_host(device, to, from, bytes)
    }

    /// From the device to the host.
    fn cuMemcpyDtoHAsync_v2(to: *mut c_void, from: u64, bytes: usize, stream: usize) -> Context |device| {
        device.stream(stream)?;
        to_host(device, to, from, bytes)
    }

    /// Within the device.
    fn cuMemcpyDtoD_v2(to: u64, from: u64, bytes: usize) -> Context |device| { on_device(device, to, from, bytes) }

    /// Within the device.
    fn cuMemcpyDtoDAsync_v2(to: u64, from: u64, bytes: usize, stream: usize) -> Context |device| {
        device.stream(stream)?;
        on_device(device, to, from, bytes)
    }

    /// Sets bytes.
    fn cuMemsetD8_v2(to: u64, value: c_uchar, count: usize) -> Context |device| { set(device, to, value, count) }

    /// Sets bytes.
    fn cuMemsetD8Async(to: u64, value: c_uchar, count: usize, stream: usize) -> Context |device| {
        device.stream(stream)?;
        set(device, to, value, count)
    }

    /// Sets numbers of 16 bits.
    fn cuMemsetD16Async(to: u64, value: c_ushort, count: usize, stream: usize) -> Context |device| {
        device.stream(stream)?;
        set(device, to, value, count)
    }

    /// Sets numbers of 32 bits.
    fn cuMemsetD32Async(to: u64, value: c_uint, count: usize, stream: usize) -> Context |device| {
        device.stream(stream)?;
        set(device, to, value, count)
    }
}
