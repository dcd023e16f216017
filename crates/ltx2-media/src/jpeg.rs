//! Encoding of small JPEGs.

use image::codecs::jpeg::JpegEncoder;
use image::imageops;
use ltx2_types::RgbImage;

const QUALITY: u8 = 85;

/// Error of encoding a JPEG.
#[derive(Debug, thiserror::Error)]
pub enum JpegError {
    /// The number of bytes does not match the size.
    #[error("an image of {width}x{height} pixels has {received} bytes instead of 3 per pixel")]
    Bytes {
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
        /// Number of bytes.
        received: usize,
    },
    /// The encoder failed.
    #[error("cannot encode the image: {0}")]
    Encoder(#[from] image::ImageError),
}

/// Encodes `image` as a JPEG. A larger image is reduced so that its longer side has `side` pixels.
///
/// # Errors
/// The number of bytes does not match the size, or the encoder fails.
pub fn small_jpeg(image: RgbImage, side: u32) -> Result<Vec<u8>, JpegError> {
    Ok(encode_jpeg(reduce(image, side)?)?)
}

pub(crate) fn encode_jpeg(image: image::RgbImage) -> Result<Vec<u8>, image::ImageError> {
    let mut jpeg = Vec::new();
    image.write_with_encoder(JpegEncoder::new_with_quality(&mut jpeg, QUALITY))?;
    Ok(jpeg)
}

/// Reduces `image` so that its longer side has at most `side` pixels.
pub(crate) fn reduce(image: RgbImage, side: u32) -> Result<image::RgbImage, JpegError> {
    let RgbImage { width, height, data } = image;
    let received = data.len();
    let image = image::RgbImage::from_raw(width, height, data).ok_or(JpegError::Bytes { width, height, received })?;
    let longest = width.max(height);
    if longest <= side {
        return Ok(image);
    }
    let scaled = |length: u32| ((u64::from(length) * u64::from(side) / u64::from(longest)) as u32).max(1);
    Ok(imageops::thumbnail(&image, scaled(width), scaled(height)))
}
