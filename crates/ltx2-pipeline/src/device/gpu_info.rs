//! GPU and CUDA versions.

use std::fmt;

use candle_core::Device;
use serde::Serialize;

/// A GPU with the versions of its driver and libraries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GpuInfo {
    /// Product name.
    pub name: String,
    /// Compute capability, such as 9.0.
    pub compute_capability: String,
    /// Version of the kernel driver, such as 580.65.06.
    pub driver: Option<String>,
    /// Newest CUDA version that the driver supports, such as 13.0.
    pub driver_cuda: Option<String>,
    /// CUDA version of the loaded libraries, such as 13.0.
    pub runtime_cuda: Option<String>,
}

impl GpuInfo {
    /// Returns the GPU of `device`; `None` on a CPU, or if the driver does not report it.
    pub fn of(device: &Device) -> Option<Self> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => cuda::gpu_info(device),
            _ => None,
        }
    }
}

impl fmt::Display for GpuInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = |version: &Option<String>| version.clone().unwrap_or_else(|| "?".into());
        let (driver, supported, loaded) =
            (unknown(&self.driver), unknown(&self.driver_cuda), unknown(&self.runtime_cuda));
        let Self { name, compute_capability, .. } = self;
        write!(
            f,
            "{name} (compute capability {compute_capability}, driver {driver}, CUDA {supported}, libraries {loaded})"
        )
    }
}

/// Parses the driver version from `/proc/driver/nvidia/version`: the first word that starts with a digit and contains a
/// dot.
#[cfg(any(feature = "cuda", test))]
fn driver_version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM version:"))?;
    let is_version = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    line.split_whitespace().find(is_version).map(str::to_owned)
}

#[cfg(feature = "cuda")]
mod cuda {
    use candle_core::CudaDevice;
    use candle_core::cuda_backend::cudarc::driver::sys as driver;
    use candle_core::cuda_backend::cudarc::nvrtc::sys as nvrtc;

    use super::{GpuInfo, driver_version};

    pub(super) fn gpu_info(device: &CudaDevice) -> Option<GpuInfo> {
        let stream = device.cuda_stream();
        let (major, minor) = stream.context().compute_capability().ok()?;
        Some(GpuInfo {
            name: stream.context().name().ok()?,
            compute_capability: format!("{major}.{minor}"),
            driver: std::fs::read_to_string("/proc/driver/nvidia/version").ok().and_then(|text| driver_version(&text)),
            driver_cuda: driver_cuda(),
            runtime_cuda: runtime_cuda(),
        })
    }

    /// Newest CUDA version that the driver supports; the driver reports 13.0 as 13000.
    fn driver_cuda() -> Option<String> {
        let mut version = 0;
        // SAFETY: the function writes one `c_int` to the pointer, which is valid for writes during the call.
        let status = unsafe { driver::cuDriverGetVersion(&raw mut version) };
        (status == driver::CUresult::CUDA_SUCCESS).then(|| format!("{}.{}", version / 1000, version % 1000 / 10))
    }

    /// CUDA version of the loaded toolkit: NVRTC, which candle links, has the version of its toolkit.
    fn runtime_cuda() -> Option<String> {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: the function writes one `c_int` to each pointer; both are valid for writes during the call.
        let status = unsafe { nvrtc::nvrtcVersion(&raw mut major, &raw mut minor) };
        (status == nvrtc::nvrtcResult::NVRTC_SUCCESS).then(|| format!("{major}.{minor}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn driver_version_is_parsed_for_open_and_proprietary_modules() {
        let proprietary = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version: 12.2.0";
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder)";
        assert_eq!(driver_version(proprietary).as_deref(), Some("550.54.15"));
        assert_eq!(driver_version(open).as_deref(), Some("580.65.06"));
        assert_eq!(driver_version("something else 1.2"), None);
    }
}
