//! Generating a time window of a video again.

use std::ops::Range;

use ltx2_models::AudioVideo;
use ltx2_types::{Field, FieldError, InputId, RetakePart, Rule, TimeWindow, ValidRequest};

use super::base::Base;
use super::capabilities::ModelCapabilities;
use super::source::{SourceFacts, unless_empty};
use super::stages::{StageInput, StagePlanner};
use super::types::{ItemPlan, Plan, SourcePlan, Span};

/// Plans a retake of `window`. A video that is longer than the model supports is cut to a part around the window.
///
/// # Errors
/// A field that the model does not support.
pub(super) fn plan(
    request: &ValidRequest,
    model: &ModelCapabilities,
    window: TimeWindow,
    part: RetakePart,
) -> Result<Plan, FieldError> {
    let base = Base::new(request, model)?;
    let facts = SourceFacts::of(request)?;
    let rate = request.frame_rate.as_f64();
    let frames = (window.start * rate).round() as usize..((window.end * rate).round() as usize).min(facts.frames);
    if frames.is_empty() {
        let rule = Rule::Supported("it must cover at least one frame".into());
        return Err(FieldError::new(Field::Window, format!("{}-{}", window.start, window.end), rule));
    }
    let section = section(facts.frames, &frames, base.max_frames()).ok_or_else(|| {
        let rule = format!("it may last at most {:.1} seconds", base.max_frames() as f64 / rate);
        FieldError::new(Field::Window, format!("{}-{}", window.start, window.end), Rule::Supported(rule))
    })?;
    let source = SourcePlan { input: InputId(0), skip: section.start, frames: section.len(), lead: 0 };
    let shift = section.start as f64 / rate;
    let region =
        ItemPlan::Region { window: TimeWindow { start: window.start - shift, end: window.end - shift }, strength: 1.0 };
    let retaken = || StageInput::from_source(source, vec![region.clone()]);
    let (video, audio) = (part != RetakePart::Audio, part != RetakePart::Video);
    let planner = StagePlanner {
        request,
        model,
        generation: base.generation,
        shape: base.shape(section.len()),
        inputs: AudioVideo {
            video: if video { retaken() } else { StageInput::frozen(source) },
            audio: match (facts.sample_rate, audio) {
                (None, _) => StageInput::noise(Vec::new()),
                (Some(_), true) => retaken(),
                (Some(_), false) => StageInput::frozen(source),
            },
        },
    };
    let pipeline = base.single_stage_pipeline();
    let mut plan = base.plan(pipeline, vec![planner.single_stage(pipeline)?], 0);
    let spans = |is_generated: bool| {
        if is_generated {
            retaken_spans(facts.frames, &frames, section.start)
        } else {
            vec![Span::source(0, facts.frames)]
        }
    };
    facts.finish(&mut plan, AudioVideo { video: spans(video), audio: spans(audio) }, audio);
    Ok(plan)
}

/// Returns the spans of a video of `total` frames whose `window` is generated in a stage that starts at frame `skip`.
fn retaken_spans(total: usize, window: &Range<usize>, skip: usize) -> Vec<Span> {
    unless_empty([
        Span::source(0, window.start),
        Span::generated(window.start - skip, window.len()),
        Span::source(window.end, total - window.end),
    ])
}

/// Returns the part of `total` frames that is encoded: all of them, or `most` frames around `window`; `None` if the window
/// has more.
fn section(total: usize, window: &Range<usize>, most: usize) -> Option<Range<usize>> {
    if window.len() > most {
        return None;
    }
    let length = total.min(most);
    let centred = window.start.saturating_sub((length - window.len()) / 2);
    let start = centred.min(total - length);
    Some(start..start + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_video_is_cut_around_the_window() {
        assert_eq!(section(60, &(10..20), 481), Some(0..60));
        assert_eq!(section(1000, &(500..600), 481), Some(310..791));
        assert_eq!(section(1000, &(0..100), 481), Some(0..481));
        assert_eq!(section(1000, &(950..1000), 481), Some(519..1000));
        assert_eq!(section(1000, &(0..500), 481), None);
    }

    #[test]
    fn frames_outside_the_window_are_those_of_the_source() {
        let spans = retaken_spans(60, &(10..20), 4);
        assert_eq!(spans, [Span::source(0, 10), Span::generated(6, 10), Span::source(20, 40)]);
        assert_eq!(retaken_spans(20, &(0..20), 0), [Span::generated(0, 20)]);
    }
}
