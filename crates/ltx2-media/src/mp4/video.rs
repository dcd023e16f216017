//! RGB frames to H.264.

use ffmpeg_next::{
    Dictionary, Error, Packet, Rational, codec, color, encoder, format::Pixel, frame, software::scaling::Flags,
};
use ltx2_types::VideoInfo;

use crate::ffmpeg::{Converter, fill_rgb, new_encoder, new_picture};

/// Visually lossless for generated footage, at the usual effort.
const CRF: &str = "18";
const PRESET: &str = "medium";
/// Seconds between pictures that a player can jump to.
const SEEK_SECONDS: f64 = 2.0;

/// An x264 encoder with the colour conversion in front.
pub(super) struct VideoEncoder {
    encoder: encoder::video::Encoder,
    converter: Converter,
    rgb: frame::Video,
    time_base: Rational,
    sent: i64,
}

impl VideoEncoder {
    pub(super) fn open(format: VideoInfo) -> Result<Self, Error> {
        let (rate, per) = format.frame_rate.rational();
        let time_base = Rational::new(per as i32, rate as i32);
        let mut context = new_encoder("libx264")?.video()?;
        context.set_width(format.width);
        context.set_height(format.height);
        context.set_format(Pixel::YUV420P);
        context.set_aspect_ratio((1, 1));
        context.set_time_base(time_base);
        context.set_frame_rate(Some(time_base.invert()));
        context.set_gop((format.frame_rate.as_f64() * SEEK_SECONDS).ceil() as u32);
        context.set_colorspace(color::Space::BT709);
        context.set_color_primaries(color::Primaries::BT709);
        context.set_color_transfer_characteristic(color::TransferCharacteristic::BT709);
        context.set_color_range(color::Range::MPEG);
        // MP4 wants the parameter sets in its header, not in the stream.
        context.set_flags(codec::Flags::GLOBAL_HEADER);
        let mut options = Dictionary::new();
        options.set("preset", PRESET);
        options.set("crf", CRF);
        options.set("profile", "high");
        let encoder = context.open_with(options)?;
        let rgb = new_picture(Pixel::RGB24, format.width, format.height)?;
        let flags = Flags::BICUBIC | Flags::ACCURATE_RND | Flags::FULL_CHR_H_INP;
        let converter = Converter::bt709(&rgb, Pixel::YUV420P, flags)?;
        Ok(Self { encoder, converter, rgb, time_base, sent: 0 })
    }

    /// For the stream's header.
    pub(super) fn context(&self) -> &codec::Context {
        self.encoder.as_ref()
    }

    /// The unit of the packets' times: one picture.
    pub(super) fn time_base(&self) -> Rational {
        self.time_base
    }

    /// Takes one picture, `width * height * 3` bytes.
    pub(super) fn send(&mut self, rgb: &[u8]) -> Result<(), Error> {
        let row_bytes = self.rgb.width() as usize * 3;
        fill_rgb(&mut self.rgb, rgb, row_bytes);
        let mut picture = self.converter.run(&self.rgb)?;
        picture.set_pts(Some(self.sent));
        self.sent += 1;
        self.encoder.send_frame(&picture)
    }

    /// No more pictures will come.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        self.encoder.send_eof()
    }

    /// The next packet, if the encoder has one ready.
    pub(super) fn packet(&mut self) -> Result<Option<Packet>, Error> {
        let mut packet = Packet::empty();
        match self.encoder.receive_packet(&mut packet) {
            Ok(()) => {
                // x264 leaves it open, and the last picture's length is in no other packet.
                packet.set_duration(1);
                Ok(Some(packet))
            }
            Err(Error::Eof | Error::Other { errno: ffmpeg_next::error::EAGAIN }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
