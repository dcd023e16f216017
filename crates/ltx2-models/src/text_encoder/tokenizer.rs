//! Tokenizer of prompts, with the truncation and padding of the official wrapper.

use std::path::{Path, PathBuf};

use tokenizers::{TruncationDirection, TruncationParams, TruncationStrategy};

use crate::weight_files::{CheckpointError, model_file};

/// Token length of an encoded prompt, padding included.
pub const MAX_TOKENS: usize = 1024;

/// A tokenizer read from a `tokenizer.json`.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    pad: u32,
    path: PathBuf,
}

/// A tokenizer file that cannot be read, or a text that cannot be encoded.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct TokenizerError {
    path: PathBuf,
    reason: String,
}

/// Token ids of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tokens {
    ids: Vec<u32>,
    pad: u32,
}

impl Tokens {
    /// Ids without padding, beginning with the beginning-of-text token.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Ids padded on the left to [`MAX_TOKENS`].
    pub fn padded(&self) -> Vec<u32> {
        let padding = MAX_TOKENS - self.ids.len();
        std::iter::repeat_n(self.pad, padding).chain(self.ids.iter().copied()).collect()
    }
}

impl Tokenizer {
    /// Reads the `tokenizer.json` of a Hugging Face folder.
    pub fn open(folder: &Path) -> Result<Self, TokenizerError> {
        let path = folder.join("tokenizer.json");
        let text = model_file::read(&path).map_err(|error| match error {
            CheckpointError::Io { source, .. } => TokenizerError { path: path.clone(), reason: source.to_string() },
            CheckpointError::Foreign { reason, .. } => TokenizerError { path: path.clone(), reason: reason.into() },
            other => TokenizerError { path: path.clone(), reason: other.to_string() },
        })?;
        Self::from_bytes(&text, path)
    }

    /// Parses the content of a `tokenizer.json`; `path` appears in errors only.
    pub fn from_bytes(text: &[u8], path: PathBuf) -> Result<Self, TokenizerError> {
        let fail = |reason: String| TokenizerError { path: path.clone(), reason };
        let mut inner = tokenizers::Tokenizer::from_bytes(text).map_err(|error| fail(error.to_string()))?;
        let truncation = TruncationParams {
            direction: TruncationDirection::Right,
            max_length: MAX_TOKENS,
            strategy: TruncationStrategy::LongestFirst,
            stride: 0,
        };
        inner.with_truncation(Some(truncation)).map_err(|error| fail(error.to_string()))?;
        inner.with_padding(None);
        let pad = ["<pad>", "<eos>"].iter().find_map(|token| inner.token_to_id(token));
        let pad = pad.ok_or_else(|| fail("it has neither a <pad> nor an <eos> token".into()))?;
        Ok(Self { inner, pad, path })
    }

    /// Encodes `text` without surrounding white space, truncated to [`MAX_TOKENS`].
    pub fn encode(&self, text: &str) -> Result<Tokens, TokenizerError> {
        // Python's str.strip also removes the four information separators.
        let text = text.trim_matches(|c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c));
        let encoding = self
            .inner
            .encode(text, true)
            .map_err(|error| TokenizerError { path: self.path.clone(), reason: error.to_string() })?;
        Ok(Tokens { ids: encoding.get_ids().to_vec(), pad: self.pad })
    }

    /// Encodes a chat with the user message `text` and the start of the model's answer. The result is not truncated.
    pub fn encode_turn(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let fail = |reason: String| TokenizerError { path: self.path.clone(), reason };
        let mut inner = self.inner.clone();
        inner.with_truncation(None).map_err(|error| fail(error.to_string()))?;
        let turn = format!("<start_of_turn>user\n{text}<end_of_turn>\n<start_of_turn>model\n");
        let encoding = inner.encode(turn, true).map_err(|error| fail(error.to_string()))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Whether `id` ends the model's answer.
    pub fn ends_turn(&self, id: u32) -> bool {
        ["<end_of_turn>", "<eos>"].iter().any(|token| self.inner.token_to_id(token) == Some(id))
    }

    /// Decodes `ids` without special tokens.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TokenizerError> {
        let fail = |error: tokenizers::Error| TokenizerError { path: self.path.clone(), reason: error.to_string() };
        self.inner.decode(ids, true).map_err(fail)
    }
}
