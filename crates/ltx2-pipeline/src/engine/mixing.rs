//! Audio of a result that consists of a source's samples and of generated ones.

use ltx2_models::audio_vae::resample;
use ltx2_types::{AudioClip, FrameRate};

use crate::plan::{Origin, Span};

/// Length of the crossfade at a joint, as a fraction of a second. It lies within the source's samples.
const CROSSFADE: usize = 100;

/// Joins the spans of `source` and `generated`, which have the same rate. Samples that a clip does not have are silence.
pub(super) fn mixed(spans: &[Span], source: &AudioClip, generated: &AudioClip, frame_rate: FrameRate) -> AudioClip {
    let sample_rate = source.sample_rate;
    let at = |frames: usize| (frame_rate.seconds(frames as u32) * f64::from(sample_rate)).round() as usize;
    let clip = |span: &Span| if span.from == Origin::Source { source } else { generated };
    let mut samples = Vec::new();
    let mut frames = 0;
    for (i, span) in spans.iter().enumerate() {
        let (start, end) = (at(frames), at(frames + span.frames));
        let offset = at(span.start) as isize - start as isize;
        let fade = sample_rate as usize / CROSSFADE;
        let neighbour = |other: Option<&Span>, shift: usize| {
            // The joint is at frame `shift` of the neighbour.
            other.filter(|other| other.from != span.from).map(|other| (clip(other), at(shift)))
        };
        let before = i.checked_sub(1).and_then(|i| spans.get(i));
        let before = neighbour(before, before.map_or(0, |other| other.start + other.frames));
        let after = neighbour(spans.get(i + 1), spans.get(i + 1).map_or(0, |other| other.start));
        for index in start..end {
            let own = frame_of(clip(span), index as isize + offset);
            let blended = match (span.from, before, after) {
                (Origin::Source, Some((other, joint)), _) if index - start < fade => {
                    let share = (index - start + 1) as f32 / (fade + 1) as f32;
                    blend(frame_of(other, (joint + index - start) as isize), own, share)
                }
                (Origin::Source, _, Some((other, joint))) if end - index <= fade => {
                    let share = (end - index) as f32 / (fade + 1) as f32;
                    blend(frame_of(other, joint as isize - (end - index) as isize), own, share)
                }
                _ => own,
            };
            samples.extend(blended);
        }
        frames += span.frames;
    }
    AudioClip { sample_rate, samples }
}

/// Returns the left and right sample at `index`; silence outside the clip.
fn frame_of(clip: &AudioClip, index: isize) -> [f32; 2] {
    let at = |channel| usize::try_from(index * 2 + channel).ok().and_then(|i| clip.samples.get(i).copied());
    [at(0).unwrap_or(0.0), at(1).unwrap_or(0.0)]
}

fn blend(other: [f32; 2], own: [f32; 2], share: f32) -> [f32; 2] {
    [0, 1].map(|channel| other[channel] * (1.0 - share) + own[channel] * share)
}

/// Resamples a clip to `sample_rate`.
pub(super) fn resampled(clip: AudioClip, sample_rate: u32) -> AudioClip {
    if clip.sample_rate == sample_rate {
        return clip;
    }
    let channel = |channel: usize| {
        let samples: Vec<f32> = clip.samples.iter().skip(channel).step_by(2).copied().collect();
        resample(&samples, clip.sample_rate, sample_rate)
    };
    let samples = channel(0).into_iter().zip(channel(1)).flat_map(|(left, right)| [left, right]).collect();
    AudioClip { sample_rate, samples }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clip(value: f32, frames: usize) -> AudioClip {
        AudioClip { sample_rate: 1000, samples: vec![value; frames * 2] }
    }

    #[test]
    fn the_samples_of_the_source_are_kept_up_to_a_crossfade() {
        let rate = FrameRate::new(10.0).unwrap();
        // One second of source, then one of generated audio whose stage holds the source's second half as context.
        let spans = [
            Span { from: Origin::Source, start: 0, frames: 10 },
            Span { from: Origin::Generated, start: 5, frames: 10 },
        ];
        let audio = mixed(&spans, &clip(1.0, 1000), &clip(-1.0, 1500), rate);
        let left: Vec<f32> = audio.samples.iter().step_by(2).copied().collect();
        assert_eq!(left.len(), 2000);
        assert!(left[..990].iter().all(|sample| *sample == 1.0) && left[1000..].iter().all(|sample| *sample == -1.0));
        let steps = left.windows(2).map(|pair| (pair[1] - pair[0]).abs());
        assert!(steps.fold(0.0, f32::max) < 0.2);
    }

    #[test]
    fn a_source_without_samples_is_silent() {
        let spans =
            [Span { from: Origin::Source, start: 0, frames: 1 }, Span { from: Origin::Generated, start: 0, frames: 1 }];
        let audio = mixed(&spans, &clip(0.0, 0), &clip(1.0, 100), FrameRate::new(10.0).unwrap());
        assert_eq!((audio.samples[0], audio.samples[250], audio.samples.len()), (0.0, 1.0, 400));
    }
}
