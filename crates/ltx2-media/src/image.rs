//! Pictures as they come from outside: size checked before anything is decoded, upright, without alpha, 8-bit RGB.

use std::{
    error::Error,
    io::{self, Cursor},
};

use image::{
    DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits,
    error::{ImageError as Fault, UnsupportedError},
};
use ltx2_types::{Failure, FailureCode, ImageLimits, RgbImage};

use crate::jpeg_end::jpeg_has_end;
use crate::webp_frames::frame_sizes;

/// Bytes that unpacked metadata and rows may take beside the picture, whose own size is known before.
const ROOM: u64 = 16 << 20;

/// Why bytes are not a usable picture.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// There are no bytes.
    #[error("the picture is empty: 0 bytes")]
    Empty,
    /// The bytes begin like no known picture.
    #[error("this is not a picture in a known format; PNG, JPEG and WebP are read")]
    UnknownFormat,
    /// A picture, but of a format or variant that is not read.
    #[error("the picture cannot be read ({0}); PNG, JPEG and WebP are read")]
    Unsupported(UnsupportedError),
    /// The data stops before the picture does.
    #[error("the {} is cut off: the data ends before the picture does", name(*format))]
    Truncated {
        /// What it begins as.
        format: ImageFormat,
    },
    /// The data contradicts itself.
    #[error("the {} is damaged: {reason}", name(*format))]
    Damaged {
        /// What it begins as.
        format: ImageFormat,
        /// The decoder's words.
        reason: String,
    },
    /// More pixels than allowed.
    #[error("the picture is {width}x{height}, {} pixels; the limit is {limit} pixels", u64::from(*width) * u64::from(*height))]
    TooManyPixels {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// [`ImageLimits::max_pixels`].
        limit: u64,
    },
    /// A side longer than allowed.
    #[error("the picture is {width}x{height}; a side may have at most {limit} pixels")]
    TooLong {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// [`ImageLimits::max_side`].
        limit: u32,
    },
    /// Decoding would need more memory than the limits allow.
    #[error("decoding the {} would need more memory than a picture within the limits can", name(*format))]
    TooMuchMemory {
        /// What it begins as.
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
        _ => "picture",
    }
}

/// Decodes a PNG, JPEG or WebP.
///
/// The size is checked against `limits` from the header alone. The orientation in the EXIF data is applied, transparency
/// is laid over white, and every pixel format becomes 8-bit RGB. Of an animation the first picture is taken.
pub fn read_image(bytes: &[u8], limits: ImageLimits) -> Result<RgbImage, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    let format = image::guess_format(bytes).map_err(|_| ImageError::UnknownFormat)?;
    if is_cut_off(format, bytes) {
        return Err(ImageError::Truncated { format });
    }
    let fault = |fault| from_fault(format, fault);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut decoder_limits = Limits::no_limits();
    decoder_limits.max_alloc = Some(ROOM);
    reader.limits(decoder_limits);
    let mut decoder = reader.into_decoder().map_err(fault)?;
    check_size(decoder.dimensions(), limits)?;
    if format == ImageFormat::WebP {
        frame_sizes(bytes).into_iter().try_for_each(|size| check_size(size, limits))?;
    }
    // Unreadable metadata is no reason to refuse a picture.
    let orientation = decoder.orientation().unwrap_or(image::metadata::Orientation::NoTransforms);
    let mut picture = DynamicImage::from_decoder(decoder).map_err(fault)?;
    picture.apply_orientation(orientation);
    Ok(flatten(picture))
}

fn check_size((width, height): (u32, u32), limits: ImageLimits) -> Result<(), ImageError> {
    if u64::from(width) * u64::from(height) > limits.max_pixels {
        return Err(ImageError::TooManyPixels { width, height, limit: limits.max_pixels });
    }
    if width.max(height) > limits.max_side {
        return Err(ImageError::TooLong { width, height, limit: limits.max_side });
    }
    Ok(())
}

/// What the decoders do not notice, or only after reserving what the header claims.
fn is_cut_off(format: ImageFormat, bytes: &[u8]) -> bool {
    match format {
        ImageFormat::Jpeg => !jpeg_has_end(bytes),
        ImageFormat::WebP => match bytes {
            [_, _, _, _, a, b, c, d, rest @ ..] => u32::from_le_bytes([*a, *b, *c, *d]) as usize > rest.len(),
            _ => true,
        },
        _ => false,
    }
}

fn from_fault(format: ImageFormat, fault: Fault) -> ImageError {
    match fault {
        Fault::Unsupported(error) => ImageError::Unsupported(error),
        Fault::Limits(_) => ImageError::TooMuchMemory { format },
        Fault::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => ImageError::Truncated { format },
        // The decoder's own words are inside; around them the format is named once more.
        other => {
            let reason = other.source().map_or_else(|| other.to_string(), ToString::to_string);
            ImageError::Damaged { format, reason }
        }
    }
}

/// 8-bit RGB, transparency over white.
fn flatten(picture: DynamicImage) -> RgbImage {
    let (width, height) = (picture.width(), picture.height());
    if !picture.color().has_alpha() {
        return RgbImage { width, height, data: picture.into_rgb8().into_raw() };
    }
    let over_white = |colour: u8, alpha: u8| {
        let (colour, alpha) = (u32::from(colour), u32::from(alpha));
        ((colour * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    let rgba = picture.into_rgba8();
    let pixels = rgba.pixels().map(|pixel| pixel.0);
    let data = pixels.flat_map(|[r, g, b, a]| [over_white(r, a), over_white(g, a), over_white(b, a)]).collect();
    RgbImage { width, height, data }
}
