//! What the tests of whole runs compute on.

use candle_core::Device;
use ltx2_pipeline::DeviceChoice;

/// The first GPU in a build with the feature `cuda`, else the CPU.
pub fn test_device() -> Device {
    let choice = if cfg!(feature = "cuda") { DeviceChoice::Cuda } else { DeviceChoice::Cpu };
    choice.open().expect("a build with the feature `cuda` is tested on a GPU")
}
