//! Samples to AAC-LC, exactly as long as the pictures.

use ffmpeg_next::{
    ChannelLayout, Error, Packet, Rational, codec, encoder,
    format::sample::{Sample, Type},
    frame,
};
use ltx2_types::{AudioClip, VideoInfo};

use super::resample::to_aac_rate;
use crate::{MediaError, ffmpeg::new_encoder};

/// Bits per second of the stream for each sample per second: 192 kbit/s at 48 kHz.
const BITS_PER_SAMPLE: usize = 4;
/// Below this, low rates would sound worse than they have to.
const LEAST_BITS: usize = 128_000;

/// An AAC encoder that draws from the whole sound.
pub(super) struct AudioEncoder {
    encoder: encoder::audio::Encoder,
    sound: AudioClip,
    /// Samples per channel, in the file and already sent.
    length: usize,
    sent: usize,
}

impl AudioEncoder {
    /// `sound` will be cut, or continued with silence, to the length of `format`.
    pub(super) fn open(sound: AudioClip, format: VideoInfo) -> Result<Self, MediaError> {
        if sound.samples.iter().any(|sample| !sample.is_finite()) {
            return Err(MediaError::Sound("it has samples that are not numbers"));
        }
        let sound = to_aac_rate(sound)?;
        let encoder = open_encoder(sound.sample_rate).map_err(MediaError::ffmpeg("set up the AAC encoder"))?;
        let seconds = format.frame_rate.seconds(format.num_frames);
        let length = (seconds * f64::from(sound.sample_rate)).round() as usize;
        Ok(Self { encoder, sound, length, sent: 0 })
    }

    /// For the stream's header.
    pub(super) fn context(&self) -> &codec::Context {
        self.encoder.as_ref()
    }

    /// The unit of the packets' times: one sample.
    pub(super) fn time_base(&self) -> Rational {
        Rational::new(1, self.sound.sample_rate as i32)
    }

    /// How far the sound has been encoded.
    pub(super) fn seconds(&self) -> f64 {
        self.sent as f64 / f64::from(self.sound.sample_rate)
    }

    /// The next packet; `None` at the end.
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
        frame.set_rate(self.sound.sample_rate);
        frame.set_pts(Some(self.sent as i64));
        let samples = self.sound.samples.get(self.sent * 2..).unwrap_or_default();
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
    context.set_bit_rate((sample_rate as usize * BITS_PER_SAMPLE).max(LEAST_BITS));
    context.set_time_base((1, sample_rate as i32));
    context.set_flags(codec::Flags::GLOBAL_HEADER);
    context.open()
}
