//! Output of a task: its format and its files.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::names::unknown_name;

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
    /// Maximum size of the file. A larger one is encoded again, at the best quality below `quality` that fits.
    #[serde(default)]
    pub max_bytes: Option<u64>,
    /// Whether the file holds the prompt, the seed, the model version and the settings.
    #[serde(default = "with_metadata")]
    pub metadata: bool,
}

fn with_metadata() -> bool {
    true
}

impl OutputSpec {
    /// Returns `format` at high quality, with audio if it can hold audio.
    pub fn new(format: VideoFormat) -> Self {
        let (container, codec) = format.streams();
        Self { container, codec, quality: Quality::High, audio: container.has_audio(), max_bytes: None, metadata: true }
    }
}

impl Default for OutputSpec {
    /// MP4 with H.264 and AAC at high quality.
    fn default() -> Self {
        Self::new(VideoFormat::Mp4)
    }
}

/// Format of a video file as clients name it: a container with the codecs that players expect in it.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Deserialize,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
    strum::VariantNames,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case", parse_err_ty = String, parse_err_fn = unknown_format)]
pub enum VideoFormat {
    /// MP4 with H.264 and AAC, which plays everywhere.
    Mp4,
    /// MP4 with H.265 and AAC.
    Mp4H265,
    /// WebM with VP9 and Opus.
    Webm,
    /// QuickTime with ProRes and uncompressed audio, for editing.
    Mov,
    /// Animated GIF that repeats, without audio.
    Gif,
    /// ZIP of one PNG per frame, without audio.
    PngZip,
}

impl VideoFormat {
    /// Returns the name on the wire and on the command line.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// Returns the container and the video codec.
    pub fn streams(self) -> (Container, VideoCodec) {
        match self {
            Self::Mp4 => (Container::Mp4, VideoCodec::H264),
            Self::Mp4H265 => (Container::Mp4, VideoCodec::H265),
            Self::Webm => (Container::Webm, VideoCodec::Vp9),
            Self::Mov => (Container::Mov, VideoCodec::ProRes),
            Self::Gif => (Container::Gif, VideoCodec::Gif),
            Self::PngZip => (Container::Zip, VideoCodec::Png),
        }
    }
}

fn unknown_format(value: &str) -> String {
    unknown_name::<VideoFormat>("format", value)
}

/// Container format of a video file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Container {
    /// MP4 with the index in front, and AAC audio.
    Mp4,
    /// WebM, with Opus audio.
    Webm,
    /// QuickTime with the index in front, and 16-bit PCM audio.
    Mov,
    /// GIF, without audio.
    Gif,
    /// ZIP of images, without audio.
    Zip,
}

impl Container {
    /// Returns the file name extension, without a dot.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Webm => "webm",
            Self::Mov => "mov",
            Self::Gif => "gif",
            Self::Zip => "zip",
        }
    }

    /// Returns the media type.
    pub fn mime(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::Webm => "video/webm",
            Self::Mov => "video/quicktime",
            Self::Gif => "image/gif",
            Self::Zip => "application/zip",
        }
    }

    /// Whether it can hold audio.
    pub fn has_audio(self) -> bool {
        match self {
            Self::Mp4 | Self::Webm | Self::Mov => true,
            Self::Gif | Self::Zip => false,
        }
    }
}

/// Video codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VideoCodec {
    /// H.264 High, 8-bit 4:2:0.
    H264,
    /// H.265 Main, 8-bit 4:2:0.
    H265,
    /// VP9, 8-bit 4:2:0.
    Vp9,
    /// ProRes, 10-bit 4:2:2.
    ProRes,
    /// GIF, with a palette of 256 colours per frame.
    Gif,
    /// PNG, 8-bit RGB.
    Png,
}

/// Quality of the encoding.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::IntoStaticStr,
    strum::EnumString,
    strum::VariantArray,
    strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case", parse_err_ty = String, parse_err_fn = unknown_quality)]
pub enum Quality {
    /// Small files.
    Low,
    /// Files of about half the size of [`Quality::High`].
    Balanced,
    /// Visually lossless for generated footage (CRF 18 with H.264).
    High,
    /// Exactly the frames, in 8-bit 4:4:4 that many players do not support.
    Lossless,
}

impl Quality {
    /// Returns the name on the wire and on the command line.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

fn unknown_quality(value: &str) -> String {
    unknown_name::<Quality>("quality", value)
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
    /// The last frame as a PNG, to continue the video from.
    LastFrame,
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
    /// Difference from the request, for people: the file was encoded again to fit `max_bytes`.
    pub note: Option<String>,
}
