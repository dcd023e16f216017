//! Generation from text and images.

use ltx2_types::{Field, FieldError, ImageInput, InputId, Pipeline, Rule, Task, ValidRequest};

use super::capabilities::ModelCapabilities;
use super::defaults::{DEFAULT_TILING, Generation};
use super::stages::StagePlanner;
use super::types::{ItemPlan, OutputPlan, Plan};
use crate::diffusion::patchifier::PixelShape;

/// Plans the generation of a video that conditioning items constrain.
///
/// # Errors
/// A field that the model does not support.
pub(super) fn plan(
    request: &ValidRequest,
    model: &ModelCapabilities,
    items: Vec<ItemPlan>,
) -> Result<Plan, FieldError> {
    let generation = Generation::of(&model.version).ok_or_else(|| {
        let rule = format!("only {} are supported", Generation::versions());
        FieldError::new(Field::ModelVersion, &model.version, Rule::Supported(rule))
    })?;
    check_frames(&items, request.num_frames)?;
    let shape = PixelShape {
        frames: generated_frames(request.num_frames),
        height: request.height as usize,
        width: request.width as usize,
        frame_rate: request.frame_rate.as_f64(),
    };
    let pipeline = request.pipeline.unwrap_or_else(|| model.default_pipeline());
    let stages = StagePlanner { request, model, generation, shape, items }.stages(pipeline)?;
    let is_guided_by_negative = stages.iter().any(|stage| {
        let guidance = stage.guidance();
        guidance.video.needs_negative() || guidance.audio.needs_negative()
    });
    Ok(Plan {
        model: model.version.clone(),
        pipeline,
        prompt: request.prompt.clone(),
        enhance_prompt: request.enhance_prompt,
        negative_prompt: is_guided_by_negative.then(|| request.negative_prompt.clone()),
        seed: request.seed,
        output: OutputPlan {
            num_frames: request.num_frames as usize,
            frame_rate: request.frame_rate,
            audio_stage: request.output.audio.then(|| audio_stage(request, pipeline, stages.len())),
            tiling: Some(DEFAULT_TILING),
        },
        stages,
    })
}

/// Returns the stage whose audio the official pipeline decodes: the guided one, except between keyframes and in distilled
/// models.
fn audio_stage(request: &ValidRequest, pipeline: Pipeline, stages: usize) -> usize {
    match (pipeline, &request.task) {
        (Pipeline::TwoStage, Task::Keyframes { .. }) => stages - 1,
        (Pipeline::OneStage | Pipeline::TwoStage | Pipeline::Hq, _) => 0,
        (Pipeline::Distilled, _) => stages - 1,
    }
}

/// Returns the items of conditioning images: an image at frame 0 replaces the first latent frame, others are keyframes.
pub(super) fn image_items(images: &[ImageInput]) -> Vec<ItemPlan> {
    let item = |(id, image): (InputId, &ImageInput)| match image.frame {
        0 => ItemPlan::ReplaceLatent { input: id, crf: image.crf, latent_index: 0, strength: image.strength },
        _ => keyframe_item((id, image)),
    };
    numbered(images).map(item).collect()
}

/// Returns the items of keyframes, the first frame's included.
pub(super) fn keyframe_items(images: &[ImageInput]) -> Vec<ItemPlan> {
    numbered(images).map(keyframe_item).collect()
}

fn numbered(images: &[ImageInput]) -> impl Iterator<Item = (InputId, &ImageInput)> {
    (0..).map(InputId).zip(images)
}

fn keyframe_item((input, image): (InputId, &ImageInput)) -> ItemPlan {
    ItemPlan::Keyframe { input, crf: image.crf, frame: image.frame as usize, strength: image.strength }
}

/// Checks that all keyframes are within the video.
fn check_frames(items: &[ItemPlan], num_frames: u32) -> Result<(), FieldError> {
    for item in items {
        if let ItemPlan::Keyframe { frame, .. } = item
            && *frame >= num_frames as usize
        {
            return Err(FieldError::new(Field::ImageFrame, frame, Rule::BelowFrames(num_frames)));
        }
    }
    Ok(())
}

/// Returns the next number of frames that the autoencoder can generate: 8k + 1.
fn generated_frames(num_frames: u32) -> usize {
    (num_frames.max(1) as usize - 1).next_multiple_of(8) + 1
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
