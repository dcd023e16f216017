//! Settings of a benchmark.

use ltx2_pipeline::diffusion::patchifier::PixelShape;

/// Settings of a benchmark.
#[derive(Debug, Clone)]
pub struct BenchSettings {
    /// Size and length of the video.
    pub shape: PixelShape,
    /// Denoising steps of [`super::BenchPhase::Denoise`].
    pub steps: usize,
    /// Tokens of the prompt.
    pub prompt_tokens: usize,
    /// Number of runs before timing starts.
    pub warm_up: usize,
    /// Number of timed runs.
    pub runs: usize,
}
