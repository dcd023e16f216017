//! Runs a plan. Knows stages, conditioning items and guidance; not which kind of task they came from.

use std::sync::Arc;

use candle_core::{DType, Device, Tensor};
use ltx2_models::audio_vae::AudioDecoder;
use ltx2_models::text_encoder::Contexts;
use ltx2_models::transformer::{Context, Transformer};
use ltx2_models::video_vae::{Tiling, VideoDecoder, VideoEncoder};
use ltx2_models::vocoder::Vocoder;
use ltx2_types::{Output, OutputFormat, Phase, Progress, RgbImage, Sound, Watch};

use crate::diffusion::conditioning::ConditioningItem;
use crate::diffusion::denoiser::Denoiser;
use crate::diffusion::latent_state::LatentState;
use crate::diffusion::noiser::{NoiseSource, add_noise};
use crate::diffusion::patchifier::{VideoLatentShape, audio_patchify, audio_positions, audio_unpatchify};
use crate::diffusion::philox::{DEFAULT_MULTIPROCESSORS, Philox};
use crate::diffusion::stepper::euler_step;
use crate::image_conditioning::conditioning_pixels;
use crate::plan::{ItemPlan, LoraPlan, ModalityPlan, Plan, StagePlan, Start, TilingPlan};
use crate::{ModelSet, PipelineError, Precision};

type Result<T> = std::result::Result<T, PipelineError>;

/// How an engine computes, for all its runs.
#[derive(Debug, Clone)]
pub struct EngineSettings {
    /// What it computes on.
    pub device: Device,
    /// dtype of weights and activations.
    pub precision: Precision,
    /// The card whose noise a seed means, by its multiprocessors.
    pub noise_multiprocessors: usize,
}

impl EngineSettings {
    /// The noise of an H100 or H200.
    pub fn new(device: Device, precision: Precision) -> Self {
        Self { device, precision, noise_multiprocessors: DEFAULT_MULTIPROCESSORS }
    }
}

/// Sees the tensors of a run as they appear, under the names of the reference traces.
pub trait Probe {
    /// Called once for each; `noise`, `image` and `image_latent` come several times, to be counted.
    fn keep(&mut self, name: &str, tensor: &Tensor) -> candle_core::Result<()>;
}

/// What a stage hands on.
struct Latents {
    /// `(1, c, f, h, w)`.
    video: Tensor,
    /// `(1, c, t, bins)`.
    audio: Tensor,
}

/// Sees nothing.
pub(crate) struct NoProbe;

impl Probe for NoProbe {
    fn keep(&mut self, _: &str, _: &Tensor) -> candle_core::Result<()> {
        Ok(())
    }
}

/// What a run is given beside its plan, and where its results go.
pub(crate) struct Session<'a> {
    pub images: &'a [RgbImage],
    pub noise: NoiseSource,
    pub output: &'a mut dyn Output,
    pub watch: &'a dyn Watch,
    pub probe: &'a mut dyn Probe,
}

impl Session<'_> {
    fn report(&self, phase: Phase, step: usize, total: usize) -> Result<()> {
        if self.watch.is_cancelled() {
            return Err(PipelineError::Cancelled);
        }
        self.watch.progress(Progress { phase, step: step as u32, total_steps: total as u32 });
        Ok(())
    }
}

/// A model set with the parts of it that are in memory.
#[derive(Debug)]
pub struct Engine {
    models: ModelSet,
    settings: EngineSettings,
    parts: Parts,
}

/// What stays in memory between runs. The text encoder does not: it is as large as the rest.
#[derive(Debug, Default)]
struct Parts {
    /// With the adapters that are fused into it.
    transformer: Option<(Vec<LoraPlan>, Arc<Transformer>)>,
    video_encoder: Option<Arc<VideoEncoder>>,
    video_decoder: Option<Arc<VideoDecoder>>,
    audio: Option<Arc<(AudioDecoder, Vocoder)>>,
}

impl Engine {
    /// Nothing is loaded yet.
    pub fn new(models: ModelSet, settings: EngineSettings) -> Self {
        Self { models, settings, parts: Parts::default() }
    }

    /// The model.
    pub fn models(&self) -> &ModelSet {
        &self.models
    }

    /// What it computes on.
    pub fn settings(&self) -> &EngineSettings {
        &self.settings
    }

    /// Whether weights are in memory.
    pub fn is_loaded(&self) -> bool {
        let parts = &self.parts;
        parts.transformer.is_some()
            || parts.video_encoder.is_some()
            || parts.video_decoder.is_some()
            || parts.audio.is_some()
    }

    /// Drops all weights.
    pub fn unload(&mut self) {
        self.parts = Parts::default();
    }

    /// The seed's noise.
    pub(crate) fn noise(&self, seed: u64) -> NoiseSource {
        NoiseSource::Generator(Philox::new(seed, self.settings.noise_multiprocessors))
    }

    /// Runs `plan` to its end.
    pub(crate) fn run(&mut self, plan: &Plan, session: &mut Session) -> Result<()> {
        let contexts = self.encode_prompts(plan, session)?;
        let mut latents = None;
        for (index, stage) in plan.stages.iter().enumerate() {
            latents = Some(self.run_stage((index, stage), latents, &contexts, session)?);
        }
        let latents = latents.ok_or_else(|| PipelineError::Request("the plan has no stage".into()))?;
        self.decode(plan, &latents, session)
    }

    /// Contexts of the prompt and, if the plan has one, of the negative prompt. The text encoder is gone afterwards.
    fn encode_prompts(&self, plan: &Plan, session: &mut Session) -> Result<(Contexts, Option<Contexts>)> {
        let (dtype, device) = (self.dtype(), &self.settings.device);
        session.report(Phase::EncodingPrompt, 0, 1)?;
        let mut prompts = vec![("positive", &plan.prompt)];
        prompts.extend(plan.negative_prompt.as_ref().map(|prompt| ("negative", prompt)));
        let gemma = self.models.gemma(dtype, device)?;
        let mut states = Vec::new();
        for (label, prompt) in &prompts {
            let tokens = self.models.tokenizer().encode(prompt)?;
            let ids: Vec<i64> = tokens.padded().into_iter().map(i64::from).collect();
            session.probe.keep(&format!("tokens.{label}"), &Tensor::new(ids, &Device::Cpu)?)?;
            states.push(gemma.hidden_states(tokens.ids())?);
        }
        drop(gemma);
        let processor = self.models.embeddings_processor(dtype, device)?;
        let mut contexts = Vec::new();
        for ((label, _), states) in prompts.iter().zip(states) {
            let context = processor.forward(&states)?;
            session.probe.keep(&format!("context.video.{label}"), &context.video)?;
            session.probe.keep(&format!("context.audio.{label}"), &context.audio)?;
            contexts.push(context);
        }
        let mut contexts = contexts.into_iter();
        let positive = contexts.next().expect("the prompt itself");
        Ok((positive, contexts.next()))
    }

    /// Denoises, starting from what the stage's plan says.
    fn run_stage(
        &mut self,
        (index, stage): (usize, &StagePlan),
        previous: Option<Latents>,
        contexts: &(Contexts, Option<Contexts>),
        session: &mut Session,
    ) -> Result<Latents> {
        let shape = stage.shape.latent();
        let start = self.start(stage, previous, session)?;
        let items = self.conditioning_items(stage, session)?;
        let (mut video, mut audio) = self.initial_states(stage, &start, &items, session)?;
        session.report(Phase::Loading, 0, 1)?;
        let transformer = self.transformer(&stage.loras)?;
        let project = |contexts: &Contexts| -> candle_core::Result<Context> { transformer.project(contexts) };
        let (positive, negative) = (project(&contexts.0)?, contexts.1.as_ref().map(project).transpose()?);
        let denoiser = Denoiser::new(
            &transformer,
            (&positive, negative.as_ref()),
            (&video, &audio),
            (&stage.video.guidance, &stage.audio.guidance),
            self.dtype(),
        )?;
        session.probe.keep(&format!("sigmas.{index}"), &Tensor::new(stage.sigmas.as_slice(), &Device::Cpu)?)?;
        let steps = stage.sigmas.len() - 1;
        for (step, sigmas) in stage.sigmas.windows(2).enumerate() {
            session.report(Phase::Denoising, step, steps)?;
            let (denoised_video, denoised_audio) = denoiser.denoise(&video, &audio, sigmas[0])?;
            for (name, state, denoised) in
                [("video", &mut video, denoised_video), ("audio", &mut audio, denoised_audio)]
            {
                let denoised = state.blend(denoised)?;
                state.latent = euler_step(&state.latent, &denoised, sigmas[0], sigmas[1])?;
                session.probe.keep(&format!("step.{index}.{step}.{name}"), &state.latent)?;
            }
        }
        session.report(Phase::Denoising, steps, steps)?;
        Ok(Latents {
            video: shape.unpatchify(&video.first_tokens(shape.tokens())?)?,
            audio: audio_unpatchify(&audio.latent)?,
        })
    }

    /// The tokens that noise is added to, where the stage does not start from nothing.
    fn start(
        &mut self,
        stage: &StagePlan,
        previous: Option<Latents>,
        session: &mut Session,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let missing = || PipelineError::Request("the first stage has no previous one to start from".into());
        let previous = |start: Start| match start {
            Start::Empty => Ok(None),
            Start::Previous | Start::Upscaled => previous.as_ref().map(Some).ok_or_else(missing),
        };
        let video = match (stage.video.start, previous(stage.video.start)?) {
            (Start::Upscaled, Some(latents)) => Some(self.upscale(&latents.video, session)?),
            (_, latents) => latents.map(|latents| latents.video.clone()),
        };
        let audio = previous(stage.audio.start)?.map(|latents| latents.audio.clone());
        Ok((
            video.as_ref().map(VideoLatentShape::patchify).transpose()?,
            audio.as_ref().map(audio_patchify).transpose()?,
        ))
    }

    /// Twice the height and width, through the latent upsampler.
    fn upscale(&self, latent: &Tensor, session: &mut Session) -> Result<Tensor> {
        let (upsampler, statistics) = self.models.upsampler(self.dtype(), &self.settings.device)?;
        let latent = statistics.un_normalize(&latent.to_dtype(self.dtype())?)?;
        let upscaled = statistics.normalize(&upsampler.forward(&latent)?)?.to_dtype(DType::F32)?;
        session.probe.keep("upscaled", &upscaled)?;
        Ok(upscaled)
    }

    fn conditioning_items(&mut self, stage: &StagePlan, session: &mut Session) -> Result<Vec<ConditioningItem>> {
        let mut items = Vec::new();
        for item in &stage.video.items {
            let image = session.images.get(item.image()).ok_or_else(|| {
                PipelineError::Request(format!(
                    "image {} is missing: {} were given",
                    item.image(),
                    session.images.len()
                ))
            })?;
            let pixels = conditioning_pixels(image, stage.shape.height, stage.shape.width, &self.settings.device)?;
            session.probe.keep("image", &pixels)?;
            let latent = self.video_encoder()?.forward(&pixels.to_dtype(self.dtype())?)?.to_dtype(DType::F32)?;
            session.probe.keep("image_latent", &latent)?;
            items.push(match *item {
                ItemPlan::ReplaceLatent { latent_index, strength, .. } => {
                    ConditioningItem::ReplaceLatent { latent, latent_index, strength }
                }
                ItemPlan::Keyframe { frame, strength, .. } => ConditioningItem::Keyframe { latent, frame, strength },
            });
        }
        Ok(items)
    }

    fn initial_states(
        &self,
        stage: &StagePlan,
        (video_start, audio_start): &(Option<Tensor>, Option<Tensor>),
        items: &[ConditioningItem],
        session: &mut Session,
    ) -> Result<(LatentState, LatentState)> {
        let (shape, frame_rate) = (stage.shape.latent(), stage.shape.frame_rate);
        let (video_channels, audio_channels) = self.models.latent_channels();
        let positions = match self.settings.precision {
            Precision::F32 => shape.positions(frame_rate, 0),
            Precision::Bf16 => shape.positions(frame_rate, 0).rounded_to_bf16(),
        };
        let mut video = LatentState::new(positions, video_start.as_ref(), video_channels, &self.settings.device)?;
        for item in items {
            video = item.apply(video, shape, frame_rate)?;
        }
        let positions = audio_positions(stage.shape.audio_frames());
        let audio = LatentState::new(positions, audio_start.as_ref(), audio_channels, &self.settings.device)?;
        let mut noised = |state, plan: &ModalityPlan| -> Result<LatentState> {
            let (state, noise) = add_noise(state, plan.noise_scale, &mut session.noise, self.dtype())?;
            session.probe.keep("noise", &noise)?;
            Ok(state)
        };
        Ok((noised(video, &stage.video)?, noised(audio, &stage.audio)?))
    }

    fn decode(&mut self, plan: &Plan, Latents { video, audio }: &Latents, session: &mut Session) -> Result<()> {
        session.report(Phase::Decoding, 0, plan.output.num_frames)?;
        session.probe.keep("latent.video", video)?;
        session.probe.keep("latent.audio", audio)?;
        let sound = self.decode_audio(plan, audio, session)?;
        let shape = plan.stages.last().map(|stage| stage.shape).expect("a plan that ran has a stage");
        let format = OutputFormat {
            width: shape.width as u32,
            height: shape.height as u32,
            num_frames: plan.output.num_frames as u32,
            frame_rate: plan.output.frame_rate,
        };
        session.output.start(format).map_err(PipelineError::Output)?;
        session.output.sound(sound).map_err(PipelineError::Output)?;
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
                session.output.frame(&rgb(&frames.get(frame)?)?).map_err(PipelineError::Output)?;
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
                session.probe.keep("pixels", &pixels.to_dtype(DType::F32)?)?;
                hand_over(&pixels.squeeze(0)?.transpose(0, 1)?, session)?;
            }
        }
        session.report(Phase::Decoding, total, total)
    }

    /// The sound, cut to the length of the picture.
    fn decode_audio(&mut self, plan: &Plan, latent: &Tensor, session: &mut Session) -> Result<Sound> {
        let audio = self.audio()?;
        let mel = audio.0.forward(&latent.to_dtype(self.dtype())?)?;
        session.probe.keep("mel", &mel)?;
        let waveform = audio.1.forward(&mel)?.squeeze(0)?.to_dtype(DType::F32)?;
        session.probe.keep("waveform", &waveform)?;
        let sample_rate = self.models.sample_rate();
        let seconds = plan.output.frame_rate.seconds(plan.output.num_frames as u32);
        let samples = ((seconds * f64::from(sample_rate)).round() as usize).min(waveform.dim(1)?);
        let interleaved = waveform.narrow(1, 0, samples)?.t()?.contiguous()?.flatten_all()?.to_vec1()?;
        Ok(Sound { sample_rate, samples: interleaved })
    }

    fn dtype(&self) -> DType {
        self.settings.precision.dtype()
    }

    fn transformer(&mut self, loras: &[LoraPlan]) -> Result<Arc<Transformer>> {
        if let Some((_, transformer)) = self.parts.transformer.as_ref().filter(|(fused, _)| fused == loras) {
            return Ok(transformer.clone());
        }
        // The old one first: there is hardly room for two.
        self.parts.transformer = None;
        let transformer = Arc::new(self.models.transformer(loras, self.dtype(), &self.settings.device)?);
        self.parts.transformer = Some((loras.to_vec(), transformer.clone()));
        Ok(transformer)
    }

    fn video_encoder(&mut self) -> Result<Arc<VideoEncoder>> {
        let (dtype, device) = (self.dtype(), &self.settings.device);
        resident(&mut self.parts.video_encoder, || Ok(self.models.video_encoder(dtype, device)?))
    }

    fn video_decoder(&mut self) -> Result<Arc<VideoDecoder>> {
        let (dtype, device) = (self.dtype(), &self.settings.device);
        resident(&mut self.parts.video_decoder, || Ok(self.models.video_decoder(dtype, device)?))
    }

    fn audio(&mut self) -> Result<Arc<(AudioDecoder, Vocoder)>> {
        let (dtype, device) = (self.dtype(), &self.settings.device);
        resident(&mut self.parts.audio, || {
            Ok((self.models.audio_decoder(dtype, device)?, self.models.vocoder(dtype, device)?))
        })
    }
}

/// The part in `slot`, loaded if it is not there yet.
fn resident<T>(slot: &mut Option<Arc<T>>, load: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
    if slot.is_none() {
        *slot = Some(Arc::new(load()?));
    }
    Ok(slot.clone().expect("just loaded"))
}

/// A frame `(3, h, w)` as 8-bit RGB, row by row; halves are cut off, as torch does.
fn rgb(frame: &Tensor) -> candle_core::Result<Vec<u8>> {
    let frame = frame.permute((1, 2, 0))?.to_dtype(DType::F32)?;
    let scaled = (((frame + 1.0)? / 2.0)?.clamp(0f32, 1f32)? * 255.0)?;
    Ok(scaled.flatten_all()?.to_vec1::<f32>()?.into_iter().map(|value| value as u8).collect())
}
