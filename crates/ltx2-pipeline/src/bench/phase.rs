//! What can be measured.

use candle_core::{DType, Device, Tensor};
use ltx2_models::text_encoder::{Contexts, MAX_TOKENS};
use ltx2_models::transformer::{Context, Prompts, Transformer};
use ltx2_models::video_vae::Tiling;
use ltx2_types::Sampler;

use super::Settings;
use crate::diffusion::Denoiser;
use crate::diffusion::guider::{GuiderParams, guiding_passes};
use crate::diffusion::latent_state::LatentState;
use crate::diffusion::noiser::NoiseSource;
use crate::diffusion::patchifier::audio_positions;
use crate::diffusion::philox::DEFAULT_MULTIPROCESSORS;
use crate::diffusion::sampler::{Sampling, States};
use crate::diffusion::schedule::{DEFAULT_TOKENS, ltx2_sigmas};
use crate::plan::{TILING, default_stg_block};
use crate::{Engine, ModelSet, PipelineError};

type Result<T> = std::result::Result<T, PipelineError>;

/// A phase of a run, measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Reading (or making) the transformer's weights.
    Load,
    /// A prompt to its contexts, with the text encoder in memory.
    EncodePrompt,
    /// One pass of the transformer.
    Forward,
    /// One step with all guidance: four passes, of which what they have in common is computed once.
    GuidedStep,
    /// All steps with all guidance.
    Denoise,
    /// All steps without guidance, as distilled models run.
    DenoiseUnguided,
    /// Latents to pictures at once.
    DecodeVideo,
    /// Latents to pictures in the tiles of two-stage runs.
    DecodeVideoTiled,
    /// Latents to sound.
    DecodeAudio,
}

/// What a run of a phase that denoises is.
pub(super) struct Denoising {
    pub guidance: GuiderParams,
    pub extent: Extent,
}

/// How much is denoised.
pub(super) enum Extent {
    /// The first step of a usual schedule, with the prompts read before.
    Step,
    /// All steps, with reading the prompts.
    Stage,
}

/// One run of a phase.
pub(super) type Run<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

impl Phase {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Load,
        Self::EncodePrompt,
        Self::Forward,
        Self::GuidedStep,
        Self::Denoise,
        Self::DenoiseUnguided,
        Self::DecodeVideo,
        Self::DecodeVideoTiled,
        Self::DecodeAudio,
    ];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::EncodePrompt => "encode-prompt",
            Self::Forward => "forward",
            Self::GuidedStep => "guided-step",
            Self::Denoise => "denoise",
            Self::DenoiseUnguided => "denoise-unguided",
            Self::DecodeVideo => "decode-video",
            Self::DecodeVideoTiled => "decode-video-tiled",
            Self::DecodeAudio => "decode-audio",
        }
    }

    /// What a phase that denoises does.
    pub(super) fn denoising(self, models: &ModelSet) -> Option<Denoising> {
        let guided = || {
            let stg_blocks = default_stg_block(&models.facts()).into_iter().collect();
            GuiderParams { cfg_scale: 3.0, stg_scale: 1.0, stg_blocks, modality_scale: 3.0, rescale_scale: 0.7 }
        };
        let (guidance, extent) = match self {
            Self::Forward => (GuiderParams::off(), Extent::Step),
            Self::GuidedStep => (guided(), Extent::Step),
            Self::Denoise => (guided(), Extent::Stage),
            Self::DenoiseUnguided => (GuiderParams::off(), Extent::Stage),
            Self::Load | Self::EncodePrompt | Self::DecodeVideo | Self::DecodeVideoTiled | Self::DecodeAudio => {
                return None;
            }
        };
        Some(Denoising { guidance, extent })
    }

    /// Loads what the phase needs.
    pub(super) fn prepare<'a>(self, engine: &'a mut Engine, settings: &Settings) -> Result<Run<'a>> {
        match self {
            Self::Load => Ok(load(engine)),
            Self::EncodePrompt => encode_prompt(engine, settings),
            Self::Forward | Self::GuidedStep | Self::Denoise | Self::DenoiseUnguided => {
                let denoising = self.denoising(engine.models());
                denoise(engine, settings, denoising.expect("they are phases of denoising"))
            }
            Self::DecodeVideo => decode_video(engine, settings, Tiling { frames: None, pixels: None }),
            Self::DecodeVideoTiled => {
                decode_video(engine, settings, Tiling { frames: TILING.frames, pixels: TILING.pixels })
            }
            Self::DecodeAudio => decode_audio(engine, settings),
        }
    }
}

fn random(shape: &[usize], device: &Device) -> candle_core::Result<Tensor> {
    let mut noise = NoiseSource::of_seed(0, DEFAULT_MULTIPROCESSORS);
    noise.draw(&Tensor::zeros(shape, DType::F32, device)?, DType::F32)
}

fn load(engine: &mut Engine) -> Run<'_> {
    Box::new(|| {
        engine.unload();
        engine.transformer(&[])?;
        Ok(())
    })
}

fn encode_prompt(engine: &mut Engine, settings: &Settings) -> Result<Run<'static>> {
    let (dtype, device) = (engine.settings().precision.dtype(), engine.settings().device.clone());
    let gemma = engine.models().gemma(dtype, &device)?;
    let processor = engine.models().embeddings_processor(dtype, &device)?;
    let ids: Vec<u32> = (0..settings.prompt_tokens.clamp(1, MAX_TOKENS) as u32).map(|i| i % 1000).collect();
    Ok(Box::new(move || {
        processor.forward(&gemma.hidden_states(&ids)?)?;
        Ok(())
    }))
}

fn denoise(
    engine: &mut Engine,
    settings: &Settings,
    Denoising { guidance, extent }: Denoising,
) -> Result<Run<'static>> {
    let (dtype, device) = (engine.settings().precision.dtype(), engine.settings().device.clone());
    let transformer = engine.transformer(&[])?;
    let widths = engine.models().context_widths();
    let prompt = || -> Result<Contexts> {
        let context = |width: usize| random(&[1, MAX_TOKENS, width], &device)?.to_dtype(dtype);
        Ok(Contexts { video: context(widths.0)?, audio: context(widths.1)? })
    };
    let (positive, negative) = (prompt()?, prompt()?);
    let guided = guiding_passes([&guidance; 2]).negative.is_some();
    let read = move |transformer: &Transformer| -> Result<(Context, Option<Context>)> {
        let negative = guided.then(|| transformer.read(&negative)).transpose()?;
        Ok((transformer.read(&positive)?, negative))
    };
    let sigmas = match extent {
        Extent::Step => ltx2_sigmas(settings.steps.max(2), DEFAULT_TOKENS)[..2].to_vec(),
        Extent::Stage => ltx2_sigmas(settings.steps, DEFAULT_TOKENS),
    };
    let already_read = match extent {
        Extent::Step => Some(read(&transformer)?),
        Extent::Stage => None,
    };
    let states = random_states(engine, settings)?;
    Ok(Box::new(move || {
        let (positive, negative) = match &already_read {
            Some(prompts) => prompts.clone(),
            None => read(&transformer)?,
        };
        let denoiser = Denoiser::new(
            &transformer,
            Prompts { positive: &positive, negative: negative.as_ref() },
            (&states.video, &states.audio),
            (&guidance, &guidance),
            dtype,
        )?;
        let sampling = Sampling {
            denoiser: &denoiser,
            sigmas: &sigmas,
            noise: &mut NoiseSource::default(),
            dtype,
            observer: &mut |_| Ok(()),
        };
        sampling.run(Sampler::Euler, states.clone())?;
        Ok(())
    }))
}

fn random_states(engine: &Engine, settings: &Settings) -> Result<States> {
    let device = &engine.settings().device;
    let shape = settings.shape.latent();
    let (video_channels, audio_channels) = engine.models().latent_channels();
    let audio_frames = settings.shape.audio_frames();
    let (video, audio) =
        (random(&[1, shape.tokens(), video_channels], device)?, random(&[1, audio_frames, audio_channels], device)?);
    Ok(States {
        video: LatentState::new(shape.positions(settings.shape.frame_rate, 0), Some(&video), video_channels, device)?,
        audio: LatentState::new(audio_positions(audio_frames), Some(&audio), audio_channels, device)?,
    })
}

fn decode_video(engine: &mut Engine, settings: &Settings, tiling: Tiling) -> Result<Run<'static>> {
    let (decoder, device) = (engine.video_decoder()?, engine.settings().device.clone());
    let shape = settings.shape.latent();
    let latent = random(&[1, engine.models().latent_channels().0, shape.frames, shape.height, shape.width], &device)?;
    let latent = latent.to_dtype(engine.settings().precision.dtype())?;
    Ok(Box::new(move || {
        tiling.decode(&decoder, &latent, |frames| {
            frames.to_device(&Device::Cpu)?;
            Ok(())
        })
    }))
}

fn decode_audio(engine: &mut Engine, settings: &Settings) -> Result<Run<'static>> {
    let (parts, device) = (engine.audio()?, engine.settings().device.clone());
    let (channels, bins) = engine.models().audio_latent();
    let latent = random(&[1, channels, settings.shape.audio_frames(), bins], &device)?;
    let latent = latent.to_dtype(engine.settings().precision.dtype())?;
    Ok(Box::new(move || {
        parts.1.forward(&parts.0.forward(&latent)?)?;
        Ok(())
    }))
}
