//! Runs of each phase.

use candle_core::{DType, Device, Tensor};
use ltx2_models::AudioVideo;
use ltx2_models::text_encoder::{Contexts, MAX_TOKENS};
use ltx2_models::transformer::{PromptContext, PromptContexts, Transformer};
use ltx2_models::video_vae::Tiling;
use ltx2_pipeline::diffusion::Denoiser;
use ltx2_pipeline::diffusion::guider::guiding_passes;
use ltx2_pipeline::diffusion::latent_state::LatentState;
use ltx2_pipeline::diffusion::noiser::NoiseSource;
use ltx2_pipeline::diffusion::philox::DEFAULT_MULTIPROCESSORS;
use ltx2_pipeline::diffusion::sampler::{Sampling, sample};
use ltx2_pipeline::diffusion::schedule::{DEFAULT_TOKENS, ltx2_sigmas};
use ltx2_pipeline::diffusion::token_layout::TokenLayout;
use ltx2_pipeline::plan::DEFAULT_TILING;
use ltx2_pipeline::{Engine, PipelineError};
use ltx2_types::Sampler;

use super::phase::{BenchPhase, Denoising, Extent};
use super::settings::BenchSettings;

type Result<T> = std::result::Result<T, PipelineError>;

/// One run of a phase.
pub(super) type Run<'a> = Box<dyn FnMut() -> Result<()> + 'a>;

/// Loads the networks of `phase` and returns its run.
pub(super) fn prepare<'a>(phase: BenchPhase, engine: &'a mut Engine, settings: &BenchSettings) -> Result<Run<'a>> {
    if let Some(denoising) = phase.denoising(engine.models()) {
        return denoise(engine, settings, denoising);
    }
    match phase {
        BenchPhase::EncodePrompt => encode_prompt(engine, settings),
        BenchPhase::DecodeVideo => decode_video(engine, settings, Tiling { frames: None, pixels: None }),
        BenchPhase::DecodeVideoTiled => {
            decode_video(engine, settings, Tiling { frames: DEFAULT_TILING.frames, pixels: DEFAULT_TILING.pixels })
        }
        BenchPhase::DecodeAudio => decode_audio(engine, settings),
        _ => Ok(load(engine)),
    }
}

/// Returns standard normal values, float32.
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

fn encode_prompt(engine: &mut Engine, settings: &BenchSettings) -> Result<Run<'static>> {
    let (dtype, device) = (engine.settings().precision.dtype(), engine.settings().device.clone());
    let gemma = engine.models().gemma(dtype, &device)?;
    let kernel = engine.settings().attention_kernel;
    let processor = engine.models().embeddings_processor(&[], kernel, dtype, &device)?;
    let ids: Vec<u32> = (0..settings.prompt_tokens.clamp(1, MAX_TOKENS) as u32).map(|i| i % 1000).collect();
    Ok(Box::new(move || {
        processor.forward(&gemma.hidden_states(&ids)?)?;
        Ok(())
    }))
}

fn denoise(engine: &mut Engine, settings: &BenchSettings, denoising: Denoising) -> Result<Run<'static>> {
    let Denoising { guidance, extent } = denoising;
    let (dtype, device) = (engine.settings().precision.dtype(), engine.settings().device.clone());
    let transformer = engine.transformer(&[])?;
    let widths = engine.models().context_widths();
    let prompt = || -> Result<Contexts> {
        let context = |width: usize| random(&[1, MAX_TOKENS, width], &device)?.to_dtype(dtype);
        Ok(Contexts { video: context(widths.video)?, audio: context(widths.audio)? })
    };
    let (positive, negative) = (prompt()?, prompt()?);
    let guided = guiding_passes(AudioVideo { video: &guidance, audio: &guidance }).negative.is_some();
    let cache_contexts = move |transformer: &Transformer| -> Result<(PromptContext, Option<PromptContext>)> {
        let negative = guided.then(|| transformer.cache_context(&negative)).transpose()?;
        Ok((transformer.cache_context(&positive)?, negative))
    };
    let (sigmas, prepared) = match extent {
        Extent::Step => {
            (ltx2_sigmas(settings.steps.max(2), DEFAULT_TOKENS)[..2].to_vec(), Some(cache_contexts(&transformer)?))
        }
        Extent::Stage => (ltx2_sigmas(settings.steps, DEFAULT_TOKENS), None),
    };
    let states = random_states(engine, settings)?;
    Ok(Box::new(move || {
        let (positive, negative) = match &prepared {
            Some(prompts) => prompts.clone(),
            None => cache_contexts(&transformer)?,
        };
        let denoiser = Denoiser::new(
            &transformer,
            PromptContexts { positive: &positive, negative: negative.as_ref() },
            &states,
            AudioVideo { video: &guidance, audio: &guidance },
            dtype,
        )?;
        let sampling = Sampling {
            denoiser: &denoiser,
            sigmas: &sigmas,
            noise: &mut NoiseSource::default(),
            dtype,
            observer: &mut |_| Ok(()),
        };
        sample(Sampler::Euler, sampling, states.clone())?;
        Ok(())
    }))
}

fn random_states(engine: &Engine, settings: &BenchSettings) -> Result<AudioVideo<LatentState>> {
    let device = &engine.settings().device;
    let layouts = TokenLayout::of(settings.shape);
    Ok(layouts.zip(engine.models().latent_channels()).try_map(|(layout, channels)| {
        let start = random(&[1, layout.tokens(), channels], device)?;
        LatentState::new(layout.positions(), Some(&start), channels, device)
    })?)
}

fn decode_video(engine: &mut Engine, settings: &BenchSettings, tiling: Tiling) -> Result<Run<'static>> {
    let (decoder, device) = (engine.video_decoder()?, engine.settings().device.clone());
    let shape = settings.shape.latent();
    let latent =
        random(&[1, engine.models().latent_channels().video, shape.frames, shape.height, shape.width], &device)?;
    let latent = latent.to_dtype(engine.settings().precision.dtype())?;
    Ok(Box::new(move || {
        tiling.decode(&decoder, &latent, |frames| {
            frames.to_device(&Device::Cpu)?;
            Ok(())
        })
    }))
}

fn decode_audio(engine: &mut Engine, settings: &BenchSettings) -> Result<Run<'static>> {
    let (audio, device) = (engine.audio()?, engine.settings().device.clone());
    let (channels, bins) = engine.models().audio_latent();
    let latent = random(&[1, channels, settings.shape.audio_frames(), bins], &device)?;
    let latent = latent.to_dtype(engine.settings().precision.dtype())?;
    Ok(Box::new(move || {
        audio.vocoder.forward(&audio.decoder.forward(&latent)?)?;
        Ok(())
    }))
}
