//! A prompt as the blocks read it.

use candle_core::{Result, Tensor};

use super::{TextReading, Transformer};
use crate::attention::KeysValues;
use crate::text_encoder::Contexts;

/// A prompt for the transformer that made it, at every noise level.
#[derive(Debug, Clone)]
pub struct Context {
    pub(super) video: Text,
    pub(super) audio: Text,
}

/// A prompt for one modality.
#[derive(Debug, Clone)]
pub(super) enum Text {
    /// Behind the caption projection, where the transformer has one; `(1, 1024, dim)`.
    Projected(Tensor),
    /// What each block makes of that.
    KeysValues(Vec<KeysValues>),
}

impl Context {
    /// How many numbers it keeps of keys and values.
    pub fn kept(&self) -> usize {
        let of = |text: &Text| match text {
            Text::Projected(_) => 0,
            Text::KeysValues(blocks) => blocks.iter().map(KeysValues::elem_count).sum(),
        };
        of(&self.video) + of(&self.audio)
    }
}

impl Transformer {
    /// Projects a prompt's contexts; needed once per prompt.
    pub fn project(&self, contexts: &Contexts) -> Result<Context> {
        let (video, audio) = self.projected(contexts)?;
        Ok(Context { video: Text::Projected(video), audio: Text::Projected(audio) })
    }

    /// The same with the keys and values that each block reads, so that they are made once for all passes; they take
    /// [`TransformerConfig::kept_text`](super::TransformerConfig::kept_text). Where the noise level modulates the text, or not
    /// all blocks are in memory, it is projected only.
    pub fn read(&self, contexts: &Contexts) -> Result<Context> {
        let is_whole = self.blocks.resident() == self.blocks.len();
        if self.config.text() == TextReading::EachPass || !is_whole {
            return self.project(contexts);
        }
        let (video, audio) = self.projected(contexts)?;
        let text = |index| self.blocks.get(index)?.text(&video, &audio);
        let blocks = (0..self.blocks.len()).map(text).collect::<Result<Vec<_>>>()?;
        let (video, audio) = blocks.into_iter().unzip();
        Ok(Context { video: Text::KeysValues(video), audio: Text::KeysValues(audio) })
    }

    fn projected(&self, contexts: &Contexts) -> Result<(Tensor, Tensor)> {
        let Contexts { video, audio } = contexts;
        Ok((self.video.project(&video.to_dtype(self.dtype)?)?, self.audio.project(&audio.to_dtype(self.dtype)?)?))
    }
}
