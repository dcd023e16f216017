//! A folder with everything that a run needs: a checkpoint and a text encoder.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use ltx2_models::audio_vae::{AudioDecoder, AudioVaeConfig, LATENT_MEL_BINS};
use ltx2_models::checkpoint::{TensorShapes, read_json, read_metadata};
use ltx2_models::lora::{Lora, LoraStrength};
use ltx2_models::text_encoder::{EmbeddingsConfig, EmbeddingsProcessor, Gemma, GemmaConfig, Tokenizer};
use ltx2_models::transformer::{Transformer, TransformerConfig};
use ltx2_models::upsampler::{LatentUpsampler, UpsamplerConfig};
use ltx2_models::video_vae::{PerChannelStatistics, VideoDecoder, VideoEncoder, VideoVaeConfig};
use ltx2_models::vocoder::{Vocoder, VocoderConfig};
use ltx2_models::{Checkpoint, CheckpointError, ConfigError, Section};
use ltx2_types::CameraMotion;
use serde_json::Value;

use crate::PipelineError;
use crate::plan::{LoraPlan, ModelFacts, Parameters};

/// The files of a model and its architecture. Opening reads headers; the parts are loaded one by one, when needed.
#[derive(Debug)]
pub struct ModelSet {
    checkpoint: Checkpoint,
    gemma: Checkpoint,
    tokenizer: Tokenizer,
    configs: Configs,
    upsampler: Option<(Checkpoint, UpsamplerConfig)>,
    distilled_lora: Option<PathBuf>,
    camera_loras: Vec<(CameraMotion, PathBuf)>,
}

#[derive(Debug)]
struct Configs {
    transformer: TransformerConfig,
    embeddings: EmbeddingsConfig,
    video_vae: VideoVaeConfig,
    audio_vae: AudioVaeConfig,
    vocoder: VocoderConfig,
    gemma: GemmaConfig,
}

impl Configs {
    fn new(checkpoint: &Checkpoint, gemma: &Checkpoint) -> Result<Self, CheckpointError> {
        let parts = |root: Section| -> Result<_, ConfigError> {
            let transformer = root.section("transformer");
            Ok((
                TransformerConfig::new(&transformer)?,
                EmbeddingsConfig::new(&transformer)?,
                VideoVaeConfig::new(&root.section("vae"))?,
                AudioVaeConfig::new(&root.section("audio_vae"))?,
                VocoderConfig::new(&root.section("vocoder"))?,
            ))
        };
        let (transformer, embeddings, video_vae, audio_vae, vocoder) =
            parts(Section::root(checkpoint.config())).map_err(|error| checkpoint.config_error(error))?;
        let gemma = GemmaConfig::new(gemma.config()).map_err(|error| gemma.config_error(error))?;
        Ok(Self { transformer, embeddings, video_vae, audio_vae, vocoder, gemma })
    }
}

impl ModelSet {
    /// Finds in `folder` the checkpoint (the one `*.safetensors` whose metadata describes a transformer), the text encoder
    /// (the one subfolder whose `config.json` says Gemma 3) and, if they are there, the spatial upscaler and the LoRA
    /// that distils the second stage (named so, or the only one).
    pub fn open(folder: &Path) -> Result<Self, PipelineError> {
        let entries = list(folder)?;
        let files = Files::classify(&entries)?;
        let checkpoint = only(folder, "an LTX-2 checkpoint (*.safetensors)", files.checkpoints)?;
        let gemma = only(folder, "a Gemma 3 folder (with config.json)", gemma_folders(&entries)?)?;
        let tokenizer = Tokenizer::open(&gemma)?;
        let mut models = Self::new(Checkpoint::open(&checkpoint)?, Checkpoint::open_folder(&gemma)?, tokenizer)?;
        if !files.upscalers.is_empty() {
            models.set_upscaler(Checkpoint::open(&only(folder, "a spatial upscaler", files.upscalers)?)?)?;
        }
        let (camera, others) = camera_loras(files.loras);
        models.camera_loras = camera;
        models.distilled_lora = distilled_lora(others);
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
            upscaler: self.upsampler.is_some(),
            distilled_lora: self.distilled_lora.clone(),
            camera_loras: self.camera_loras.clone(),
        }
    }

    /// Sizes of the parts, from the files' headers.
    pub(crate) fn parameters(&self) -> Result<Parameters, CheckpointError> {
        let count = |shapes: &TensorShapes, prefixes: &[&str]| -> usize {
            let wanted = shapes.iter().filter(|(name, _)| prefixes.iter().any(|prefix| name.starts_with(prefix)));
            wanted.map(|(_, shape)| shape.iter().product::<usize>()).sum()
        };
        let checkpoint = self.checkpoint.shapes()?;
        let upsampler = self.upsampler.as_ref().map(|(file, _)| file.shapes()).transpose()?.unwrap_or_default();
        Ok(Parameters {
            text_encoder: count(&self.gemma.shapes()?, &["language_model."]),
            transformer: count(&checkpoint, &["model.diffusion_model."]),
            autoencoders: count(&checkpoint, &["vae.", "audio_vae.", "vocoder."]),
            upsampler: count(&upsampler, &[""]),
            video_width: self.configs.transformer.video.dim(),
            audio_width: self.configs.transformer.audio.dim(),
            decoder_channels: self.configs.video_vae.decoder_channels(),
        })
    }

    pub(crate) fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// Channels of a video latent, and of an audio token.
    pub(crate) fn latent_channels(&self) -> (usize, usize) {
        (self.configs.transformer.video.in_channels, self.configs.transformer.audio.in_channels)
    }

    /// Channels and mel bins of an audio latent frame.
    pub(crate) fn audio_latent(&self) -> (usize, usize) {
        (self.configs.audio_vae.z_channels, LATENT_MEL_BINS)
    }

    /// Widths of the picture's and the sound's contexts, as the text encoder makes them.
    pub(crate) fn context_widths(&self) -> (usize, usize) {
        self.configs.embeddings.widths()
    }

    /// Where it is, or what it is made of.
    pub(crate) fn name(&self) -> String {
        self.checkpoint.path().display().to_string()
    }

    /// The transformer's architecture.
    pub(crate) fn transformer_config(&self) -> &TransformerConfig {
        &self.configs.transformer
    }

    /// Samples per second of the sound.
    pub(crate) fn sample_rate(&self) -> u32 {
        self.configs.vocoder.output_sampling_rate as u32
    }

    pub(crate) fn gemma(&self, dtype: DType, device: &Device) -> Result<Gemma, CheckpointError> {
        self.gemma.load(dtype, device, |vb| Gemma::new(&self.configs.gemma, vb))
    }

    pub(crate) fn embeddings_processor(
        &self,
        dtype: DType,
        device: &Device,
    ) -> Result<EmbeddingsProcessor, CheckpointError> {
        let (config, gemma) = (&self.configs.embeddings, &self.configs.gemma);
        self.checkpoint.load(dtype, device, |vb| EmbeddingsProcessor::new(config, gemma, vb))
    }

    pub(crate) fn transformer(
        &self,
        loras: &[LoraPlan],
        dtype: DType,
        device: &Device,
    ) -> Result<Transformer, CheckpointError> {
        let open = |plan: &LoraPlan| Ok(LoraStrength { lora: Lora::open(&plan.file)?, strength: plan.strength });
        let loras = loras.iter().map(open).collect::<Result<Vec<_>, CheckpointError>>()?;
        self.checkpoint.load_with(&loras, dtype, device, |vb| Transformer::new(&self.configs.transformer, vb))
    }

    /// The upscaler, with the statistics of the latents that it works on.
    pub(crate) fn upsampler(
        &self,
        dtype: DType,
        device: &Device,
    ) -> Result<(LatentUpsampler, PerChannelStatistics), PipelineError> {
        let (file, config) = self
            .upsampler
            .as_ref()
            .ok_or_else(|| PipelineError::Request("the model set has no spatial upscaler".into()))?;
        let upsampler = file.load(dtype, device, |vb| LatentUpsampler::new(config, vb))?;
        let channels = self.latent_channels().0;
        let shape = [1, channels, 1, 1, 1];
        let statistics =
            self.checkpoint.load(dtype, device, |vb| PerChannelStatistics::new(channels, &shape, vb.pp("vae")))?;
        Ok((upsampler, statistics))
    }

    pub(crate) fn video_encoder(&self, dtype: DType, device: &Device) -> Result<VideoEncoder, CheckpointError> {
        self.checkpoint.load(dtype, device, |vb| VideoEncoder::new(&self.configs.video_vae, vb))
    }

    pub(crate) fn video_decoder(&self, dtype: DType, device: &Device) -> Result<VideoDecoder, CheckpointError> {
        self.checkpoint.load(dtype, device, |vb| VideoDecoder::new(&self.configs.video_vae, vb))
    }

    pub(crate) fn audio_decoder(&self, dtype: DType, device: &Device) -> Result<AudioDecoder, CheckpointError> {
        self.checkpoint.load(dtype, device, |vb| AudioDecoder::new(&self.configs.audio_vae, vb))
    }

    pub(crate) fn vocoder(&self, dtype: DType, device: &Device) -> Result<Vocoder, CheckpointError> {
        self.checkpoint.load(dtype, device, |vb| Vocoder::new(&self.configs.vocoder, vb))
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, PipelineError> {
    let entries = std::fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut entries: Vec<PathBuf> =
        entries.map_err(|error| PipelineError::ModelSet { folder: folder.into(), reason: error.to_string() })?;
    entries.sort();
    Ok(entries)
}

/// The `*.safetensors` of a folder by what they are.
#[derive(Default)]
struct Files {
    checkpoints: Vec<PathBuf>,
    upscalers: Vec<PathBuf>,
    loras: Vec<PathBuf>,
}

impl Files {
    fn classify(entries: &[PathBuf]) -> Result<Self, CheckpointError> {
        let mut files = Self::default();
        for path in entries.iter().filter(|path| path.extension().is_some_and(|extension| extension == "safetensors")) {
            let metadata = read_metadata(path)?;
            let config = metadata.get("config").and_then(|text| serde_json::from_str::<Value>(text).ok());
            match config {
                Some(config) if config.get("transformer").is_some() => files.checkpoints.push(path.clone()),
                Some(config) if config.get("spatial_upsample").is_some() => files.upscalers.push(path.clone()),
                _ if Lora::open(path).is_ok() => files.loras.push(path.clone()),
                _ => {}
            }
        }
        Ok(files)
    }
}

/// The LoRAs that are named after a camera motion, as published, and the others.
fn camera_loras(loras: Vec<PathBuf>) -> (Vec<(CameraMotion, PathBuf)>, Vec<PathBuf>) {
    let motion_of = |path: &Path| {
        let name = path.file_stem()?.to_string_lossy().to_lowercase();
        CameraMotion::ALL
            .into_iter()
            .find(|motion| name.ends_with(&format!("camera-control-{}", motion.name().replace('_', "-"))))
    };
    let (mut camera, mut others) = (Vec::new(), Vec::new());
    for path in loras {
        match motion_of(&path) {
            Some(motion) => camera.push((motion, path)),
            None => others.push(path),
        }
    }
    (camera, others)
}

fn distilled_lora(mut loras: Vec<PathBuf>) -> Option<PathBuf> {
    let is_named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains("distilled"));
    match loras.iter().position(is_named) {
        Some(at) => Some(loras.remove(at)),
        None if loras.len() == 1 => loras.pop(),
        None => None,
    }
}

fn gemma_folders(entries: &[PathBuf]) -> Result<Vec<PathBuf>, CheckpointError> {
    let mut found = Vec::new();
    for folder in entries.iter().filter(|path| path.join("config.json").is_file()) {
        if read_json(&folder.join("config.json"))?.get("model_type").is_some_and(|kind| kind == "gemma3") {
            found.push(folder.clone());
        }
    }
    Ok(found)
}

fn only(folder: &Path, what: &str, mut found: Vec<PathBuf>) -> Result<PathBuf, PipelineError> {
    let reason = match found.len() {
        1 => return Ok(found.remove(0)),
        0 => format!("it lacks {what}"),
        _ => format!("it has more than one candidate for {what}: {found:?}"),
    };
    Err(PipelineError::ModelSet { folder: folder.into(), reason })
}
