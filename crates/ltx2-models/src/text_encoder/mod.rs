//! Text encoder: Gemma 3 hidden states of every layer, a feature extractor over them, and a connector per modality (paper
//! section 3.3).

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
pub use tokenizer::{MAX_TOKENS, Tokenizer, TokenizerError, Tokens};
