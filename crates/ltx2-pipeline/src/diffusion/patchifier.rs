//! Shapes in pixels and latents, conversion between latents and tokens, and positions of tokens
//! (`VideoLatentPatchifier`, `AudioPatchifier`).

use candle_core::{Result, Tensor};
use ltx2_models::AudioVideo;
use ltx2_models::audio_vae::{LATENT_MEL_BINS, TIME_SCALE as AUDIO_TIME_SCALE};
use ltx2_models::layers::Positions;
use ltx2_models::video_vae::{SPACE_SCALE, TIME_SCALE};
use serde::{Deserialize, Serialize};

/// Samples per second of the audio that the latents encode.
const SAMPLE_RATE: f32 = 16000.0;
/// Samples per mel frame.
const HOP_LENGTH: f32 = 160.0;

/// Size and length of a video in pixels and frames.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PixelShape {
    /// Frames, 8k + 1.
    pub frames: usize,
    /// Height in pixels, a multiple of 32.
    pub height: usize,
    /// Width in pixels, a multiple of 32.
    pub width: usize,
    /// Frames per second.
    pub frame_rate: f64,
}

/// Size and length of a video latent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VideoLatentShape {
    /// Latent frames.
    pub frames: usize,
    /// Latent rows.
    pub height: usize,
    /// Latent columns.
    pub width: usize,
}

impl PixelShape {
    /// Returns the shape of the video latent.
    pub fn latent(self) -> VideoLatentShape {
        VideoLatentShape {
            frames: (self.frames - 1) / TIME_SCALE + 1,
            height: self.height / SPACE_SCALE,
            width: self.width / SPACE_SCALE,
        }
    }

    /// Returns the number of audio latent frames of the same length.
    pub fn audio_frames(self) -> usize {
        let per_second = f64::from(SAMPLE_RATE) / f64::from(HOP_LENGTH) / AUDIO_TIME_SCALE as f64;
        ((self.frames as f64 / self.frame_rate * per_second).round_ties_even() as usize).max(1)
    }

    /// Returns the number of target tokens of each modality.
    pub fn tokens(self) -> AudioVideo<usize> {
        AudioVideo { video: self.latent().tokens(), audio: self.audio_frames() }
    }
}

impl VideoLatentShape {
    /// Returns the number of tokens.
    pub fn tokens(self) -> usize {
        self.frames * self.tokens_per_frame()
    }

    /// Returns the number of tokens of a latent frame.
    pub fn tokens_per_frame(self) -> usize {
        self.height * self.width
    }

    /// Returns the positions of tokens: seconds, rows and columns. The first latent frame stands for one frame, the
    /// others for eight each.
    pub fn positions(self, frame_rate: f64) -> Positions {
        self.grid(|latent_frame| first_frame(latent_frame) as f32 / frame_rate as f32, SPACE_SCALE)
    }

    /// Returns the positions of the tokens of an image at `frame`, which stands for that frame alone.
    pub fn image_positions(self, frame_rate: f64, frame: usize) -> Positions {
        self.grid(|latent_frame| (frame + latent_frame) as f32 / frame_rate as f32, SPACE_SCALE)
    }

    /// Returns the positions of reference tokens, whose latent has the target's height and width divided by
    /// `spatial_scale` and its frame rate divided by `temporal_scale`. Of a temporally scaled reference, frame 0 and
    /// then the last frame of each group of `temporal_scale` frames are encoded, so that times are shifted by the
    /// others.
    pub fn reference_positions(self, frame_rate: f64, spatial_scale: usize, temporal_scale: usize) -> Positions {
        let seconds = |latent_frame: usize| {
            let frame = first_frame(latent_frame) * temporal_scale;
            frame.saturating_sub(temporal_scale - 1) as f32 / frame_rate as f32
        };
        self.grid(seconds, SPACE_SCALE * spatial_scale)
    }

    /// Returns the positions of a grid whose latent frames start at `seconds` and whose cells have `cell` pixels.
    fn grid(self, seconds: impl Fn(usize) -> f32, cell: usize) -> Positions {
        let pixels = |index: usize| (index * cell) as f32;
        let tokens = || {
            (0..self.tokens())
                .map(move |i| (i / (self.height * self.width), i / self.width % self.height, i % self.width))
        };
        Positions::new(vec![
            tokens().map(|(t, _, _)| (seconds(t), seconds(t + 1))).collect(),
            tokens().map(|(_, y, _)| (pixels(y), pixels(y + 1))).collect(),
            tokens().map(|(_, _, x)| (pixels(x), pixels(x + 1))).collect(),
        ])
    }

    /// Converts latents `(1, c, f, h, w)` to tokens `(1, f h w, c)`.
    pub fn patchify(latent: &Tensor) -> Result<Tensor> {
        latent.flatten_from(2)?.transpose(1, 2)?.contiguous()
    }

    /// Converts tokens `(1, f h w, c)` to latents `(1, c, f, h, w)`.
    pub fn unpatchify(self, tokens: &Tensor) -> Result<Tensor> {
        let c = tokens.dim(2)?;
        tokens.transpose(1, 2)?.contiguous()?.reshape((1, c, self.frames, self.height, self.width))
    }
}

/// Returns the first frame that a latent frame stands for, if latent frame 0 stands for one frame alone.
fn first_frame(latent_frame: usize) -> usize {
    (latent_frame * TIME_SCALE + 1).saturating_sub(TIME_SCALE)
}

/// Returns the positions of `frames` audio latent frames, seconds.
pub fn audio_positions(frames: usize) -> Positions {
    Positions::new(vec![(0..frames).map(|i| (audio_seconds(i), audio_seconds(i + 1))).collect()])
}

/// Returns the positions of `frames` audio latent frames that precede the target and end one latent frame before it.
pub fn preceding_audio_positions(frames: usize) -> Positions {
    let shift = audio_seconds(frames) + AUDIO_TIME_SCALE as f32 * HOP_LENGTH / SAMPLE_RATE;
    let bounds = (0..frames).map(|i| (audio_seconds(i) - shift, audio_seconds(i + 1) - shift));
    Positions::new(vec![bounds.collect()])
}

/// Returns the time at which an audio latent frame starts, seconds. The first one stands for one mel frame alone.
fn audio_seconds(latent_frame: usize) -> f32 {
    let mel_frame = (latent_frame * AUDIO_TIME_SCALE + 1).saturating_sub(AUDIO_TIME_SCALE);
    mel_frame as f32 * HOP_LENGTH / SAMPLE_RATE
}

/// Converts audio latents `(1, c, t, bins)` to tokens `(1, t, c bins)`.
pub fn audio_patchify(latent: &Tensor) -> Result<Tensor> {
    let (b, c, t, f) = latent.dims4()?;
    latent.transpose(1, 2)?.contiguous()?.reshape((b, t, c * f))
}

/// Converts audio tokens `(1, t, c bins)` to latents `(1, c, t, bins)`.
pub fn audio_unpatchify(tokens: &Tensor) -> Result<Tensor> {
    let (b, t, width) = tokens.dims3()?;
    tokens.reshape((b, t, width / LATENT_MEL_BINS, LATENT_MEL_BINS))?.transpose(1, 2)?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn audio_has_the_length_of_the_video() {
        let shape = |frames, frame_rate| PixelShape { frames, height: 64, width: 64, frame_rate };
        assert_eq!(shape(121, 24.0).audio_frames(), 126);
        // Ties are rounded to even, as in Python.
        assert_eq!(shape(1, 10.0).audio_frames(), 2);
        assert_eq!(shape(1, 120.0).audio_frames(), 1);
    }

    #[test]
    fn unpatchify_inverts_patchify() -> Result<()> {
        let shape = VideoLatentShape { frames: 2, height: 3, width: 4 };
        let latent = Tensor::randn(0f32, 1., (1, 5, 2, 3, 4), &Device::Cpu)?;
        let back = shape.unpatchify(&VideoLatentShape::patchify(&latent)?)?;
        assert_eq!((back - latent)?.abs()?.max_all()?.to_scalar::<f32>()?, 0.);
        Ok(())
    }
}
