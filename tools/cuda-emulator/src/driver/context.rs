//! Driver initialisation, device queries and contexts.

use std::ffi::{c_char, c_int, c_uint};

use super::attributes;
use super::call::{CONTEXT, Out, Requires, call, code, current, driver, initialise, set_current};
use super::status::{CudaStatus, Result, description, symbol};
use crate::memory;
use crate::settings::settings;

/// Reported driver version: CUDA 13.0, the newest release that the programs are built with.
const VERSION: c_int = 13_000;

/// Device name.
const NAME: &std::ffi::CStr = c"Emulated (no GPU)";

/// Checks that an ordinal is that of the only device.
fn device(number: c_int) -> Result {
    if number == 0 { Ok(()) } else { Err(CudaStatus::InvalidDevice) }
}

/// Initialises the driver.
#[unsafe(no_mangle)]
pub extern "C" fn cuInit(flags: c_uint) -> u32 {
    let flags = if flags == 0 { Ok(()) } else { Err(CudaStatus::InvalidValue) };
    code(flags.and_then(|()| initialise()))
}

/// Returns the newest supported CUDA version.
///
/// # Safety
/// Same contract as the CUDA driver function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(version: Out<c_int>) -> u32 {
    code(version.write(VERSION))
}

/// Returns the symbol of an error code.
///
/// # Safety
/// Same contract as the CUDA driver function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(status: u32, name: Out<*const c_char>) -> u32 {
    code(name.write(symbol(status).map_or(std::ptr::null(), |name| name.as_ptr())).and(check_known(status)))
}

/// Returns the description of an error code.
///
/// # Safety
/// Same contract as the CUDA driver function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(status: u32, words: Out<*const c_char>) -> u32 {
    code(words.write(description(status).map_or(std::ptr::null(), |text| text.as_ptr())).and(check_known(status)))
}

fn check_known(status: u32) -> Result {
    symbol(status).map(|_| ()).ok_or(CudaStatus::InvalidValue)
}

driver! {
    /// Returns the number of devices.
    fn cuDeviceGetCount(count: Out<c_int>) -> Driver |_| { count.write(1) }

    /// Returns a device's handle, which equals its ordinal.
    fn cuDeviceGet(handle: Out<c_int>, ordinal: c_int) -> Driver |_| {
        device(ordinal)?;
        handle.write(ordinal)
    }

    /// Returns a device's name, truncated to `length` bytes including the terminating null.
    fn cuDeviceGetName(name: *mut c_char, length: c_int, number: c_int) -> Driver |_| {
        device(number)?;
        let room = usize::try_from(length).ok().filter(|room| *room > 0 && !name.is_null());
        let room = room.ok_or(CudaStatus::InvalidValue)?;
        let bytes = NAME.to_bytes();
        let kept = bytes.len().min(room - 1);
        // SAFETY: the caller passes a buffer of `length` bytes; `kept` is at most `length - 1`.
        unsafe {
            name.copy_from_nonoverlapping(bytes.as_ptr().cast(), kept);
            name.add(kept).write(0);
        }
        Ok(())
    }

    /// Returns a device's UUID.
    fn cuDeviceGetUuid_v2(uuid: Out<[u8; 16]>, number: c_int) -> Driver |_| {
        device(number)?;
        uuid.write(*b"emulated, no GPU")
    }

    /// Returns the bytes of device memory.
    fn cuDeviceTotalMem_v2(bytes: Out<usize>, number: c_int) -> Driver |_| {
        device(number)?;
        bytes.write(settings().memory as usize)
    }

    /// Returns a device attribute.
    fn cuDeviceGetAttribute(value: Out<c_int>, attribute: c_uint, number: c_int) -> Driver |_| {
        device(number)?;
        value.write(attributes::device_attribute(attribute, settings().capability).ok_or(CudaStatus::InvalidValue)?)
    }

    /// Retains the primary context of the device.
    fn cuDevicePrimaryCtxRetain(context: Out<usize>, number: c_int) -> Driver |emulated| {
        device(number)?;
        emulated.ensure_alive()?;
        context.write(CONTEXT)?;
        emulated.retained += 1;
        Ok(())
    }

    /// Releases the primary context. The report is written when the last user releases it.
    fn cuDevicePrimaryCtxRelease_v2(number: c_int) -> Driver |emulated| {
        device(number)?;
        emulated.retained = emulated.retained.checked_sub(1).ok_or(CudaStatus::InvalidContext)?;
        if emulated.retained == 0 {
            emulated.write_report();
        }
        Ok(())
    }

    /// Waits for the device, which is idle between calls.
    fn cuCtxSynchronize() -> Context |_| {
        memory::memory().usage.synchronise();
        Ok(())
    }

    /// Returns free and total bytes of device memory.
    fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) -> Context |_| {
        let (left, all) = { let memory = memory::memory(); (memory.usage.free(), memory.usage.total()) };
        free.write(left as usize)?;
        total.write(all as usize)
    }
}

/// Returns the calling thread's context, or null if it has none.
///
/// # Safety
/// Same contract as the CUDA driver function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCurrent(context: Out<usize>) -> u32 {
    code(call("cuCtxGetCurrent", Requires::Driver, |_| context.write(current())))
}

/// Sets the calling thread's context; null detaches it.
///
/// # Safety
/// Same contract as the CUDA driver function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetCurrent(context: usize) -> u32 {
    code(call("cuCtxSetCurrent", Requires::Driver, |device| {
        if context != 0 && (context != CONTEXT || !device.has_context()) {
            return Err(CudaStatus::InvalidContext);
        }
        set_current(context);
        Ok(())
    }))
}
