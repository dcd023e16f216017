//! Decoding of PNG, JPEG and WebP from untrusted sources. The size is checked before anything is decoded.

use std::{
    error::Error,
    io::{self, Cursor},
};

use image::{
    DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits,
    error::{ImageError as DecoderError, UnsupportedError},
};
use ltx2_types::{Failure, FailureCode, ImageLimits, RgbImage};

use crate::color_profile::convert_to_srgb;
use crate::jpeg_end::jpeg_has_end;
use crate::webp_frames::frame_sizes;

/// Memory limit of the decoder besides the pixels: metadata and row buffers, bytes.
const DECODER_MEMORY: u64 = 16 << 20;

/// Error of decoding an image.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// There are no bytes.
    #[error("the image is empty: 0 bytes")]
    Empty,
    /// The first bytes match no known format.
    #[error("unknown image format; supported formats are PNG, JPEG and WebP")]
    UnknownFormat,
    /// The format, or its variant, is not supported.
    #[error("unsupported image ({0}); supported formats are PNG, JPEG and WebP")]
    Unsupported(UnsupportedError),
    /// The data ends too early.
    #[error("the {} is cut off: the data ends before the image is complete", name(*format))]
    Truncated {
        /// Format by the first bytes.
        format: ImageFormat,
    },
    /// The data is invalid.
    #[error("the {} is damaged: {reason}", name(*format))]
    Damaged {
        /// Format by the first bytes.
        format: ImageFormat,
        /// Message of the decoder.
        reason: String,
    },
    /// The image has more pixels than allowed.
    #[error("the image is {width}x{height}, {} pixels; the limit is {limit} pixels (ltx2 serve --max-image)", pixels(*width, *height))]
    TooManyPixels {
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
        /// [`ImageLimits::max_pixels`].
        limit: u64,
    },
    /// A side is longer than allowed.
    #[error("the image is {width}x{height}; a side may have at most {limit} pixels")]
    TooLong {
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
        /// [`ImageLimits::max_side`].
        limit: u32,
    },
    /// The decoder needs more memory than an image within the limits.
    #[error("decoding the {} needs more memory than any image within the limits", name(*format))]
    TooMuchMemory {
        /// Format by the first bytes.
        format: ImageFormat,
    },
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Self::new(FailureCode::BadInput, error.to_string())
    }
}

fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Png => "PNG",
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::WebP => "WebP",
        _ => "image",
    }
}

/// Decodes a PNG, JPEG or WebP to 8-bit RGB.
///
/// The size is checked against `limits` before the pixels are decoded. The orientation in the EXIF data is applied, an
/// ICC profile is converted to sRGB, and transparent pixels are blended over white. An animation is reduced to its first
/// frame.
///
/// # Errors
/// The data is no such image, is damaged or cut off, or exceeds `limits`.
pub fn read_image(bytes: &[u8], limits: ImageLimits) -> Result<RgbImage, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    let format = image::guess_format(bytes).map_err(|_| ImageError::UnknownFormat)?;
    if is_truncated(format, bytes) {
        return Err(ImageError::Truncated { format });
    }
    let decoder_error = |error| from_decoder(format, error);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut decoder_limits = Limits::no_limits();
    decoder_limits.max_alloc = Some(DECODER_MEMORY);
    reader.limits(decoder_limits);
    let mut decoder = reader.into_decoder().map_err(decoder_error)?;
    check_size(decoder.dimensions(), limits)?;
    if format == ImageFormat::WebP {
        frame_sizes(bytes).into_iter().try_for_each(|size| check_size(size, limits))?;
    }
    // Invalid metadata does not make the image unusable.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let icc_profile = decoder.icc_profile().unwrap_or_default();
    let mut image = DynamicImage::from_decoder(decoder).map_err(decoder_error)?;
    image.apply_orientation(orientation);
    if let Some(icc_profile) = icc_profile {
        match convert_to_srgb(&image, &icc_profile) {
            Ok(converted) => image = converted,
            Err(error) => {
                tracing::warn!(%error, "cannot use the ICC profile of an image; its colours are read as sRGB")
            }
        }
    }
    Ok(flatten(image))
}

fn pixels(width: u32, height: u32) -> u64 {
    u64::from(width) * u64::from(height)
}

fn check_size((width, height): (u32, u32), limits: ImageLimits) -> Result<(), ImageError> {
    if pixels(width, height) > limits.max_pixels {
        return Err(ImageError::TooManyPixels { width, height, limit: limits.max_pixels });
    }
    if width.max(height) > limits.max_side {
        return Err(ImageError::TooLong { width, height, limit: limits.max_side });
    }
    Ok(())
}

/// Detects truncation that the decoders ignore, or detect only after they allocated the size in the header.
fn is_truncated(format: ImageFormat, bytes: &[u8]) -> bool {
    match format {
        ImageFormat::Jpeg => !jpeg_has_end(bytes),
        ImageFormat::WebP => match bytes {
            [_, _, _, _, a, b, c, d, rest @ ..] => u32::from_le_bytes([*a, *b, *c, *d]) as usize > rest.len(),
            _ => true,
        },
        _ => false,
    }
}

fn from_decoder(format: ImageFormat, error: DecoderError) -> ImageError {
    match error {
        DecoderError::Unsupported(error) => ImageError::Unsupported(error),
        DecoderError::Limits(_) => ImageError::TooMuchMemory { format },
        DecoderError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            ImageError::Truncated { format }
        }
        // The source has the message alone; the outer error repeats the format.
        other => {
            let reason = other.source().map_or_else(|| other.to_string(), ToString::to_string);
            ImageError::Damaged { format, reason }
        }
    }
}

/// Converts to 8-bit RGB, blending transparent pixels over white.
fn flatten(image: DynamicImage) -> RgbImage {
    let (width, height) = (image.width(), image.height());
    if !image.color().has_alpha() {
        return RgbImage { width, height, data: image.into_rgb8().into_raw() };
    }
    let over_white = |colour: u8, alpha: u8| {
        let (colour, alpha) = (u32::from(colour), u32::from(alpha));
        ((colour * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    let rgba = image.into_rgba8();
    let pixels = rgba.pixels().map(|pixel| pixel.0);
    let data = pixels.flat_map(|[r, g, b, a]| [over_white(r, a), over_white(g, a), over_white(b, a)]).collect();
    RgbImage { width, height, data }
}
