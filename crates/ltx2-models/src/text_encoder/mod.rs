//! Text to contexts: Gemma 3's hidden states of every layer, a feature extractor over them, and a connector for each
//! modality (paper section 3.3).

mod connector;
mod decode_session;
mod feature_extractor;
mod gemma;
mod processor;
mod tokenizer;

pub use connector::{Connector, ConnectorConfig};
pub use decode_session::DecodeSession;
pub use feature_extractor::{FeatureExtractor, FeatureExtractorConfig, Features, ScaledEmbed};
pub use gemma::{Gemma, GemmaConfig, stream_hidden_states};
pub use processor::{Contexts, EmbeddingsConfig, EmbeddingsProcessor};
pub use tokenizer::{Tokenizer, TokenizerError, Tokens};

/// Tokens of a prompt, padding included.
pub const MAX_TOKENS: usize = 1024;
