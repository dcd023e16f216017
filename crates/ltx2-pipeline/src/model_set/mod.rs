//! A folder with everything that a run needs: a checkpoint and a text encoder.

mod configs;
mod files;
mod parts;

use std::path::{Path, PathBuf};

use candle_core::DType;
use ltx2_models::audio_vae::LATENT_MEL_BINS;
use ltx2_models::text_encoder::{MAX_TOKENS, Tokenizer};
use ltx2_models::transformer::TransformerConfig;
use ltx2_models::upsampler::UpsamplerConfig;
use ltx2_models::{Checkpoint, Section};
use ltx2_types::CameraMotion;

use crate::PipelineError;
use crate::plan::{ModelFacts, Parameters};
use configs::Configs;
use files::Files;

/// Where a checkpoint keeps the transformer, and among it what belongs to the text encoder.
const TRANSFORMER: &str = "model.diffusion_model.";
const CONNECTORS: [&str; 2] = ["video_embeddings_connector.", "audio_embeddings_connector."];

/// The files of a model and its architecture. Opening reads headers; the parts are loaded one by one, when needed.
#[derive(Debug)]
pub struct ModelSet {
    checkpoint: Checkpoint,
    gemma: Checkpoint,
    tokenizer: Tokenizer,
    configs: Configs,
    upsampler: Option<(Checkpoint, UpsamplerConfig)>,
    loras: Vec<PathBuf>,
    distilled_lora: Option<PathBuf>,
    camera_loras: Vec<(CameraMotion, PathBuf)>,
}

impl ModelSet {
    /// Finds in `folder`, each at most once:
    /// - the checkpoint: the `*.safetensors` whose metadata describes a transformer, or the folders of diffusers beside
    ///   their `model_index.json`; the transformer of a `*.gguf` takes the place of the checkpoint's own;
    /// - the text encoder: the subfolder whose `config.json` says Gemma 3 or that holds a Gemma 3 `*.gguf`, with
    ///   `tokenizer.json` there or in `tokenizer/` beside it;
    /// - if they are there, the spatial upscaler (of several the twofold one; those in time are for no pipeline) and the
    ///   LoRA that distils the second stage (named so, or the only one).
    pub fn open(folder: &Path) -> Result<Self, PipelineError> {
        let files = Files::find(folder)?;
        let mut models = Self::new(files.checkpoint()?, Checkpoint::open_folder(&files.gemma)?, files.tokenizer()?)?;
        if let Some(upscaler) = files.upscaler()? {
            models.set_upscaler(upscaler)?;
        }
        models.loras = files.loras;
        models.distilled_lora = files.distilled_lora;
        models.camera_loras = files.camera_loras;
        Ok(models)
    }

    /// From its parts, without upscaler or LoRA.
    pub fn new(checkpoint: Checkpoint, gemma: Checkpoint, tokenizer: Tokenizer) -> Result<Self, PipelineError> {
        let configs = Configs::new(&checkpoint, &gemma)?;
        Ok(Self {
            checkpoint,
            gemma,
            tokenizer,
            configs,
            upsampler: None,
            loras: Vec::new(),
            distilled_lora: None,
            camera_loras: Vec::new(),
        })
    }

    /// Adds a spatial upscaler.
    pub fn set_upscaler(&mut self, upscaler: Checkpoint) -> Result<(), PipelineError> {
        let config = UpsamplerConfig::new(&Section::root(upscaler.config())).map_err(|e| upscaler.config_error(e))?;
        self.upsampler = Some((upscaler, config));
        Ok(())
    }

    /// Sets the LoRA that distils the second stage.
    pub fn set_distilled_lora(&mut self, path: PathBuf) {
        self.distilled_lora = Some(path);
    }

    /// What planning has to know.
    pub fn facts(&self) -> ModelFacts {
        let name = self.checkpoint.path().file_name().map(|name| name.to_string_lossy().to_lowercase());
        ModelFacts {
            version: self.checkpoint.version().into(),
            num_layers: self.configs.transformer.num_layers,
            distilled: name.is_some_and(|name| name.contains("distilled")),
            upscaler: self.upsampler.as_ref().map(|(_, config)| config.spatial_scale()),
            distilled_lora: self.distilled_lora.clone(),
            loras: self.loras.clone(),
            camera_loras: self.camera_loras.clone(),
        }
    }

    /// What the parts take in memory as `dtype`, from the files' headers.
    pub(crate) fn parameters(&self, dtype: DType) -> Parameters {
        let transformer = self.checkpoint.loaded_bytes(&[TRANSFORMER], dtype);
        // They are read with the prompt, and gone when the transformer comes.
        let connectors = CONNECTORS.map(|part| format!("{TRANSFORMER}{part}"));
        let connectors = self.checkpoint.loaded_bytes(&connectors.each_ref().map(String::as_str), dtype);
        let of_gemma = |part: &str| self.gemma.loaded_bytes(&[&format!("language_model.{part}")], dtype);
        let gemma = &self.configs.gemma;
        Parameters {
            text_encoder: of_gemma(""),
            // Layers are alike.
            text_encoder_part: of_gemma("model.embed_tokens.").max(of_gemma("model.layers.0.")),
            text_projection: connectors + self.checkpoint.loaded_bytes(&["text_embedding_projection."], dtype),
            hidden_states: (gemma.num_hidden_layers + 1) * MAX_TOKENS * gemma.hidden_size,
            transformer: transformer - connectors,
            blocks: self.checkpoint.loaded_bytes(&[&format!("{TRANSFORMER}transformer_blocks.")], dtype),
            num_blocks: self.configs.transformer.num_layers,
            autoencoders: self.checkpoint.loaded_bytes(&["vae.", "audio_vae.", "vocoder."], dtype),
            upsampler: self.upsampler.as_ref().map_or(0, |(file, _)| file.loaded_bytes(&[""], dtype)),
            video_width: self.configs.transformer.streams.video.dim(),
            audio_width: self.configs.transformer.streams.audio.dim(),
            kept_text: self.configs.transformer.cached_text_elements(MAX_TOKENS),
            decoder_channels: self.configs.video_vae.decoder_channels(),
        }
    }

    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Channels of a video latent, and of an audio token.
    pub fn latent_channels(&self) -> (usize, usize) {
        (self.configs.transformer.streams.video.in_channels, self.configs.transformer.streams.audio.in_channels)
    }

    /// Channels and mel bins of an audio latent frame.
    pub fn audio_latent(&self) -> (usize, usize) {
        (self.configs.audio_vae.z_channels, LATENT_MEL_BINS)
    }

    /// Widths of the picture's and the sound's contexts, as the text encoder makes them.
    pub fn context_widths(&self) -> (usize, usize) {
        self.configs.embeddings.widths()
    }

    /// Where it is, or what it is made of.
    pub fn name(&self) -> String {
        self.checkpoint.path().display().to_string()
    }

    /// The transformer's architecture.
    pub fn transformer_config(&self) -> &TransformerConfig {
        &self.configs.transformer
    }

    /// Samples per second of the sound.
    pub(crate) fn sample_rate(&self) -> u32 {
        self.configs.vocoder.output_sampling_rate as u32
    }
}
