//! Against the `gguf` package (`scripts/make_gguf_fixtures.py`), and files that are not as they should be.

use std::io::Write;
use std::path::PathBuf;

use candle_core::{DType, Device};
use serde_json::{Value, json};

use super::super::reader::{Reader, To};
use super::header::Header;
use super::{Gguf, GgufKind, gemma_name, transformer_name};

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf").join(name)
}

fn bits(tensor: &candle_core::Tensor) -> Vec<u32> {
    let values = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

#[test]
fn every_type_is_dequantised_bit_for_bit_as_the_package_does() {
    let file = Gguf::open(&fixture("blocks.gguf")).unwrap();
    let expected = candle_core::safetensors::load(fixture("blocks.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(expected.len(), 13);
    let to = To { device: &Device::Cpu, reader: &Reader::default() };
    for (name, expected) in &expected {
        let ours = file.tensor(name, to).unwrap();
        assert_eq!(ours.dims(), expected.dims(), "shape of {name}");
        assert_eq!(bits(&ours), bits(expected), "{name}");
        let blocks = file.blocks(name, to).unwrap();
        assert_eq!(blocks.is_some(), name.starts_with('Q'), "{name}");
    }
}

#[test]
fn metadata_is_read() {
    let file = Gguf::open(&fixture("blocks.gguf")).unwrap();
    let expected = json!({"general.architecture": "test", "test.count": 7, "test.epsilon": 1e-6, "test.flag": true,
        "test.list": ["a", "bc", ""]});
    assert_eq!(Value::Object(file.metadata().clone()), expected);
    assert_eq!(file.kind(), GgufKind::Other);
}

#[test]
fn the_text_encoders_names_are_llama_cpps() {
    let list = include_str!("../../../tests/fixtures/gguf/gemma3-12b.names");
    assert_eq!(list.lines().count(), 28);
    for line in list.lines() {
        let (ours, theirs) = line.split_once(' ').unwrap();
        let found = gemma_name(theirs).unwrap_or_else(|| panic!("{theirs} is not known"));
        assert_eq!(found.name, ours);
        assert_eq!(found.added, if ours.contains("norm.weight") { 1.0 } else { 0.0 }, "{ours}");
    }
    assert_eq!(gemma_name("output.weight"), None);
}

#[test]
fn a_transformers_names_have_the_prefix_or_lack_it() {
    let whole = "model.diffusion_model.transformer_blocks.0.ff.net.2.weight";
    assert_eq!(transformer_name(whole), whole);
    assert_eq!(transformer_name("transformer_blocks.0.ff.net.2.weight"), whole);
    assert_eq!(transformer_name("vae.decoder.conv_in.conv.weight"), "vae.decoder.conv_in.conv.weight");
}

/// A file with one tensor `x` of four numbers, its parts as given.
struct Parts {
    version: u32,
    alignment: u32,
    sides: Vec<u64>,
    kind: u32,
    offset: u64,
}

impl Parts {
    const GOOD: Self = Self { version: 3, alignment: 32, sides: Vec::new(), kind: 0, offset: 0 };

    fn bytes(&self) -> Vec<u8> {
        let sides = if self.sides.is_empty() { &[4][..] } else { &self.sides };
        let mut bytes = b"GGUF".to_vec();
        let text = |bytes: &mut Vec<u8>, text: &str| {
            bytes.extend((text.len() as u64).to_le_bytes());
            bytes.extend(text.as_bytes());
        };
        bytes.extend(self.version.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
        bytes.extend(1u64.to_le_bytes());
        text(&mut bytes, "general.alignment");
        bytes.extend(4u32.to_le_bytes());
        bytes.extend(self.alignment.to_le_bytes());
        text(&mut bytes, "x");
        bytes.extend((sides.len() as u32).to_le_bytes());
        sides.iter().for_each(|side| bytes.extend(side.to_le_bytes()));
        bytes.extend(self.kind.to_le_bytes());
        bytes.extend(self.offset.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(32) + 16, 0);
        bytes
    }
}

#[test]
fn damaged_files_are_refused_by_what_is_wrong() {
    assert!(Header::parse(&Parts::GOOD.bytes()).is_ok());
    for (parts, expected) in [
        (Parts { version: 1, ..Parts::GOOD }, "version is 1, but only 2 and 3"),
        (Parts { alignment: 0, ..Parts::GOOD }, "general.alignment is 0, but only multiples of 8"),
        (Parts { kind: 20, ..Parts::GOOD }, "tensor x: its type is number 20, but only F32, F16, BF16, Q4_0"),
        (Parts { kind: 12, ..Parts::GOOD }, "tensor x: its rows of 4 are no multiple of its blocks of 256"),
        (Parts { offset: 8, ..Parts::GOOD }, "tensor x: its offset 8 is no multiple of the alignment 32"),
        (Parts { offset: 32, ..Parts::GOOD }, "tensor x: it lies outside the file"),
        (Parts { offset: u64::MAX - 31, ..Parts::GOOD }, "tensor x: it lies outside the file"),
        (
            Parts { sides: vec![1 << 33, 1 << 33], ..Parts::GOOD },
            "tensor x: its shape [8589934592, 8589934592] is beyond",
        ),
        (
            Parts { sides: vec![0, 1 << 63, 4], ..Parts::GOOD },
            "tensor x: its shape [4, 9223372036854775808, 0] is beyond",
        ),
        (Parts { sides: vec![1 << 33], ..Parts::GOOD }, "tensor x: it lies outside the file"),
        (Parts { sides: vec![1; 9], ..Parts::GOOD }, "tensor x: it has 9 dimensions"),
    ] {
        let error = Header::parse(&parts.bytes()).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"GGML, of old").unwrap();
    let error = Gguf::open(file.path()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("does not begin with GGUF") && error.contains(file.path().to_str().unwrap()), "{error}");
}

/// Wherever a file ends, and whatever a byte of its header is, it is read or refused.
#[test]
fn no_file_makes_it_panic() {
    let good = std::fs::read(fixture("blocks.gguf")).unwrap();
    let header = good.len() - 6_500;
    for end in 0..header {
        assert!(Header::parse(&good[..end]).is_err(), "{end}");
    }
    for at in 0..header {
        let mut bytes = good.clone();
        for value in [0, 1, 9, 0x7f, 0xff] {
            bytes[at] = value;
            let _ = Header::parse(&bytes);
        }
    }
}
