//! What the tests of the networks run on.

use candle_core::Device;

/// The first GPU in a build with the feature `cuda`, else the CPU.
pub fn test_device() -> Device {
    if cfg!(feature = "cuda") {
        Device::new_cuda_with_stream(0).expect("a build with the feature `cuda` is tested on a GPU")
    } else {
        Device::Cpu
    }
}
