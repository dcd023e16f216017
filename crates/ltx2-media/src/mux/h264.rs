//! H.264 encoder with colour conversion from RGB.

use ffmpeg_next::{
    Dictionary, Error, Packet, Rational, codec, color, encoder, format::Pixel, frame, software::scaling::Flags,
};
use ltx2_types::{Quality, VideoInfo};

use crate::ffmpeg::{Converter, fill_rgb, new_encoder, new_frame};

/// The default preset of x264.
const PRESET: &str = "medium";
/// Seconds between keyframes, to which a player can seek.
const KEYFRAME_SECONDS: f64 = 2.0;

/// x264 encoder of RGB frames.
pub(super) struct H264Encoder {
    encoder: encoder::video::Encoder,
    converter: Converter,
    rgb: frame::Video,
    time_base: Rational,
    sent: i64,
}

impl H264Encoder {
    pub(super) fn open(info: VideoInfo, quality: Quality) -> Result<Self, Error> {
        let (rate, per) = info.frame_rate.rational();
        let time_base = Rational::new(per as i32, rate as i32);
        let mut context = new_encoder("libx264")?.video()?;
        context.set_width(info.width);
        context.set_height(info.height);
        context.set_format(Pixel::YUV420P);
        context.set_aspect_ratio((1, 1));
        context.set_time_base(time_base);
        context.set_frame_rate(Some(time_base.invert()));
        context.set_gop((info.frame_rate.as_f64() * KEYFRAME_SECONDS).ceil() as u32);
        context.set_colorspace(color::Space::BT709);
        context.set_color_primaries(color::Primaries::BT709);
        context.set_color_transfer_characteristic(color::TransferCharacteristic::BT709);
        context.set_color_range(color::Range::MPEG);
        // Containers store the parameter sets in their header, not in the stream.
        context.set_flags(codec::Flags::GLOBAL_HEADER);
        let mut options = Dictionary::new();
        options.set("preset", PRESET);
        options.set("crf", crf(quality));
        options.set("profile", "high");
        let encoder = context.open_with(options)?;
        let rgb = new_frame(Pixel::RGB24, info.width, info.height)?;
        let flags = Flags::BICUBIC | Flags::ACCURATE_RND | Flags::FULL_CHR_H_INP;
        let converter = Converter::bt709(&rgb, Pixel::YUV420P, flags)?;
        Ok(Self { encoder, converter, rgb, time_base, sent: 0 })
    }

    /// Returns the codec context, for the header of the stream.
    pub(super) fn context(&self) -> &codec::Context {
        self.encoder.as_ref()
    }

    /// Returns the unit of packet timestamps: the duration of a frame.
    pub(super) fn time_base(&self) -> Rational {
        self.time_base
    }

    /// Encodes one frame of `width * height * 3` bytes.
    pub(super) fn send(&mut self, rgb: &[u8]) -> Result<(), Error> {
        let row_bytes = self.rgb.width() as usize * 3;
        fill_rgb(&mut self.rgb, rgb, row_bytes);
        let mut frame = self.converter.run(&self.rgb)?;
        frame.set_pts(Some(self.sent));
        self.sent += 1;
        self.encoder.send_frame(&frame)
    }

    /// Signals the end of the stream.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        self.encoder.send_eof()
    }

    /// Returns the next packet, if one is ready.
    pub(super) fn packet(&mut self) -> Result<Option<Packet>, Error> {
        let mut packet = Packet::empty();
        match self.encoder.receive_packet(&mut packet) {
            Ok(()) => {
                // x264 does not set it, and the duration of the last frame follows from no other packet.
                packet.set_duration(1);
                Ok(Some(packet))
            }
            Err(Error::Eof | Error::Other { errno: ffmpeg_next::error::EAGAIN }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Returns the constant rate factor of x264.
fn crf(quality: Quality) -> &'static str {
    match quality {
        Quality::High => "18",
    }
}
