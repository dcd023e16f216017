//! Hidden states to the contexts that the transformer reads (`EmbeddingsProcessor`).

use candle_core::{Result, Tensor};

use super::feature_extractor::Features;
use super::{Connector, ConnectorConfig, FeatureExtractor, FeatureExtractorConfig, GemmaConfig};
use crate::config::{ConfigError, Section};
use crate::{AudioVideo, VarBuilder};

/// A prompt's context for each modality, `(1, 1024, d)`.
pub type Contexts = AudioVideo<Tensor>;

/// Kind of feature extractor and widths of both connectors.
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
                    let supported = format!("what makes the connector as wide as its features, {width},");
                    return Err(transformer.unsupported(key, connector.heads(), supported));
                }
            }
        }
        Ok(Self { feature_extractor, video_connector, audio_connector })
    }

    /// Widths of the picture's and the sound's contexts.
    pub fn widths(&self) -> (usize, usize) {
        (self.video_connector.dim(), self.audio_connector.dim())
    }
}

/// Feature extractor and both connectors.
#[derive(Debug)]
pub struct EmbeddingsProcessor {
    feature_extractor: FeatureExtractor,
    video_connector: Connector,
    audio_connector: Connector,
}

impl EmbeddingsProcessor {
    /// For hidden states of `gemma`.
    pub fn new(config: &EmbeddingsConfig, gemma: &GemmaConfig, vb: VarBuilder) -> Result<Self> {
        let model = vb.pp("model.diffusion_model");
        let (dim, layers) = (gemma.hidden_size, gemma.num_hidden_layers + 1);
        Ok(Self {
            feature_extractor: FeatureExtractor::new(config.feature_extractor, dim, layers, vb)?,
            video_connector: Connector::new(&config.video_connector, model.pp("video_embeddings_connector"))?,
            audio_connector: Connector::new(&config.audio_connector, model.pp("audio_embeddings_connector"))?,
        })
    }

    /// `hidden_states` of one prompt, `(1, n, d)` each.
    pub fn forward(&self, hidden_states: &[Tensor]) -> Result<Contexts> {
        let Features { video, audio } = self.feature_extractor.forward(hidden_states)?;
        Ok(Contexts { video: self.video_connector.forward(&video)?, audio: self.audio_connector.forward(&audio)? })
    }
}
