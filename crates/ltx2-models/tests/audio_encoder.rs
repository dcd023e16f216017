//! Resampler, log-mel spectrogram and audio encoder compared with the official ones (see
//! `scripts/make_audio_fixtures.py`).

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use ltx2_models::audio_vae::{AudioEncoder, AudioVaeConfig, LogMel, resample};
use ltx2_models::checkpoint::read_metadata;
use ltx2_models::synth::SynthBackend;
use ltx2_models::{Section, VarBuilder};
use serde_json::Value;

use common::test_device;

/// Largest relative error in the L2 norm. The measured errors are at most 3e-5.
const LIMIT: f64 = 1e-4;

/// Compares the cases of `kind` with the outputs of `run`, which takes the config, the seed and the input of a case.
fn check(kind: &str, run: impl Fn(&Section, u64, &Tensor) -> Tensor) {
    let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/audio_encoder.safetensors");
    let tensors: HashMap<String, Tensor> = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
    let cases: Value = serde_json::from_str(&read_metadata(&path).unwrap()["cases"]).unwrap();
    let mut compared = 0;
    for (name, case) in cases.as_object().unwrap().iter().filter(|(_, case)| case["kind"] == kind) {
        let (x, official) = (&tensors[&format!("{name}.in")], &tensors[&format!("{name}.out")]);
        let ours = run(&Section::root(&case["config"]), case["seed"].as_u64().unwrap(), x);
        let ours = ours.to_device(&Device::Cpu).unwrap();
        assert_eq!(ours.dims(), official.dims(), "{name}");
        let error = relative_error(&ours, official);
        println!("{name}: {error:.1e}");
        assert!(error < LIMIT, "{name}: {error:.1e}");
        compared += 1;
    }
    assert!(compared > 0);
}

fn relative_error(ours: &Tensor, official: &Tensor) -> f64 {
    let norm = |x: &Tensor| x.to_dtype(DType::F64)?.sqr()?.sum_all()?.sqrt()?.to_scalar::<f64>();
    norm(&(ours - official).unwrap()).unwrap() / norm(official).unwrap()
}

#[test]
fn resampler_matches_official_resampler() {
    check("resample", |config, _, x| {
        let rate = |key: &str| config.require::<u32>(key).unwrap();
        let samples = x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let resampled = resample(&samples, rate("from"), rate("to"));
        let length = resampled.len();
        Tensor::from_vec(resampled, (1, 1, length), &Device::Cpu).unwrap()
    });
}

#[test]
fn log_mel_spectrogram_matches_official_one() {
    check("log_mel", |config, _, x| {
        let config = AudioVaeConfig::new(config).unwrap();
        LogMel::new(&config, &test_device()).unwrap().forward(x).unwrap()
    });
}

#[test]
fn audio_encoder_matches_official_module() {
    check("audio_encoder", |config, seed, x| {
        let device = test_device();
        let vb = VarBuilder::from_backend(Box::new(SynthBackend::new(seed)), DType::F32, device.clone());
        let encoder = AudioEncoder::new(&AudioVaeConfig::new(config).unwrap(), vb).unwrap();
        encoder.forward(&x.to_device(&device).unwrap()).unwrap()
    });
}

#[test]
fn audio_shorter_than_half_a_window_has_no_spectrogram() {
    let published = include_str!("../../../models/architectures/ltx-2.3-22b.json");
    let published: Value = serde_json::from_str(published).unwrap();
    let config = AudioVaeConfig::new(&Section::root(&published["config"]).section("audio_vae")).unwrap();
    let log_mel = LogMel::new(&config, &Device::Cpu).unwrap();
    let samples = Tensor::zeros((1, 2, 512), DType::F32, &Device::Cpu).unwrap();
    let error = log_mel.forward(&samples).unwrap_err().to_string();
    assert!(error.contains("512 audio samples are too few, expected at least 513"), "{error}");
}
