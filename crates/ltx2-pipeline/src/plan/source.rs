//! Facts about the source of a task, and results that keep parts of it.

use ltx2_models::AudioVideo;
use ltx2_types::{Field, FieldError, InputId, Rule, ValidRequest};

use super::types::{Origin, Plan, SourceOutput, Span};

/// Length of the video that a task works on, and rate of its audio.
#[derive(Debug, Clone, Copy)]
pub(super) struct SourceFacts<'a> {
    request: &'a ValidRequest,
    /// Frames of the video.
    pub frames: usize,
    /// Samples per second of the audio; `None` without audio.
    pub sample_rate: Option<u32>,
}

impl<'a> SourceFacts<'a> {
    /// Returns the facts about the video of `request`.
    ///
    /// # Errors
    /// The request has no probed video.
    pub(super) fn of(request: &'a ValidRequest) -> Result<Self, FieldError> {
        let probed = request.source.and_then(|source| Some((source.video?, source.audio)));
        let (video, audio) = probed.ok_or_else(|| {
            FieldError::new(Field::Video, "not probed", Rule::Supported("it must have video data".into()))
        })?;
        Ok(Self { request, frames: video.num_frames as usize, sample_rate: audio.map(|audio| audio.sample_rate) })
    }

    /// Makes a result of `spans`. `generates_audio` says whether a video without audio gets one.
    pub(super) fn finish(&self, plan: &mut Plan, mut spans: AudioVideo<Vec<Span>>, generates_audio: bool) {
        let is_silent = self.sample_rate.is_none() && !generates_audio;
        if is_silent || !self.request.output.audio {
            spans.audio.clear();
        }
        if !spans.audio.iter().any(|span| span.from == Origin::Generated) {
            plan.output.audio_stage = None;
        }
        plan.output.num_frames = spans.video.iter().map(|span| span.frames).sum();
        plan.output.source = Some(SourceOutput {
            input: InputId(0),
            sample_rate: self.sample_rate,
            size: (self.request.width as usize, self.request.height as usize),
            spans,
        });
    }
}

impl Span {
    /// Returns frames of the source.
    pub(super) fn source(start: usize, frames: usize) -> Self {
        Self { from: Origin::Source, start, frames }
    }

    /// Returns generated frames.
    pub(super) fn generated(start: usize, frames: usize) -> Self {
        Self { from: Origin::Generated, start, frames }
    }
}

/// Returns the spans that have frames.
pub(super) fn unless_empty<const N: usize>(spans: [Span; N]) -> Vec<Span> {
    spans.into_iter().filter(|span| span.frames > 0).collect()
}
