//! What every function of the driver begins with: the one lock, and whether the device still answers.

use std::cell::Cell;
use std::sync::{Mutex, PoisonError, TryLockError};

use super::device::Device;
use super::status::{Result, Status};
use crate::settings::settings;

/// The primary context's handle, the only context there is.
pub(crate) const CONTEXT: usize = 0xc0_0000_1000;

/// What a call takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// A driver that was initialised.
    Driver,
    /// A device that has had no fault, and the context to be current on the calling thread.
    Context,
}

/// Calls that neither wait for copies from page-locked memory nor need what they bring.
const GO_ON_BESIDE_COPIES: [&str; 8] = [
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

/// Opens the device, once.
pub(crate) fn initialise() -> Result {
    let settings = settings();
    if let Some(problem) = &settings.problem {
        eprintln!("emulator: {problem}");
        return Err(Status::InvalidValue);
    }
    let mut device = DEVICE.lock().unwrap_or_else(PoisonError::into_inner);
    if device.is_none() {
        *device = Some(Device::new(settings.mode));
        // SAFETY: the function takes nothing, and unwinds nowhere.
        unsafe { libc::atexit(at_exit) };
    }
    Ok(())
}

/// Runs one call on the device.
pub(crate) fn call<T>(name: &str, needs: Needs, run: impl FnOnce(&mut Device) -> Result<T>) -> Result<T> {
    let mut device = DEVICE.lock().unwrap_or_else(PoisonError::into_inner);
    let answer = device.as_mut().ok_or(Status::NotInitialized).and_then(|device| {
        if needs == Needs::Context {
            device.answers()?;
            if CURRENT.get() != CONTEXT || !device.has_context() {
                return Err(Status::InvalidContext);
            }
            if !GO_ON_BESIDE_COPIES.contains(&name) {
                device.pinned.land(device.pinned.begun());
            }
        }
        let answer = run(device);
        device.report_in_time();
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

/// The code of an answer.
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
        // A thread of the process computes to its end.
        Err(TryLockError::WouldBlock) => return eprintln!("emulator: the process ends amid a call; no report"),
    };
    if let Some(device) = device.as_ref() {
        device.write_report();
    }
}

/// Defines functions of the driver.
macro_rules! driver {
    ($(
        $(#[$doc:meta])*
        fn $name:ident($($argument:ident: $type:ty),* $(,)?) -> $needs:ident |$device:pat_param| $body:block
    )*) => {$(
        $(#[$doc])*
        ///
        /// # Safety
        /// As the driver's function of this name.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($argument: $type),*) -> u32 {
            use $crate::driver::{call, device, status};
            let run = |$device: &mut device::Device| -> status::Result { $body };
            call::code(call::call(stringify!($name), call::Needs::$needs, run))
        }
    )*};
}
pub(crate) use driver;

/// Where a caller wants a result.
#[repr(transparent)]
#[derive(Debug, Clone, Copy)]
pub struct Out<T>(*mut T);

impl<T> Out<T> {
    pub(crate) fn put(self, value: T) -> Result {
        if self.0.is_null() {
            return Err(Status::InvalidValue);
        }
        // SAFETY: a caller of the driver gives a place for a value of the type that the function documents.
        unsafe { self.0.write(value) };
        Ok(())
    }

    /// As [`Out::put`], where null means that the value is not wanted.
    pub(crate) fn put_if_wanted(self, value: T) -> Result {
        if self.0.is_null() { Ok(()) } else { self.put(value) }
    }

    #[cfg(test)]
    pub(crate) fn to(value: &mut T) -> Self {
        Self(value)
    }
}
