//! From a valid request to a plan. The only place that asks which kind of task it is.

use ltx2_types::{Guidance, ImageInput, Task, ValidRequest};

use super::defaults::Generation;
use super::{ItemPlan, ModalityPlan, OutputPlan, Plan, StagePlan};
use crate::PipelineError;
use crate::diffusion::guider::GuiderParams;
use crate::diffusion::patchifier::PixelShape;
use crate::diffusion::schedule::ltx2_sigmas;

/// What planning has to know of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFacts {
    /// `model_version` of the checkpoint.
    pub version: String,
    /// Blocks of the transformer.
    pub num_layers: usize,
}

/// The plan for `request`.
pub fn choose(request: &ValidRequest, model: &ModelFacts) -> Result<Plan, PipelineError> {
    let generation = Generation::of(&model.version).ok_or_else(|| {
        PipelineError::Request(format!("model_version is {}, but only 2.0 is supported", model.version))
    })?;
    let shape = PixelShape {
        frames: generated_frames(request.num_frames),
        height: request.height as usize,
        width: request.width as usize,
        frame_rate: request.frame_rate.as_f64(),
    };
    let stg_block = generation.stg_block(model.num_layers);
    let items = match &request.task {
        Task::TextToVideo => Vec::new(),
        Task::ImageToVideo { images } => images.iter().enumerate().map(|(i, image)| image_item(i, image)).collect(),
    };
    let modality = |guidance: &Guidance, items| ModalityPlan {
        guidance: GuiderParams {
            cfg_scale: guidance.cfg,
            stg_scale: guidance.stg,
            stg_blocks: vec![stg_block],
            modality_scale: guidance.modality,
            rescale_scale: guidance.rescale,
        },
        noise_scale: 1.0,
        items,
    };
    let stage = StagePlan {
        shape,
        sigmas: ltx2_sigmas(request.num_inference_steps as usize),
        video: modality(&request.video_guidance, items),
        audio: modality(&request.audio_guidance, Vec::new()),
    };
    let needs_negative = stage.video.guidance.needs_negative() || stage.audio.guidance.needs_negative();
    Ok(Plan {
        model: model.version.clone(),
        prompt: request.prompt.clone(),
        negative_prompt: needs_negative.then(|| request.negative_prompt.clone()),
        seed: request.seed,
        stages: vec![stage],
        output: OutputPlan { num_frames: request.num_frames as usize, frame_rate: request.frame_rate },
    })
}

/// A picture at the first frame takes its latent's place; elsewhere it is a keyframe.
fn image_item(image: usize, input: &ImageInput) -> ItemPlan {
    match input.frame as usize {
        0 => ItemPlan::ReplaceLatent { image, latent_index: 0, strength: input.strength },
        frame => ItemPlan::Keyframe { image, frame, strength: input.strength },
    }
}

/// The next count of frames that the autoencoder can make: 8k + 1.
fn generated_frames(num_frames: u32) -> usize {
    (num_frames.max(1) as usize - 1).next_multiple_of(8) + 1
}

#[cfg(test)]
mod tests {
    use ltx2_types::{FrameRate, Limits};

    use super::*;

    fn model() -> ModelFacts {
        ModelFacts { version: "2.0".into(), num_layers: 48 }
    }

    #[test]
    fn any_frame_count_is_made_at_the_next_8k_plus_1() {
        for (asked, made) in [(1, 1), (2, 9), (9, 9), (10, 17), (120, 121), (121, 121)] {
            assert_eq!(generated_frames(asked), made);
        }
    }

    #[test]
    fn one_stage() {
        let request = ValidRequest {
            task: Task::ImageToVideo {
                images: vec![
                    ImageInput::first_frame("a"),
                    ImageInput { frame: 16, strength: 0.5, ..ImageInput::first_frame("b") },
                ],
            },
            prompt: "a fox".into(),
            negative_prompt: "blur".into(),
            num_frames: 20,
            num_inference_steps: 2,
            frame_rate: FrameRate::new(24.0).unwrap(),
            ..Limits::server().defaults
        };
        let plan = choose(&request, &model()).unwrap();
        let text = serde_json::to_string_pretty(&plan).unwrap();
        assert_eq!(text, include_str!("snapshots/one_stage.json").trim_end());
    }

    #[test]
    fn an_unknown_generation_is_refused() {
        let facts = ModelFacts { version: "9.1".into(), ..model() };
        let error = choose(&Limits::server().defaults, &facts).unwrap_err();
        assert_eq!(error.to_string(), "model_version is 9.1, but only 2.0 is supported");
    }
}
