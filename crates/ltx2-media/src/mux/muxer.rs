//! Container file with one video stream and at most one audio stream, interleaved.

use std::{io, path::Path};

use ffmpeg_next::{Dictionary, Error, Packet, Rational, codec, format};
use ltx2_types::VideoInfo;

use super::content::Video;
use super::settings::{VideoSettings, max_reduction};
use super::{audio::AudioEncoder, container, video::VideoEncoder};
use crate::{MediaError, ffmpeg::file_url};

const WRITE: &str = "write the video";
/// Index of the video stream, which is added first.
const VIDEO: usize = 0;
/// Index of the audio stream.
const AUDIO: usize = 1;
/// Bit rate of audio beside a video whose rate is far below the requested quality.
const LOW_AUDIO_BIT_RATE: usize = 64_000;

/// An open container file.
pub(super) struct Muxer {
    file: format::context::Output,
    video: VideoEncoder,
    audio: Option<AudioEncoder>,
}

impl Muxer {
    /// Opens the encoders and writes the header to `path`. The rate is `reduction` steps below the requested quality.
    /// Without audio there is no audio stream.
    pub(super) fn open(path: &Path, video: Video, reduction: u32) -> Result<Self, MediaError> {
        let Video { spec, info, audio, metadata } = video;
        let is_reduced_far = reduction > max_reduction(spec.codec, spec.quality) / 2;
        let max_bit_rate = if is_reduced_far { LOW_AUDIO_BIT_RATE } else { usize::MAX };
        let audio = audio.map(|clip| AudioEncoder::open(clip, info, spec.container, max_bit_rate)).transpose()?;
        let mut file = create(path, container::name(spec.container))?;
        if let Some(metadata) = metadata {
            file.set_metadata(Dictionary::from_iter([("comment", metadata.as_str())]));
        }
        let settings = VideoSettings::of(spec.codec, spec.quality, reduction).ok_or(Error::EncoderNotFound);
        let settings = settings.map_err(MediaError::ffmpeg("set up the video encoder"))?;
        Self::with(file, container::options(spec.container), &settings, info, audio)
    }

    /// Opens a Matroska file at `path` with exactly the frames and no audio.
    pub(super) fn open_intermediate(path: &Path, info: VideoInfo) -> Result<Self, MediaError> {
        Self::with(create(path, "matroska")?, Dictionary::new(), &VideoSettings::intermediate(), info, None)
    }

    fn with(
        mut file: format::context::Output,
        options: Dictionary<'_>,
        video: &VideoSettings,
        info: VideoInfo,
        audio: Option<AudioEncoder>,
    ) -> Result<Self, MediaError> {
        let video = VideoEncoder::open(info, video).map_err(MediaError::ffmpeg("set up the video encoder"))?;
        add_stream(&mut file, video.context(), video.time_base(), Some(video.time_base().invert()))?;
        if let Some(audio) = &audio {
            add_stream(&mut file, audio.context(), audio.time_base(), None)?;
        }
        file.write_header_with(options).map_err(MediaError::ffmpeg(WRITE))?;
        Ok(Self { file, video, audio })
    }

    /// Encodes one frame and writes the packets that are ready.
    pub(super) fn frame(&mut self, rgb: &[u8]) -> Result<(), MediaError> {
        self.video.send(rgb).map_err(MediaError::ffmpeg("encode a frame"))?;
        self.write_video()
    }

    /// Flushes the encoders and writes the index.
    pub(super) fn close(mut self) -> Result<(), MediaError> {
        self.video.end().map_err(MediaError::ffmpeg("encode the last frames"))?;
        self.write_video()?;
        self.write_audio_until(f64::INFINITY)?;
        self.file.write_trailer().map_err(MediaError::ffmpeg(WRITE))
    }

    fn write_video(&mut self) -> Result<(), MediaError> {
        while let Some(packet) = self.video.packet().map_err(MediaError::ffmpeg("encode a frame"))? {
            // All samples are known, but frames leave the encoder late. Writing audio up to each frame keeps the muxer
            // from buffering either stream.
            let time = packet.dts().unwrap_or(0) as f64 * f64::from(self.video.time_base());
            self.write_audio_until(time)?;
            self.write(packet, VIDEO, self.video.time_base())?;
        }
        Ok(())
    }

    fn write_audio_until(&mut self, seconds: f64) -> Result<(), MediaError> {
        while let Some(audio) = self.audio.as_mut().filter(|audio| audio.seconds() < seconds) {
            let time_base = audio.time_base();
            let Some(packet) = audio.packet().map_err(MediaError::ffmpeg("encode the audio"))? else { break };
            self.write(packet, AUDIO, time_base)?;
        }
        Ok(())
    }

    fn write(&mut self, mut packet: Packet, stream: usize, time_base: Rational) -> Result<(), MediaError> {
        let stream_time_base = self.file.stream(stream).map_or(time_base, |stream| stream.time_base());
        packet.set_stream(stream);
        packet.rescale_ts(time_base, stream_time_base);
        packet.write_interleaved(&mut self.file).map_err(MediaError::ffmpeg(WRITE))
    }
}

fn add_stream(
    file: &mut format::context::Output,
    codec: &codec::Context,
    time_base: Rational,
    frame_rate: Option<Rational>,
) -> Result<(), MediaError> {
    let mut stream = file.add_stream_with(codec).map_err(MediaError::ffmpeg(WRITE))?;
    stream.set_time_base(time_base);
    if let Some(rate) = frame_rate {
        stream.set_rate(rate);
        stream.set_avg_frame_rate(rate);
    }
    Ok(())
}

fn create(path: &Path, format: &str) -> Result<format::context::Output, MediaError> {
    let not_utf8 = || MediaError::File {
        doing: "create",
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidInput, "ffmpeg accepts only paths in UTF-8"),
    };
    let url = file_url(path).ok_or_else(not_utf8)?;
    format::output_as(&url, format).map_err(MediaError::ffmpeg(WRITE))
}
