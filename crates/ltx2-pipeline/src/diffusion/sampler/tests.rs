//! Samplers on the transformer of the demo model.

use candle_core::{DType, Device, Tensor};
use ltx2_devtools::{PublishedModel, demo_model};
use ltx2_models::text_encoder::Contexts;
use ltx2_models::transformer::PromptContexts;
use ltx2_models::{AttentionKernel, AudioVideo};
use ltx2_types::{Sampler, VariantArray};

use super::{Sampling, sample};
use crate::diffusion::denoiser::Denoiser;
use crate::diffusion::guider::GuiderParams;
use crate::diffusion::latent_state::LatentState;
use crate::diffusion::noiser::NoiseSource;
use crate::diffusion::patchifier::PixelShape;
use crate::diffusion::token_layout::TokenLayout;
use crate::model_set::ModelSet;

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn frozen_audio_stays_bit_identical_while_video_is_denoised() {
    let folder = tempfile::tempdir().unwrap();
    demo_model::write(folder.path(), PublishedModel::default(), 0).unwrap();
    let models = ModelSet::open(folder.path()).unwrap();
    let layers = models.transformer_config().num_layers;
    let (transformer, _) =
        models.transformer(&[], layers, AttentionKernel::default(), DType::F32, &Device::Cpu).unwrap();
    let random = |dims: &[usize]| Tensor::randn(0f32, 1., dims, &Device::Cpu).unwrap();
    let widths = models.context_widths();
    let contexts = Contexts { video: random(&[1, 8, widths.video]), audio: random(&[1, 8, widths.audio]) };
    let context = transformer.cache_context(&contexts).unwrap();

    let layouts = TokenLayout::of(PixelShape { frames: 9, height: 64, width: 64, frame_rate: 24.0 });
    let start = layouts.zip(models.latent_channels()).map(|(layout, channels)| {
        let start = random(&[1, layout.tokens(), channels]);
        LatentState::new(layout.positions(), Some(&start), channels, &Device::Cpu).unwrap()
    });
    let states = AudioVideo { video: start.video.clone(), audio: start.audio.clone().freeze() };
    let off = GuiderParams::off();
    let guidance = AudioVideo { video: &off, audio: &off };
    let prompts = PromptContexts { positive: &context, negative: None };
    let denoiser = Denoiser::new(&transformer, prompts, &states, guidance, DType::F32).unwrap();
    let run = |sampler, states| {
        let mut noise = NoiseSource::of_seed(1, 1);
        let sigmas = [1.0, 0.5, 0.0];
        let observer = &mut |_: super::Event| Ok(());
        let sampling =
            Sampling { denoiser: &denoiser, sigmas: &sigmas, noise: &mut noise, dtype: DType::F32, observer };
        sample(sampler, sampling, states).unwrap()
    };
    for sampler in Sampler::VARIANTS.iter().copied() {
        let frozen = run(sampler, states.clone());
        assert_eq!(values(&frozen.audio.latent), values(&start.audio.latent), "{sampler:?}");
        assert_ne!(values(&frozen.video.latent), values(&start.video.latent), "{sampler:?}");
        // Audio at noise level 0 conditions the video otherwise than noisy audio.
        let free = run(sampler, start.clone());
        assert_ne!(values(&free.audio.latent), values(&start.audio.latent), "{sampler:?}");
        assert_ne!(values(&free.video.latent), values(&frozen.video.latent), "{sampler:?}");
    }
}
