//! Vocoders, audio decoder, upsamplers and tiled video encoder compared with the official modules, on small
//! configurations with synthetic weights (see `scripts/make_module_fixtures.py`).

mod common;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device, Result, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;
use ltx2_models::audio_vae::{AudioDecoder, AudioVaeConfig};
use ltx2_models::checkpoint::read_metadata;
use ltx2_models::filters::anti_aliasing_filter;
use ltx2_models::synth::SynthBackend;
use ltx2_models::upsampler::{LatentUpsampler, UpsamplerConfig};
use ltx2_models::video_vae::{Tiling, VideoEncoder, VideoVaeConfig};
use ltx2_models::vocoder::{Vocoder, VocoderConfig};
use ltx2_models::{Section, VarBuilder};
use serde_json::{Value, json};

use common::test_device;

/// Largest relative error in the L2 norm. The measured errors are at most 1e-5.
const LIMIT: f64 = 1e-4;

/// Inputs and official outputs.
struct Fixture {
    tensors: Arc<HashMap<String, Tensor>>,
    cases: Value,
}

/// Synthetic weights, except for the filters that the fixture has for a case.
struct FixtureWeights {
    synthetic: SynthBackend,
    tensors: Arc<HashMap<String, Tensor>>,
    case: String,
}

impl SimpleBackend for FixtureWeights {
    fn get(&self, shape: Shape, name: &str, hint: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let parts: Vec<&str> = name.rsplitn(3, '.').collect();
        let filter = (parts[0] == "filter").then(|| format!("{}.{}.filter", self.case, parts[1]));
        match filter.and_then(|filter| self.tensors.get(&filter)) {
            Some(filter) => filter.reshape(shape)?.to_device(device)?.to_dtype(dtype),
            None => self.synthetic.get(shape, name, hint, dtype, device),
        }
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> Result<Tensor> {
        self.synthetic.get_unchecked(name, dtype, device)
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

impl Fixture {
    fn open() -> Self {
        let path: PathBuf = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/modules.safetensors");
        let tensors = candle_core::safetensors::load(&path, &Device::Cpu).unwrap();
        let cases = serde_json::from_str(&read_metadata(&path).unwrap()["cases"]).unwrap();
        Self { tensors: Arc::new(tensors), cases }
    }

    /// Compares all cases of `kind`. `build` creates the network from its config and weights.
    fn check(&self, kind: &str, dtype: DType, limit: f64, build: impl Fn(&Section, VarBuilder) -> Network) {
        let cases = self.cases.as_object().unwrap().iter().filter(|(_, case)| case["kind"] == kind);
        let device = test_device();
        let mut compared = 0;
        for (name, case) in cases {
            let weights = FixtureWeights {
                synthetic: SynthBackend::new(case["seed"].as_u64().unwrap()),
                tensors: self.tensors.clone(),
                case: name.clone(),
            };
            let network = build(
                &Section::root(&case["config"]),
                VarBuilder::from_backend(Box::new(weights), dtype, device.clone()),
            );
            for i in 0..case["inputs"].as_u64().unwrap() {
                let (x, official) =
                    (&self.tensors[&format!("{name}.{i}.in")], &self.tensors[&format!("{name}.{i}.out")]);
                let x = x.to_device(&device).unwrap().to_dtype(dtype).unwrap();
                let ours = network(&x).unwrap().to_dtype(DType::F32).unwrap().to_device(&Device::Cpu).unwrap();
                assert_eq!(ours.dims(), official.dims(), "{name}.{i}");
                let error = relative_error(&ours, official).unwrap();
                println!("{name}.{i}: {error:.1e}");
                assert!(error < limit, "{name}.{i}: {error:.1e}");
                compared += 1;
            }
        }
        assert!(compared > 0);
    }
}

type Network = Box<dyn Fn(&Tensor) -> Result<Tensor>>;

fn relative_error(ours: &Tensor, official: &Tensor) -> Result<f64> {
    let norm = |x: Tensor| x.to_dtype(DType::F64)?.sqr()?.sum_all()?.sqrt()?.to_scalar::<f64>();
    Ok(norm((ours - official)?)? / norm(official.clone())?)
}

fn vocoder(config: &Section, vb: VarBuilder) -> Network {
    let vocoder = Vocoder::new(&VocoderConfig::new(config).unwrap(), vb).unwrap();
    Box::new(move |x| vocoder.forward(x))
}

fn upsampler(config: &Section, vb: VarBuilder) -> Network {
    let config = UpsamplerConfig::new(config).unwrap();
    let upsampler = LatentUpsampler::new(&config, vb).unwrap();
    Box::new(move |x| {
        let y = upsampler.forward(x)?;
        let (_, _, t, h, w) = x.dims5()?;
        let (frames, scale) = (if config.doubles_time() { 2 * t - 1 } else { t }, config.spatial_scale());
        assert_eq!(y.dims()[2..], [frames, scale.of(h), scale.of(w)], "the config predicts the output shape");
        Ok(y)
    })
}

/// Upsamples the input, which the fixture has at 1/16 of its size, and encodes it in tiles.
fn tiled_encoder(config: &Section, vb: VarBuilder) -> Network {
    let encoder = VideoEncoder::new(&VideoVaeConfig::new(&config.section("vae")).unwrap(), vb).unwrap();
    let tiling = Tiling { frames: config.get("frames", None).unwrap(), pixels: config.get("pixels", None).unwrap() };
    Box::new(move |x| {
        let (_, _, _, h, w) = x.dims5()?;
        let frames = x.squeeze(0)?.upsample_nearest2d(16 * h, 16 * w)?;
        tiling.encode(&encoder, &frames.unsqueeze(0)?)
    })
}

#[test]
fn tiled_encoder_matches_official_module() {
    Fixture::open().check("tiled_encoder", DType::F32, LIMIT, tiled_encoder);
}

#[test]
fn vocoders_match_official_modules() {
    Fixture::open().check("vocoder", DType::F32, LIMIT, vocoder);
}

#[test]
fn vocoders_run_in_bfloat16() {
    Fixture::open().check("vocoder", DType::BF16, 0.5, vocoder);
}

#[test]
fn anti_aliasing_filter_matches_official_filter() -> Result<()> {
    let ours = Tensor::new(&anti_aliasing_filter(), &Device::Cpu)?.to_dtype(DType::BF16)?.to_dtype(DType::F32)?;
    for name in ["bwe.upsample.filter", "bwe.lowpass.filter"] {
        let official = Fixture::open().tensors[name].flatten_all()?;
        assert_eq!(ours.to_vec1::<f32>()?, official.to_vec1::<f32>()?, "{name}");
    }
    Ok(())
}

#[test]
fn audio_decoder_matches_official_module() {
    Fixture::open().check("audio_vae", DType::F32, LIMIT, |config, vb| {
        let decoder = AudioDecoder::new(&AudioVaeConfig::new(config).unwrap(), vb).unwrap();
        Box::new(move |x| decoder.forward(x))
    });
}

#[test]
fn upsamplers_match_official_modules() {
    Fixture::open().check("upsampler", DType::F32, LIMIT, upsampler);
}

#[test]
fn upsamplers_run_in_bfloat16() {
    Fixture::open().check("upsampler", DType::BF16, 0.1, upsampler);
}

/// Error that `parse` returns for the published config of `section` with `value` at `path`. A null removes the key.
fn parse_error(section: &str, path: &str, value: Value, parse: impl Fn(&Section) -> Option<String>) -> String {
    let published = include_str!("../../../models/architectures/ltx-2.3-22b.json");
    let mut config = serde_json::from_str::<Value>(published).unwrap()["config"].take();
    assert_eq!(parse(&Section::root(&config).section(section)), None);
    *config.pointer_mut(&format!("/{section}/{path}")).unwrap_or_else(|| panic!("no {path}")) = value;
    parse(&Section::root(&config).section(section)).unwrap_or_else(|| panic!("{path} is accepted"))
}

#[test]
fn unsupported_vocoder_configs_are_refused_by_key() {
    for (path, value) in [
        ("vocoder/resblock", json!("1")),
        ("vocoder/resblock", Value::Null),
        ("vocoder/activation", json!("snake")),
        ("vocoder/stereo", json!(false)),
        ("vocoder/upsample_rates", json!([])),
        ("vocoder/upsample_rates", json!([5, 2, 2, 2, 2, 0])),
        ("vocoder/upsample_kernel_sizes", json!([11, 4, 4, 4, 4])),
        ("vocoder/upsample_kernel_sizes", json!([3, 4, 4, 4, 4, 4])),
        ("vocoder/upsample_initial_channel", json!(32)),
        ("vocoder/resblock_kernel_sizes", json!([3, 4, 11])),
        ("vocoder/resblock_dilation_sizes", json!([[1, 3, 5], [1, 3, 5]])),
        ("vocoder/resblock_dilation_sizes", json!([[1, 3, 5], [1, 3], [1, 3, 5]])),
        ("vocoder/resblock_dilation_sizes", json!([[1, 3, 5], [1, 3, u64::MAX], [1, 3, 5]])),
        ("bwe/resblock", json!("2")),
        ("bwe/activation", Value::Null),
        ("bwe/apply_final_activation", json!(true)),
        ("bwe/win_size", json!(400)),
        ("bwe/n_fft", json!(0)),
        ("bwe/num_mels", json!(80)),
        ("bwe/num_mels", Value::Null),
        ("bwe/hop_length", Value::Null),
        ("bwe/input_sampling_rate", json!(0)),
        ("bwe/output_sampling_rate", json!(44100)),
        ("bwe/upsample_rates", json!([6, 5, 2, 2, 4])),
        ("bwe/upsample_kernel_sizes", json!([12, 10, 4, 4, 4])),
    ] {
        let message =
            parse_error("vocoder", path, value, |vocoder| Some(VocoderConfig::new(vocoder).err()?.to_string()));
        assert!(message.contains(&path.replace('/', ".")), "{path}: {message}");
    }
    let plain = json!({"resblock": "AMP1"});
    let message = VocoderConfig::new(&Section::root(&plain)).unwrap_err().to_string();
    assert_eq!(message, "config value resblock is AMP1, but only 1 is supported");
}

#[test]
fn unsupported_audio_decoder_configs_are_refused_by_key() {
    for (key, value) in [
        ("mid_block_add_attention", json!(true)),
        ("mid_block_add_attention", Value::Null),
        ("attn_resolutions", json!([8, 64])),
        ("norm_type", json!("group")),
        ("causality_axis", json!("width")),
        ("mel_bins", json!(80)),
        ("ch_mult", json!([1, 2, 4, 8])),
        ("ch_mult", json!([])),
    ] {
        let path = format!("model/params/ddconfig/{key}");
        let message =
            parse_error("audio_vae", &path, value, |audio_vae| Some(AudioVaeConfig::new(audio_vae).err()?.to_string()));
        assert!(message.contains(key), "{key}: {message}");
    }
}

#[test]
fn unsupported_upsampler_configs_are_refused_by_key() {
    for (config, key) in [
        (json!({"dims": 2}), "dims"),
        (json!({"spatial_scale": 1.5}), "spatial_scale"),
        (json!({"spatial_scale": 3.0, "rational_resampler": true}), "spatial_scale"),
        (json!({"spatial_scale": 1.5, "temporal_upsample": true, "rational_resampler": true}), "spatial_scale"),
        (json!({"spatial_upsample": false}), "spatial_upsample"),
        (json!({"mid_channels": 48}), "mid_channels"),
        (json!({"mid_channels": 0}), "mid_channels"),
        (json!({"rational_resampler": "yes"}), "rational_resampler"),
    ] {
        let message = UpsamplerConfig::new(&Section::root(&config)).unwrap_err().to_string();
        assert!(message.contains(key), "{config}: {message}");
    }
    let time_alone = json!({"spatial_upsample": false, "temporal_upsample": true, "spatial_scale": 1.5});
    assert!(UpsamplerConfig::new(&Section::root(&time_alone)).unwrap().doubles_time());
}
