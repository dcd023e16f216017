//! The audio of a file as stereo samples.

use std::path::Path;

use ffmpeg_next::format::context::Input;
use ffmpeg_next::{frame, media};
use ltx2_types::AudioClip;

use super::error::DemuxError;
use super::reader::{StreamReader, decoder_for, open};
use crate::resample::Resampler;

const AUDIO: &str = "audio";
/// Maximum duration, seconds: the samples are held in memory.
const MAX_SECONDS: usize = 3600;

/// Decodes the best audio stream of a file as stereo at `sample_rate`.
///
/// The clip starts with the first video frame, if the file has video: audio that starts later is preceded by silence,
/// audio that starts earlier is cut.
pub(crate) fn read_audio(path: &Path, sample_rate: u32) -> Result<AudioClip, DemuxError> {
    let input = open(path)?;
    let stream = input.streams().best(media::Type::Audio).ok_or(DemuxError::NoStream(AUDIO))?;
    let decoder = decoder_for(&stream).and_then(|decoder| decoder.audio());
    let decoder = decoder.map_err(|source| DemuxError::Decoder { kind: AUDIO, source })?;
    let index = stream.index();
    let time_base = f64::from(stream.time_base());
    let video_start = video_start(&input);
    let mut reader = StreamReader::new(input, index, decoder.0, AUDIO);
    let decode_error = |source| DemuxError::Decode { kind: AUDIO, source };

    let mut frame = frame::Audio::empty();
    if !reader.next(&mut frame)? {
        return Err(DemuxError::Empty(AUDIO));
    }
    let start = frame.pts().map(|pts| pts as f64 * time_base);
    let delay = start.zip(video_start).map_or(0.0, |(audio, video)| audio - video);
    let mut resampler = Resampler::new(&frame, sample_rate).map_err(decode_error)?;
    let max_samples = MAX_SECONDS * sample_rate as usize * 2;
    let mut samples = silence(delay.max(0.0), sample_rate);
    loop {
        resampler.push(&frame, &mut samples).map_err(decode_error)?;
        if samples.len() > max_samples {
            return Err(DemuxError::TooLong(MAX_SECONDS));
        }
        if !reader.next(&mut frame)? {
            break;
        }
    }
    resampler.finish(&mut samples).map_err(decode_error)?;
    let early = silence_length(-delay.min(0.0), sample_rate);
    samples.drain(..early.min(samples.len()));
    Ok(AudioClip { sample_rate, samples })
}

/// Returns the time of the first video frame in seconds, if there is a video stream.
fn video_start(input: &Input) -> Option<f64> {
    let stream = input.streams().best(media::Type::Video)?;
    // A missing start time is a large negative number.
    (stream.start_time() > i64::MIN / 2).then(|| stream.start_time() as f64 * f64::from(stream.time_base()))
}

fn silence(seconds: f64, sample_rate: u32) -> Vec<f32> {
    vec![0.0; silence_length(seconds, sample_rate)]
}

/// Returns the number of interleaved samples in `seconds`, at most [`MAX_SECONDS`].
fn silence_length(seconds: f64, sample_rate: u32) -> usize {
    (seconds.min(MAX_SECONDS as f64) * f64::from(sample_rate)).round() as usize * 2
}
