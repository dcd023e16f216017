//! Frames as PNGs in a ZIP.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};
use ltx2_types::VideoInfo;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::content::Video;
use crate::MediaError;

/// Writer of a ZIP with the files `frame_00000.png`, `frame_00001.png` and so on, and `metadata.json`. They are stored as they are, because
/// PNG is compressed already, and have no times, so that equal frames give equal files.
pub(super) struct PngZipWriter {
    zip: ZipWriter<BufWriter<File>>,
    info: VideoInfo,
    sent: u32,
}

impl PngZipWriter {
    pub(super) fn open(path: &Path, video: &Video) -> Result<Self, MediaError> {
        let file = File::options().write(true).truncate(true).open(path).map_err(failed)?;
        let mut zip = ZipWriter::new(BufWriter::new(file));
        if let Some(metadata) = &video.metadata {
            zip.start_file("metadata.json", options()).map_err(failed)?;
            zip.write_all(metadata.as_bytes()).map_err(failed)?;
        }
        Ok(Self { zip, info: video.info, sent: 0 })
    }

    pub(super) fn frame(&mut self, rgb: &[u8]) -> Result<(), MediaError> {
        let mut png = Vec::new();
        let VideoInfo { width, height, .. } = self.info;
        PngEncoder::new(&mut png).write_image(rgb, width, height, ExtendedColorType::Rgb8).map_err(failed)?;
        let name = format!("frame_{:05}.png", self.sent);
        self.sent += 1;
        self.zip.start_file(name, options()).map_err(failed)?;
        self.zip.write_all(&png).map_err(failed)
    }

    pub(super) fn close(self) -> Result<(), MediaError> {
        self.zip.finish().map_err(failed)?.flush().map_err(failed)
    }
}

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default().compression_method(CompressionMethod::Stored).last_modified_time(DateTime::default())
}

fn failed(error: impl std::error::Error) -> MediaError {
    MediaError::Encoder { format: "ZIP of PNGs", reason: error.to_string() }
}
