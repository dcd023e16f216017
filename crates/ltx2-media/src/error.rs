//! What can go wrong while a video is written.

use std::{io, path::PathBuf};

use ltx2_types::{Failure, FailureCode};

/// Why a video could not be written, or a still not be passed through H.264.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    /// The file system refused.
    #[error("cannot {doing} {}: {source}", path.display())]
    File {
        /// What was tried.
        doing: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// An ffmpeg library refused while the video was written.
    #[error("cannot {doing}: {source}")]
    Ffmpeg {
        /// What was tried.
        doing: &'static str,
        /// ffmpeg's answer; a full disk shows here.
        source: ffmpeg_next::Error,
    },
    /// An ffmpeg library refused during the H.264 pass of a still.
    #[error("cannot pass a still of {width}x{height} pixels through H.264: {source}")]
    Still {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
        /// ffmpeg's answer.
        source: ffmpeg_next::Error,
    },
    /// H.264 with 4:2:0 colour has no odd sizes.
    #[error("a video of {width}x{height} pixels cannot be written: both sides must be even and above zero")]
    Size {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// The frames did not come as announced.
    #[error("the video was announced with {announced} frames, but {received} came")]
    FrameCount {
        /// As in the [`ltx2_types::VideoInfo`].
        announced: u32,
        /// Frames handed over.
        received: u32,
    },
    /// A frame's bytes do not fit the announced size.
    #[error("a frame has {received} bytes where its size makes {expected}")]
    FrameBytes {
        /// `width * height * 3`.
        expected: usize,
        /// Bytes handed over.
        received: usize,
    },
    /// The sound cannot be encoded.
    #[error("the sound cannot be encoded: {0}")]
    Sound(&'static str),
    /// The calls came in another order than [`ltx2_types::Output`] says.
    #[error("the video was handed over in the wrong order: {0}")]
    Order(&'static str),
}

impl MediaError {
    /// For `map_err`: the ffmpeg error of `doing`.
    pub(crate) fn ffmpeg(doing: &'static str) -> impl FnOnce(ffmpeg_next::Error) -> Self {
        move |source| Self::Ffmpeg { doing, source }
    }
}

impl From<MediaError> for Failure {
    /// Files and encoders are [`FailureCode::Output`]; frames that were not as announced are the caller's fault.
    fn from(error: MediaError) -> Self {
        let code = match error {
            MediaError::File { .. } | MediaError::Ffmpeg { .. } => FailureCode::Output,
            MediaError::Still { .. }
            | MediaError::Size { .. }
            | MediaError::FrameCount { .. }
            | MediaError::FrameBytes { .. }
            | MediaError::Sound(_)
            | MediaError::Order(_) => FailureCode::Internal,
        };
        Self::new(code, error.to_string())
    }
}
