//! The H.264 pass for stills: the networks were trained on video frames, so a clean still is given the losses of one.

use ffmpeg_next::{
    Dictionary, Error, Frame, Packet, codec, decoder, encoder, format::Pixel, software::scaling::Flags, threading,
};
use ltx2_types::RgbImage;

use crate::{
    MediaError,
    ffmpeg::{Converter, fill_rgb, init, new_encoder, new_picture, packed_rgb},
};

/// The reference pipeline has a slice for each core, where the picture has 64 rows for each, and so its result depends on
/// the machine. Here it is that of a machine with this many cores everywhere, as GPU servers have at least.
const SLICES: usize = 16;

/// `image` as a decoder shows it after libx264 has encoded it as a single frame at `crf` (preset veryfast, yuv420p).
///
/// Odd sides lose their last row or column, as 4:2:0 colour needs even ones; a side of one pixel is doubled. At `crf` 0
/// the image comes back unchanged.
pub fn still_as_video_frame(image: &RgbImage, crf: u32) -> Result<RgbImage, MediaError> {
    if crf == 0 {
        return Ok(image.clone());
    }
    init();
    there_and_back(image, crf).map_err(|source| MediaError::Still { width: image.width, height: image.height, source })
}

fn there_and_back(image: &RgbImage, crf: u32) -> Result<RgbImage, Error> {
    // Without further flags swscale's conversions are those of the reference pipeline, to the bit.
    let flags = Flags::BILINEAR;
    let widened = at_least_two_pixels(image);
    let image = widened.as_ref().unwrap_or(image);
    let mut rgb = new_picture(Pixel::RGB24, image.width / 2 * 2, image.height / 2 * 2)?;
    fill_rgb(&mut rgb, &image.data, image.width as usize * 3);
    let yuv = Converter::new(&rgb, Pixel::YUV420P, flags)?.run(&rgb)?;
    let decoded = decode(&encode(yuv, crf)?)?;
    let rgb = Converter::new(&decoded, Pixel::RGB24, flags)?.run(&decoded)?;
    Ok(RgbImage { width: rgb.width(), height: rgb.height(), data: packed_rgb(&rgb) })
}

/// A copy with sides of one pixel doubled, if there are any.
fn at_least_two_pixels(image: &RgbImage) -> Option<RgbImage> {
    if image.width != 1 && image.height != 1 {
        return None;
    }
    let times = |side| if side == 1 { 2 } else { 1 };
    let pixels = image.data.chunks_exact(3).flat_map(|pixel| pixel.repeat(times(image.width)));
    let data = pixels.collect::<Vec<_>>().repeat(times(image.height));
    Some(RgbImage { width: image.width.max(2), height: image.height.max(2), data })
}

fn encode(mut picture: ffmpeg_next::frame::Video, crf: u32) -> Result<Vec<Packet>, Error> {
    let mut context: encoder::video::Video = new_encoder("libx264")?.video()?;
    context.set_width(picture.width());
    context.set_height(picture.height());
    context.set_format(Pixel::YUV420P);
    context.set_time_base((1, 1));
    context.set_frame_rate(Some((1, 1)));
    context.set_threading(threading::Config { count: SLICES, ..threading::Config::kind(threading::Type::Slice) });
    let mut options = Dictionary::new();
    options.set("preset", "veryfast");
    options.set("crf", &crf.to_string());
    let mut encoder = context.open_with(options)?;
    picture.set_pts(Some(0));
    encoder.send_frame(&picture)?;
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
    // SAFETY: an empty frame is what ffmpeg expects to fill.
    let mut frame = unsafe { Frame::empty() };
    decoder.receive_frame(&mut frame)?;
    Ok(frame.into())
}
