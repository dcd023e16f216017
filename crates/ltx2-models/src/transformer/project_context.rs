//! Projection of prompt contexts.

use candle_core::{Result, Tensor};

use super::config::TextKeysValues;
use super::context::{PromptContext, TextContext};
use super::model::Transformer;
use crate::AudioVideo;

impl Transformer {
    /// Projects the contexts of a prompt, `(1, 1024, d)` each. Needed once per prompt.
    pub fn project_context(&self, contexts: &AudioVideo<Tensor>) -> Result<PromptContext> {
        Ok(PromptContext { text: self.projected(contexts)?.map(TextContext::Projected) })
    }

    /// Projects the contexts of a prompt and caches the text keys and values of all blocks, so that they are computed
    /// once for all passes.
    ///
    /// The cache has [`TransformerConfig::cached_text_elements`](super::TransformerConfig::cached_text_elements)
    /// elements. The contexts are only projected if the noise level modulates the text, or if not all blocks are
    /// resident.
    pub fn cache_context(&self, contexts: &AudioVideo<Tensor>) -> Result<PromptContext> {
        let all_resident = self.blocks.resident() == self.blocks.len();
        if self.config.text_keys_values() == TextKeysValues::PerPass || !all_resident {
            return self.project_context(contexts);
        }
        let projected = self.projected(contexts)?;
        let mut text = AudioVideo { video: Vec::new(), audio: Vec::new() };
        for index in 0..self.blocks.len() {
            let AudioVideo { video, audio } = self.blocks.get(index)?.text_keys_values(&projected)?;
            text.video.push(video);
            text.audio.push(audio);
        }
        Ok(PromptContext { text: text.map(TextContext::KeysValues) })
    }

    fn projected(&self, contexts: &AudioVideo<Tensor>) -> Result<AudioVideo<Tensor>> {
        let streams = self.streams.as_ref().zip(contexts.as_ref());
        streams.try_map(|(stream, context)| stream.project_context(&context.to_dtype(self.dtype)?))
    }
}
