//! Gemma 3 writing a text on, against transformers (see `scripts/make_gemma_fixture.py`).

mod common;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use ltx2_models::VarBuilder;
use ltx2_models::checkpoint::read_metadata;
use ltx2_models::synth::SynthBackend;
use ltx2_models::text_encoder::{Gemma, GemmaConfig};

use common::test_device;

/// Relative to the largest logit; measured is 2e-6.
const LIMIT: f32 = 1e-4;

#[test]
fn the_likeliest_tokens_follow_one_another() {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gemma.safetensors");
    let metadata = read_metadata(&path).unwrap();
    let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let ids = |name: &str| -> Vec<u32> {
        tensors[name].to_vec1::<i64>().unwrap().into_iter().map(|id| u32::try_from(id).unwrap()).collect()
    };
    let config = GemmaConfig::new(&serde_json::from_str(&metadata["config"]).unwrap()).unwrap();
    let weights = SynthBackend::new(metadata["seed"].parse().unwrap());
    let vb = VarBuilder::from_backend(Box::new(weights), DType::F32, test_device());
    let gemma = Gemma::new(&config, vb).unwrap();

    let expected = tensors["logits"].to_vec2::<f32>().unwrap();
    let (prompt, written) = (ids("prompt"), ids("written"));
    let mut text = gemma.continuation();
    // In two pieces, as it must not matter how a text arrives.
    text.add(&prompt[..40]).unwrap();
    let mut next = prompt[40..].to_vec();
    for (token, expected) in written.iter().zip(expected) {
        let logits = text.add(&next).unwrap();
        let largest = expected.iter().fold(0f32, |largest, logit| largest.max(logit.abs()));
        let apart = logits.iter().zip(&expected).fold(0f32, |apart, (a, b)| apart.max((a - b).abs()));
        assert!(apart < LIMIT * largest, "{apart} of {largest}");
        let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        assert_eq!(best as u32, *token);
        next = vec![*token];
    }
    assert!(text.add(&[]).is_err());
}
