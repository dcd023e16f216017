//! Conversion of audio to a sample rate that AAC supports.

use ffmpeg_next::{
    ChannelLayout, Error,
    format::sample::{Sample, Type},
    frame,
    software::resampling,
};
use ltx2_types::AudioClip;

use crate::MediaError;

/// Sample rates that an AAC header can encode and players accept.
const AAC_RATES: [u32; 11] = [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025];
/// Sample rate for clips of other rates.
const COMMON_RATE: u32 = 48000;
/// Interleaved samples.
const PACKED: Sample = Sample::F32(Type::Packed);

/// Returns `clip`, resampled to 48 kHz if AAC does not support its rate.
pub(super) fn to_aac_rate(clip: AudioClip) -> Result<AudioClip, MediaError> {
    if AAC_RATES.contains(&clip.sample_rate) {
        return Ok(clip);
    }
    if clip.sample_rate == 0 {
        return Err(MediaError::Audio("its sample rate is 0"));
    }
    resample(&clip).map_err(MediaError::ffmpeg("resample the audio"))
}

fn resample(clip: &AudioClip) -> Result<AudioClip, Error> {
    let stereo = ChannelLayout::STEREO;
    let rate = clip.sample_rate;
    let mut context = resampling::Context::get(PACKED, stereo, rate, PACKED, stereo, COMMON_RATE)?;
    let mut samples = Vec::new();
    // One second at a time limits the size of the frames.
    for second in clip.samples.chunks(rate as usize * 2) {
        let count = second.len() / 2;
        let mut input = frame::Audio::new(PACKED, count, stereo);
        input.set_rate(rate);
        for (to, from) in input.plane_mut::<(f32, f32)>(0).iter_mut().zip(second.chunks_exact(2)) {
            *to = (from[0], from[1]);
        }
        let mut output = output_frame();
        context.run(&input, &mut output)?;
        append(&mut samples, &output);
    }
    loop {
        let mut output = output_frame();
        context.flush(&mut output)?;
        if output.samples() == 0 {
            return Ok(AudioClip { sample_rate: COMMON_RATE, samples });
        }
        append(&mut samples, &output);
    }
}

/// Allocates a frame for a second of output and the delay of the resampler.
fn output_frame() -> frame::Audio {
    frame::Audio::new(PACKED, 2 * COMMON_RATE as usize, ChannelLayout::STEREO)
}

fn append(samples: &mut Vec<f32>, frame: &frame::Audio) {
    samples.extend(frame.plane::<(f32, f32)>(0).iter().flat_map(|&(left, right)| [left, right]));
}
