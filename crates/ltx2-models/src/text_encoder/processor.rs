//! Hidden states to the contexts that the transformer reads (`EmbeddingsProcessor`).

use candle_core::{Result, Tensor};
use candle_nn::VarBuilder;

use super::{Connector, ConnectorConfig, FeatureExtractor, GemmaConfig};
use crate::config::{ConfigError, Section};

/// A prompt's context for each modality, `(1, 1024, d)`.
#[derive(Debug, Clone)]
pub struct Contexts {
    /// For the picture.
    pub video: Tensor,
    /// For the sound.
    pub audio: Tensor,
}

/// Feature extractor and both connectors.
#[derive(Debug)]
pub struct EmbeddingsProcessor {
    feature_extractor: FeatureExtractor,
    video_connector: Connector,
    audio_connector: Connector,
}

impl EmbeddingsProcessor {
    /// Checks that `transformer` describes the 19B kind of feature extractor, and reads the connectors' widths.
    pub fn config(transformer: &Section) -> std::result::Result<ConnectorConfig, ConfigError> {
        for key in [
            "caption_proj_before_connector",
            "caption_projection_first_linear",
            "caption_proj_input_norm",
            "caption_projection_second_linear",
        ] {
            if transformer.has(key) {
                let found: serde_json::Value = transformer.require(key)?;
                return Err(transformer.unsupported(key, found, "its absence, as in LTX-2 19B,"));
            }
        }
        for key in
            ["audio_connector_num_attention_heads", "audio_connector_attention_head_dim", "audio_connector_num_layers"]
        {
            if transformer.has(key) {
                let found: serde_json::Value = transformer.require(key)?;
                return Err(transformer.unsupported(key, found, "its absence, as in LTX-2 19B,"));
            }
        }
        ConnectorConfig::new(transformer)
    }

    /// For hidden states of `gemma`.
    pub fn new(config: &ConnectorConfig, gemma: &GemmaConfig, vb: VarBuilder) -> Result<Self> {
        let model = vb.pp("model.diffusion_model");
        Ok(Self {
            feature_extractor: FeatureExtractor::new(gemma.hidden_size, gemma.num_hidden_layers + 1, vb)?,
            video_connector: Connector::new(config, model.pp("video_embeddings_connector"))?,
            audio_connector: Connector::new(config, model.pp("audio_embeddings_connector"))?,
        })
    }

    /// `hidden_states` of one prompt, `(1, n, d)` each.
    pub fn forward(&self, hidden_states: &[Tensor]) -> Result<Contexts> {
        let features = self.feature_extractor.forward(hidden_states)?;
        Ok(Contexts {
            video: self.video_connector.forward(&features)?,
            audio: self.audio_connector.forward(&features)?,
        })
    }
}
