//! Decoded media.

use serde::{Deserialize, Serialize};

use crate::FrameRate;

/// 8-bit RGB image: rows from the top, 3 bytes per pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbImage {
    /// Width, pixels.
    pub width: u32,
    /// Height, pixels.
    pub height: u32,
    /// `width * height * 3` bytes.
    pub data: Vec<u8>,
}

/// Stereo audio in [-1, 1].
#[derive(Debug, Clone, PartialEq)]
pub struct AudioClip {
    /// Samples per second and channel.
    pub sample_rate: u32,
    /// Interleaved samples: left, right.
    pub samples: Vec<f32>,
}

/// Size, length and rate of a video.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct VideoInfo {
    /// Width, pixels.
    pub width: u32,
    /// Height, pixels.
    pub height: u32,
    /// Number of frames.
    pub num_frames: u32,
    /// Frames per second.
    pub frame_rate: FrameRate,
}

/// Streams of a video or audio file.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SourceInfo {
    /// Properties of the video stream, upright.
    pub video: Option<VideoInfo>,
    /// Properties of the audio stream.
    pub audio: Option<AudioInfo>,
}

impl SourceInfo {
    /// Returns the number of frames of the video in `seconds`; `None` without video.
    pub fn frames_in(&self, seconds: f64) -> Option<i64> {
        self.video.map(|video| (seconds * video.frame_rate.as_f64()).round() as i64)
    }
}

/// Rate and length of an audio stream.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct AudioInfo {
    /// Samples per second and channel.
    pub sample_rate: u32,
    /// Duration, seconds.
    pub seconds: f64,
}

/// Limits for decoding images. The server and the engine use the same value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageLimits {
    /// Maximum of width times height.
    pub max_pixels: u64,
    /// Maximum of width and of height, pixels; x264, which conditions stills, ends at 16384.
    pub max_side: u32,
}

impl Default for ImageLimits {
    /// 128 million pixels: phones take photographs of 108 million.
    fn default() -> Self {
        Self { max_pixels: 128_000_000, max_side: 16384 }
    }
}
