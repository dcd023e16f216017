//! Sound at a rate that AAC has.

use ffmpeg_next::{
    ChannelLayout, Error,
    format::sample::{Sample, Type},
    frame,
    software::resampling,
};
use ltx2_types::AudioClip;

use crate::MediaError;

/// Every rate that an AAC header can name and players accept.
const AAC_RATES: [u32; 11] = [96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025];
/// For all other rates.
const COMMON_RATE: u32 = 48000;
/// Left and right in turn.
const PACKED: Sample = Sample::F32(Type::Packed);

/// `sound` as it is if AAC has its rate, else at 48 kHz.
pub(super) fn to_aac_rate(sound: AudioClip) -> Result<AudioClip, MediaError> {
    if AAC_RATES.contains(&sound.sample_rate) {
        return Ok(sound);
    }
    if sound.sample_rate == 0 {
        return Err(MediaError::Sound("its sample rate is 0"));
    }
    resample(&sound).map_err(MediaError::ffmpeg("resample the sound"))
}

fn resample(sound: &AudioClip) -> Result<AudioClip, Error> {
    let stereo = ChannelLayout::STEREO;
    let rate = sound.sample_rate;
    let mut context = resampling::Context::get(PACKED, stereo, rate, PACKED, stereo, COMMON_RATE)?;
    let mut samples = Vec::new();
    // A second at a time: enough for no frame to be huge, whatever the length.
    for second in sound.samples.chunks(rate as usize * 2) {
        let count = second.len() / 2;
        let mut input = frame::Audio::new(PACKED, count, stereo);
        input.set_rate(rate);
        for (to, from) in input.plane_mut::<(f32, f32)>(0).iter_mut().zip(second.chunks_exact(2)) {
            *to = (from[0], from[1]);
        }
        let mut output = room();
        context.run(&input, &mut output)?;
        append(&mut samples, &output);
    }
    loop {
        let mut output = room();
        context.flush(&mut output)?;
        if output.samples() == 0 {
            return Ok(AudioClip { sample_rate: COMMON_RATE, samples });
        }
        append(&mut samples, &output);
    }
}

/// A frame for a second of output and the resampler's delay.
fn room() -> frame::Audio {
    frame::Audio::new(PACKED, 2 * COMMON_RATE as usize, ChannelLayout::STEREO)
}

fn append(samples: &mut Vec<f32>, frame: &frame::Audio) {
    samples.extend(frame.plane::<(f32, f32)>(0).iter().flat_map(|&(left, right)| [left, right]));
}
