//! Functions for page-locked host memory.

use std::ffi::{c_uint, c_void};

use super::call::{Out, driver};
use super::status::CudaStatus;

driver! {
    /// Allocates page-locked memory.
    fn cuMemHostAlloc(address: Out<*mut c_void>, bytes: usize, flags: c_uint) -> Context |device| {
        if flags > 7 {
            return Err(CudaStatus::InvalidValue);
        }
        address.write(device.pinned.allocate(bytes)?)
    }

    /// Frees page-locked memory.
    fn cuMemFreeHost(address: *mut c_void) -> Context |device| { device.pinned.free(address) }
}
