//! Token grids of the target latents of both modalities.

use candle_core::{Result, Tensor};
use ltx2_models::AudioVideo;
use ltx2_models::layers::Positions;

use super::patchifier::{PixelShape, VideoLatentShape, audio_patchify, audio_positions, audio_unpatchify};

/// Token grid of one modality: frame by frame, the rows and columns of a video frame within it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TokenLayout {
    /// Video latents.
    Video {
        /// Latent frames, rows and columns.
        shape: VideoLatentShape,
        /// Frames per second of the video.
        frame_rate: f64,
    },
    /// Audio latents, one token per latent frame.
    Audio {
        /// Latent frames.
        frames: usize,
    },
}

impl TokenLayout {
    /// Returns the layouts of both modalities for a video of `shape`.
    pub fn of(shape: PixelShape) -> AudioVideo<Self> {
        AudioVideo {
            video: Self::Video { shape: shape.latent(), frame_rate: shape.frame_rate },
            audio: Self::Audio { frames: shape.audio_frames() },
        }
    }

    /// Number of latent frames.
    pub fn frames(self) -> usize {
        match self {
            Self::Video { shape, .. } => shape.frames,
            Self::Audio { frames } => frames,
        }
    }

    /// Number of tokens of a latent frame.
    pub fn tokens_per_frame(self) -> usize {
        match self {
            Self::Video { shape, .. } => shape.tokens_per_frame(),
            Self::Audio { .. } => 1,
        }
    }

    /// Number of tokens.
    pub fn tokens(self) -> usize {
        self.frames() * self.tokens_per_frame()
    }

    /// Returns the positions of the tokens.
    pub fn positions(self) -> Positions {
        match self {
            Self::Video { shape, frame_rate } => shape.positions(frame_rate),
            Self::Audio { frames } => audio_positions(frames),
        }
    }

    /// Converts latents to tokens: `(1, c, f, h, w)` to `(1, f h w, c)` for video, `(1, c, t, bins)` to
    /// `(1, t, c bins)` for audio.
    pub fn patchify(self, latent: &Tensor) -> Result<Tensor> {
        match self {
            Self::Video { .. } => VideoLatentShape::patchify(latent),
            Self::Audio { .. } => audio_patchify(latent),
        }
    }

    /// Converts the tokens of the whole grid to latents, the inverse of [`TokenLayout::patchify`].
    pub fn unpatchify(self, tokens: &Tensor) -> Result<Tensor> {
        match self {
            Self::Video { shape, .. } => shape.unpatchify(tokens),
            Self::Audio { .. } => audio_unpatchify(tokens),
        }
    }
}
