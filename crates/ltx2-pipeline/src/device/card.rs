//! Which GPU, and with which libraries: what a measurement has to name.

use std::fmt;

use candle_core::Device;
use serde::Serialize;

/// A GPU.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Card {
    /// The maker's name of it.
    pub name: String,
    /// Compute capability, as 9.0.
    pub compute_capability: String,
    /// Release of the kernel's driver, as 580.65.06, where the system tells.
    pub driver: Option<String>,
    /// The newest CUDA that the driver can run, as 13.0.
    pub driver_cuda: Option<String>,
    /// The CUDA release of the libraries that are loaded, as 13.0.
    pub runtime_cuda: Option<String>,
}

impl Card {
    /// `None` on a CPU, and where the driver does not tell.
    pub fn of(device: &Device) -> Option<Self> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => cuda::card(device),
            _ => None,
        }
    }
}

impl fmt::Display for Card {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unknown = |version: &Option<String>| version.clone().unwrap_or_else(|| "?".into());
        let (driver, can, has) = (unknown(&self.driver), unknown(&self.driver_cuda), unknown(&self.runtime_cuda));
        let Self { name, compute_capability, .. } = self;
        write!(
            f,
            "{name} (compute capability {compute_capability}, driver {driver} for CUDA {can}, libraries of {has})"
        )
    }
}

#[cfg(any(feature = "cuda", test))]
/// The release in `/proc/driver/nvidia/version`: the first word that begins with a number and has a point.
fn release(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM version:"))?;
    let is_release = |word: &&str| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.');
    line.split_whitespace().find(is_release).map(str::to_owned)
}

#[cfg(feature = "cuda")]
mod cuda {
    use candle_core::CudaDevice;
    use candle_core::cuda_backend::cudarc::driver::sys as driver;
    use candle_core::cuda_backend::cudarc::nvrtc::sys as nvrtc;

    use super::{Card, release};

    pub(super) fn card(device: &CudaDevice) -> Option<Card> {
        let stream = device.cuda_stream();
        let (major, minor) = stream.context().compute_capability().ok()?;
        Some(Card {
            name: stream.context().name().ok()?,
            compute_capability: format!("{major}.{minor}"),
            driver: std::fs::read_to_string("/proc/driver/nvidia/version").ok().and_then(|text| release(&text)),
            driver_cuda: driver_cuda(),
            runtime_cuda: runtime_cuda(),
        })
    }

    /// 13000 is 13.0.
    fn driver_cuda() -> Option<String> {
        let mut version = 0;
        // SAFETY: it writes one number.
        let status = unsafe { driver::cuDriverGetVersion(&raw mut version) };
        (status == driver::CUresult::CUDA_SUCCESS).then(|| format!("{}.{}", version / 1000, version % 1000 / 10))
    }

    /// NVRTC has the release of the toolkit that it came with; candle links it.
    fn runtime_cuda() -> Option<String> {
        let (mut major, mut minor) = (0, 0);
        // SAFETY: it writes two numbers.
        let status = unsafe { nvrtc::nvrtcVersion(&raw mut major, &raw mut minor) };
        (status == nvrtc::nvrtcResult::NVRTC_SUCCESS).then(|| format!("{major}.{minor}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_driver_s_release_is_found_in_both_its_forms() {
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5 22:23:56 UTC 2024\nGCC version: 12.2.0";
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (dvs-builder)";
        assert_eq!(release(closed).as_deref(), Some("550.54.15"));
        assert_eq!(release(open).as_deref(), Some("580.65.06"));
        assert_eq!(release("something else 1.2"), None);
    }
}
