//! The passes of one denoising step: the same noisy tokens, each read with another prompt or with something left out.

use candle_core::{Result, bail};

use super::{Context, Modality, Perturbations};

/// What all passes of a step read.
#[derive(Debug, Clone, Copy)]
pub struct Inputs<'a> {
    /// The picture.
    pub video: Modality<'a>,
    /// The sound.
    pub audio: Modality<'a>,
    /// The texts.
    pub prompts: Prompts<'a>,
}

/// The texts that passes can read.
#[derive(Debug, Clone, Copy)]
pub struct Prompts<'a> {
    /// What is to be made.
    pub positive: &'a Context,
    /// What guidance leads away from; may be missing where no pass reads it.
    pub negative: Option<&'a Context>,
}

impl<'a> Prompts<'a> {
    pub(super) fn get(&self, prompt: Prompt) -> Result<&'a Context> {
        match (prompt, self.negative) {
            (Prompt::Positive, _) => Ok(self.positive),
            (Prompt::Negative, Some(negative)) => Ok(negative),
            (Prompt::Negative, None) => bail!("guidance needs the negative prompt's context"),
        }
    }
}

/// One of the [`Prompts`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Prompt {
    /// The positive one.
    #[default]
    Positive,
    /// The negative one.
    Negative,
}

/// One evaluation of the transformer, by what tells it from the others of its step. By default nothing is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pass {
    /// Which text it reads.
    pub prompt: Prompt,
    /// What it leaves out.
    pub perturbations: Perturbations,
}
