//! The passes of a step together give what each gives alone, bit for bit.

mod common;

use candle_core::{DType, Tensor};
use ltx2_models::rope::Positions;
use ltx2_models::synth::SynthBackend;
use ltx2_models::text_encoder::Contexts;
use ltx2_models::transformer::{
    Blocks, Context, Inputs, Modality, Pass, Perturbations, Prompt, Prompts, StreamRope, Timesteps, Transformer,
    TransformerConfig, Velocities,
};
use ltx2_models::{Section, VarBuilder};
use serde_json::{Value, json};

use common::test_device;

const LAYERS: usize = 5;
const VIDEO_TOKENS: usize = 24;
const AUDIO_TOKENS: usize = 10;
const TEXT_TOKENS: usize = 16;

/// Small ones of both generations.
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

/// A transformer with what a step of it reads.
struct Step {
    config: TransformerConfig,
    transformer: Transformer,
    latents: [Tensor; 2],
    ropes: (StreamRope, StreamRope),
    timesteps: [Timesteps; 2],
    contexts: [Contexts; 2],
}

impl Step {
    /// Of random tokens, whose first are already clean where `image` says so.
    fn new(config: &Value, dtype: DType, image: bool) -> Self {
        let device = test_device();
        let parsed = TransformerConfig::new(&Section::root(config)).unwrap();
        let vb = VarBuilder::from_backend(Box::new(SynthBackend::new(5)), dtype, device.clone());
        let transformer = Transformer::new(&parsed, vb).unwrap();
        let random = |tokens: usize, width: usize| {
            Tensor::randn(0f32, 1.0, (1, tokens, width), &device).unwrap().to_dtype(dtype).unwrap()
        };
        let widths = match config["caption_proj_before_connector"].as_bool() {
            Some(true) => [parsed.video.dim(), parsed.audio.dim()],
            _ => [12, 12],
        };
        let contexts = || Contexts { video: random(TEXT_TOKENS, widths[0]), audio: random(TEXT_TOKENS, widths[1]) };
        let positions = |axes: usize, tokens: usize| {
            let axis = |scale: usize| (0..tokens).map(|i| ((i / scale) as f32, (i / scale + 1) as f32)).collect();
            Positions::new((0..axes).map(|axis_number| axis(axis_number + 1)).collect())
        };
        let mut levels = vec![0.7; VIDEO_TOKENS];
        if image {
            levels[..6].fill(0.0);
        }
        Self {
            ropes: transformer.ropes(&positions(3, VIDEO_TOKENS), &positions(1, AUDIO_TOKENS)).unwrap(),
            latents: [random(VIDEO_TOKENS, 8), random(AUDIO_TOKENS, 4)],
            timesteps: [levels, vec![0.7; AUDIO_TOKENS]].map(|levels| Timesteps::new(&levels, &device).unwrap()),
            contexts: [contexts(), contexts()],
            transformer,
            config: parsed,
        }
    }

    fn inputs<'a>(&'a self, contexts: &'a [Context; 2]) -> Inputs<'a> {
        let modality =
            |i: usize, rope| Modality { latent: &self.latents[i], sigma: 0.7, timesteps: &self.timesteps[i], rope };
        Inputs {
            video: modality(0, &self.ropes.0),
            audio: modality(1, &self.ropes.1),
            prompts: Prompts { positive: &contexts[0], negative: Some(&contexts[1]) },
        }
    }
}

fn skipping(video: Blocks, audio: Blocks) -> Pass {
    let perturbations =
        Perturbations { skip_video_self_attn: video, skip_audio_self_attn: audio, ..Default::default() };
    Pass { perturbations, ..Default::default() }
}

/// Every kind of pass, in one step.
fn passes() -> Vec<Pass> {
    let at = |blocks: &[usize]| Blocks::At(blocks.to_vec());
    let apart = |a2v: Blocks, v2a: Blocks| Pass {
        perturbations: Perturbations { skip_a2v_cross_attn: a2v, skip_v2a_cross_attn: v2a, ..Default::default() },
        ..Default::default()
    };
    vec![
        Pass::default(),
        Pass { prompt: Prompt::Negative, ..Default::default() },
        skipping(at(&[3]), at(&[3])),
        apart(Blocks::Everywhere, Blocks::Everywhere),
        skipping(at(&[1, 3]), at(&[1, 3])),
        skipping(at(&[4, 2]), Blocks::Nowhere),
        skipping(Blocks::Nowhere, at(&[2])),
        skipping(at(&[0]), at(&[0])),
        skipping(Blocks::Everywhere, Blocks::Everywhere),
        skipping(at(&[]), at(&[])),
        apart(at(&[2]), Blocks::Nowhere),
        apart(Blocks::Nowhere, at(&[2, 3])),
        Pass { prompt: Prompt::Negative, ..skipping(at(&[3]), at(&[3])) },
    ]
}

fn bits(velocities: &Velocities) -> [Vec<u32>; 2] {
    [&velocities.video, &velocities.audio].map(|velocity| {
        let wide = velocity.to_dtype(DType::F32).unwrap().flatten_all().unwrap();
        wide.to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    })
}

/// For each architecture, dtype, and kind of timesteps.
fn in_each_case(mut check: impl FnMut(&Step)) {
    for architecture in architectures() {
        for dtype in [DType::F32, DType::BF16] {
            for image in [false, true] {
                check(&Step::new(&architecture, dtype, image));
            }
        }
    }
}

#[test]
fn passes_together_equal_each_alone() {
    in_each_case(|step| {
        let contexts = [0, 1].map(|i| step.transformer.project(&step.contexts[i]).unwrap());
        let (inputs, passes) = (step.inputs(&contexts), passes());
        let alone: Vec<_> = passes.iter().map(|pass| bits(&step.transformer.forward(&inputs, pass).unwrap())).collect();
        // What is compared has to differ, or sharing too much would not be seen.
        let differing = |others: &[usize]| others.iter().all(|i| alone[*i] != alone[0]);
        assert!(differing(&[1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12]));
        // In this order, in that of a usual step alone, and the other way round.
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
fn keys_and_values_of_the_text_can_be_made_before() {
    let mut kept = 0;
    in_each_case(|step| {
        let projected = [0, 1].map(|i| step.transformer.project(&step.contexts[i]).unwrap());
        let read = [0, 1].map(|i| step.transformer.read(&step.contexts[i]).unwrap());
        for (projected, read) in projected.iter().zip(&read) {
            assert_eq!((projected.kept(), read.kept()), (0, step.config.kept_text(TEXT_TOKENS)));
        }
        kept += usize::from(read[0].kept() > 0);
        let passes = passes();
        let alone = passes.iter().map(|pass| step.transformer.forward(&step.inputs(&projected), pass).unwrap());
        let together = step.transformer.forward_all(&step.inputs(&read), &passes).unwrap();
        for (alone, together) in alone.zip(&together) {
            assert!(bits(&alone) == bits(together));
        }
    });
    // Of the generation whose noise level has no say in it.
    assert_eq!(kept, 4);
}

#[test]
fn a_prompt_that_is_missing_is_told() {
    let step = Step::new(&architectures()[0], DType::F32, false);
    let contexts = [0, 1].map(|i| step.transformer.project(&step.contexts[i]).unwrap());
    let mut inputs = step.inputs(&contexts);
    inputs.prompts.negative = None;
    let passes = passes();
    assert!(step.transformer.forward_all(&inputs, &passes[..1]).is_ok());
    let error = step.transformer.forward_all(&inputs, &passes[..2]).unwrap_err();
    assert!(error.to_string().contains("the negative prompt's context"), "{error}");
    assert!(step.transformer.forward_all(&inputs, &[]).unwrap().is_empty());
}

#[test]
fn blocks_that_each_step_reads_anew_compute_the_same() {
    in_each_case(|step| {
        // The same device, not one opened anew: kernels take only what is all on one.
        let (dtype, device) = (step.latents[0].dtype(), step.latents[0].device());
        let read = |transformer: &Transformer| [0, 1].map(|i| transformer.read(&step.contexts[i]).unwrap());
        let contexts = read(&step.transformer);
        let expected = step.transformer.forward_all(&step.inputs(&contexts), &passes()).unwrap();
        for resident in [0, 2, LAYERS] {
            let vb = VarBuilder::from_backend(Box::new(SynthBackend::new(5)), dtype, device.clone());
            let partly = Transformer::with_resident_blocks(&step.config, vb, resident).unwrap();
            assert_eq!(partly.resident_blocks(), resident);
            let contexts = read(&partly);
            let velocities = partly.forward_all(&step.inputs(&contexts), &passes()).unwrap();
            for (number, (got, expected)) in velocities.iter().zip(&expected).enumerate() {
                assert!(bits(got) == bits(expected), "pass {number} with {resident} blocks in memory");
            }
            let alone = partly.forward(&step.inputs(&contexts), &Pass::default()).unwrap();
            assert!(bits(&alone) == bits(&expected[0]));
        }
    });
}
