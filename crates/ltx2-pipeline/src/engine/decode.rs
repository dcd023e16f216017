//! From latents to frames and sound, handed over as they are made.

use candle_core::{DType, Tensor};
use ltx2_models::video_vae::Tiling;
use ltx2_types::{AudioClip, Phase, VideoInfo};

use super::{Engine, Latents, Result, Session};
use crate::PipelineError;
use crate::plan::{Plan, TilingPlan};

impl Engine {
    /// Hands over the format, the sound and then the frames.
    pub(super) fn decode(
        &mut self,
        plan: &Plan,
        Latents { video, audio }: &Latents,
        session: &mut Session,
    ) -> Result<()> {
        session.report(Phase::Decoding, 0, plan.output.num_frames)?;
        session.context.probe.keep("latent.video", video)?;
        session.context.probe.keep("latent.audio", audio)?;
        let sound = self.decode_audio(plan, audio, session)?;
        let shape = plan.stages.last().map(|stage| stage.shape).expect("a plan that ran has a stage");
        let format = VideoInfo {
            width: shape.width as u32,
            height: shape.height as u32,
            num_frames: plan.output.num_frames as u32,
            frame_rate: plan.output.frame_rate,
        };
        session.context.output.start(format).map_err(PipelineError::Output)?;
        session.context.output.audio(sound).map_err(PipelineError::Output)?;
        self.decode_video(plan, video, session)
    }

    /// The picture, handed over frame by frame while further tiles are still to be decoded.
    fn decode_video(&mut self, plan: &Plan, latent: &Tensor, session: &mut Session) -> Result<()> {
        let decoder = self.video_decoder()?;
        let latent = latent.to_dtype(self.dtype())?;
        let total = plan.output.num_frames;
        let mut done = 0;
        let mut hand_over = |frames: &Tensor, session: &mut Session| -> Result<()> {
            for frame in 0..frames.dim(0)?.min(total - done) {
                session.report(Phase::Decoding, done, total)?;
                session.context.output.frame(&rgb(&frames.get(frame)?)?).map_err(PipelineError::Output)?;
                done += 1;
            }
            Ok(())
        };
        match plan.output.tiling {
            Some(TilingPlan { frames, pixels }) => {
                Tiling { frames, pixels }.decode(&decoder, &latent, |frames| hand_over(frames, session))?;
            }
            None => {
                let pixels = decoder.forward(&latent)?;
                session.context.probe.keep("pixels", &pixels.to_dtype(DType::F32)?)?;
                hand_over(&pixels.squeeze(0)?.transpose(0, 1)?, session)?;
            }
        }
        session.report(Phase::Decoding, total, total)
    }

    /// The sound, cut to the length of the picture.
    fn decode_audio(&mut self, plan: &Plan, latent: &Tensor, session: &mut Session) -> Result<AudioClip> {
        let audio = self.audio()?;
        let mel = audio.0.forward(&latent.to_dtype(self.dtype())?)?;
        session.context.probe.keep("mel", &mel)?;
        let waveform = audio.1.forward(&mel)?.squeeze(0)?.to_dtype(DType::F32)?;
        session.context.probe.keep("waveform", &waveform)?;
        let sample_rate = self.models.sample_rate();
        let seconds = plan.output.frame_rate.seconds(plan.output.num_frames as u32);
        let samples = ((seconds * f64::from(sample_rate)).round() as usize).min(waveform.dim(1)?);
        let interleaved = waveform.narrow(1, 0, samples)?.t()?.contiguous()?.flatten_all()?.to_vec1()?;
        Ok(AudioClip { sample_rate, samples: interleaved })
    }
}

/// A frame `(3, h, w)` as 8-bit RGB, row by row; halves are cut off, as torch does.
pub(super) fn rgb(frame: &Tensor) -> candle_core::Result<Vec<u8>> {
    let frame = frame.permute((1, 2, 0))?.to_dtype(DType::F32)?;
    let scaled = (((frame + 1.0)? / 2.0)?.clamp(0f32, 1f32)? * 255.0)?;
    Ok(scaled.flatten_all()?.to_vec1::<f32>()?.into_iter().map(|value| value as u8).collect())
}
