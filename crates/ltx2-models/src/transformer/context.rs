//! Projected context of a prompt.

use candle_core::Tensor;

use crate::AudioVideo;
use crate::layers::KeysValues;

/// Context of a prompt at every noise level. Valid only for the transformer that created it.
#[derive(Debug, Clone)]
pub struct PromptContext {
    pub(super) text: AudioVideo<TextContext>,
}

/// Context of a prompt for one stream.
#[derive(Debug, Clone)]
pub(super) enum TextContext {
    /// Output of the caption projection, or the context itself if there is no projection; `(1, 1024, dim)`.
    Projected(Tensor),
    /// Keys and values of each block.
    KeysValues(Vec<KeysValues>),
}

impl PromptContext {
    /// Number of elements of the cached keys and values.
    pub fn cached_elements(&self) -> usize {
        let count = |text: &TextContext| match text {
            TextContext::Projected(_) => 0,
            TextContext::KeysValues(blocks) => blocks.iter().map(KeysValues::elem_count).sum(),
        };
        count(&self.text.video) + count(&self.text.audio)
    }
}
