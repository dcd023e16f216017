//! Stills of a video: the first frame as a small JPEG, the last one as a PNG.

use std::io::{Cursor, Write};
use std::path::Path;

use ltx2_types::{OutputInfo, OutputRole, RgbImage, VideoInfo};

use crate::jpeg::{JpegError, encode_jpeg, reduce};
use crate::{MediaError, PendingOutput, pending_file::PendingFile};

/// Longest side of a thumbnail, pixels.
const THUMBNAIL_SIDE: u32 = 512;

/// Frame and form of a still.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StillKind {
    /// The first frame as a small JPEG.
    Thumbnail,
    /// The last frame as a PNG.
    LastFrame,
}

/// Writer of a still. Takes the frames of a video and keeps one of them.
pub(crate) struct StillWriter {
    kind: StillKind,
    file: PendingFile,
    info: Option<VideoInfo>,
    frame: Vec<u8>,
}

impl StillWriter {
    pub(crate) fn create(kind: StillKind, path: &Path) -> Result<Self, MediaError> {
        Ok(Self { kind, file: PendingFile::create(path)?, info: None, frame: Vec::new() })
    }

    pub(crate) fn start(&mut self, info: VideoInfo) {
        self.info = Some(info);
    }

    pub(crate) fn frame(&mut self, rgb: &[u8]) {
        if self.kind == StillKind::LastFrame || self.frame.is_empty() {
            rgb.clone_into(&mut self.frame);
        }
    }

    /// Writes the kept frame to the pending file.
    pub(crate) fn finish(mut self) -> Result<PendingOutput, MediaError> {
        let Some(VideoInfo { width, height, .. }) = self.info.filter(|_| !self.frame.is_empty()) else {
            return Err(MediaError::Order("a still needs a frame"));
        };
        let frame = RgbImage { width, height, data: self.frame };
        let (role, mime, side) = match self.kind {
            StillKind::Thumbnail => (OutputRole::Thumbnail, "image/jpeg", THUMBNAIL_SIDE),
            StillKind::LastFrame => (OutputRole::LastFrame, "image/png", u32::MAX),
        };
        let image = reduce(frame, side)?;
        let (width, height) = image.dimensions();
        let encoded = match self.kind {
            StillKind::Thumbnail => encode_jpeg(image),
            StillKind::LastFrame => encode_png(&image),
        };
        let path = self.file.path().to_owned();
        let written = self.file.file_mut().write_all(&encoded.map_err(JpegError::from)?);
        written.map_err(|source| MediaError::File { doing: "write", path, source })?;
        let info = OutputInfo {
            role,
            mime: mime.into(),
            bytes: self.file.sync()?,
            width: Some(width),
            height: Some(height),
            duration: None,
            note: None,
        };
        Ok(PendingOutput { file: self.file, info })
    }
}

fn encode_png(image: &image::RgbImage) -> Result<Vec<u8>, image::ImageError> {
    let mut png = Cursor::new(Vec::new());
    image.write_to(&mut png, image::ImageFormat::Png)?;
    Ok(png.into_inner())
}
