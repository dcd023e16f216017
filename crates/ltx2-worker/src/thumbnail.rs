//! The first frame as a small JPEG, taken while the video passes by.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use image::codecs::jpeg::JpegEncoder;
use image::{RgbImage, imageops};
use ltx2_types::{Failure, FailureCode, Output, OutputFormat, Sound};

/// Longest side, pixels.
const SIDE: u32 = 512;
const QUALITY: u8 = 85;

/// Passes everything on to an output and keeps the first frame.
pub(crate) struct WithThumbnail<'a> {
    output: &'a mut dyn Output,
    size: Option<(u32, u32)>,
    first: Option<RgbImage>,
}

impl<'a> WithThumbnail<'a> {
    pub(crate) fn new(output: &'a mut dyn Output) -> Self {
        Self { output, size: None, first: None }
    }

    /// Writes the picture to `path`, whole or not at all; on disk when this returns.
    pub(crate) fn write(self, path: &Path) -> Result<(), Failure> {
        let broken = |reason: &dyn std::fmt::Display| {
            Failure::new(FailureCode::Output, format!("the thumbnail could not be written: {reason}"))
        };
        let first = self.first.ok_or_else(|| broken(&"there is no frame"))?;
        let mut jpeg = Vec::new();
        let encoder = JpegEncoder::new_with_quality(&mut jpeg, QUALITY);
        reduced(first).write_with_encoder(encoder).map_err(|error| broken(&error))?;
        publish(path, &jpeg).map_err(|error| broken(&error))
    }
}

impl Output for WithThumbnail<'_> {
    fn start(&mut self, format: OutputFormat) -> Result<(), Failure> {
        self.size = Some((format.width, format.height));
        self.output.start(format)
    }

    fn sound(&mut self, sound: Sound) -> Result<(), Failure> {
        self.output.sound(sound)
    }

    fn frame(&mut self, rgb: &[u8]) -> Result<(), Failure> {
        if self.first.is_none() {
            self.first = self.size.and_then(|(width, height)| RgbImage::from_raw(width, height, rgb.to_vec()));
        }
        self.output.frame(rgb)
    }
}

fn reduced(picture: RgbImage) -> RgbImage {
    let (width, height) = picture.dimensions();
    let longest = width.max(height);
    if longest <= SIDE {
        return picture;
    }
    let scaled = |side: u32| (side * SIDE / longest).max(1);
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
