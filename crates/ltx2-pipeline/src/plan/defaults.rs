//! Numbers that belong to a model generation, a row each, and those of distilled models.

use super::{ModelFacts, TilingPlan};

/// What a generation of models takes where the request has no say.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Generation {
    /// How `model_version` begins.
    pub version: &'static str,
    /// The block whose self-attention STG leaves out.
    pub stg_block: usize,
    /// Blocks of the published model, for smaller ones.
    pub num_layers: usize,
    /// Denoising steps.
    pub steps: u32,
}

const GENERATIONS: [Generation; 2] = [
    Generation { version: "2.0", stg_block: 29, num_layers: 48, steps: 40 },
    Generation { version: "2.3", stg_block: 28, num_layers: 48, steps: 30 },
];

/// Denoising steps of a checkpoint's `model_version` where the request is silent; `None` for an unknown one.
pub fn default_steps(version: &str) -> Option<u32> {
    Generation::of(version).map(|row| row.steps)
}

/// The block whose self-attention STG leaves out; `None` for an unknown generation.
pub fn default_stg_block(model: &ModelFacts) -> Option<usize> {
    Generation::of(&model.version).map(|row| row.stg_block(model.num_layers))
}

/// Noise levels that distilled models were trained for.
pub(super) const DISTILLED_SIGMAS: [f32; 9] = [1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0];
/// Those of the second stage, from an upscaled first one.
pub(super) const STAGE_2_SIGMAS: [f32; 4] = [0.909375, 0.725, 0.421875, 0.0];
/// How much of the distilled LoRA the second-order pipeline adds in each stage.
pub(super) const HQ_DISTILLED_STRENGTHS: [f64; 2] = [0.25, 0.5];

/// Tiles of the decoder after two stages, as the official pipelines have them.
pub const TILING: TilingPlan = TilingPlan { frames: Some((64, 24)), pixels: Some((512, 64)) };

impl Generation {
    /// Versions that have a row.
    pub(super) fn versions() -> String {
        GENERATIONS.map(|row| row.version).join(" and ")
    }

    /// The row of a checkpoint's `model_version`; one without a version is taken for the first generation's, as the
    /// official code does.
    pub(super) fn of(version: &str) -> Option<Self> {
        let version = if version.is_empty() { GENERATIONS[0].version } else { version };
        GENERATIONS.into_iter().find(|row| version.starts_with(row.version))
    }

    /// The STG block of a model with `num_layers` blocks: the published one's share of the depth.
    pub(super) fn stg_block(self, num_layers: usize) -> usize {
        self.stg_block * num_layers / self.num_layers
    }
}
