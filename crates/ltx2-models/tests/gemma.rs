//! Gemma 3: greedy decoding against transformers (`scripts/make_gemma_fixture.py`), and layer-streamed hidden states.

mod common;

use std::path::{Path, PathBuf};

use candle_core::{DType, Device};
use ltx2_models::VarBuilder;
use ltx2_models::checkpoint::read_metadata;
use ltx2_models::synth::SynthBackend;
use ltx2_models::text_encoder::{Gemma, GemmaConfig, stream_hidden_states};

use common::test_device;

/// Maximum error relative to the largest logit; measured: 2e-6.
const LIMIT: f32 = 1e-4;

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gemma.safetensors")
}

#[test]
fn streamed_hidden_states_equal_those_of_the_loaded_model() {
    let metadata = read_metadata(&fixture()).unwrap();
    let config = GemmaConfig::new(&serde_json::from_str(&metadata["config"]).unwrap()).unwrap();
    let weights = || VarBuilder::from_backend(Box::new(SynthBackend::new(3)), DType::F32, test_device());
    let gemma = Gemma::new(&config, weights()).unwrap();
    let prompts = [vec![1, 2, 3], (4..70).collect::<Vec<u32>>()];
    let streamed = stream_hidden_states(&config, weights(), &prompts).unwrap();
    assert_eq!(streamed.len(), 2);
    for (prompt, streamed) in prompts.iter().zip(streamed) {
        let expected = gemma.hidden_states(prompt).unwrap();
        assert_eq!((streamed.len(), expected.len()), (config.num_hidden_layers + 1, config.num_hidden_layers + 1));
        for (streamed, expected) in streamed.iter().zip(&expected) {
            assert_eq!(streamed.dims(), [1, prompt.len(), config.hidden_size]);
            let error = (streamed - expected).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert_eq!(error, 0.0);
        }
    }
}

#[test]
fn greedy_decoding_matches_the_reference() {
    let path = fixture();
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
    let mut session = gemma.decode_session();
    // The result must not depend on how a prompt is split into calls.
    session.append(&prompt[..40]).unwrap();
    let mut next = prompt[40..].to_vec();
    for (token, expected) in written.iter().zip(expected) {
        let logits = session.append(&next).unwrap();
        let largest = expected.iter().fold(0f32, |largest, logit| largest.max(logit.abs()));
        let error = logits.iter().zip(&expected).fold(0f32, |error, (a, b)| error.max((a - b).abs()));
        assert!(error < LIMIT * largest, "error {error}, largest logit {largest}");
        let best = (0..logits.len()).max_by(|a, b| logits[*a].total_cmp(&logits[*b])).unwrap();
        assert_eq!(best as u32, *token);
        next = vec![*token];
    }
    assert!(session.append(&[]).is_err());
}
