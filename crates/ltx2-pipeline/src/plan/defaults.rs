//! Constants of the model generations, one row each, and of distilled models.

use super::capabilities::ModelCapabilities;
use super::types::TilingPlan;

/// Constants of a model generation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Generation {
    /// First two components of `model_version`.
    pub version: &'static str,
    /// Block whose self-attention STG skips, in the published model.
    pub stg_block: usize,
    /// Number of transformer blocks of the published model.
    pub num_layers: usize,
    /// Default number of denoising steps.
    pub steps: u32,
}

const GENERATIONS: [Generation; 2] = [
    Generation { version: "2.0", stg_block: 29, num_layers: 48, steps: 40 },
    Generation { version: "2.3", stg_block: 28, num_layers: 48, steps: 30 },
];

/// Returns the default number of denoising steps for a checkpoint's `model_version`; `None` for an unknown one.
pub fn default_steps(version: &str) -> Option<u32> {
    Generation::of(version).map(|row| row.steps)
}

/// Returns the block whose self-attention STG skips; `None` for an unknown generation.
pub fn default_stg_block(model: &ModelCapabilities) -> Option<usize> {
    Generation::of(&model.version).map(|row| row.stg_block(model.num_layers))
}

/// Noise levels that distilled models were trained for.
pub(super) const DISTILLED_SIGMAS: [f32; 9] = [1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0];
/// Noise levels of the second stage, which starts from the upscaled first one.
pub(super) const STAGE_2_SIGMAS: [f32; 4] = [0.909375, 0.725, 0.421875, 0.0];
/// Strengths of the distilled LoRA in both stages of [`ltx2_types::Pipeline::Hq`].
pub(super) const HQ_DISTILLED_STRENGTHS: [f64; 2] = [0.25, 0.5];

/// Decoder tiles of the official pipelines.
pub const DEFAULT_TILING: TilingPlan = TilingPlan { frames: Some((80, 24)), pixels: Some((768, 64)) };

impl Generation {
    /// Returns the supported versions, for messages.
    pub(super) fn versions() -> String {
        GENERATIONS.map(|row| row.version).join(" and ")
    }

    /// Returns the row for a checkpoint's `model_version`, such as `2.3`, `2.3.0` or `2.3-dev`. As in the official code,
    /// an empty version is the first generation's.
    pub(super) fn of(version: &str) -> Option<Self> {
        let version = if version.is_empty() { GENERATIONS[0].version } else { version };
        GENERATIONS.into_iter().find(|row| {
            let patch = version.strip_prefix(row.version);
            patch.is_some_and(|patch| patch.is_empty() || patch.starts_with(['.', '-']))
        })
    }

    /// Returns the STG block of a model with `num_layers` blocks, at the relative depth of the published model's.
    pub(super) fn stg_block(self, num_layers: usize) -> usize {
        self.stg_block * num_layers / self.num_layers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generation_follows_the_first_two_components_of_the_version() {
        let version = |version: &str| Generation::of(version).map(|row| row.version);
        for first in ["", "2.0", "2.0.0", "2.0-dev"] {
            assert_eq!(version(first), Some("2.0"), "{first}");
        }
        for second in ["2.3", "2.3.0", "2.3.1-distilled"] {
            assert_eq!(version(second), Some("2.3"), "{second}");
        }
        for unknown in ["2", "2.30", "2.1.3", "9.1", "x"] {
            assert_eq!(version(unknown), None, "{unknown}");
        }
    }
}
