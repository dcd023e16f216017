//! Common entry of all driver functions: takes the global lock and checks the device's state.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError, TryLockError};

use super::device::Device;
use super::status::{CudaStatus, Result};
use crate::settings::settings;

/// Handle of the primary context, the only context.
pub(crate) const CONTEXT: usize = 0xc0_0000_1000;

/// State that a driver function requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Requires {
    /// `cuInit` was called.
    Driver,
    /// The device has no fault, and its context is current on the calling thread.
    Context,
}

/// Functions that do not complete pending copies from page-locked memory, because they do not depend on them.
const INDEPENDENT_OF_COPIES: [&str; 8] = [
    "cuEventCreate",
    "cuEventDestroy_v2",
    "cuEventRecord",
    "cuEventSynchronize",
    "cuMemAllocAsync",
    "cuMemFreeHost",
    "cuMemHostAlloc",
    "cuMemcpyHtoDAsync_v2",
];

static DEVICE: Mutex<Option<Device>> = Mutex::new(None);

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// Creates the device. Later calls do nothing.
pub(crate) fn initialise() -> Result {
    let settings = settings();
    if let Some(problem) = &settings.problem {
        eprintln!("emulator: {problem}");
        return Err(CudaStatus::InvalidValue);
    }
    let mut device = DEVICE.lock().unwrap_or_else(PoisonError::into_inner);
    if device.is_none() {
        *device = Some(Device::new(settings.mode));
        // SAFETY: `at_exit` is an `extern "C"` function without arguments that does not unwind, as `atexit` requires.
        unsafe { libc::atexit(at_exit) };
    }
    Ok(())
}

/// Runs one driver function on the device.
pub(crate) fn call<T>(name: &str, requires: Requires, run: impl FnOnce(&mut Device) -> Result<T>) -> Result<T> {
    let mut device = DEVICE.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = device.as_mut().ok_or(CudaStatus::NotInitialized).and_then(|device| {
        if requires == Requires::Context {
            device.ensure_alive()?;
            if CURRENT.get() != CONTEXT || !device.has_context() {
                return Err(CudaStatus::InvalidContext);
            }
            if !INDEPENDENT_OF_COPIES.contains(&name) {
                device.pinned.complete(device.pinned.started());
            }
        }
        let answer = run(device);
        device.refresh_report();
        answer
    });
    if settings().trace {
        eprintln!(
            "emulator: {name}{}",
            answer.as_ref().err().map(|status| format!(": {status:?}")).unwrap_or_default()
        );
    }
    answer
}

/// Returns the `CUresult` code of a result.
pub(crate) fn code(answer: Result) -> u32 {
    answer.map_or_else(|status| status as u32, |()| 0)
}

pub(crate) fn current() -> usize {
    CURRENT.get()
}

pub(crate) fn set_current(context: usize) {
    CURRENT.set(context);
}

extern "C" fn at_exit() {
    let device = match DEVICE.try_lock() {
        Ok(device) => device,
        Err(TryLockError::Poisoned(device)) => device.into_inner(),
        // Another thread is inside a call, possibly in a long kernel.
        Err(TryLockError::WouldBlock) => return eprintln!("emulator: no report: the process exits during a call"),
    };
    if let Some(device) = device.as_ref() {
        device.write_report();
    }
}

/// Defines driver functions: `extern "C"` symbols that run their body under the lock.
macro_rules! driver {
    ($(
        $(#[$doc:meta])*
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $requires:ident |$device:pat_param| $body:block
    )*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        /// Same contract as the CUDA driver function of this name.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> u32 {
            use $crate::driver::{call, device, status};
            let run = |$device: &mut device::Device| -> status::Result { $body };
            call::code(call::call(stringify!($name), call::Requires::$requires, run))
        }
    )*};
}
pub(crate) use driver;

/// Output argument of a driver function.
#[repr(transparent)]
#[derive(Debug, Clone, Copy)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    pub(crate) fn write(self, value: T) -> Result {
        if self.0.is_null() {
            return Err(CudaStatus::InvalidValue);
        }
        // SAFETY: the caller of a driver function passes null, checked above, or a pointer valid for writes of the
        // documented type.
        unsafe { self.0.write(value) };
        Ok(())
    }

    /// As [`Out::write`], except that null means that the caller does not need the value.
    pub(crate) fn write_optional(self, value: T) -> Result {
        if self.0.is_null() { Ok(()) } else { self.write(value) }
    }

    #[cfg(test)]
    pub(crate) fn to(value: &mut T) -> Self {
        Self(value)
    }
}
