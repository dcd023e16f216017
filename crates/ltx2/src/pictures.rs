//! Pictures that a command is given as files.

use ltx2_types::RgbImage;

/// The picture in `file` after the H.264 pass of quality `crf`.
#[cfg(feature = "media")]
pub fn read(file: &str, crf: u32) -> anyhow::Result<RgbImage> {
    use anyhow::Context;

    let bytes = std::fs::read(file).with_context(|| format!("image: cannot read {file}"))?;
    ltx2_media::conditioning_image(&bytes, crf, ltx2_types::ImageLimits::default())
        .with_context(|| format!("image {file}"))
}

/// A build without ffmpeg's libraries has no decoder.
#[cfg(not(feature = "media"))]
pub fn read(file: &str, _: u32) -> anyhow::Result<RgbImage> {
    anyhow::bail!("image {file}: this build reads no pictures; build ltx2 with its feature `media`")
}
