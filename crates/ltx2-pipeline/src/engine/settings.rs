//! Settings of an engine.

use candle_core::Device;
use ltx2_models::AttentionKernel;

use crate::diffusion::philox::DEFAULT_MULTIPROCESSORS;
use crate::execution::{ExecutionConfig, Precision};

/// Settings of an engine, for all its runs.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// Device of the tensors.
    pub device: Device,
    /// dtype of weights and activations.
    pub precision: Precision,
    /// Multiprocessors of the GPU whose noise is reproduced.
    pub noise_multiprocessors: usize,
    /// Kernel of the attention layers on CUDA.
    pub attention_kernel: AttentionKernel,
}

impl EngineSettings {
    /// Returns settings with the noise of an H100 or H200 and the default attention kernel.
    pub fn new(device: Device, precision: Precision) -> Self {
        let attention_kernel = AttentionKernel::default();
        Self { device, precision, noise_multiprocessors: DEFAULT_MULTIPROCESSORS, attention_kernel }
    }

    /// Returns the kind of device and the precision, on which memory depends.
    pub fn execution(&self) -> ExecutionConfig {
        let device = if self.device.is_cuda() { ltx2_types::Device::Cuda } else { ltx2_types::Device::Cpu };
        ExecutionConfig { device, precision: self.precision }
    }
}
