//! Decoding of latents to frames and audio, which are passed on while further frames are decoded.

use candle_core::{DType, Tensor};
use ltx2_models::video_vae::Tiling;
use ltx2_types::{AudioClip, Phase, VideoInfo};

use super::Engine;
use super::frame_writer::FrameWriter;
use super::mixing::{mixed, resampled};
use super::session::Session;
use crate::error::{PipelineError, Result};
use crate::plan::{Origin, OutputPlan, Plan, SourceOutput, TilingPlan};

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
        let audio = audio.map(|latent| self.decode_audio(latent, session)).transpose()?;
        let audio = match &plan.output.source {
            Some(source) => self.with_source_audio(&plan.output, source, audio, session)?,
            None => audio.map(|clip| cut(clip, &plan.output)),
        };
        let shape = plan.stages.last().map(|stage| stage.shape).expect("a plan that ran has a stage");
        let size = plan.output.source.as_ref().map_or((shape.width, shape.height), |source| source.size);
        let info = VideoInfo {
            width: size.0 as u32,
            height: size.1 as u32,
            num_frames: plan.output.num_frames as u32,
            frame_rate: plan.output.frame_rate,
        };
        session.context.output.start(info).map_err(PipelineError::Output)?;
        if let Some(audio) = audio {
            session.context.output.audio(audio).map_err(PipelineError::Output)?;
        }
        let mut writer = FrameWriter::new(&plan.output, size);
        if writer.needs_generated() {
            self.decode_video(plan.output.tiling, video, &mut writer, session)?;
        }
        writer.finish(session)
    }

    /// Decodes the video and passes each frame to `writer` while further tiles are decoded.
    fn decode_video(
        &mut self,
        tiling: Option<TilingPlan>,
        latent: &Tensor,
        writer: &mut FrameWriter,
        session: &mut Session,
    ) -> Result<()> {
        let decoder = self.residency.video_decoder()?;
        let latent = latent.to_dtype(self.dtype())?;
        let mut decoded = 0;
        let mut write = |frames: &Tensor, session: &mut Session| -> Result<()> {
            for frame in 0..frames.dim(0)? {
                writer.generated(decoded, &frames.get(frame)?, session)?;
                decoded += 1;
            }
            Ok(())
        };
        match tiling {
            Some(TilingPlan { frames, pixels }) => {
                Tiling { frames, pixels }.decode(&decoder, &latent, |frames| write(frames, session))
            }
            None => {
                let pixels = decoder.forward(&latent)?;
                session.keep("pixels", &pixels.to_dtype(DType::F32)?)?;
                write(&pixels.squeeze(0)?.transpose(0, 1)?, session)
            }
        }
    }

    /// Decodes the audio of a stage.
    fn decode_audio(&mut self, latent: &Tensor, session: &mut Session) -> Result<AudioClip> {
        session.keep("latent.audio", latent)?;
        let audio = self.residency.audio()?;
        let mel = audio.decoder.forward(&latent.to_dtype(self.dtype())?)?;
        session.keep("mel", &mel)?;
        let waveform = audio.vocoder.forward(&mel)?.squeeze(0)?.to_dtype(DType::F32)?;
        session.keep("waveform", &waveform)?;
        let samples = waveform.t()?.contiguous()?.flatten_all()?.to_vec1()?;
        Ok(AudioClip { sample_rate: self.models().sample_rate(), samples })
    }

    /// Returns the audio of a result of which parts come from an input; `None` for a silent one.
    fn with_source_audio(
        &self,
        output: &OutputPlan,
        source: &SourceOutput,
        generated: Option<AudioClip>,
        session: &mut Session,
    ) -> Result<Option<AudioClip>> {
        let spans = &source.spans.audio;
        if spans.is_empty() {
            return Ok(None);
        }
        let rate = source.sample_rate.unwrap_or_else(|| self.models().sample_rate());
        let silence = AudioClip { sample_rate: rate, samples: Vec::new() };
        let needs_source = spans.iter().any(|span| span.from == Origin::Source) && source.sample_rate.is_some();
        let original = if needs_source {
            session.context.inputs.audio(source.input, rate).map_err(PipelineError::Input)?
        } else {
            silence.clone()
        };
        let generated = generated.map_or(silence, |clip| resampled(clip, rate));
        Ok(Some(mixed(spans, &original, &generated, output.frame_rate)))
    }
}

/// Cuts generated audio to the length of the result.
fn cut(mut clip: AudioClip, output: &OutputPlan) -> AudioClip {
    let seconds = output.frame_rate.seconds(output.num_frames as u32);
    clip.samples.truncate((seconds * f64::from(clip.sample_rate)).round() as usize * 2);
    clip
}
