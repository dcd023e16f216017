//! Which device, as asked for.

use std::str::FromStr;

use candle_core::Device;

use super::{Card, DeviceMemory};
use crate::plan::Computing;
use crate::{PipelineError, Precision};

/// The device as asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeviceChoice {
    /// The GPU if this build can use one and there is one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The first CUDA GPU.
    Cuda,
}

impl DeviceChoice {
    /// As it is written on a command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }

    /// Opens the device for the thread that calls, and logs which it is. A GPU is set up for runs: a stream of its own,
    /// and a memory pool that keeps what it has until the engine unloads.
    pub fn open(self) -> Result<Device, PipelineError> {
        let gpu = self.takes_gpu()?;
        let device = if gpu { open_gpu()? } else { Device::Cpu };
        match (Card::of(&device), DeviceMemory::of(&device)) {
            (Some(card), Some(memory)) => tracing::info!("computing on {card}: {memory}"),
            _ => tracing::info!("computing on the CPU"),
        }
        Ok(device)
    }

    /// What [`DeviceChoice::open`] would take, and with which precision: the one given, or bfloat16 on a GPU and float32
    /// elsewhere. Nothing is opened.
    pub fn computing(self, precision: Option<Precision>) -> Result<Computing, PipelineError> {
        let (device, usual) = if self.takes_gpu()? {
            (ltx2_types::Device::Cuda, Precision::Bf16)
        } else {
            (ltx2_types::Device::Cpu, Precision::F32)
        };
        Ok(Computing { device, precision: precision.unwrap_or(usual) })
    }

    fn takes_gpu(self) -> Result<bool, PipelineError> {
        match self {
            Self::Cpu => Ok(false),
            Self::Auto => Ok(gpus().is_ok_and(|count| count > 0)),
            Self::Cuda => match gpus() {
                Ok(0) => Err(PipelineError::Device("device is cuda, but this machine has no GPU".into())),
                Ok(_) => Ok(true),
                Err(reason) => Err(PipelineError::Device(format!("device is cuda, but {reason}"))),
            },
        }
    }
}

/// How many GPUs there are, or why that is not known.
#[cfg(feature = "cuda")]
fn gpus() -> Result<usize, String> {
    super::cuda::count().map_err(|error| format!("the CUDA driver does not answer: {error}"))
}

#[cfg(not(feature = "cuda"))]
fn gpus() -> Result<usize, String> {
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

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda),
            other => Err(format!("device is {other}, but it must be auto, cpu or cuda")),
        }
    }
}

#[cfg(all(test, not(feature = "cuda")))]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_gpu_support_says_so_and_chooses_the_cpu_by_itself() {
        let error = DeviceChoice::Cuda.open().unwrap_err().to_string();
        assert!(error.contains("device is cuda, but this build has no GPU support"), "{error}");
        assert!(DeviceChoice::Auto.open().unwrap().is_cpu());
        let usual = Computing { device: ltx2_types::Device::Cpu, precision: Precision::F32 };
        assert_eq!(DeviceChoice::Auto.computing(None).unwrap(), usual);
    }
}
