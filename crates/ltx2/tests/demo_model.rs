//! `ltx2 demo-model` writes the reference's small model, bit for bit.

mod common;

use std::collections::BTreeMap;

/// FNV-1a over every tensor's name, shape and bytes, of the files that the official modules' own script writes.
const EXPECTED: [(&str, usize, u64); 4] = [
    ("ltx.safetensors", 633, 0x8c6b_2145_0197_38fe),
    ("gemma/model.safetensors", 132, 0x9120_c961_8731_3979),
    ("spatial_upscaler.safetensors", 24, 0xa813_e5ed_aee4_481d),
    ("lora.safetensors", 56, 0x76ac_9cfe_d877_636b),
];

fn fingerprint(file: &std::path::Path) -> (usize, u64) {
    let bytes = std::fs::read(file).unwrap();
    let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let sorted: BTreeMap<String, _> = tensors.tensors().into_iter().collect();
    let mut hash = 0xCBF2_9CE4_8422_2325u64;
    let mut eat = |byte: u8| hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
    for (name, tensor) in &sorted {
        format!("{name}{:?}", tensor.shape()).bytes().for_each(&mut eat);
        tensor.data().iter().copied().for_each(&mut eat);
    }
    (sorted.len(), hash)
}

#[test]
fn equals_the_reference_bit_for_bit() {
    for (file, count, hash) in EXPECTED {
        assert_eq!(fingerprint(&common::demo_model().join(file)), (count, hash), "{file}");
    }
}
