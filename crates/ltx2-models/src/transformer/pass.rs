//! Inputs and passes of a denoising step. All passes of a step have the same noisy tokens; each has its own prompt and
//! perturbations.

use candle_core::{Result, bail};

use super::context::PromptContext;
use super::modality::Modality;
use super::perturbation::Perturbations;
use crate::AudioVideo;

/// Inputs shared by all passes of a step.
#[derive(Debug, Clone, Copy)]
pub struct StepInputs<'a> {
    /// Noisy tokens, noise levels and positions of each modality.
    pub modalities: AudioVideo<Modality<'a>>,
    /// Contexts of the prompts.
    pub prompts: PromptContexts<'a>,
}

/// Contexts of the prompts that passes can attend to.
#[derive(Debug, Clone, Copy)]
pub struct PromptContexts<'a> {
    /// Context of the prompt.
    pub positive: &'a PromptContext,
    /// Context of the negative prompt. Required only if a pass uses it.
    pub negative: Option<&'a PromptContext>,
}

impl<'a> PromptContexts<'a> {
    pub(super) fn get(&self, prompt: Prompt) -> Result<&'a PromptContext> {
        match (prompt, self.negative) {
            (Prompt::Positive, _) => Ok(self.positive),
            (Prompt::Negative, Some(negative)) => Ok(negative),
            (Prompt::Negative, None) => {
                bail!("a guidance pass needs the negative prompt's context, but it was not given")
            }
        }
    }
}

/// Selects one of the [`PromptContexts`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Prompt {
    /// The prompt.
    #[default]
    Positive,
    /// The negative prompt.
    Negative,
}

/// One evaluation of the transformer in a step. The default is the conditional pass: the positive prompt without
/// perturbations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pass {
    /// Prompt that the pass attends to.
    pub prompt: Prompt,
    /// Attentions that the pass skips.
    pub perturbations: Perturbations,
}
