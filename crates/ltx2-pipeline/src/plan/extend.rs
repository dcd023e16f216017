//! Further frames before or after a video.

use ltx2_models::AudioVideo;
use ltx2_models::video_vae::TIME_SCALE;
use ltx2_types::{ExtendSide, ExtendTask, Field, FieldError, InputId, Rule, TimeWindow, ValidRequest};

use super::base::Base;
use super::capabilities::ModelCapabilities;
use super::source::SourceFacts;
use super::stages::{StageInput, StagePlanner};
use super::types::{ItemPlan, Plan, SourcePlan, Span};

/// Plans an extension: the part of the video next to the new frames is kept as latents, and the video's own frames and
/// samples are part of the result. This is a retake of the padded video with a window over the padding.
///
/// # Errors
/// A field that the model does not support.
pub(super) fn plan(request: &ValidRequest, model: &ModelCapabilities, task: &ExtendTask) -> Result<Plan, FieldError> {
    let base = Base::new(request, model)?;
    let facts = SourceFacts::of(request)?;
    let new = request.num_frames as usize;
    let most = base.max_frames().checked_sub(new.next_multiple_of(TIME_SCALE)).filter(|most| *most > 0);
    let most = most.ok_or_else(|| {
        let rule = Rule::AtMost((base.max_frames() - TIME_SCALE) as u64);
        FieldError::new(Field::NumFrames, new, rule)
    })?;
    let requested = task.context.map_or(facts.frames, |seconds| {
        ((seconds * request.frame_rate.as_f64()).round() as usize).clamp(1, facts.frames)
    });
    let layout = Layout::new(task.side, new, requested.min(most), facts.frames);
    let window = layout.window(request.frame_rate.as_f64());
    let input = |strength| StageInput::from_source(layout.source, vec![ItemPlan::Region { window, strength }]);
    let planner = StagePlanner {
        request,
        model,
        generation: base.generation,
        shape: base.shape(layout.frames),
        inputs: AudioVideo {
            video: input(task.video_strength),
            audio: match facts.sample_rate {
                Some(_) => input(task.audio_strength),
                None => StageInput::noise(Vec::new()),
            },
        },
    };
    let pipeline = base.single_stage_pipeline();
    let mut plan = base.plan(pipeline, vec![planner.single_stage(pipeline)?], 0);
    let spans = layout.spans(facts.frames);
    facts.finish(&mut plan, AudioVideo { video: spans.clone(), audio: spans }, true);
    Ok(plan)
}

/// Frames of the stage: the context and the new frames.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Layout {
    side: ExtendSide,
    source: SourcePlan,
    /// Requested new frames.
    new: usize,
    /// Frames of the stage, 8k + 1.
    frames: usize,
}

impl Layout {
    /// Returns the layout of `new` frames next to at most `context` frames of a video of `total` frames. The joint is a
    /// border between latent frames, so that no latent stands for frames on both sides.
    fn new(side: ExtendSide, new: usize, context: usize, total: usize) -> Self {
        let input = InputId(0);
        match side {
            ExtendSide::End => {
                let context = (context - 1) / TIME_SCALE * TIME_SCALE + 1;
                let source = SourcePlan { input, skip: total - context, frames: context, lead: 0 };
                Self { side, source, new, frames: context + new.next_multiple_of(TIME_SCALE) }
            }
            ExtendSide::Start => {
                let whole = context / TIME_SCALE * TIME_SCALE;
                let context = if whole > 0 { whole } else { context };
                let frames = (new + context - 1).next_multiple_of(TIME_SCALE) + 1;
                let source = SourcePlan { input, skip: 0, frames: context, lead: frames - context };
                Self { side, source, new, frames }
            }
        }
    }

    /// Returns the window of the new frames in the stage. It ends half a frame from the joint, so that rounding does not
    /// decide about the latents there.
    fn window(self, rate: f64) -> TimeWindow {
        let joint = match self.side {
            ExtendSide::End => self.source.frames as f64 + 0.5,
            ExtendSide::Start => self.source.lead as f64 - 0.5,
        } / rate;
        match self.side {
            ExtendSide::End => TimeWindow { start: joint, end: (self.frames + 1) as f64 / rate },
            ExtendSide::Start => TimeWindow { start: 0.0, end: joint },
        }
    }

    /// Returns the spans of the result for a video of `total` frames.
    fn spans(self, total: usize) -> Vec<Span> {
        match self.side {
            ExtendSide::End => vec![Span::source(0, total), Span::generated(self.source.frames, self.new)],
            ExtendSide::Start => vec![Span::generated(self.source.lead - self.new, self.new), Span::source(0, total)],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_frames_follow_the_last_8k_plus_1_frames() {
        let layout = Layout::new(ExtendSide::End, 20, 60, 60);
        assert_eq!(layout.source, SourcePlan { input: InputId(0), skip: 3, frames: 57, lead: 0 });
        assert_eq!((layout.frames, layout.spans(60)), (57 + 24, vec![Span::source(0, 60), Span::generated(57, 20)]));
        assert_eq!(layout.window(10.0), TimeWindow { start: 5.75, end: 8.2 });
        assert_eq!(Layout::new(ExtendSide::End, 1, 1, 1).frames, 9);
    }

    #[test]
    fn new_frames_precede_the_first_8k_frames() {
        let layout = Layout::new(ExtendSide::Start, 20, 60, 60);
        assert_eq!(layout.source, SourcePlan { input: InputId(0), skip: 0, frames: 56, lead: 25 });
        assert_eq!((layout.frames, layout.spans(60)), (81, vec![Span::generated(5, 20), Span::source(0, 60)]));
        assert_eq!(layout.window(10.0), TimeWindow { start: 0.0, end: 2.45 });
        let short = Layout::new(ExtendSide::Start, 8, 3, 3);
        assert_eq!((short.frames, short.source.lead), (17, 14));
    }
}
