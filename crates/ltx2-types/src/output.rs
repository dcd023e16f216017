//! Output of a task: its format and its files.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Format of the video file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OutputSpec {
    /// Container format.
    pub container: Container,
    /// Video codec.
    pub codec: VideoCodec,
    /// Encoding quality.
    pub quality: Quality,
    /// Whether audio is generated and muxed.
    pub audio: bool,
}

impl Default for OutputSpec {
    /// MP4 with H.264 and AAC at high quality.
    fn default() -> Self {
        Self { container: Container::Mp4, codec: VideoCodec::H264, quality: Quality::High, audio: true }
    }
}

/// Container format of a video file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Container {
    /// MP4 with the index in front.
    Mp4,
}

impl Container {
    /// Returns the file name extension, without a dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
        }
    }

    /// Returns the media type.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
        }
    }
}

/// Video codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VideoCodec {
    /// H.264 High, 8-bit 4:2:0.
    H264,
}

/// Quality of lossy encoding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Quality {
    /// Visually lossless for generated footage (CRF 18 with H.264).
    High,
}

/// Purpose of an output file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr, strum::EnumString)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum OutputRole {
    /// The video.
    Video,
    /// The first frame as a small JPEG.
    Thumbnail,
}

impl OutputRole {
    /// Returns the name in the database.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputFile {
    /// Purpose of the file.
    pub role: OutputRole,
    /// Format of the video that the file holds or shows.
    pub spec: OutputSpec,
    /// Path of the file; it appears there once it is complete.
    pub path: PathBuf,
}

/// Properties of a file that was written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputInfo {
    /// Purpose of the file.
    pub role: OutputRole,
    /// Media type.
    pub mime: String,
    /// Size, bytes.
    pub bytes: u64,
    /// Width, pixels.
    pub width: Option<u32>,
    /// Height, pixels.
    pub height: Option<u32>,
    /// Duration, seconds.
    pub duration: Option<f64>,
}
