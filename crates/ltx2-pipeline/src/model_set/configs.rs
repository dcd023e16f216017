//! Configurations of the networks.

use ltx2_models::audio_vae::AudioVaeConfig;
use ltx2_models::text_encoder::{EmbeddingsConfig, GemmaConfig};
use ltx2_models::transformer::TransformerConfig;
use ltx2_models::video_vae::VideoVaeConfig;
use ltx2_models::vocoder::VocoderConfig;
use ltx2_models::{Checkpoint, CheckpointError, ConfigError, Section};

/// Configurations of all networks of a model set.
#[derive(Debug)]
pub(super) struct Configs {
    pub transformer: TransformerConfig,
    pub embeddings: EmbeddingsConfig,
    pub video_vae: VideoVaeConfig,
    pub audio_vae: AudioVaeConfig,
    pub vocoder: VocoderConfig,
    pub gemma: GemmaConfig,
}

impl Configs {
    /// Reads the configurations from the metadata of the checkpoint and the text encoder.
    pub(super) fn new(checkpoint: &Checkpoint, gemma: &Checkpoint) -> Result<Self, CheckpointError> {
        let read = |root: Section| -> Result<_, ConfigError> {
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
            read(Section::root(checkpoint.config())).map_err(|error| checkpoint.config_error(error))?;
        let gemma = GemmaConfig::new(gemma.config()).map_err(|error| gemma.config_error(error))?;
        Ok(Self { transformer, embeddings, video_vae, audio_vae, vocoder, gemma })
    }
}
