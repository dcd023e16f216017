//! The container: takes frames, keeps the two streams in step.

use std::{io, path::Path};

use ffmpeg_next::{Dictionary, Packet, Rational, format};
use ltx2_types::{AudioClip, VideoInfo};

use super::{audio::AudioEncoder, video::VideoEncoder};
use crate::MediaError;

const WRITE: &str = "write the video";

/// An open MP4 file.
pub(super) struct Muxer {
    file: format::context::Output,
    video: VideoEncoder,
    audio: AudioEncoder,
    format: VideoInfo,
    received: u32,
}

impl Muxer {
    /// Opens both encoders and writes the header to `path`.
    pub(super) fn open(path: &Path, format: VideoInfo, sound: AudioClip) -> Result<Self, MediaError> {
        let mut file = create(path)?;
        let video = VideoEncoder::open(format).map_err(MediaError::ffmpeg("set up the H.264 encoder"))?;
        let audio = AudioEncoder::open(sound, format)?;
        let rate = video.time_base().invert();
        let mut stream = file.add_stream_with(video.context()).map_err(MediaError::ffmpeg(WRITE))?;
        stream.set_time_base(video.time_base());
        stream.set_rate(rate);
        stream.set_avg_frame_rate(rate);
        let mut stream = file.add_stream_with(audio.context()).map_err(MediaError::ffmpeg(WRITE))?;
        stream.set_time_base(audio.time_base());
        let mut options = Dictionary::new();
        // Players that stream need the index before the data.
        options.set("movflags", "+faststart");
        file.write_header_with(options).map_err(MediaError::ffmpeg(WRITE))?;
        Ok(Self { file, video, audio, format, received: 0 })
    }

    /// Encodes one picture and writes what the encoder gives back.
    pub(super) fn frame(&mut self, rgb: &[u8]) -> Result<(), MediaError> {
        let VideoInfo { width, height, num_frames, .. } = self.format;
        let expected = width as usize * height as usize * 3;
        if rgb.len() != expected {
            return Err(MediaError::FrameBytes { expected, received: rgb.len() });
        }
        self.received += 1;
        if self.received > num_frames {
            return Err(MediaError::FrameCount { announced: num_frames, received: self.received });
        }
        self.video.send(rgb).map_err(MediaError::ffmpeg("encode a frame"))?;
        self.write_ready_video()
    }

    /// Writes what the encoders still hold, then the index.
    pub(super) fn close(mut self) -> Result<VideoInfo, MediaError> {
        let announced = self.format.num_frames;
        if self.received != announced {
            return Err(MediaError::FrameCount { announced, received: self.received });
        }
        self.video.end().map_err(MediaError::ffmpeg("encode the last frames"))?;
        self.write_ready_video()?;
        self.write_audio_until(f64::INFINITY)?;
        self.file.write_trailer().map_err(MediaError::ffmpeg(WRITE))?;
        Ok(self.format)
    }

    fn write_ready_video(&mut self) -> Result<(), MediaError> {
        while let Some(packet) = self.video.packet().map_err(MediaError::ffmpeg("encode a frame"))? {
            // The sound is all here, the pictures come late from the encoder: led by them, the muxer has nothing to hold.
            let time = packet.dts().unwrap_or(0) as f64 * f64::from(self.video.time_base());
            self.write_audio_until(time)?;
            self.write(packet, VIDEO, self.video.time_base())?;
        }
        Ok(())
    }

    fn write_audio_until(&mut self, seconds: f64) -> Result<(), MediaError> {
        while self.audio.seconds() < seconds {
            let Some(packet) = self.audio.packet().map_err(MediaError::ffmpeg("encode the sound"))? else { break };
            self.write(packet, AUDIO, self.audio.time_base())?;
        }
        Ok(())
    }

    fn write(&mut self, mut packet: Packet, stream: usize, time_base: Rational) -> Result<(), MediaError> {
        let ticks = self.file.stream(stream).map_or(time_base, |stream| stream.time_base());
        packet.set_stream(stream);
        packet.rescale_ts(time_base, ticks);
        packet.write_interleaved(&mut self.file).map_err(MediaError::ffmpeg(WRITE))
    }
}

/// Stream numbers, in the order in which the streams are added.
const VIDEO: usize = 0;
const AUDIO: usize = 1;

fn create(path: &Path) -> Result<format::context::Output, MediaError> {
    let not_text = || MediaError::File {
        doing: "create",
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidInput, "ffmpeg takes paths in UTF-8 only"),
    };
    // The prefix keeps a colon in the name from being taken for a protocol.
    let url = format!("file:{}", path.to_str().ok_or_else(not_text)?);
    format::output_as(&url, "mp4").map_err(MediaError::ffmpeg(WRITE))
}
