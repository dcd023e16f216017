//! Device of the network tests.

use candle_core::Device;

/// Returns the first GPU in a build with the feature `cuda`, else the CPU.
pub fn test_device() -> Device {
    if cfg!(feature = "cuda") {
        Device::new_cuda_with_stream(0).expect("tests with the feature `cuda` need a GPU")
    } else {
        Device::Cpu
    }
}
