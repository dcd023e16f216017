//! Video from the noised latents of another video.

use ltx2_models::AudioVideo;
use ltx2_types::{Field, FieldError, InputId, Rule, ValidRequest};

use super::base::Base;
use super::capabilities::ModelCapabilities;
use super::source::SourceFacts;
use super::stages::{StageInput, StagePlanner};
use super::types::{Plan, SourcePlan, Span, StagePlan};

/// Plans a video that starts from the latents of the source at noise level `strength`. Its audio is kept; a video without
/// audio gets none.
///
/// # Errors
/// A field that the model does not support.
pub(super) fn plan(request: &ValidRequest, model: &ModelCapabilities, strength: f64) -> Result<Plan, FieldError> {
    let base = Base::new(request, model)?;
    let facts = SourceFacts::of(request)?;
    if facts.frames > base.max_frames() {
        let rule = Rule::Supported(format!("it may have at most {} frames", base.max_frames()));
        return Err(FieldError::new(Field::Video, format!("{} frames long", facts.frames), rule));
    }
    let source = SourcePlan { input: InputId(0), skip: 0, frames: facts.frames, lead: 0 };
    let planner = StagePlanner {
        request,
        model,
        generation: base.generation,
        shape: base.shape(facts.frames),
        inputs: AudioVideo {
            video: StageInput::from_source(source, Vec::new()),
            audio: match facts.sample_rate {
                Some(_) => StageInput::frozen(source),
                None => StageInput::noise(Vec::new()),
            },
        },
    };
    let pipeline = base.single_stage_pipeline();
    let stage = from_noise_level(planner.single_stage(pipeline)?, strength);
    let mut plan = base.plan(pipeline, vec![stage], 0);
    let spans =
        AudioVideo { video: vec![Span::generated(0, facts.frames)], audio: vec![Span::source(0, facts.frames)] };
    facts.finish(&mut plan, spans, false);
    Ok(plan)
}

/// Returns `stage` with the noise levels below `strength`, which it starts at. Strength 0 has no step.
fn from_noise_level(mut stage: StagePlan, strength: f64) -> StagePlan {
    let first = strength as f32;
    let below = stage.sigmas.iter().copied().filter(|sigma| *sigma < first);
    stage.sigmas = std::iter::once(first).chain(below).collect();
    for modality in [&mut stage.modalities.video, &mut stage.modalities.audio] {
        if !modality.frozen {
            modality.noise_scale = strength;
        }
    }
    stage
}
