//! Options about the model that several commands share.

use std::path::PathBuf;

use ltx2_pipeline::plan::Computing;
use ltx2_pipeline::plan::default_steps;
use ltx2_pipeline::{DeviceChoice, Engine, EngineSettings, ModelSet, PipelineError, Precision};
use ltx2_types::Limits;

/// Where the model is and what it runs on.
#[derive(Debug, Clone, clap::Args)]
pub struct ModelArguments {
    /// Folder with the checkpoint (*.safetensors) and the Gemma 3 folder.
    #[arg(long, value_name = "DIR", default_value = "weights")]
    pub models: PathBuf,
    /// auto takes the GPU when there is one: auto, cpu or cuda.
    #[arg(long, default_value = "auto")]
    pub device: DeviceChoice,
    /// f32 or bf16 [default: bf16 on a GPU, f32 on a CPU].
    #[arg(long)]
    pub dtype: Option<Precision>,
    /// Multiprocessors of the card whose noise a seed means; the default is an H100's or H200's, everywhere.
    #[arg(long, value_name = "N", default_value_t = 132, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub noise_multiprocessors: u32,
}

impl ModelArguments {
    /// Reads the model's headers.
    pub fn open(&self) -> Result<ModelSet, PipelineError> {
        ModelSet::open(&self.models)
    }

    /// Reads the model's headers and opens the device; weights are loaded when they are needed.
    pub fn engine(&self) -> Result<Engine, PipelineError> {
        let models = self.open()?;
        Engine::open(models, self.engine_settings()?)
    }

    /// The device, and the dtype that was asked for or is its usual one. Opens nothing.
    pub fn computing(&self) -> Result<Computing, PipelineError> {
        self.device.computing(self.dtype)
    }

    /// The same options for another process of this program.
    #[cfg(feature = "media")]
    pub fn command_line(&self) -> Vec<std::ffi::OsString> {
        let mut line: Vec<std::ffi::OsString> = vec!["--models".into(), self.models.clone().into_os_string()];
        let mut add = |option: &str, value: &str| line.extend([option.into(), value.into()]);
        add("--device", self.device.name());
        if let Some(precision) = self.dtype {
            add("--dtype", precision.name());
        }
        add("--noise-multiprocessors", &self.noise_multiprocessors.to_string());
        line
    }

    /// Opens the device.
    pub fn engine_settings(&self) -> Result<EngineSettings, PipelineError> {
        let (device, precision) = (self.device.open()?, self.computing()?.precision);
        Ok(EngineSettings {
            noise_multiprocessors: self.noise_multiprocessors as usize,
            ..EngineSettings::new(device, precision)
        })
    }
}

/// `limits` with the defaults that go with the model's generation.
pub fn limits_for(mut limits: Limits, models: &ModelSet) -> Limits {
    if let Some(steps) = default_steps(&models.facts().version) {
        limits.defaults.num_inference_steps = steps;
    }
    limits
}
