//! Decoding of latents to frames and audio, which are passed on while further frames are decoded.

use candle_core::{DType, Tensor};
use ltx2_models::video_vae::Tiling;
use ltx2_types::{AudioClip, Phase, VideoInfo};

use super::Engine;
use super::session::Session;
use crate::error::{PipelineError, Result};
use crate::plan::{Plan, TilingPlan};

impl Engine {
    /// Decodes the latents and passes the video's properties, the audio and the frames to the output.
    pub(super) fn decode(
        &mut self,
        plan: &Plan,
        video: &Tensor,
        audio: Option<&Tensor>,
        session: &mut Session,
    ) -> Result<()> {
        session.report(Phase::Decoding, 0, plan.output.num_frames)?;
        session.keep("latent.video", video)?;
        let audio = audio.map(|latent| self.decode_audio(plan, latent, session)).transpose()?;
        let shape = plan.stages.last().map(|stage| stage.shape).expect("a plan that ran has a stage");
        let info = VideoInfo {
            width: shape.width as u32,
            height: shape.height as u32,
            num_frames: plan.output.num_frames as u32,
            frame_rate: plan.output.frame_rate,
        };
        session.context.output.start(info).map_err(PipelineError::Output)?;
        if let Some(audio) = audio {
            session.context.output.audio(audio).map_err(PipelineError::Output)?;
        }
        self.decode_video(plan, video, session)
    }

    /// Decodes the video and passes each frame to the output while further tiles are decoded.
    fn decode_video(&mut self, plan: &Plan, latent: &Tensor, session: &mut Session) -> Result<()> {
        let decoder = self.residency.video_decoder()?;
        let latent = latent.to_dtype(self.dtype())?;
        let total = plan.output.num_frames;
        let mut done = 0;
        let mut write = |frames: &Tensor, session: &mut Session| -> Result<()> {
            for frame in 0..frames.dim(0)?.min(total - done) {
                session.report(Phase::Decoding, done, total)?;
                session.context.output.frame(&rgb(&frames.get(frame)?)?).map_err(PipelineError::Output)?;
                done += 1;
            }
            Ok(())
        };
        match plan.output.tiling {
            Some(TilingPlan { frames, pixels }) => {
                Tiling { frames, pixels }.decode(&decoder, &latent, |frames| write(frames, session))?;
            }
            None => {
                let pixels = decoder.forward(&latent)?;
                session.keep("pixels", &pixels.to_dtype(DType::F32)?)?;
                write(&pixels.squeeze(0)?.transpose(0, 1)?, session)?;
            }
        }
        session.report(Phase::Decoding, total, total)
    }

    /// Decodes the audio and cuts it to the length of the video.
    fn decode_audio(&mut self, plan: &Plan, latent: &Tensor, session: &mut Session) -> Result<AudioClip> {
        session.keep("latent.audio", latent)?;
        let audio = self.residency.audio()?;
        let mel = audio.decoder.forward(&latent.to_dtype(self.dtype())?)?;
        session.keep("mel", &mel)?;
        let waveform = audio.vocoder.forward(&mel)?.squeeze(0)?.to_dtype(DType::F32)?;
        session.keep("waveform", &waveform)?;
        let sample_rate = self.models().sample_rate();
        let seconds = plan.output.frame_rate.seconds(plan.output.num_frames as u32);
        let samples = ((seconds * f64::from(sample_rate)).round() as usize).min(waveform.dim(1)?);
        let interleaved = waveform.narrow(1, 0, samples)?.t()?.contiguous()?.flatten_all()?.to_vec1()?;
        Ok(AudioClip { sample_rate, samples: interleaved })
    }
}

/// Converts a frame `(3, h, w)` in [-1, 1] to 8-bit RGB rows. Fractions are truncated, as in torch.
pub(super) fn rgb(frame: &Tensor) -> candle_core::Result<Vec<u8>> {
    let frame = frame.permute((1, 2, 0))?.to_dtype(DType::F32)?;
    let scaled = (((frame + 1.0)? / 2.0)?.clamp(0f32, 1f32)? * 255.0)?;
    Ok(scaled.flatten_all()?.to_vec1::<f32>()?.into_iter().map(|value| value as u8).collect())
}
