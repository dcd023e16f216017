//! Parts that the plans of all tasks share.

use ltx2_models::video_vae::{SPACE_SCALE, TIME_SCALE};
use ltx2_types::{Field, FieldError, Pipeline, Rule, ValidRequest};

use super::capabilities::ModelCapabilities;
use super::defaults::{DEFAULT_TILING, Generation};
use super::types::{OutputPlan, Plan, StagePlan};
use crate::diffusion::patchifier::PixelShape;

/// Maximum duration of a stage, seconds: the models are trained for videos of about this length.
const MAX_SECONDS: f64 = 20.0;

/// A request with the model that it is planned for.
#[derive(Clone, Copy)]
pub(super) struct Base<'a> {
    pub request: &'a ValidRequest,
    pub model: &'a ModelCapabilities,
    pub generation: Generation,
}

impl<'a> Base<'a> {
    /// Returns the base of a plan.
    ///
    /// # Errors
    /// The generation of the model is unknown.
    pub(super) fn new(request: &'a ValidRequest, model: &'a ModelCapabilities) -> Result<Self, FieldError> {
        let generation = Generation::of(&model.version).ok_or_else(|| {
            let rule = format!("only {} are supported", Generation::versions());
            FieldError::new(Field::ModelVersion, &model.version, Rule::Supported(rule))
        })?;
        Ok(Self { request, model, generation })
    }

    /// Returns the size that the transformer generates, for `frames` frames.
    pub(super) fn shape(self, frames: usize) -> PixelShape {
        PixelShape {
            frames: generated_frames(frames),
            height: (self.request.height as usize).next_multiple_of(SPACE_SCALE),
            width: (self.request.width as usize).next_multiple_of(SPACE_SCALE),
            frame_rate: self.request.frame_rate.as_f64(),
        }
    }

    /// Returns the plan of `stages`, whose whole result is generated. `audio_stage` is the stage whose audio is decoded.
    pub(super) fn plan(self, pipeline: Pipeline, stages: Vec<StagePlan>, audio_stage: usize) -> Plan {
        let Self { request, model, .. } = self;
        let needs_negative = stages.iter().any(|stage| {
            let guidance = stage.guidance();
            guidance.video.needs_negative() || guidance.audio.needs_negative()
        });
        Plan {
            model: model.version.clone(),
            pipeline,
            prompt: request.prompt.clone(),
            enhance_prompt: request.enhance_prompt,
            negative_prompt: needs_negative.then(|| request.negative_prompt.clone()),
            seed: request.seed,
            output: OutputPlan {
                num_frames: request.num_frames as usize,
                frame_rate: request.frame_rate,
                audio_stage: request.output.audio.then_some(audio_stage),
                tiling: Some(DEFAULT_TILING),
                source: None,
            },
            stages,
        }
    }

    /// Returns the pipeline of a task with one stage.
    pub(super) fn single_stage_pipeline(self) -> Pipeline {
        let default = if self.model.distilled { Pipeline::Distilled } else { Pipeline::OneStage };
        self.request.pipeline.unwrap_or(default)
    }

    /// Returns the maximum number of frames of a stage, 8k + 1.
    pub(super) fn max_frames(self) -> usize {
        let frames = (MAX_SECONDS * self.request.frame_rate.as_f64()) as usize;
        frames / TIME_SCALE * TIME_SCALE + 1
    }
}

/// Returns the next number of frames that the autoencoder can generate: 8k + 1.
pub(crate) fn generated_frames(frames: usize) -> usize {
    (frames.max(1) - 1).next_multiple_of(TIME_SCALE) + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_frame_count_is_generated_at_the_next_8k_plus_1() {
        for (requested, generated) in [(1, 1), (2, 9), (9, 9), (10, 17), (120, 121), (121, 121)] {
            assert_eq!(generated_frames(requested), generated);
        }
    }
}
