//! Audio encoders, for audio with exactly the duration of the video.

use ffmpeg_next::{
    ChannelLayout, Error, Packet, Rational, codec, encoder,
    format::sample::{Sample, Type},
    frame,
};
use ltx2_types::{AudioClip, Container, VideoInfo};

use super::resample::at_supported_rate;
use crate::{MediaError, ffmpeg::new_encoder};

/// Samples per packet of an encoder without frames.
const PACKET: usize = 1024;

/// Encoder of a clip.
pub(super) struct AudioEncoder {
    encoder: encoder::audio::Encoder,
    clip: AudioClip,
    /// Length of the stream, samples per channel.
    length: usize,
    /// Samples per channel that were sent to the encoder.
    sent: usize,
}

/// Encoder of ffmpeg with the formats that it takes.
struct Settings {
    encoder: &'static str,
    sample: Sample,
    /// Sample rates; empty if all are supported.
    rates: &'static [u32],
    /// Bit rate divided by the sample rate; `None` for uncompressed audio.
    bits_per_sample: Option<usize>,
}

/// Minimum bit rate, for the quality at low sample rates.
const MIN_BIT_RATE: usize = 128_000;

impl Settings {
    fn of(container: Container) -> Result<Self, MediaError> {
        Ok(match container {
            // AAC-LC; the rates that a header can encode and players accept. 192 kbit/s at 48 kHz.
            Container::Mp4 => Self {
                encoder: "aac",
                sample: Sample::F32(Type::Planar),
                rates: &[96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025],
                bits_per_sample: Some(4),
            },
            Container::Webm => Self {
                encoder: "libopus",
                sample: Sample::F32(Type::Packed),
                rates: &[48000, 24000, 16000, 12000, 8000],
                bits_per_sample: Some(3),
            },
            Container::Mov => {
                Self { encoder: "pcm_s16le", sample: Sample::I16(Type::Packed), rates: &[], bits_per_sample: None }
            }
            Container::Gif | Container::Zip => return Err(MediaError::Audio("the format has no audio")),
        })
    }
}

/// Returns the name of the audio encoder of `container`; `None` if it has no audio.
pub(super) fn encoder(container: Container) -> Option<&'static str> {
    Settings::of(container).ok().map(|settings| settings.encoder)
}

impl AudioEncoder {
    /// Opens the encoder, with at most `max_bit_rate` bits per second if it compresses. `clip` is cut or padded with
    /// silence to the duration of `info`.
    pub(super) fn open(
        clip: AudioClip,
        info: VideoInfo,
        container: Container,
        max_bit_rate: usize,
    ) -> Result<Self, MediaError> {
        if clip.samples.iter().any(|sample| !sample.is_finite()) {
            return Err(MediaError::Audio("it has samples that are not finite"));
        }
        let settings = Settings::of(container)?;
        let clip = at_supported_rate(clip, settings.rates)?;
        let encoder = open_encoder(&settings, clip.sample_rate, max_bit_rate);
        let encoder = encoder.map_err(MediaError::ffmpeg("set up the audio encoder"))?;
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
        let frame_size = match self.encoder.frame_size() as usize {
            0 => PACKET,
            size => size,
        };
        let count = frame_size.min(self.length - self.sent);
        if count == 0 {
            return self.encoder.send_eof();
        }
        let mut frame = frame::Audio::new(self.encoder.format(), count, ChannelLayout::STEREO);
        frame.set_rate(self.clip.sample_rate);
        frame.set_pts(Some(self.sent as i64));
        fill(&mut frame, self.clip.samples.get(self.sent * 2..).unwrap_or_default());
        self.sent += count;
        self.encoder.send_frame(&frame)
    }
}

/// Copies interleaved stereo samples, followed by silence, to `frame`.
fn fill(frame: &mut frame::Audio, samples: &[f32]) {
    let mut pairs = samples.chunks_exact(2).map(|pair| [pair[0].clamp(-1.0, 1.0), pair[1].clamp(-1.0, 1.0)]);
    let mut next = || pairs.next().unwrap_or([0.0; 2]);
    match frame.format() {
        Sample::I16(_) => {
            for to in frame.plane_mut::<(i16, i16)>(0) {
                let [left, right] = next().map(|sample| (sample * f32::from(i16::MAX)).round() as i16);
                *to = (left, right);
            }
        }
        Sample::F32(Type::Packed) => {
            for to in frame.plane_mut::<(f32, f32)>(0) {
                let [left, right] = next();
                *to = (left, right);
            }
        }
        _ => {
            let pairs: Vec<[f32; 2]> = (0..frame.samples()).map(|_| next()).collect();
            for channel in 0..2 {
                for (to, pair) in frame.plane_mut::<f32>(channel).iter_mut().zip(&pairs) {
                    *to = pair[channel];
                }
            }
        }
    }
}

fn open_encoder(settings: &Settings, sample_rate: u32, max_bit_rate: usize) -> Result<encoder::audio::Encoder, Error> {
    let mut context = new_encoder(settings.encoder)?.audio()?;
    context.set_rate(sample_rate as i32);
    context.set_format(settings.sample);
    context.set_channel_layout(ChannelLayout::STEREO);
    if let Some(bits) = settings.bits_per_sample {
        context.set_bit_rate((sample_rate as usize * bits).max(MIN_BIT_RATE).min(max_bit_rate));
    }
    context.set_time_base((1, sample_rate as i32));
    context.set_flags(codec::Flags::GLOBAL_HEADER);
    context.open()
}
