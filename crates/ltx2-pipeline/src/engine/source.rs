//! Encoding of video and audio inputs.

use candle_core::{DType, Tensor};
use ltx2_models::audio_vae::resample;
use ltx2_models::video_vae::Tiling;
use ltx2_types::{AudioClip, Failure, FailureCode, InputId, RgbImage};

use super::Engine;
use super::session::Session;
use crate::diffusion::patchifier::PixelShape;
use crate::error::{PipelineError, Result};
use crate::inputs::conditioning_pixels;
use crate::plan::{DEFAULT_TILING, SourceOutput, SourcePlan, TilingPlan, generated_frames};

/// Samples of silence to which shorter audio is padded: the window of the spectrogram.
const MIN_SAMPLES: usize = 1024;

/// Frames of a video input in order.
pub(super) struct SourceFrames {
    frames: Box<dyn Iterator<Item = std::result::Result<RgbImage, Failure>>>,
    /// Index of the next frame.
    next: usize,
}

impl SourceFrames {
    /// Opens a video input.
    pub(super) fn open(input: InputId, session: &mut Session) -> Result<Self> {
        let video = session.context.inputs.video(input).map_err(PipelineError::Input)?;
        Ok(Self { frames: video.frames, next: 0 })
    }

    /// Returns frame `index`, which must not precede the last one that was returned.
    ///
    /// # Errors
    /// The video is damaged or shorter.
    pub(super) fn frame(&mut self, index: usize) -> Result<RgbImage> {
        loop {
            let ended = || {
                let message =
                    format!("the video has {} frames, but its container states at least {}", self.next, index + 1);
                Failure::new(FailureCode::BadInput, message)
            };
            let frame = self.frames.next().unwrap_or_else(|| Err(ended())).map_err(PipelineError::Input)?;
            self.next += 1;
            if self.next > index {
                return Ok(frame);
            }
        }
    }
}

impl Engine {
    /// Encodes a part of a video input, `(1, c, f, h, w)`. Frames are resized to the size of the result and padded to that
    /// of the stage by repeating their borders; the last frame is repeated up to 8k + 1 frames. They are encoded in the
    /// tiles of the official pipelines.
    pub(super) fn encode_video(
        &mut self,
        source: SourcePlan,
        shape: PixelShape,
        output: Option<&SourceOutput>,
        session: &mut Session,
    ) -> Result<Tensor> {
        let (width, height) = output.map_or((shape.width, shape.height), |output| output.size);
        let mut frames = SourceFrames::open(source.input, session)?;
        let mut pixels = Vec::with_capacity(source.lead + source.frames);
        for index in source.skip..source.skip + source.frames {
            session.check_cancelled()?;
            let frame = conditioning_pixels(&frames.frame(index)?, height, width, &self.settings().device)?;
            let frame = frame.pad_with_same(3, 0, shape.height - height)?.pad_with_same(4, 0, shape.width - width)?;
            pixels.push(frame.to_dtype(self.dtype())?);
        }
        let pixels = Tensor::cat(&pixels, 2)?;
        let length = source.lead + source.frames;
        let tail = generated_frames(length) - length;
        let pixels = pixels.pad_with_same(2, source.lead, tail)?;
        let TilingPlan { frames, pixels: sides } = DEFAULT_TILING;
        let tiling = Tiling { frames, pixels: sides };
        let latent = tiling.encode(&*self.residency.video_encoder()?, &pixels)?.to_dtype(DType::F32)?;
        session.keep("source.video", &latent)?;
        Ok(latent)
    }

    /// Encodes the audio of a part of an input, `(1, c, t, bins)`.
    pub(super) fn encode_audio(
        &mut self,
        source: SourcePlan,
        shape: PixelShape,
        output: Option<&SourceOutput>,
        session: &mut Session,
    ) -> Result<Tensor> {
        let rate = output.and_then(|output| output.sample_rate);
        let rate = rate.ok_or_else(|| PipelineError::Internal("the source of the audio has no rate".into()))?;
        let clip = session.context.inputs.audio(source.input, rate).map_err(PipelineError::Input)?;
        let at = |frames: usize| (frames as f64 / shape.frame_rate * f64::from(rate)).round() as usize;
        let (encoder, log_mel, encoder_rate) = self.residency.audio_encoder()?;
        let channel = |channel: usize| {
            let part = part_of(&clip, channel, at(source.skip), at(source.skip + source.frames));
            let part = [vec![0.0; at(source.lead)], part].concat();
            let mut samples = resample(&part, rate, encoder_rate);
            samples.resize(samples.len().max(MIN_SAMPLES), 0.0);
            samples
        };
        let samples = [channel(0), channel(1)].concat();
        let samples = Tensor::from_vec(samples.clone(), (1, 2, samples.len() / 2), &self.settings().device)?;
        let mel = log_mel.forward(&samples)?;
        session.keep("source.mel", &mel)?;
        let latent = encoder.forward(&mel.to_dtype(self.dtype())?)?.to_dtype(DType::F32)?;
        session.keep("source.audio", &latent)?;
        Ok(latent)
    }
}

/// Returns the samples of one channel from index `start` to `end`, fewer if the clip ends before.
fn part_of(clip: &AudioClip, channel: usize, start: usize, end: usize) -> Vec<f32> {
    clip.samples.iter().skip(channel).step_by(2).copied().skip(start).take(end - start).collect()
}
