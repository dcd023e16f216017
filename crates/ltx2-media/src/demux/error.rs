//! Errors of reading media files.

use ffmpeg_next::Error;

/// Error of reading a video or audio file. The message does not name the file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DemuxError {
    /// The path is not UTF-8.
    #[error("the path is not valid UTF-8")]
    Path,
    /// The file is missing, empty, damaged or of an unsupported format.
    #[error("cannot open the file as video or audio: {0}")]
    Open(Error),
    /// The file has no stream of this kind.
    #[error("the file has no {0} stream")]
    NoStream(&'static str),
    /// There is no decoder for the stream, or its parameters are invalid.
    #[error("cannot set up a decoder for the {kind} stream: {source}")]
    Decoder {
        /// Kind of the stream.
        kind: &'static str,
        /// Error of ffmpeg.
        source: Error,
    },
    /// The data is damaged.
    #[error("cannot decode the {kind} stream: {source}")]
    Decode {
        /// Kind of the stream.
        kind: &'static str,
        /// Error of ffmpeg.
        source: Error,
    },
    /// The file ends in the middle of a packet.
    #[error("the file is cut off")]
    CutOff,
    /// The container states neither a constant nor an average frame rate.
    #[error("the video has no frame rate")]
    NoFrameRate,
    /// The stream has no frames or samples.
    #[error("the {0} stream is empty")]
    Empty(&'static str),
    /// The frames are too large.
    #[error("the video has {width}x{height} pixels; the limits are {max_pixels} pixels and {max_side} per side")]
    TooLarge {
        /// Width, pixels.
        width: u32,
        /// Height, pixels.
        height: u32,
        /// Maximum of width times height.
        max_pixels: u64,
        /// Maximum of width and of height.
        max_side: u32,
    },
    /// The audio is too long to hold in memory.
    #[error("the audio is longer than {0} seconds")]
    TooLong(usize),
}
