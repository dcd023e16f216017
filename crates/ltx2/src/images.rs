//! Image files from the command line.

use ltx2_types::RgbImage;

/// Returns the image in `file` after an H.264 pass of quality `crf`.
#[cfg(feature = "media")]
pub fn read(file: &str, crf: u32) -> anyhow::Result<RgbImage> {
    use anyhow::Context;

    let bytes = std::fs::read(file).with_context(|| format!("image: cannot read {file}"))?;
    ltx2_media::conditioning_image(&bytes, crf, ltx2_types::ImageLimits::default())
        .with_context(|| format!("image {file}"))
}

/// Returns an error: a build without ffmpeg has no image decoder.
#[cfg(not(feature = "media"))]
pub fn read(file: &str, _: u32) -> anyhow::Result<RgbImage> {
    anyhow::bail!("image {file}: this build cannot read images; build ltx2 with the feature `media`")
}
