//! Thumbnails: the first frame of a video as a small JPEG.

use std::io::Write;
use std::path::Path;

use ltx2_types::{OutputInfo, OutputRole, RgbImage, VideoInfo};

use crate::jpeg::{JpegError, encode_jpeg, reduce};
use crate::{MediaError, PendingOutput, pending_file::PendingFile};

/// Longest side of a thumbnail, pixels.
const SIDE: u32 = 512;

/// Writer of a thumbnail. Takes the frames of a video and keeps the first one.
pub(crate) struct ThumbnailWriter {
    file: PendingFile,
    info: Option<VideoInfo>,
    first: Option<Vec<u8>>,
}

impl ThumbnailWriter {
    pub(crate) fn create(path: &Path) -> Result<Self, MediaError> {
        Ok(Self { file: PendingFile::create(path)?, info: None, first: None })
    }

    pub(crate) fn start(&mut self, info: VideoInfo) {
        self.info = Some(info);
    }

    pub(crate) fn frame(&mut self, rgb: &[u8]) {
        if self.first.is_none() {
            self.first = Some(rgb.to_vec());
        }
    }

    /// Writes the first frame to the pending file.
    pub(crate) fn finish(mut self) -> Result<PendingOutput, MediaError> {
        let (Some(VideoInfo { width, height, .. }), Some(data)) = (self.info, self.first) else {
            return Err(MediaError::Order("a thumbnail needs a frame"));
        };
        let image = reduce(RgbImage { width, height, data }, SIDE)?;
        let (width, height) = image.dimensions();
        let jpeg = encode_jpeg(image).map_err(JpegError::from)?;
        let path = self.file.path().to_owned();
        let written = self.file.file_mut().write_all(&jpeg);
        written.map_err(|source| MediaError::File { doing: "write", path, source })?;
        let info = OutputInfo {
            role: OutputRole::Thumbnail,
            mime: "image/jpeg".into(),
            bytes: self.file.sync()?,
            width: Some(width),
            height: Some(height),
            duration: None,
            note: None,
        };
        Ok(PendingOutput { file: self.file, info })
    }
}
