//! Generation from text and images.

use ltx2_models::AudioVideo;
use ltx2_types::{Field, FieldError, ImageInput, InputId, Pipeline, Rule, Task, ValidRequest};

use super::base::Base;
use super::capabilities::ModelCapabilities;
use super::stages::{StageInput, StagePlanner};
use super::types::{ItemPlan, Plan};

/// Plans the generation of a video that conditioning items constrain.
///
/// # Errors
/// A field that the model does not support.
pub(super) fn plan(
    request: &ValidRequest,
    model: &ModelCapabilities,
    items: Vec<ItemPlan>,
) -> Result<Plan, FieldError> {
    let base = Base::new(request, model)?;
    check_frames(&items, request.num_frames)?;
    let pipeline = request.pipeline.unwrap_or_else(|| model.default_pipeline());
    let planner = StagePlanner {
        request,
        model,
        generation: base.generation,
        shape: base.shape(request.num_frames as usize),
        inputs: AudioVideo { video: StageInput::noise(items), audio: StageInput::noise(Vec::new()) },
    };
    let stages = planner.stages(pipeline)?;
    let audio_stage = audio_stage(request, pipeline, stages.len());
    Ok(base.plan(pipeline, stages, audio_stage))
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
/// `first` is the input of the first image.
pub(super) fn image_items(images: &[ImageInput], first: u32) -> Vec<ItemPlan> {
    let item = |(id, image): (InputId, &ImageInput)| match image.frame {
        0 => ItemPlan::ReplaceLatent { input: id, crf: image.crf, latent_index: 0, strength: image.strength },
        _ => keyframe_item((id, image)),
    };
    numbered(images, first).map(item).collect()
}

/// Returns the items of keyframes, the first frame's included.
pub(super) fn keyframe_items(images: &[ImageInput]) -> Vec<ItemPlan> {
    numbered(images, 0).map(keyframe_item).collect()
}

fn numbered(images: &[ImageInput], first: u32) -> impl Iterator<Item = (InputId, &ImageInput)> {
    (first..).map(InputId).zip(images)
}

fn keyframe_item((input, image): (InputId, &ImageInput)) -> ItemPlan {
    ItemPlan::Keyframe { input, crf: image.crf, frame: image.frame as usize, strength: image.strength }
}

/// Checks that all keyframes are within the video.
pub(super) fn check_frames(items: &[ItemPlan], num_frames: u32) -> Result<(), FieldError> {
    for item in items {
        if let ItemPlan::Keyframe { frame, .. } = item
            && *frame >= num_frames as usize
        {
            return Err(FieldError::new(Field::ImageFrame, frame, Rule::BelowFrames(num_frames)));
        }
    }
    Ok(())
}
