//! Model options that several commands share.

use std::path::PathBuf;

use ltx2_pipeline::plan::default_steps;
use ltx2_pipeline::{
    AttentionKernel, DeviceChoice, DeviceError, Engine, EngineSettings, ExecutionConfig, ModelSet, PipelineError,
    Precision,
};
use ltx2_types::Limits;

/// Location of the model and its device.
#[derive(Debug, Clone, clap::Args)]
pub struct ModelArguments {
    /// Folder with the checkpoint (*.safetensors) and the Gemma 3 folder.
    #[arg(long, value_name = "DIR", default_value = "weights")]
    pub models: PathBuf,
    /// Device: auto (a GPU if present), cpu or cuda.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// Precision of weights and activations: f32 or bf16 [default: bf16 on a GPU, f32 on a CPU].
    #[arg(long)]
    pub dtype: Option<Precision>,
    /// Number of multiprocessors of the GPU whose noise is reproduced; the default is that of an H100 or H200.
    #[arg(long, value_name = "N", default_value_t = 132, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub noise_multiprocessors: u32,
    /// Attention kernel on a GPU: auto (the fastest one that the GPU supports) or mma (the one for all GPUs).
    #[arg(long, value_name = "KERNEL", default_value = "auto")]
    pub attention_kernel: AttentionKernel,
}

impl ModelArguments {
    /// Opens the model set; reads headers only.
    pub fn open(&self) -> Result<ModelSet, PipelineError> {
        ModelSet::open(&self.models)
    }

    /// Opens the model set and the device; weights are loaded on demand.
    pub fn engine(&self) -> Result<Engine, PipelineError> {
        let models = self.open()?;
        Engine::open(models, self.engine_settings()?)
    }

    /// Returns the device and the precision, without opening the device.
    pub fn execution(&self) -> Result<ExecutionConfig, DeviceError> {
        self.device.execution(self.dtype)
    }

    /// Returns these options as command line arguments for the engine process.
    #[cfg(feature = "media")]
    pub fn command_line(&self) -> Vec<std::ffi::OsString> {
        let mut line: Vec<std::ffi::OsString> = vec!["--models".into(), self.models.clone().into_os_string()];
        let mut add = |option: &str, value: &str| line.extend([option.into(), value.into()]);
        add("--device", self.device.name());
        if let Some(precision) = self.dtype {
            add("--dtype", precision.name());
        }
        add("--noise-multiprocessors", &self.noise_multiprocessors.to_string());
        add("--attention-kernel", self.attention_kernel.name());
        line
    }

    /// Opens the device and returns the engine's settings.
    pub fn engine_settings(&self) -> Result<EngineSettings, DeviceError> {
        let (device, precision) = (self.device.open()?, self.execution()?.precision);
        Ok(EngineSettings {
            noise_multiprocessors: self.noise_multiprocessors as usize,
            attention_kernel: self.attention_kernel,
            ..EngineSettings::new(device, precision)
        })
    }
}

/// Returns `limits` with the defaults of the model's generation and of the model set.
///
/// # Errors
/// A default of the model set breaks a limit.
pub fn limits_for(mut limits: Limits, models: &ModelSet) -> anyhow::Result<Limits> {
    if let Some(steps) = default_steps(&models.capabilities().version) {
        limits.defaults.num_inference_steps = steps;
    }
    limits.with_defaults(models.defaults()).map_err(|errors| {
        let errors = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        anyhow::anyhow!("defaults.json of {}: {errors}", models.name())
    })
}
