//! Networks rebuilt from cached weights with LoRAs merged.

mod common;

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Result, Tensor};
use ltx2_models::linear::Linear;
use ltx2_models::lora::{Lora, LoraStrength};
use ltx2_models::{Checkpoint, VarBuilder};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use common::test_device;

/// Writes the layers `dense`, `float8` and `other`, 8x8 each.
fn write_checkpoint(path: &Path) {
    let values: Vec<u8> = (0..64).flat_map(|i| (0.25 * i as f32 - 8.0).to_le_bytes()).collect();
    let codes: Vec<u8> = (0x30..0x70).collect();
    let dense = |name: &str| (format!("model.diffusion_model.{name}.weight"), view(Dtype::F32, &[8, 8], &values));
    let float8 = ("model.diffusion_model.float8.weight".to_string(), view(Dtype::F8_E4M3, &[8, 8], &codes));
    let metadata = HashMap::from([("config".to_string(), "{}".to_string())]);
    let bytes = safetensors::serialize([dense("dense"), dense("other"), float8], Some(metadata)).unwrap();
    std::fs::write(path, bytes).unwrap();
}

/// Writes a LoRA of `dense` and `float8`.
fn write_lora(path: &Path) {
    let down: Vec<u8> = (0..16).flat_map(|i| (0.1 * i as f32).to_le_bytes()).collect();
    let up: Vec<u8> = (0..16).flat_map(|i| (1.0 - 0.3 * i as f32).to_le_bytes()).collect();
    let pair = |layer: &str| {
        let name = |matrix: &str| format!("diffusion_model.{layer}.lora_{matrix}.weight");
        [(name("A"), view(Dtype::F32, &[2, 8], &down)), (name("B"), view(Dtype::F32, &[8, 2], &up))]
    };
    let pairs = [pair("dense"), pair("float8")].concat();
    std::fs::write(path, safetensors::serialize(pairs, None).unwrap()).unwrap();
}

fn view<'a>(dtype: Dtype, shape: &[usize], bytes: &'a [u8]) -> TensorView<'a> {
    TensorView::new(dtype, shape.to_vec(), bytes).unwrap()
}

/// A network of the three layers.
struct Network([Linear; 3]);

impl Network {
    fn new(vb: VarBuilder) -> Result<Self> {
        let layer = |name| Linear::without_bias(8, 8, vb.pp("model.diffusion_model").pp(name));
        Ok(Self([layer("dense")?, layer("float8")?, layer("other")?]))
    }

    fn matrices(&self) -> Vec<Vec<Vec<f32>>> {
        let identity = Tensor::eye(8, DType::F32, &test_device()).unwrap();
        self.0.iter().map(|layer| layer.forward(&identity).unwrap().to_vec2().unwrap()).collect()
    }
}

#[test]
fn rebuilt_network_equals_one_loaded_with_the_lora() {
    let folder = tempfile::tempdir().unwrap();
    let (path, lora) = (folder.path().join("model.safetensors"), folder.path().join("lora.safetensors"));
    write_checkpoint(&path);
    write_lora(&lora);
    let (checkpoint, device): (_, Device) = (Checkpoint::open(&path).unwrap(), test_device());
    let loras = [LoraStrength { lora: Lora::open(&lora).unwrap().fit(&checkpoint.shapes()).unwrap(), strength: 0.7 }];
    let plain = checkpoint.load(DType::F32, &device, Network::new).unwrap().matrices();
    let expected = checkpoint.load_with_loras(&loras, DType::F32, &device, Network::new).unwrap().matrices();
    assert!(plain[0] != expected[0] && plain[1] != expected[1] && plain[2] == expected[2]);

    let (network, cache) = checkpoint.load_with_cache(DType::F32, &device, Network::new).unwrap();
    assert!(network.matrices() == plain);
    drop(network);
    // The file is not read again.
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(0).unwrap();
    let rebuilt = checkpoint.load_from_cache(cache, &loras, DType::F32, &device, Network::new).unwrap();
    assert!(rebuilt.matrices() == expected);
    assert!(checkpoint.load(DType::F32, &device, Network::new).is_err());
}
