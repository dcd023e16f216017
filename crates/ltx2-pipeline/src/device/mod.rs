//! Devices: selection, memory, kernel loading and classification of errors. The only module that calls the CUDA driver.

mod choice;
#[cfg(feature = "cuda")]
mod cuda;
mod error;
mod fault;
mod gpu_info;
mod memory;
mod warm_up;

pub use choice::DeviceChoice;
pub use error::DeviceError;
pub(crate) use fault::{DeviceFault, device_fault};
pub use gpu_info::GpuInfo;
pub use memory::{DeviceMemory, peak_memory, reset_peak_memory};
pub(crate) use memory::{Gib, available, release_memory, reserve};
pub(crate) use warm_up::warm_up;
