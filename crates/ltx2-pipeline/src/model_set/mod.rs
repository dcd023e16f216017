//! Model sets: a checkpoint, a text encoder and optional files in one folder.

mod check;
mod components;
mod configs;
mod defaults;
mod files;
mod lora_report;

use std::path::{Path, PathBuf};

use candle_core::DType;
use ltx2_models::audio_vae::LATENT_MEL_BINS;
use ltx2_models::text_encoder::{MAX_TOKENS, Tokenizer};
use ltx2_models::transformer::TransformerConfig;
use ltx2_models::upsampler::UpsamplerConfig;
use ltx2_models::{AudioVideo, Checkpoint, Section, TensorShapes};
use ltx2_types::{CameraMotion, ModelDefaults};

use crate::error::PipelineError;
use crate::plan::{ModelCapabilities, WeightSizes};
use configs::Configs;
use files::ModelFiles;

pub use files::{FileReport, Inspection, ModelChoice};
pub use lora_report::LoraReport;

/// Prefix of the transformer's tensors, and prefixes below it of those that belong to the text encoder.
const TRANSFORMER: &str = "model.diffusion_model.";
const CONNECTORS: [&str; 2] = ["video_embeddings_connector.", "audio_embeddings_connector."];

/// Prefix of the projections from hidden states to features.
const TEXT_PROJECTION: &str = "text_embedding_projection.";

/// Files and configurations of a model. Opening reads headers; networks are loaded one by one when needed.
#[derive(Debug)]
pub struct ModelSet {
    checkpoint: Checkpoint,
    gemma: Checkpoint,
    tokenizer: Tokenizer,
    configs: Configs,
    /// Tensors that LoRAs can change.
    lora_targets: TensorShapes,
    upsampler: Option<(Checkpoint, UpsamplerConfig)>,
    loras: Vec<PathBuf>,
    unusable_loras: Vec<(PathBuf, String)>,
    distilled_lora: Option<PathBuf>,
    camera_loras: Vec<(CameraMotion, PathBuf)>,
    defaults: ModelDefaults,
}

impl ModelSet {
    /// Opens the model set in `folder` as [`ModelSet::open_with`] does, without choices of the user.
    ///
    /// # Errors
    /// As those of [`ModelSet::open_with`].
    pub fn open(folder: &Path) -> Result<Self, PipelineError> {
        Self::open_with(folder, &ModelChoice::default())
    }

    /// Opens the model set in `folder` and its known subfolders:
    /// - the checkpoint: one safetensors file, diffusers folders with a `model_index.json`, or several files with the
    ///   transformer, the VAEs, the vocoder, the connectors and the text projection; a file with the transformer but
    ///   without some other network replaces the transformer of a complete checkpoint;
    /// - the text encoder, a folder or a file, and `tokenizer.json` in its folder, in `tokenizer/` beside it or in `folder`;
    /// - optionally the spatial upscaler (temporal ones are not used), the LoRA that distils the second stage (with
    ///   `distill` in its name), other LoRAs, and `defaults.json`, the defaults of requests.
    ///
    /// The files in `choice` have priority. Of several files for a role one is chosen, and a warning says which.
    ///
    /// # Errors
    /// A required file is missing, damaged or not supported.
    pub fn open_with(folder: &Path, choice: &ModelChoice) -> Result<Self, PipelineError> {
        let files = ModelFiles::find(folder, choice)?;
        files.notes.iter().for_each(|note| tracing::warn!("{}: {note}", folder.display()));
        let text_encoder = Checkpoint::open_text_encoder(&files.text_encoder)?;
        let mut models = Self::new(files.checkpoint()?, text_encoder, files.tokenizer()?)?;
        if let Some(file) = files.upscaler()? {
            let config =
                UpsamplerConfig::new(&Section::root(file.config())).map_err(|error| file.config_error(error))?;
            models.upsampler = Some((file, config));
        }
        models.loras = files.loras;
        models.unusable_loras = files.unusable_loras;
        models.distilled_lora = files.distilled_lora;
        models.camera_loras = files.camera_loras;
        let Self { checkpoint, gemma, upsampler, configs, lora_targets, .. } = &models;
        check::check(checkpoint, gemma, upsampler.as_ref(), configs, lora_targets)?;
        models.defaults = defaults::read(folder)?;
        Ok(models)
    }

    /// Creates a model set without upscaler and LoRAs.
    ///
    /// # Errors
    /// A configuration is not supported.
    pub fn new(checkpoint: Checkpoint, gemma: Checkpoint, tokenizer: Tokenizer) -> Result<Self, PipelineError> {
        let configs = Configs::new(&checkpoint, &gemma)?;
        let lora_targets = check::lora_targets(&configs)?;
        Ok(Self {
            checkpoint,
            gemma,
            tokenizer,
            configs,
            lora_targets,
            upsampler: None,
            loras: Vec::new(),
            unusable_loras: Vec::new(),
            distilled_lora: None,
            camera_loras: Vec::new(),
            defaults: ModelDefaults::default(),
        })
    }

    /// Returns the defaults of requests that come with the model set.
    pub fn defaults(&self) -> &ModelDefaults {
        &self.defaults
    }

    /// Returns the properties on which plans depend. A checkpoint is distilled if its file name says so.
    pub fn capabilities(&self) -> ModelCapabilities {
        let name = self.checkpoint.path().file_name().map(|name| name.to_string_lossy().to_lowercase());
        ModelCapabilities {
            version: self.checkpoint.version().into(),
            num_layers: self.configs.transformer.num_layers,
            distilled: name.is_some_and(|name| name.contains("distilled")),
            upscaler: self.upsampler.as_ref().map(|(_, config)| config.spatial_scale()),
            distilled_lora: self.distilled_lora.clone(),
            loras: self.loras.clone(),
            unusable_loras: self.unusable_loras.clone(),
            camera_loras: self.camera_loras.clone(),
        }
    }

    /// Returns the sizes of the weights in memory, loaded as `dtype`, from the headers of the files.
    pub fn weight_sizes(&self, dtype: DType) -> WeightSizes {
        let transformer = self.checkpoint.loaded_bytes(&[TRANSFORMER], dtype);
        // The connectors are loaded with the text encoder and unloaded before the transformer.
        let connectors = CONNECTORS.map(|part| format!("{TRANSFORMER}{part}"));
        let connectors = self.checkpoint.loaded_bytes(&connectors.each_ref().map(String::as_str), dtype);
        let gemma_bytes = |part: &str| self.gemma.loaded_bytes(&[&format!("language_model.{part}")], dtype);
        let gemma = &self.configs.gemma;
        WeightSizes {
            text_encoder: gemma_bytes(""),
            // All layers have the same size.
            text_encoder_part: gemma_bytes("model.embed_tokens.").max(gemma_bytes("model.layers.0.")),
            text_projection: connectors + self.checkpoint.loaded_bytes(&[TEXT_PROJECTION], dtype),
            hidden_states: (gemma.num_hidden_layers + 1) * MAX_TOKENS * gemma.hidden_size,
            transformer: transformer - connectors,
            blocks: self.checkpoint.loaded_bytes(&[&format!("{TRANSFORMER}transformer_blocks.")], dtype),
            num_blocks: self.configs.transformer.num_layers,
            autoencoders: self.checkpoint.loaded_bytes(&["vae.", "audio_vae."], dtype)
                + self.checkpoint.loaded_bytes(&["vocoder."], self.configs.vocoder.dtype(dtype)),
            upsampler: self.upsampler.as_ref().map_or(0, |(file, _)| file.loaded_bytes(&[""], dtype)),
            stream_widths: self.configs.transformer.streams.as_ref().map(|stream| stream.dim()),
            cached_text: self.configs.transformer.cached_text_elements(MAX_TOKENS),
            decoder_channels: self.configs.video_vae.decoder_channels(),
        }
    }

    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Returns the channels of a token of each modality.
    pub fn latent_channels(&self) -> AudioVideo<usize> {
        self.configs.transformer.streams.as_ref().map(|stream| stream.in_channels)
    }

    /// Returns the channels and mel bins of an audio latent.
    pub fn audio_latent(&self) -> (usize, usize) {
        (self.configs.audio_vae.z_channels, LATENT_MEL_BINS)
    }

    /// Returns the widths of the contexts.
    pub fn context_widths(&self) -> AudioVideo<usize> {
        let (video, audio) = self.configs.embeddings.widths();
        AudioVideo { video, audio }
    }

    /// Returns the path of the checkpoint, or a description of a synthetic one.
    pub fn name(&self) -> String {
        self.checkpoint.path().display().to_string()
    }

    /// Returns the configuration of the transformer.
    pub fn transformer_config(&self) -> &TransformerConfig {
        &self.configs.transformer
    }

    /// Returns the sample rate of the audio.
    pub(crate) fn sample_rate(&self) -> u32 {
        self.configs.vocoder.output_sampling_rate as u32
    }
}
