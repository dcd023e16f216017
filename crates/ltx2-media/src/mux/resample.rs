//! Conversion of audio to a sample rate that an encoder supports.

use ffmpeg_next::{ChannelLayout, Error, frame};
use ltx2_types::AudioClip;

use crate::MediaError;
use crate::resample::{PACKED, Resampler};

/// Sample rate for clips of other rates.
const COMMON_RATE: u32 = 48000;

/// Returns `clip`, resampled to 48 kHz if its rate is not among `rates`. An empty list has all rates.
pub(super) fn at_supported_rate(clip: AudioClip, rates: &[u32]) -> Result<AudioClip, MediaError> {
    if clip.sample_rate == 0 {
        return Err(MediaError::Audio("its sample rate is 0"));
    }
    if rates.is_empty() || rates.contains(&clip.sample_rate) {
        return Ok(clip);
    }
    let samples = resample(&clip).map_err(MediaError::ffmpeg("resample the audio"))?;
    Ok(AudioClip { sample_rate: COMMON_RATE, samples })
}

fn resample(clip: &AudioClip) -> Result<Vec<f32>, Error> {
    let mut samples = Vec::new();
    // One second at a time limits the size of the frames.
    let mut frames =
        clip.samples.chunks(clip.sample_rate as usize * 2).map(|second| to_frame(second, clip.sample_rate));
    let Some(first) = frames.next() else { return Ok(samples) };
    let mut resampler = Resampler::new(&first, COMMON_RATE)?;
    resampler.push(&first, &mut samples)?;
    frames.try_for_each(|frame| resampler.push(&frame, &mut samples))?;
    resampler.finish(&mut samples)?;
    Ok(samples)
}

fn to_frame(samples: &[f32], sample_rate: u32) -> frame::Audio {
    let mut frame = frame::Audio::new(PACKED, samples.len() / 2, ChannelLayout::STEREO);
    frame.set_rate(sample_rate);
    for (to, from) in frame.plane_mut::<(f32, f32)>(0).iter_mut().zip(samples.chunks_exact(2)) {
        *to = (from[0], from[1]);
    }
    frame
}
