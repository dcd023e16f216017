//! Encoding of a video in any format.

use std::path::Path;

use ltx2_types::{Container, VideoInfo};

use super::{content::Video, gif::GifWriter, muxer::Muxer, png_zip::PngZipWriter};
use crate::MediaError;

/// An open file that takes frames.
pub(super) struct Encoding {
    format: Format,
    info: VideoInfo,
    received: u32,
}

enum Format {
    Muxed(Box<Muxer>),
    Gif(GifWriter),
    PngZip(Box<PngZipWriter>),
}

impl Encoding {
    /// Opens the encoders and writes the header to `path`.
    pub(super) fn open(path: &Path, video: Video) -> Result<Self, MediaError> {
        let info = video.info;
        let format = match video.spec.container {
            Container::Mp4 | Container::Webm | Container::Mov => Format::Muxed(Box::new(Muxer::open(path, video, 0)?)),
            Container::Gif => Format::Gif(GifWriter::open(path, &video)?),
            Container::Zip => Format::PngZip(Box::new(PngZipWriter::open(path, &video)?)),
        };
        Ok(Self { format, info, received: 0 })
    }

    /// Encodes one frame.
    pub(super) fn frame(&mut self, rgb: &[u8]) -> Result<(), MediaError> {
        let VideoInfo { width, height, num_frames, .. } = self.info;
        let expected = width as usize * height as usize * 3;
        if rgb.len() != expected {
            return Err(MediaError::FrameBytes { expected, received: rgb.len() });
        }
        self.received += 1;
        if self.received > num_frames {
            return Err(MediaError::FrameCount { expected: num_frames, received: self.received });
        }
        match &mut self.format {
            Format::Muxed(muxer) => muxer.frame(rgb),
            Format::Gif(gif) => gif.frame(rgb),
            Format::PngZip(zip) => zip.frame(rgb),
        }
    }

    /// Completes the file.
    pub(super) fn close(self) -> Result<VideoInfo, MediaError> {
        let expected = self.info.num_frames;
        if self.received != expected {
            return Err(MediaError::FrameCount { expected, received: self.received });
        }
        match self.format {
            Format::Muxed(muxer) => muxer.close()?,
            Format::Gif(gif) => gif.close()?,
            Format::PngZip(zip) => zip.close()?,
        }
        Ok(self.info)
    }
}
