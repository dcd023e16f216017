//! Phases of a run that can be measured.

use ltx2_pipeline::ModelSet;
use ltx2_pipeline::diffusion::guider::GuiderParams;
use ltx2_pipeline::plan::default_stg_block;

/// A phase of a run, measured alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BenchPhase {
    /// Loading (or synthesizing) the transformer's weights.
    Load,
    /// Encoding of a prompt, with the text encoder in memory.
    EncodePrompt,
    /// One forward pass of the transformer.
    Forward,
    /// One step with full guidance: four passes, which share their common prefix of layers.
    GuidedStep,
    /// All steps with full guidance.
    Denoise,
    /// All steps without guidance, as with distilled models.
    DenoiseUnguided,
    /// Decoding of the video latent at once.
    DecodeVideo,
    /// Decoding of the video latent in the tiles of two-stage pipelines.
    DecodeVideoTiled,
    /// Decoding of the audio latent.
    DecodeAudio,
}

/// Work of a phase that denoises.
pub(super) struct Denoising {
    pub guidance: GuiderParams,
    pub extent: Extent,
}

/// Number of steps of a run.
pub(super) enum Extent {
    /// The first step of a usual schedule; the keys and values of the prompts are computed beforehand.
    Step,
    /// All steps, and the keys and values of the prompts.
    Stage,
}

impl BenchPhase {
    /// All phases.
    pub const ALL: [Self; 9] = [
        Self::Load,
        Self::EncodePrompt,
        Self::Forward,
        Self::GuidedStep,
        Self::Denoise,
        Self::DenoiseUnguided,
        Self::DecodeVideo,
        Self::DecodeVideoTiled,
        Self::DecodeAudio,
    ];

    /// Returns the name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::EncodePrompt => "encode-prompt",
            Self::Forward => "forward",
            Self::GuidedStep => "guided-step",
            Self::Denoise => "denoise",
            Self::DenoiseUnguided => "denoise-unguided",
            Self::DecodeVideo => "decode-video",
            Self::DecodeVideoTiled => "decode-video-tiled",
            Self::DecodeAudio => "decode-audio",
        }
    }

    /// Returns the work of a phase that denoises; `None` for other phases.
    pub(super) fn denoising(self, models: &ModelSet) -> Option<Denoising> {
        let guided = || {
            let stg_blocks = default_stg_block(&models.capabilities()).into_iter().collect();
            GuiderParams { cfg_scale: 3.0, stg_scale: 1.0, stg_blocks, modality_scale: 3.0, rescale_scale: 0.7 }
        };
        let (guidance, extent) = match self {
            Self::Forward => (GuiderParams::off(), Extent::Step),
            Self::GuidedStep => (guided(), Extent::Step),
            Self::Denoise => (guided(), Extent::Stage),
            Self::DenoiseUnguided => (GuiderParams::off(), Extent::Stage),
            Self::Load | Self::EncodePrompt | Self::DecodeVideo | Self::DecodeVideoTiled | Self::DecodeAudio => {
                return None;
            }
        };
        Some(Denoising { guidance, extent })
    }
}
