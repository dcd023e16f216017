//! Summary of a plan, stored with its task.

use serde::{Deserialize, Serialize};

use crate::Pipeline;

/// Pipeline, stages and cost of a planned request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanSummary {
    /// Pipeline that will run.
    pub pipeline: Pipeline,
    /// Stages in order.
    pub stages: Vec<StageSummary>,
}

/// Size and work of one stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageSummary {
    /// Width, pixels.
    pub width: u32,
    /// Height, pixels.
    pub height: u32,
    /// Generated frames.
    pub num_frames: u32,
    /// Video tokens, appended conditioning tokens included.
    pub video_tokens: u64,
    /// Audio tokens.
    pub audio_tokens: u64,
    /// Denoising steps.
    pub steps: u32,
    /// Transformer passes per step.
    pub passes: u32,
}

impl PlanSummary {
    /// Returns the cost of the run: tokens times steps times passes, summed over the stages.
    pub fn cost(&self) -> u64 {
        self.stages.iter().map(StageSummary::cost).fold(0, u64::saturating_add)
    }
}

impl StageSummary {
    fn cost(&self) -> u64 {
        let tokens = self.video_tokens.saturating_add(self.audio_tokens);
        tokens.saturating_mul(self.steps.into()).saturating_mul(self.passes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cost_is_tokens_times_steps_times_passes() {
        let stage = |video_tokens, steps, passes| StageSummary {
            width: 64,
            height: 64,
            num_frames: 9,
            video_tokens,
            audio_tokens: 10,
            steps,
            passes,
        };
        let plan = PlanSummary { pipeline: Pipeline::TwoStage, stages: vec![stage(90, 40, 4), stage(390, 3, 1)] };
        assert_eq!(plan.cost(), 100 * 40 * 4 + 400 * 3);
    }
}
