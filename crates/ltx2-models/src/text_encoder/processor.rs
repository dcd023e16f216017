//! Embeddings processor: hidden states to the contexts that the transformer attends to (`EmbeddingsProcessor`).

use candle_core::{Result, Tensor};

use super::connector::{Connector, ConnectorConfig};
use super::feature_extractor::{FeatureExtractor, FeatureExtractorConfig, Features};
use super::gemma::GemmaConfig;
use crate::audio_video::AudioVideo;
use crate::config::{ConfigError, Section};
use crate::var_builder::VarBuilder;

/// Contexts of a prompt, `(1, 1024, d)` per modality.
pub type Contexts = AudioVideo<Tensor>;

/// Architecture of the feature extractor and of both connectors.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingsConfig {
    feature_extractor: FeatureExtractorConfig,
    video_connector: ConnectorConfig,
    audio_connector: ConnectorConfig,
}

impl EmbeddingsConfig {
    /// Reads the `transformer` section.
    pub fn new(transformer: &Section) -> std::result::Result<Self, ConfigError> {
        let feature_extractor = FeatureExtractorConfig::new(transformer)?;
        let video_connector = ConnectorConfig::video(transformer)?;
        let audio_connector = ConnectorConfig::audio(transformer)?;
        if let FeatureExtractorConfig::PerModality { video, audio } = feature_extractor {
            for (key, connector, width) in [
                ("connector_num_attention_heads", &video_connector, video),
                ("audio_connector_num_attention_heads", &audio_connector, audio),
            ] {
                if connector.dim() != width {
                    let supported = format!("a value that makes the connector as wide as its features ({width})");
                    return Err(transformer.unsupported(key, connector.heads(), supported));
                }
            }
        }
        Ok(Self { feature_extractor, video_connector, audio_connector })
    }

    /// Widths of the video and the audio context.
    pub fn widths(&self) -> (usize, usize) {
        (self.video_connector.dim(), self.audio_connector.dim())
    }
}

/// The feature extractor and both connectors.
#[derive(Debug)]
pub struct EmbeddingsProcessor {
    feature_extractor: FeatureExtractor,
    video_connector: Connector,
    audio_connector: Connector,
}

impl EmbeddingsProcessor {
    /// Reads the weights for hidden states of a text encoder with the configuration `gemma`.
    pub fn new(config: &EmbeddingsConfig, gemma: &GemmaConfig, vb: VarBuilder) -> Result<Self> {
        let model = vb.pp("model.diffusion_model");
        let (dim, layers) = (gemma.hidden_size, gemma.num_hidden_layers + 1);
        Ok(Self {
            feature_extractor: FeatureExtractor::new(config.feature_extractor, dim, layers, vb)?,
            video_connector: Connector::new(&config.video_connector, model.pp("video_embeddings_connector"))?,
            audio_connector: Connector::new(&config.audio_connector, model.pp("audio_embeddings_connector"))?,
        })
    }

    /// Returns the contexts of a prompt with `hidden_states`, `(1, n, d)` per layer.
    pub fn forward(&self, hidden_states: &[Tensor]) -> Result<Contexts> {
        let Features { video, audio } = self.feature_extractor.forward(hidden_states)?;
        Ok(Contexts { video: self.video_connector.forward(&video)?, audio: self.audio_connector.forward(&audio)? })
    }
}
