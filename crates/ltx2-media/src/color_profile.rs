//! Conversion of images with an ICC profile to sRGB.

use image::{DynamicImage, ImageBuffer};
use moxcms::{CmsError, ColorProfile, DataColorSpace, Layout, TransformOptions};

/// Converts an image from the colour space of its ICC profile to 8-bit sRGB.
///
/// # Errors
/// The profile is invalid, or it is for another colour model than the image has.
pub(crate) fn convert_to_srgb(image: &DynamicImage, icc_profile: &[u8]) -> Result<DynamicImage, CmsError> {
    let profile = ColorProfile::new_from_slice(icc_profile)?;
    let color = image.color();
    let (from, to, samples) = match (profile.color_space, color.has_color(), color.has_alpha()) {
        (DataColorSpace::Rgb, true, false) => (Layout::Rgb, Layout::Rgb, image.to_rgb8().into_raw()),
        (DataColorSpace::Rgb, true, true) => (Layout::Rgba, Layout::Rgba, image.to_rgba8().into_raw()),
        (DataColorSpace::Gray, false, false) => (Layout::Gray, Layout::Rgb, image.to_luma8().into_raw()),
        (DataColorSpace::Gray, false, true) => (Layout::GrayAlpha, Layout::Rgba, image.to_luma_alpha8().into_raw()),
        _ => return Err(CmsError::UnsupportedProfileConnection),
    };
    let transform = profile.create_transform_8bit(from, &ColorProfile::new_srgb(), to, TransformOptions::default())?;
    let (width, height) = (image.width(), image.height());
    let mut converted = vec![0; width as usize * height as usize * to.channels()];
    transform.transform(&samples, &mut converted)?;
    let converted = match to {
        Layout::Rgba => ImageBuffer::from_raw(width, height, converted).map(DynamicImage::ImageRgba8),
        _ => ImageBuffer::from_raw(width, height, converted).map(DynamicImage::ImageRgb8),
    };
    converted.ok_or(CmsError::InvalidLayout)
}
