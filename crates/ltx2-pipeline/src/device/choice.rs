//! Device selection.

use candle_core::Device;

use super::error::DeviceError;
use super::gpu_info::GpuInfo;
use super::memory::DeviceMemory;
use crate::execution::{ExecutionConfig, Precision};

/// Device requested on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::EnumString)]
#[strum(serialize_all = "lowercase", parse_err_ty = String, parse_err_fn = unknown_device)]
pub enum DeviceChoice {
    /// The first GPU if this build supports GPUs and there is one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The first CUDA GPU.
    Cuda,
}

impl DeviceChoice {
    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Opens the device and logs which one it is. A GPU gets a stream for the calling thread and a memory pool that
    /// keeps freed memory until the engine is unloaded.
    ///
    /// # Errors
    /// The device does not exist or cannot be opened.
    pub fn open(self) -> Result<Device, DeviceError> {
        let device = if self.is_gpu()? { open_gpu().map_err(DeviceError::Open)? } else { Device::Cpu };
        match (GpuInfo::of(&device), DeviceMemory::of(&device)) {
            (Some(gpu), Some(memory)) => tracing::info!(%gpu, %memory, "using the GPU"),
            _ => tracing::info!("using the CPU"),
        }
        Ok(device)
    }

    /// Returns the kind of device that [`DeviceChoice::open`] would open and the precision of runs on it: `precision`,
    /// or bfloat16 on a GPU and float32 on a CPU. Opens nothing.
    ///
    /// # Errors
    /// The device does not exist.
    pub fn execution(self, precision: Option<Precision>) -> Result<ExecutionConfig, DeviceError> {
        let (device, default) = if self.is_gpu()? {
            (ltx2_types::Device::Cuda, Precision::Bf16)
        } else {
            (ltx2_types::Device::Cpu, Precision::F32)
        };
        Ok(ExecutionConfig { device, precision: precision.unwrap_or(default) })
    }

    fn is_gpu(self) -> Result<bool, DeviceError> {
        match self {
            Self::Cpu => Ok(false),
            Self::Auto => Ok(gpu_count().is_ok_and(|count| count > 0)),
            Self::Cuda => match gpu_count() {
                Ok(0) => Err(DeviceError::Unavailable("this machine has no GPU".into())),
                Ok(_) => Ok(true),
                Err(reason) => Err(DeviceError::Unavailable(reason)),
            },
        }
    }
}

fn unknown_device(text: &str) -> String {
    format!("device is {text}, but it must be auto, cpu or cuda")
}

/// Returns the number of GPUs, or the reason why it is unknown.
#[cfg(feature = "cuda")]
fn gpu_count() -> Result<usize, String> {
    super::cuda::count().map_err(|error| format!("the CUDA driver does not answer: {error}"))
}

#[cfg(not(feature = "cuda"))]
fn gpu_count() -> Result<usize, String> {
    Err("this build has no GPU support; build it with --features cuda".into())
}

#[cfg(feature = "cuda")]
fn open_gpu() -> candle_core::Result<Device> {
    super::cuda::open(0)
}

#[cfg(not(feature = "cuda"))]
fn open_gpu() -> candle_core::Result<Device> {
    Err(candle_core::Error::NotCompiledWithCudaSupport)
}

#[cfg(all(test, not(feature = "cuda")))]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_gpu_support_refuses_cuda_and_selects_the_cpu() {
        let error = DeviceChoice::Cuda.open().unwrap_err().to_string();
        assert!(error.contains("device is cuda, but this build has no GPU support"), "{error}");
        assert!(DeviceChoice::Auto.open().unwrap().is_cpu());
        let default = ExecutionConfig { device: ltx2_types::Device::Cpu, precision: Precision::F32 };
        assert_eq!(DeviceChoice::Auto.execution(None).unwrap(), default);
    }

    #[test]
    fn choices_are_parsed_from_their_names() {
        for choice in [DeviceChoice::Auto, DeviceChoice::Cpu, DeviceChoice::Cuda] {
            assert_eq!(choice.name().parse(), Ok(choice));
        }
        assert_eq!("tpu".parse::<DeviceChoice>(), Err("device is tpu, but it must be auto, cpu or cuda".into()));
    }
}
