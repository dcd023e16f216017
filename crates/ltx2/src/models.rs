//! Model options that several commands share.

use std::path::PathBuf;

use ltx2_pipeline::plan::default_steps;
use ltx2_pipeline::{
    AttentionKernel, DeviceChoice, DeviceError, Engine, EngineSettings, ExecutionConfig, ModelChoice, ModelSet,
    PipelineError, Precision,
};
use ltx2_types::Limits;

/// Location of the model and its device.
#[derive(Debug, Clone, clap::Args)]
pub struct ModelArguments {
    /// Folder with the model files; `ltx2 models inspect DIR` lists the kind of each.
    #[arg(long, value_name = "DIR", default_value = "weights")]
    pub models: PathBuf,
    #[command(flatten)]
    pub files: FileArguments,
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

/// Files to use instead of those that are chosen from the folder; a relative path may begin at the folder.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FileArguments {
    /// File of the checkpoint or of a part of it; can be repeated. Networks that it lacks come from the folder.
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// Spatial upscaler.
    #[arg(long, value_name = "FILE")]
    upscaler: Option<PathBuf>,
    /// Folder or file of the text encoder.
    #[arg(long, value_name = "FILE")]
    text_encoder: Option<PathBuf>,
    /// LoRA that distils the second stage.
    #[arg(long, value_name = "FILE")]
    distilled_lora: Option<PathBuf>,
}

impl FileArguments {
    /// Returns the choice of files.
    pub fn choice(&self) -> ModelChoice {
        ModelChoice {
            checkpoint: self.checkpoint.clone(),
            upscaler: self.upscaler.clone(),
            text_encoder: self.text_encoder.clone(),
            distilled_lora: self.distilled_lora.clone(),
        }
    }

    /// Returns the options and values as command line arguments.
    #[cfg(feature = "media")]
    fn command_line(&self) -> Vec<std::ffi::OsString> {
        let all = self.checkpoint.iter().map(|file| ("--checkpoint", Some(file))).chain([
            ("--upscaler", self.upscaler.as_ref()),
            ("--text-encoder", self.text_encoder.as_ref()),
            ("--distilled-lora", self.distilled_lora.as_ref()),
        ]);
        let given = all.filter_map(|(option, file)| Some([option.into(), file?.clone().into_os_string()]));
        given.flatten().collect()
    }
}

impl ModelArguments {
    /// Opens the model set; reads headers only.
    ///
    /// # Errors
    /// Says what to do next if the folder does not exist or is empty.
    pub fn open(&self) -> Result<ModelSet, PipelineError> {
        let folder = &self.models;
        let is_empty = std::fs::read_dir(folder).map_or(!folder.exists(), |mut entries| entries.next().is_none());
        if is_empty {
            let path = folder.display();
            let reason = format!(
                "it has no files. To try everything with a small model, run: ltx2 demo-model {path}. For real videos, \
                 download the files of LTX-2 and Gemma 3 that the README lists under \"Models\" into it. For models \
                 elsewhere, add --models DIR. `ltx2 models inspect DIR` lists the missing files"
            );
            return Err(PipelineError::ModelSet { folder: folder.clone(), reason });
        }
        ModelSet::open_with(folder, &self.files.choice())
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
        line.extend(self.files.command_line());
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

/// Returns `limits` with the defaults of the model's generation and of the model set, and with the encoders that this
/// build of ffmpeg lacks.
///
/// # Errors
/// A default of the model set breaks a limit.
pub fn limits_for(mut limits: Limits, models: &ModelSet) -> anyhow::Result<Limits> {
    if let Some(steps) = default_steps(&models.capabilities().version) {
        limits.defaults.num_inference_steps = steps;
    }
    #[cfg(feature = "media")]
    {
        limits.missing_encoders = ltx2_media::missing_encoders();
        for (format, encoder) in &limits.missing_encoders {
            let format = format.name();
            tracing::warn!(format, encoder, "format not offered: this build of ffmpeg has no {encoder} encoder");
        }
    }
    limits.with_defaults(models.defaults()).map_err(|errors| {
        let errors = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        anyhow::anyhow!("defaults.json of {}: {errors}", models.name())
    })
}
