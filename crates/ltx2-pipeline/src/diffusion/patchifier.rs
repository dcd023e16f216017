//! Shapes in pixels and latents, tokens from latents and back, and where each token is in seconds and pixels
//! (`VideoLatentPatchifier`, `AudioPatchifier`).

use candle_core::{Result, Tensor};
use ltx2_models::audio_vae::{LATENT_MEL_BINS, TIME_SCALE as AUDIO_TIME_SCALE};
use ltx2_models::layers::Positions;
use ltx2_models::video_vae::{SPACE_SCALE, TIME_SCALE};
use serde::Serialize;

/// Samples per second of the sound that the latents describe.
const SAMPLE_RATE: f32 = 16000.0;
/// Samples between its mel frames.
const HOP_LENGTH: f32 = 160.0;

/// A stretch of video in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct PixelShape {
    /// Pictures, 8k + 1.
    pub frames: usize,
    /// Pixels, a multiple of 32.
    pub height: usize,
    /// Pixels, a multiple of 32.
    pub width: usize,
    /// Frames per second.
    pub frame_rate: f64,
}

/// A stretch of video in latents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct VideoLatentShape {
    /// Latent frames.
    pub frames: usize,
    /// Latent rows.
    pub height: usize,
    /// Latent columns.
    pub width: usize,
}

impl PixelShape {
    /// In latents.
    pub fn latent(self) -> VideoLatentShape {
        VideoLatentShape {
            frames: (self.frames - 1) / TIME_SCALE + 1,
            height: self.height / SPACE_SCALE,
            width: self.width / SPACE_SCALE,
        }
    }

    /// Latent frames of the sound that goes with it.
    pub fn audio_frames(self) -> usize {
        let per_second = f64::from(SAMPLE_RATE) / f64::from(HOP_LENGTH) / AUDIO_TIME_SCALE as f64;
        ((self.frames as f64 / self.frame_rate * per_second).round_ties_even() as usize).max(1)
    }
}

impl VideoLatentShape {
    /// Number of tokens.
    pub fn tokens(self) -> usize {
        self.frames * self.height * self.width
    }

    /// Where tokens begin and end: seconds, rows, columns. The first latent frame stands for one picture, the others
    /// for eight each. `offset` is the frame at which the stretch starts; elsewhere than at 0 its first latent frame
    /// stands for eight like the others.
    pub fn positions(self, frame_rate: f64, offset: usize) -> Positions {
        let seconds = |latent_frame: usize| {
            let frame = latent_frame * TIME_SCALE;
            let frame = if offset == 0 { (frame + 1).saturating_sub(TIME_SCALE) } else { frame };
            (frame + offset) as f32 / frame_rate as f32
        };
        let pixels = |cell: usize| (cell * SPACE_SCALE) as f32;
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

    /// `(1, c, f, h, w)` to `(1, f h w, c)`.
    pub fn patchify(latent: &Tensor) -> Result<Tensor> {
        latent.flatten_from(2)?.transpose(1, 2)?.contiguous()
    }

    /// `(1, f h w, c)` to `(1, c, f, h, w)`.
    pub fn unpatchify(self, tokens: &Tensor) -> Result<Tensor> {
        let c = tokens.dim(2)?;
        tokens.transpose(1, 2)?.contiguous()?.reshape((1, c, self.frames, self.height, self.width))
    }
}

/// Seconds at which each of `frames` latent frames of sound begins and ends.
pub fn audio_positions(frames: usize) -> Positions {
    let seconds = |latent_frame: usize| {
        let mel_frame = (latent_frame * AUDIO_TIME_SCALE + 1).saturating_sub(AUDIO_TIME_SCALE);
        mel_frame as f32 * HOP_LENGTH / SAMPLE_RATE
    };
    Positions::new(vec![(0..frames).map(|i| (seconds(i), seconds(i + 1))).collect()])
}

/// `(1, c, t, f)` to `(1, t, c f)`.
pub fn audio_patchify(latent: &Tensor) -> Result<Tensor> {
    let (b, c, t, f) = latent.dims4()?;
    latent.transpose(1, 2)?.contiguous()?.reshape((b, t, c * f))
}

/// `(1, t, c f)` to `(1, c, t, f)`.
pub fn audio_unpatchify(tokens: &Tensor) -> Result<Tensor> {
    let (b, t, width) = tokens.dims3()?;
    tokens.reshape((b, t, width / LATENT_MEL_BINS, LATENT_MEL_BINS))?.transpose(1, 2)?.contiguous()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn sound_is_as_long_as_the_picture() {
        let shape = |frames, frame_rate| PixelShape { frames, height: 64, width: 64, frame_rate };
        assert_eq!(shape(121, 24.0).audio_frames(), 126);
        // A tie goes to the even number, as in Python.
        assert_eq!(shape(1, 10.0).audio_frames(), 2);
        assert_eq!(shape(1, 120.0).audio_frames(), 1);
    }

    #[test]
    fn tokens_there_and_back() -> Result<()> {
        let shape = VideoLatentShape { frames: 2, height: 3, width: 4 };
        let latent = Tensor::randn(0f32, 1., (1, 5, 2, 3, 4), &Device::Cpu)?;
        let back = shape.unpatchify(&VideoLatentShape::patchify(&latent)?)?;
        assert_eq!((back - latent)?.abs()?.max_all()?.to_scalar::<f32>()?, 0.);
        Ok(())
    }
}
