//! Small JPEGs: of the first frame, taken while a video passes by, and of any picture.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::imageops;
use ltx2_types::{AudioClip, Failure, FailureCode, Output, RgbImage, VideoInfo};

/// Longest side of a thumbnail, pixels.
const SIDE: u32 = 512;
const QUALITY: u8 = 85;

/// Why a picture could not be made a JPEG.
#[derive(Debug, thiserror::Error)]
pub enum JpegError {
    /// The bytes are not as many as the size says.
    #[error("a picture of {width}x{height} pixels has {received} bytes, but 3 a pixel are needed")]
    Bytes {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// Bytes that there are.
        received: usize,
    },
    /// The encoder refused.
    #[error("the JPEG could not be written: {0}")]
    Encoder(#[from] image::ImageError),
}

/// `picture` as a JPEG, reduced to at most `side` pixels on its longer side.
pub fn small_jpeg(picture: RgbImage, side: u32) -> Result<Vec<u8>, JpegError> {
    let RgbImage { width, height, data } = picture;
    let received = data.len();
    let picture = image::RgbImage::from_raw(width, height, data).ok_or(JpegError::Bytes { width, height, received })?;
    let mut jpeg = Vec::new();
    reduced(picture, side).write_with_encoder(JpegEncoder::new_with_quality(&mut jpeg, QUALITY))?;
    Ok(jpeg)
}

/// Passes everything on to an output and keeps the first frame.
pub struct WithThumbnail<'a> {
    output: &'a mut dyn Output,
    size: Option<(u32, u32)>,
    first: Option<RgbImage>,
}

impl<'a> WithThumbnail<'a> {
    /// In front of `output`.
    pub fn new(output: &'a mut dyn Output) -> Self {
        Self { output, size: None, first: None }
    }

    /// Writes the picture to `path`, whole or not at all; on disk when this returns. Fails where no frame came by.
    pub fn write(self, path: &Path) -> Result<(), Failure> {
        let broken = |reason: &dyn std::fmt::Display| {
            Failure::new(FailureCode::Output, format!("the thumbnail could not be written: {reason}"))
        };
        let first = self.first.ok_or_else(|| broken(&"there is no frame"))?;
        let jpeg = small_jpeg(first, SIDE).map_err(|error| broken(&error))?;
        publish(path, &jpeg).map_err(|error| broken(&error))
    }
}

impl Output for WithThumbnail<'_> {
    fn start(&mut self, format: VideoInfo) -> Result<(), Failure> {
        self.size = Some((format.width, format.height));
        self.output.start(format)
    }

    fn audio(&mut self, sound: AudioClip) -> Result<(), Failure> {
        self.output.audio(sound)
    }

    fn frame(&mut self, rgb: &[u8]) -> Result<(), Failure> {
        if self.first.is_none() {
            self.first = self.size.map(|(width, height)| RgbImage { width, height, data: rgb.to_vec() });
        }
        self.output.frame(rgb)
    }
}

fn reduced(picture: image::RgbImage, side: u32) -> image::RgbImage {
    let (width, height) = picture.dimensions();
    let longest = width.max(height);
    if longest <= side {
        return picture;
    }
    let scaled = |length: u32| ((u64::from(length) * u64::from(side) / u64::from(longest)) as u32).max(1);
    imageops::thumbnail(&picture, scaled(width), scaled(height))
}

/// A hidden name that ends as those of unfinished videos do, which the next start sweeps.
fn publish(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.part"));
    let written = File::create(&temporary).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    })
}
