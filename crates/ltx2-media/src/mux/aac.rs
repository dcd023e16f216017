//! AAC-LC encoder of audio with exactly the duration of the video.

use ffmpeg_next::{
    ChannelLayout, Error, Packet, Rational, codec, encoder,
    format::sample::{Sample, Type},
    frame,
};
use ltx2_types::{AudioClip, VideoInfo};

use super::resample::to_aac_rate;
use crate::{MediaError, ffmpeg::new_encoder};

/// Bit rate divided by sample rate: 192 kbit/s at 48 kHz.
const BITS_PER_SAMPLE: usize = 4;
/// Minimum bit rate, for the quality at low sample rates.
const MIN_BIT_RATE: usize = 128_000;

/// AAC encoder of a clip.
pub(super) struct AacEncoder {
    encoder: encoder::audio::Encoder,
    clip: AudioClip,
    /// Length of the stream, samples per channel.
    length: usize,
    /// Samples per channel that were sent to the encoder.
    sent: usize,
}

impl AacEncoder {
    /// Opens the encoder. `clip` is cut or padded with silence to the duration of `info`.
    pub(super) fn open(clip: AudioClip, info: VideoInfo) -> Result<Self, MediaError> {
        if clip.samples.iter().any(|sample| !sample.is_finite()) {
            return Err(MediaError::Audio("it has samples that are not finite"));
        }
        let clip = to_aac_rate(clip)?;
        let encoder = open_encoder(clip.sample_rate).map_err(MediaError::ffmpeg("set up the AAC encoder"))?;
        let seconds = info.frame_rate.seconds(info.num_frames);
        let length = (seconds * f64::from(clip.sample_rate)).round() as usize;
        Ok(Self { encoder, clip, length, sent: 0 })
    }

    /// Returns the codec context, for the header of the stream.
    pub(super) fn context(&self) -> &codec::Context {
        self.encoder.as_ref()
    }

    /// Returns the unit of packet timestamps: the duration of a sample.
    pub(super) fn time_base(&self) -> Rational {
        Rational::new(1, self.clip.sample_rate as i32)
    }

    /// Returns the time up to which samples were sent to the encoder.
    pub(super) fn seconds(&self) -> f64 {
        self.sent as f64 / f64::from(self.clip.sample_rate)
    }

    /// Encodes until a packet is ready. Returns `None` at the end of the stream.
    pub(super) fn packet(&mut self) -> Result<Option<Packet>, Error> {
        let mut packet = Packet::empty();
        loop {
            match self.encoder.receive_packet(&mut packet) {
                Ok(()) => return Ok(Some(packet)),
                Err(Error::Eof) => return Ok(None),
                Err(Error::Other { errno: ffmpeg_next::error::EAGAIN }) => self.feed()?,
                Err(error) => return Err(error),
            }
        }
    }

    fn feed(&mut self) -> Result<(), Error> {
        let count = (self.encoder.frame_size() as usize).min(self.length - self.sent);
        if count == 0 {
            return self.encoder.send_eof();
        }
        let mut frame = frame::Audio::new(self.encoder.format(), count, ChannelLayout::STEREO);
        frame.set_rate(self.clip.sample_rate);
        frame.set_pts(Some(self.sent as i64));
        let samples = self.clip.samples.get(self.sent * 2..).unwrap_or_default();
        for channel in 0..2 {
            let mut from = samples.iter().skip(channel).step_by(2);
            for to in frame.plane_mut::<f32>(channel) {
                *to = from.next().map_or(0.0, |sample| sample.clamp(-1.0, 1.0));
            }
        }
        self.sent += count;
        self.encoder.send_frame(&frame)
    }
}

fn open_encoder(sample_rate: u32) -> Result<encoder::audio::Encoder, Error> {
    let mut context = new_encoder("aac")?.audio()?;
    context.set_rate(sample_rate as i32);
    context.set_format(Sample::F32(Type::Planar));
    context.set_channel_layout(ChannelLayout::STEREO);
    context.set_bit_rate((sample_rate as usize * BITS_PER_SAMPLE).max(MIN_BIT_RATE));
    context.set_time_base((1, sample_rate as i32));
    context.set_flags(codec::Flags::GLOBAL_HEADER);
    context.open()
}
