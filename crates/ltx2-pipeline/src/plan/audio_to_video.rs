//! Video for given audio.

use ltx2_models::AudioVideo;
use ltx2_types::{Field, FieldError, Guidance, ImageInput, InputId, Rule, ValidRequest};

use super::base::Base;
use super::capabilities::ModelCapabilities;
use super::generate::{check_frames, image_items};
use super::stages::{StageInput, StagePlanner};
use super::types::{Plan, SourceOutput, SourcePlan, Span};

/// Guidance that has no effect: the audio is known.
const OFF: Guidance = Guidance { cfg: 1.0, stg: 0.0, modality: 1.0, rescale: 0.0 };

/// Plans a video whose audio is the first input, in every stage and in the result.
///
/// # Errors
/// A field that the model does not support.
pub(super) fn plan(
    request: &ValidRequest,
    model: &ModelCapabilities,
    images: &[ImageInput],
) -> Result<Plan, FieldError> {
    let request = &ValidRequest { audio_guidance: OFF, ..request.clone() };
    let base = Base::new(request, model)?;
    let audio = request.source.and_then(|source| source.audio).ok_or_else(|| {
        FieldError::new(Field::Audio, "not probed", Rule::Supported("it must have audio data".into()))
    })?;
    let items = image_items(images, 1);
    check_frames(&items, request.num_frames)?;
    let shape = base.shape(request.num_frames as usize);
    let source = SourcePlan { input: InputId(0), skip: 0, frames: shape.frames, lead: 0 };
    let planner = StagePlanner {
        request,
        model,
        generation: base.generation,
        shape,
        inputs: AudioVideo {
            video: StageInput::noise(items),
            audio: StageInput { keeps_prompt: true, ..StageInput::frozen(source) },
        },
    };
    let pipeline = request.pipeline.unwrap_or_else(|| model.default_pipeline());
    let mut plan = base.plan(pipeline, planner.stages(pipeline)?, 0);
    let frames = request.num_frames as usize;
    plan.output.audio_stage = None;
    plan.output.source = Some(SourceOutput {
        input: InputId(0),
        sample_rate: Some(audio.sample_rate),
        size: (request.width as usize, request.height as usize),
        spans: AudioVideo {
            video: vec![Span::generated(0, frames)],
            audio: if request.output.audio { vec![Span::source(0, frames)] } else { Vec::new() },
        },
    });
    Ok(plan)
}
