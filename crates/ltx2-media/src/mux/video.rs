//! Video encoders with colour conversion from RGB.

use ffmpeg_next::{
    Dictionary, Error, Packet, Rational, codec, color, encoder, format::Pixel, frame, software::scaling::Flags,
};
use ltx2_types::VideoInfo;

use super::settings::VideoSettings;
use crate::ffmpeg::{Converter, fill_rgb, new_encoder, new_frame};

/// Chroma is the mean of 2x2 pixels, as in the official code.
const CHROMA: Flags =
    Flags::from_bits_retain(Flags::AREA.bits() | Flags::ACCURATE_RND.bits() | Flags::FULL_CHR_H_INP.bits());
/// Seconds between keyframes, to which a player can seek.
const KEYFRAME_SECONDS: f64 = 2.0;

/// Number of frames up to which there are no B-frames: x265 leaves timestamps uninitialised if it ends before the first
/// group of them.
const SHORT: u32 = 5;

/// Encoder of RGB frames.
pub(super) struct VideoEncoder {
    encoder: encoder::video::Encoder,
    converter: Converter,
    rgb: frame::Video,
    is_yuv: bool,
    time_base: Rational,
    sent: i64,
}

impl VideoEncoder {
    pub(super) fn open(info: VideoInfo, settings: &VideoSettings) -> Result<Self, Error> {
        let (rate, per) = info.frame_rate.rational();
        let time_base = Rational::new(per as i32, rate as i32);
        let mut context = new_encoder(settings.encoder)?.video()?;
        context.set_width(info.width);
        context.set_height(info.height);
        context.set_format(settings.format);
        context.set_aspect_ratio((1, 1));
        context.set_time_base(time_base);
        context.set_frame_rate(Some(time_base.invert()));
        if info.num_frames <= SHORT {
            context.set_max_b_frames(0);
        }
        context.set_gop((info.frame_rate.as_f64() * KEYFRAME_SECONDS).ceil() as u32);
        if settings.is_yuv() {
            context.set_colorspace(color::Space::BT709);
            context.set_color_primaries(color::Primaries::BT709);
            context.set_color_transfer_characteristic(color::TransferCharacteristic::BT709);
            context.set_color_range(color::Range::MPEG);
        }
        // Containers store the parameter sets in their header, not in the stream.
        context.set_flags(codec::Flags::GLOBAL_HEADER);
        let mut options = Dictionary::new();
        settings.options.iter().for_each(|(name, value)| options.set(name, value));
        if let Some(tag) = settings.tag {
            // SAFETY: `as_mut_ptr` returns the valid codec context that `context` owns, which is not open yet.
            unsafe { (*context.as_mut_ptr()).codec_tag = u32::from_le_bytes(*tag) };
        }
        let encoder = context.open_with(options)?;
        let rgb = new_frame(Pixel::RGB24, info.width, info.height)?;
        let converter = match settings.is_yuv() {
            true => Converter::bt709(&rgb, settings.format, CHROMA)?,
            false => Converter::new(&rgb, settings.format, CHROMA)?,
        };
        Ok(Self { encoder, converter, rgb, is_yuv: settings.is_yuv(), time_base, sent: 0 })
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
        // ProRes takes the colour space from the frames.
        if self.is_yuv {
            frame.set_color_space(color::Space::BT709);
            frame.set_color_primaries(color::Primaries::BT709);
            frame.set_color_transfer_characteristic(color::TransferCharacteristic::BT709);
            frame.set_color_range(color::Range::MPEG);
        }
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
                // Encoders do not set it, and the duration of the last frame follows from no other packet.
                packet.set_duration(1);
                Ok(Some(packet))
            }
            Err(Error::Eof | Error::Other { errno: ffmpeg_next::error::EAGAIN }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns luma and chroma codes of a colour, by the BT.709 matrix.
    fn codes([r, g, b]: [f64; 3]) -> [f64; 3] {
        let y = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        [16.0 + 219.0 * y / 255.0, 128.0 + 224.0 * (b - y) / 1.8556 / 255.0, 128.0 + 224.0 * (r - y) / 1.5748 / 255.0]
    }

    #[test]
    fn chroma_is_the_mean_of_four_pixels() {
        let (width, height) = (32, 16);
        let mut rng = 7_u32;
        let pixels: Vec<u8> = std::iter::repeat_with(|| {
            rng = rng.wrapping_mul(1664525).wrapping_add(1013904223);
            (rng >> 24) as u8
        })
        .take(width * height * 3)
        .collect();
        let mut rgb = new_frame(Pixel::RGB24, width as u32, height as u32).unwrap();
        fill_rgb(&mut rgb, &pixels, width * 3);
        let yuv = Converter::bt709(&rgb, Pixel::YUV420P, CHROMA).unwrap().run(&rgb).unwrap();
        let pixel = |x: usize, y: usize| [0, 1, 2].map(|c| f64::from(pixels[(y * width + x) * 3 + c]));
        let near = |plane: usize, x: usize, y: usize, expected: f64| {
            let found = f64::from(yuv.data(plane)[y * yuv.stride(plane) + x]);
            assert!((found - expected).abs() <= 1.5, "plane {plane} at {x}, {y}: {found}, expected {expected}");
        };
        for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
            near(0, x, y, codes(pixel(x, y))[0]);
        }
        for (x, y) in (0..height / 2).flat_map(|y| (0..width / 2).map(move |x| (x, y))) {
            let block = [(0, 0), (1, 0), (0, 1), (1, 1)].map(|(dx, dy)| pixel(2 * x + dx, 2 * y + dy));
            let mean = [0, 1, 2].map(|c| block.iter().map(|pixel| pixel[c]).sum::<f64>() / 4.0);
            near(1, x, y, codes(mean)[1]);
            near(2, x, y, codes(mean)[2]);
        }
    }
}
