//! Errors of writing and reading media.

use std::{io, path::PathBuf};

use ltx2_types::{Failure, FailureCode};

use crate::demux::DemuxError;

/// Error of writing a video or of the H.264 pass of an image.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// A file system operation failed.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// Operation.
        doing: &'static str,
        /// File or folder.
        path: PathBuf,
        /// Error of the system.
        source: io::Error,
    },
    /// An ffmpeg call failed while a video was written.
    #[error("cannot {doing}: {source}")]
    Ffmpeg {
        /// Operation.
        doing: &'static str,
        /// Error of ffmpeg. A full disk is reported here.
        source: ffmpeg_next::Error,
    },
    /// An ffmpeg call failed during the H.264 pass of an image.
    #[error("cannot encode an image of {width}x{height} pixels with H.264: {source}")]
    CrfRoundtrip {
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
        /// Error of ffmpeg.
        source: ffmpeg_next::Error,
    },
    /// A side is odd or zero, but H.264 with 4:2:0 chroma needs even sides.
    #[error("cannot write a video of {width}x{height} pixels: width and height must be even and positive")]
    Size {
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
    },
    /// The number of frames differs from the announced one.
    #[error("expected {expected} frames, but received {received}")]
    FrameCount {
        /// Number in the [`ltx2_types::VideoInfo`].
        expected: u32,
        /// Number of frames received.
        received: u32,
    },
    /// The size of a frame differs from the announced one.
    #[error("expected a frame of {expected} bytes, but received {received}")]
    FrameBytes {
        /// `width * height * 3`.
        expected: usize,
        /// Number of bytes received.
        received: usize,
    },
    /// A file that is not written by ffmpeg cannot be written.
    #[error("cannot write the {format}: {reason}")]
    Encoder {
        /// Format of the file.
        format: &'static str,
        /// Error of the encoder. A full disk is reported here.
        reason: String,
    },
    /// The file is above its maximum size at the lowest acceptable rate.
    #[error(
        "max_bytes is {max_bytes}, but the smallest video of acceptable quality has {least} bytes; allow at least that, \
         or take fewer frames, a smaller size or another format"
    )]
    TooLarge {
        /// Maximum size, bytes.
        max_bytes: u64,
        /// Size at the lowest acceptable rate, bytes.
        least: u64,
    },
    /// The kept frames of a video cannot be read.
    #[error("cannot encode the video again: {0}")]
    Reread(String),
    /// The audio cannot be encoded.
    #[error("cannot encode the audio: {0}")]
    Audio(&'static str),
    /// The methods of [`ltx2_types::Output`] were called in the wrong order.
    #[error("invalid order of calls: {0}")]
    Order(&'static str),
    /// The thumbnail or the last frame cannot be encoded.
    #[error("cannot encode a still: {0}")]
    Still(#[from] crate::JpegError),
}

impl MediaError {
    /// Returns a conversion of ffmpeg errors of the operation `doing`, for `map_err`.
    pub(crate) fn ffmpeg(doing: &'static str) -> impl FnOnce(ffmpeg_next::Error) -> Self {
        move |source| Self::Ffmpeg { doing, source }
    }
}

impl From<DemuxError> for MediaError {
    fn from(error: DemuxError) -> Self {
        Self::Reread(error.to_string())
    }
}

impl From<MediaError> for Failure {
    /// Errors of files and encoders have the code [`FailureCode::Output`], errors of the caller
    /// [`FailureCode::Internal`].
    fn from(error: MediaError) -> Self {
        let code = match error {
            MediaError::File { .. }
            | MediaError::Ffmpeg { .. }
            | MediaError::Still(_)
            | MediaError::Encoder { .. }
            | MediaError::TooLarge { .. }
            | MediaError::Reread(_) => FailureCode::Output,
            MediaError::CrfRoundtrip { .. }
            | MediaError::Size { .. }
            | MediaError::FrameCount { .. }
            | MediaError::FrameBytes { .. }
            | MediaError::Audio(_)
            | MediaError::Order(_) => FailureCode::Internal,
        };
        Self::new(code, error.to_string())
    }
}
