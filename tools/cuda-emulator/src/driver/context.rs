//! The driver, the device and its context.

use std::ffi::{c_char, c_int, c_uint};

use super::attributes;
use super::call::{CONTEXT, Needs, Out, call, code, current, driver, initialise, set_current};
use super::status::{Result, Status, symbol, text};
use crate::memory;
use crate::settings::settings;

/// CUDA 13.0, the newest that the programs here are built with.
const VERSION: c_int = 13_000;

/// What the card calls itself.
const NAME: &std::ffi::CStr = c"Emulated (no GPU)";

/// The only device.
fn device(number: c_int) -> Result {
    if number == 0 { Ok(()) } else { Err(Status::InvalidDevice) }
}

/// Opens the driver.
#[unsafe(no_mangle)]
pub extern "C" fn cuInit(flags: c_uint) -> u32 {
    let flags = if flags == 0 { Ok(()) } else { Err(Status::InvalidValue) };
    code(flags.and_then(|()| initialise()))
}

/// The newest CUDA that the driver can run.
///
/// # Safety
/// As the driver's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuDriverGetVersion(version: Out<c_int>) -> u32 {
    code(version.put(VERSION))
}

/// The symbol of a code.
///
/// # Safety
/// As the driver's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorName(status: u32, name: Out<*const c_char>) -> u32 {
    code(name.put(symbol(status).map_or(std::ptr::null(), |name| name.as_ptr())).and(known(status)))
}

/// A code in words.
///
/// # Safety
/// As the driver's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuGetErrorString(status: u32, words: Out<*const c_char>) -> u32 {
    code(words.put(text(status).map_or(std::ptr::null(), |text| text.as_ptr())).and(known(status)))
}

fn known(status: u32) -> Result {
    symbol(status).map(|_| ()).ok_or(Status::InvalidValue)
}

driver! {
    /// How many devices there are.
    fn cuDeviceGetCount(count: Out<c_int>) -> Driver |_| { count.put(1) }

    /// A device's handle: its number.
    fn cuDeviceGet(handle: Out<c_int>, ordinal: c_int) -> Driver |_| {
        device(ordinal)?;
        handle.put(ordinal)
    }

    /// A device's name, cut to `length` bytes with the zero at its end.
    fn cuDeviceGetName(name: *mut c_char, length: c_int, number: c_int) -> Driver |_| {
        device(number)?;
        let room = usize::try_from(length).ok().filter(|room| *room > 0 && !name.is_null());
        let room = room.ok_or(Status::InvalidValue)?;
        let bytes = NAME.to_bytes();
        let kept = bytes.len().min(room - 1);
        // SAFETY: the caller has room for `length` bytes there.
        unsafe {
            name.copy_from_nonoverlapping(bytes.as_ptr().cast(), kept);
            name.add(kept).write(0);
        }
        Ok(())
    }

    /// Sixteen bytes that tell cards apart.
    fn cuDeviceGetUuid_v2(uuid: Out<[u8; 16]>, number: c_int) -> Driver |_| {
        device(number)?;
        uuid.put(*b"emulated, no GPU")
    }

    /// Bytes of memory.
    fn cuDeviceTotalMem_v2(bytes: Out<usize>, number: c_int) -> Driver |_| {
        device(number)?;
        bytes.put(settings().memory as usize)
    }

    /// What the device can do.
    fn cuDeviceGetAttribute(value: Out<c_int>, attribute: c_uint, number: c_int) -> Driver |_| {
        device(number)?;
        value.put(attributes::of_device(attribute, settings().capability).ok_or(Status::InvalidValue)?)
    }

    /// The context that all of a process's users share.
    fn cuDevicePrimaryCtxRetain(context: Out<usize>, number: c_int) -> Driver |emulated| {
        device(number)?;
        emulated.answers()?;
        context.put(CONTEXT)?;
        emulated.retained += 1;
        Ok(())
    }

    /// Gives up a use of it. What was made in it is gone with the last one.
    fn cuDevicePrimaryCtxRelease_v2(number: c_int) -> Driver |emulated| {
        device(number)?;
        emulated.retained = emulated.retained.checked_sub(1).ok_or(Status::InvalidContext)?;
        if emulated.retained == 0 {
            emulated.write_report();
        }
        Ok(())
    }

    /// Waits for the device, which is never at work between calls.
    fn cuCtxSynchronize() -> Context |_| {
        memory::memory().usage.synchronise();
        Ok(())
    }

    /// Free and total bytes of memory.
    fn cuMemGetInfo_v2(free: Out<usize>, total: Out<usize>) -> Context |_| {
        let (left, all) = { let memory = memory::memory(); (memory.usage.free(), memory.usage.total()) };
        free.put(left as usize)?;
        total.put(all as usize)
    }
}

/// The calling thread's context, null if it has none.
///
/// # Safety
/// As the driver's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxGetCurrent(context: Out<usize>) -> u32 {
    code(call("cuCtxGetCurrent", Needs::Driver, |_| context.put(current())))
}

/// Makes a context the calling thread's, or leaves it without.
///
/// # Safety
/// As the driver's function of this name.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cuCtxSetCurrent(context: usize) -> u32 {
    code(call("cuCtxSetCurrent", Needs::Driver, |device| {
        if context != 0 && (context != CONTEXT || !device.has_context()) {
            return Err(Status::InvalidContext);
        }
        set_current(context);
        Ok(())
    }))
}
