//! Passes of a step computed together are bit-identical to each pass computed alone.

mod common;

use candle_core::{DType, Tensor};
use ltx2_models::layers::Positions;
use ltx2_models::synth::SynthBackend;
use ltx2_models::transformer::{
    BlockSet, Modality, Pass, Perturbations, Prompt, PromptContext, PromptContexts, StepInputs, StreamRope, Timesteps,
    Transformer, TransformerConfig,
};
use ltx2_models::{AudioVideo, Section, VarBuilder};
use serde_json::{Value, json};

use common::test_device;

const LAYERS: usize = 5;
const TOKENS: AudioVideo<usize> = AudioVideo { video: 24, audio: 10 };
const TEXT_TOKENS: usize = 16;
const SIGMA: f32 = 0.7;

/// Small architectures of LTX-2 and LTX-2.3.
fn architectures() -> [Value; 2] {
    let common = json!({
        "num_layers": LAYERS, "in_channels": 8, "out_channels": 8, "num_attention_heads": 2, "attention_head_dim": 16,
        "cross_attention_dim": 32, "audio_in_channels": 4, "audio_out_channels": 4, "audio_num_attention_heads": 2,
        "audio_attention_head_dim": 8, "audio_cross_attention_dim": 16, "caption_channels": 12, "rope_type": "split",
    });
    let mut gated = common.clone();
    for key in ["apply_gated_attention", "cross_attention_adaln", "caption_proj_before_connector"] {
        gated[key] = json!(true);
    }
    [common, gated]
}

/// A transformer and the inputs of one step.
struct Step {
    config: TransformerConfig,
    transformer: Transformer,
    latents: AudioVideo<Tensor>,
    ropes: AudioVideo<StreamRope>,
    timesteps: AudioVideo<Timesteps>,
    /// Contexts of the positive and of the negative prompt.
    contexts: [AudioVideo<Tensor>; 2],
}

impl Step {
    /// Creates random tokens. With `image`, the noise level of the first video tokens is 0.
    fn new(config: &Value, dtype: DType, image: bool) -> Self {
        let device = test_device();
        let parsed = TransformerConfig::new(&Section::root(config)).unwrap();
        let vb = VarBuilder::from_backend(Box::new(SynthBackend::new(5)), dtype, device.clone());
        let transformer = Transformer::new(&parsed, vb).unwrap();
        let random = |tokens: usize, width: usize| {
            Tensor::randn(0f32, 1.0, (1, tokens, width), &device).unwrap().to_dtype(dtype).unwrap()
        };
        let widths = match config["caption_proj_before_connector"].as_bool() {
            Some(true) => parsed.streams.as_ref().map(|stream| stream.dim()),
            _ => AudioVideo { video: 12, audio: 12 },
        };
        let contexts = || widths.map(|width| random(TEXT_TOKENS, width));
        let positions = |axes: usize, tokens: usize| {
            let axis = |scale: usize| (0..tokens).map(|i| ((i / scale) as f32, (i / scale + 1) as f32)).collect();
            Positions::new((0..axes).map(|axis_number| axis(axis_number + 1)).collect())
        };
        let positions = AudioVideo { video: positions(3, TOKENS.video), audio: positions(1, TOKENS.audio) };
        let mut levels = TOKENS.map(|tokens| vec![SIGMA; tokens]);
        if image {
            levels.video[..6].fill(0.0);
        }
        Self {
            ropes: transformer.ropes(positions.as_ref()).unwrap(),
            latents: AudioVideo { video: random(TOKENS.video, 8), audio: random(TOKENS.audio, 4) },
            timesteps: levels.map(|levels| Timesteps::new(&levels, &device).unwrap()),
            contexts: [contexts(), contexts()],
            transformer,
            config: parsed,
        }
    }

    fn inputs<'a>(&'a self, contexts: &'a [PromptContext; 2]) -> StepInputs<'a> {
        let inputs = self.latents.as_ref().zip(self.timesteps.as_ref()).zip(self.ropes.as_ref());
        StepInputs {
            modalities: inputs.map(|((latent, timesteps), rope)| Modality { latent, sigma: SIGMA, timesteps, rope }),
            prompts: PromptContexts { positive: &contexts[0], negative: Some(&contexts[1]) },
        }
    }

    fn projected_contexts(&self) -> [PromptContext; 2] {
        self.contexts.each_ref().map(|contexts| self.transformer.project_context(contexts).unwrap())
    }

    fn cached_contexts(&self, transformer: &Transformer) -> [PromptContext; 2] {
        self.contexts.each_ref().map(|contexts| transformer.cache_context(contexts).unwrap())
    }
}

fn without_self_attention(video: BlockSet, audio: BlockSet) -> Pass {
    let skip_self_attn = AudioVideo { video, audio };
    Pass { perturbations: Perturbations { skip_self_attn, ..Default::default() }, ..Default::default() }
}

fn without_cross_attention(video: BlockSet, audio: BlockSet) -> Pass {
    let skip_cross_attn = AudioVideo { video, audio };
    Pass { perturbations: Perturbations { skip_cross_attn, ..Default::default() }, ..Default::default() }
}

/// Passes of every kind.
fn passes() -> Vec<Pass> {
    let only = |blocks: &[usize]| BlockSet::Only(blocks.to_vec());
    vec![
        Pass::default(),
        Pass { prompt: Prompt::Negative, ..Default::default() },
        without_self_attention(only(&[3]), only(&[3])),
        without_cross_attention(BlockSet::All, BlockSet::All),
        without_self_attention(only(&[1, 3]), only(&[1, 3])),
        without_self_attention(only(&[4, 2]), BlockSet::None),
        without_self_attention(BlockSet::None, only(&[2])),
        without_self_attention(only(&[0]), only(&[0])),
        without_self_attention(BlockSet::All, BlockSet::All),
        without_self_attention(only(&[]), only(&[])),
        without_cross_attention(only(&[2]), BlockSet::None),
        without_cross_attention(BlockSet::None, only(&[2, 3])),
        Pass { prompt: Prompt::Negative, ..without_self_attention(only(&[3]), only(&[3])) },
    ]
}

fn bits(velocities: &AudioVideo<Tensor>) -> AudioVideo<Vec<u32>> {
    velocities.as_ref().map(|velocity| {
        let wide = velocity.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
        wide.to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    })
}

/// Runs `check` for each architecture, dtype, and kind of timesteps.
fn for_each_case(mut check: impl FnMut(&Step)) {
    for architecture in architectures() {
        for dtype in [DType::F32, DType::BF16] {
            for image in [false, true] {
                check(&Step::new(&architecture, dtype, image));
            }
        }
    }
}

#[test]
fn passes_together_equal_each_pass_alone() {
    for_each_case(|step| {
        let contexts = step.projected_contexts();
        let (inputs, passes) = (step.inputs(&contexts), passes());
        let alone: Vec<_> = passes.iter().map(|pass| bits(&step.transformer.forward(&inputs, pass).unwrap())).collect();
        // The passes must differ, or the test would not notice too long a shared prefix.
        let differing = |others: &[usize]| others.iter().all(|i| alone[*i] != alone[0]);
        assert!(differing(&[1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12]));
        // All passes, those of a usual step, and all in reverse order.
        let orders: [Vec<usize>; 3] =
            [(0..passes.len()).collect(), (0..4).collect(), (0..passes.len()).rev().collect()];
        for order in orders {
            let ordered: Vec<Pass> = order.iter().map(|i| passes[*i].clone()).collect();
            let together = step.transformer.forward_all(&inputs, &ordered).unwrap();
            assert_eq!(together.len(), order.len());
            for (i, velocities) in order.iter().zip(&together) {
                assert!(bits(velocities) == alone[*i], "{:?}", passes[*i]);
            }
        }
    });
}

#[test]
fn cached_text_keys_and_values_give_the_same_velocities() {
    let mut cached_cases = 0;
    for_each_case(|step| {
        let (projected, cached) = (step.projected_contexts(), step.cached_contexts(&step.transformer));
        let expected = step.config.cached_text_elements(TEXT_TOKENS);
        for (projected, cached) in projected.iter().zip(&cached) {
            assert_eq!((projected.cached_elements(), cached.cached_elements()), (0, expected));
        }
        cached_cases += usize::from(cached[0].cached_elements() > 0);
        let passes = passes();
        let alone = passes.iter().map(|pass| step.transformer.forward(&step.inputs(&projected), pass).unwrap());
        let together = step.transformer.forward_all(&step.inputs(&cached), &passes).unwrap();
        for (alone, together) in alone.zip(&together) {
            assert!(bits(&alone) == bits(together));
        }
    });
    // Only in LTX-2: in LTX-2.3 the noise level modulates the text.
    assert_eq!(cached_cases, 4);
}

#[test]
fn a_pass_without_its_prompt_is_refused() {
    let step = Step::new(&architectures()[0], DType::F32, false);
    let contexts = step.projected_contexts();
    let mut inputs = step.inputs(&contexts);
    inputs.prompts.negative = None;
    let passes = passes();
    assert!(step.transformer.forward_all(&inputs, &passes[..1]).is_ok());
    let error = step.transformer.forward_all(&inputs, &passes[..2]).unwrap_err();
    assert!(error.to_string().contains("the negative prompt's context"), "{error}");
    assert!(step.transformer.forward_all(&inputs, &[]).unwrap().is_empty());
}

#[test]
fn streamed_blocks_give_the_same_velocities() {
    for_each_case(|step| {
        // The device of the step: kernels need all tensors on one device instance.
        let (dtype, device) = (step.latents.video.dtype(), step.latents.video.device());
        let contexts = step.cached_contexts(&step.transformer);
        let expected = step.transformer.forward_all(&step.inputs(&contexts), &passes()).unwrap();
        for resident in [0, 2, LAYERS] {
            let vb = VarBuilder::from_backend(Box::new(SynthBackend::new(5)), dtype, device.clone());
            let partly = Transformer::with_resident_blocks(&step.config, vb, resident).unwrap();
            assert_eq!(partly.resident_blocks(), resident);
            let contexts = step.cached_contexts(&partly);
            let velocities = partly.forward_all(&step.inputs(&contexts), &passes()).unwrap();
            for (index, (velocities, expected)) in velocities.iter().zip(&expected).enumerate() {
                assert!(bits(velocities) == bits(expected), "pass {index} with {resident} resident blocks");
            }
            let alone = partly.forward(&step.inputs(&contexts), &Pass::default()).unwrap();
            assert!(bits(&alone) == bits(&expected[0]));
        }
    });
}

#[test]
fn each_sigma_modulates_its_own_text_and_the_cross_attention() {
    for (architecture, modulates_text) in architectures().iter().zip([false, true]) {
        let step = Step::new(architecture, DType::F32, false);
        let contexts = step.projected_contexts();
        let velocities = |sigmas: AudioVideo<f32>, pass: &Pass| {
            let mut inputs = step.inputs(&contexts);
            (inputs.modalities.video.sigma, inputs.modalities.audio.sigma) = (sigmas.video, sigmas.audio);
            bits(&step.transformer.forward(&inputs, pass).unwrap())
        };
        let equal = AudioVideo { video: SIGMA, audio: SIGMA };
        let [video_frozen, audio_frozen] = [AudioVideo { video: 0.0, ..equal }, AudioVideo { audio: 0.0, ..equal }];
        let isolated = without_cross_attention(BlockSet::All, BlockSet::All);
        let expected = velocities(equal, &isolated);
        let (video, audio) = (velocities(video_frozen, &isolated), velocities(audio_frozen, &isolated));
        assert!(video.audio == expected.audio && audio.video == expected.video);
        assert_eq!((video.video != expected.video, audio.audio != expected.audio), (modulates_text, modulates_text));
        let expected = velocities(equal, &Pass::default());
        for frozen in [video_frozen, audio_frozen] {
            let velocities = velocities(frozen, &Pass::default());
            assert!(velocities.video != expected.video && velocities.audio != expected.audio);
        }
    }
}
