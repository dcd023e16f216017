//! Streams of a file, found without decoding it.

use std::path::Path;

use ffmpeg_next::format::context::Input;
use ffmpeg_next::{Packet, Stream, media};
use ltx2_types::{AudioInfo, ImageLimits, SourceInfo, VideoInfo};

use super::error::DemuxError;
use super::probe::VideoStream;
use super::reader::{decoder_for, open};

/// Error of [`probe_source`]: the file is no usable video or audio. The message does not name the file.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct ProbeError(#[from] DemuxError);

/// Returns the streams of a video or audio file: those that [`crate::FileInputs`] decodes. Frames are counted.
///
/// # Errors
/// The file is damaged, or it has neither video nor audio.
pub fn probe_source(path: &Path, limits: ImageLimits) -> Result<SourceInfo, ProbeError> {
    let mut input = open(path)?;
    let audio = input.streams().best(media::Type::Audio).map(|stream| audio_info(&input, &stream)).transpose()?;
    let video = match VideoStream::best(&input, limits)? {
        Some(stream) => {
            let num_frames = count_packets(&mut input, stream.index);
            if num_frames == 0 {
                return Err(DemuxError::Empty("video").into());
            }
            Some(VideoInfo { num_frames, ..stream.info })
        }
        None => None,
    };
    if video.is_none() && audio.is_none() {
        return Err(DemuxError::NoStream("video or audio").into());
    }
    Ok(SourceInfo { video, audio })
}

fn audio_info(input: &Input, stream: &Stream<'_>) -> Result<AudioInfo, DemuxError> {
    let decoder = decoder_for(stream).and_then(|decoder| decoder.audio());
    let decoder = decoder.map_err(|source| DemuxError::Decoder { kind: "audio", source })?;
    // A missing duration is a large negative number.
    let seconds = match stream.duration() {
        ticks if ticks > 0 => ticks as f64 * f64::from(stream.time_base()),
        _ => input.duration().max(0) as f64 / f64::from(ffmpeg_next::ffi::AV_TIME_BASE),
    };
    Ok(AudioInfo { sample_rate: decoder.rate(), seconds })
}

/// Returns the number of packets of a stream, which is its number of frames.
fn count_packets(input: &mut Input, stream: usize) -> u32 {
    let mut packet = Packet::empty();
    let mut count = 0;
    while packet.read(input).is_ok() {
        count += u32::from(packet.stream() == stream);
    }
    count
}
