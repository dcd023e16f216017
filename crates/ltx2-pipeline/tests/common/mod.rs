//! Device of the tests of whole runs.

#[allow(dead_code, reason = "only the reference traces have a source")]
pub mod source;

use candle_core::Device;
use ltx2_pipeline::DeviceChoice;

/// Returns the first GPU in a build with the feature `cuda`, else the CPU.
pub fn test_device() -> Device {
    let choice = if cfg!(feature = "cuda") { DeviceChoice::Cuda } else { DeviceChoice::Cpu };
    choice.open().expect("a build with the feature `cuda` is tested on a GPU")
}
