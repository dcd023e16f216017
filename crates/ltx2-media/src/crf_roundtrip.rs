//! H.264 pass of conditioning images: the networks were trained on video frames, so an image gets the compression
//! artefacts of one.

use ffmpeg_next::{
    Dictionary, Error, Frame, Packet, codec, decoder, encoder, format::Pixel, software::scaling::Flags, threading,
};
use ltx2_types::{Failure, ImageLimits, RgbImage};

use crate::{
    ImageError, MediaError,
    ffmpeg::{Converter, fill_rgb, init, new_encoder, new_frame, packed_rgb},
    read_image,
};

/// libx264 uses one slice per core (of at least 64 rows), so the output of the reference depends on the machine. Here
/// the number is fixed.
const SLICES: usize = 16;

/// Error of reading a conditioning image.
#[derive(Debug, thiserror::Error)]
pub enum ConditioningError {
    /// The image cannot be decoded.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The H.264 pass failed.
    #[error(transparent)]
    Media(#[from] MediaError),
}

impl From<ConditioningError> for Failure {
    fn from(error: ConditioningError) -> Self {
        match error {
            ConditioningError::Image(error) => error.into(),
            ConditioningError::Media(error) => error.into(),
        }
    }
}

/// Decodes a PNG, JPEG or WebP and applies [`crf_roundtrip`].
///
/// # Errors
/// The image cannot be decoded or exceeds `limits`, or ffmpeg fails.
pub fn conditioning_image(bytes: &[u8], crf: u32, limits: ImageLimits) -> Result<RgbImage, ConditioningError> {
    Ok(crf_roundtrip(&read_image(bytes, limits)?, crf)?)
}

/// Encodes `image` as a single frame with libx264 at `crf` (preset veryfast, yuv420p) and returns the decoded frame. A
/// `crf` of 0 returns the image unchanged.
///
/// An odd side loses its last row or column, because 4:2:0 chroma needs even sides; a side of one pixel is doubled.
///
/// # Errors
/// ffmpeg fails, for example because the image is too large for H.264.
pub fn crf_roundtrip(image: &RgbImage, crf: u32) -> Result<RgbImage, MediaError> {
    if crf == 0 {
        return Ok(image.clone());
    }
    init();
    encode_and_decode(image, crf).map_err(|source| MediaError::CrfRoundtrip {
        width: image.width,
        height: image.height,
        source,
    })
}

fn encode_and_decode(image: &RgbImage, crf: u32) -> Result<RgbImage, Error> {
    // With these flags the conversions of swscale are bit-equal to those of the reference pipeline.
    let flags = Flags::BILINEAR;
    let widened = at_least_two_pixels(image);
    let image = widened.as_ref().unwrap_or(image);
    let mut rgb = new_frame(Pixel::RGB24, image.width / 2 * 2, image.height / 2 * 2)?;
    fill_rgb(&mut rgb, &image.data, image.width as usize * 3);
    let yuv = Converter::new(&rgb, Pixel::YUV420P, flags)?.run(&rgb)?;
    let decoded = decode(&encode(yuv, crf)?)?;
    let rgb = Converter::new(&decoded, Pixel::RGB24, flags)?.run(&decoded)?;
    Ok(RgbImage { width: rgb.width(), height: rgb.height(), data: packed_rgb(&rgb) })
}

/// Returns a copy with every side of one pixel doubled, or `None` if there is no such side.
fn at_least_two_pixels(image: &RgbImage) -> Option<RgbImage> {
    if image.width != 1 && image.height != 1 {
        return None;
    }
    let times = |side| if side == 1 { 2 } else { 1 };
    let pixels = image.data.chunks_exact(3).flat_map(|pixel| pixel.repeat(times(image.width)));
    let data = pixels.collect::<Vec<_>>().repeat(times(image.height));
    Some(RgbImage { width: image.width.max(2), height: image.height.max(2), data })
}

fn encode(mut frame: ffmpeg_next::frame::Video, crf: u32) -> Result<Vec<Packet>, Error> {
    let mut context: encoder::video::Video = new_encoder("libx264")?.video()?;
    context.set_width(frame.width());
    context.set_height(frame.height());
    context.set_format(Pixel::YUV420P);
    context.set_time_base((1, 1));
    context.set_frame_rate(Some((1, 1)));
    context.set_threading(threading::Config { count: SLICES, ..threading::Config::kind(threading::Type::Slice) });
    let mut options = Dictionary::new();
    options.set("preset", "veryfast");
    options.set("crf", &crf.to_string());
    let mut encoder = context.open_with(options)?;
    frame.set_pts(Some(0));
    encoder.send_frame(&frame)?;
    encoder.send_eof()?;
    let mut packets = Vec::new();
    loop {
        let mut packet = Packet::empty();
        match encoder.receive_packet(&mut packet) {
            Ok(()) => packets.push(packet),
            Err(Error::Eof) => return Ok(packets),
            Err(error) => return Err(error),
        }
    }
}

fn decode(packets: &[Packet]) -> Result<ffmpeg_next::frame::Video, Error> {
    let codec = decoder::find(codec::Id::H264).ok_or(Error::DecoderNotFound)?;
    let mut decoder = codec::Context::new_with_codec(codec).decoder().video()?;
    for packet in packets {
        decoder.send_packet(packet)?;
    }
    decoder.send_eof()?;
    // SAFETY: `empty` has no precondition; `receive_frame` fills the frame before it is read.
    let mut frame = unsafe { Frame::empty() };
    decoder.receive_frame(&mut frame)?;
    Ok(frame.into())
}
