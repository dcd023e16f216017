//! Tests against the Python package `gguf` (`scripts/make_gguf_fixtures.py`) and with invalid files.

use std::io::Write;
use std::path::PathBuf;

use candle_core::{DType, Device};
use serde_json::{Value, json};

use super::super::reader::{ReadTarget, TensorReader};
use super::GgufFile;
use super::header::GgufHeader;

fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/gguf").join(name)
}

fn bits(tensor: &candle_core::Tensor) -> Vec<u32> {
    let values = tensor.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    values.into_iter().map(f32::to_bits).collect()
}

#[test]
fn every_type_is_dequantised_bit_for_bit_like_the_python_package() {
    let file = GgufFile::open(&fixture("blocks.gguf")).unwrap();
    let expected = candle_core::safetensors::load(fixture("blocks.safetensors"), &Device::Cpu).unwrap();
    assert_eq!(expected.len(), 13);
    let to = ReadTarget { device: &Device::Cpu, reader: &TensorReader::default() };
    for (name, expected) in &expected {
        let ours = file.tensor(name, to).unwrap();
        assert_eq!(ours.dims(), expected.dims(), "shape of {name}");
        assert_eq!(bits(&ours), bits(expected), "{name}");
        let quantized = file.quantized(name, to).unwrap();
        assert_eq!(quantized.is_some(), name.starts_with('Q'), "{name}");
    }
}

#[test]
fn metadata_is_parsed() {
    let file = GgufFile::open(&fixture("blocks.gguf")).unwrap();
    let expected = json!({"general.architecture": "test", "test.count": 7, "test.epsilon": 1e-6, "test.flag": true,
        "test.list": ["a", "bc", ""]});
    assert_eq!(Value::Object(file.metadata().clone()), expected);
}

/// Header values of a file with one tensor `x`.
struct HeaderValues {
    version: u32,
    alignment: u32,
    /// `[4]` if empty.
    shape: Vec<u64>,
    kind: u32,
    offset: u64,
}

impl HeaderValues {
    const VALID: Self = Self { version: 3, alignment: 32, shape: Vec::new(), kind: 0, offset: 0 };

    fn bytes(&self) -> Vec<u8> {
        let shape = if self.shape.is_empty() { &[4][..] } else { &self.shape };
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
        bytes.extend((shape.len() as u32).to_le_bytes());
        shape.iter().for_each(|side| bytes.extend(side.to_le_bytes()));
        bytes.extend(self.kind.to_le_bytes());
        bytes.extend(self.offset.to_le_bytes());
        bytes.resize(bytes.len().next_multiple_of(32) + 16, 0);
        bytes
    }
}

#[test]
fn invalid_files_are_rejected_with_the_reason() {
    assert!(GgufHeader::parse(&HeaderValues::VALID.bytes()).is_ok());
    for (values, expected) in [
        (HeaderValues { version: 1, ..HeaderValues::VALID }, "GGUF version is 1, but only 2 and 3"),
        (HeaderValues { alignment: 0, ..HeaderValues::VALID }, "general.alignment is 0, but only multiples of 8"),
        (
            HeaderValues { kind: 20, ..HeaderValues::VALID },
            "tensor x: GGUF type IQ4_NL is not supported, use Q4_K or another of F32, F16",
        ),
        (
            HeaderValues { kind: 12, ..HeaderValues::VALID },
            "tensor x: row length 4 is not a multiple of the block size 256",
        ),
        (HeaderValues { offset: 8, ..HeaderValues::VALID }, "tensor x: offset 8 is not a multiple of the alignment 32"),
        (HeaderValues { offset: 32, ..HeaderValues::VALID }, "tensor x: its data lies outside the file"),
        (HeaderValues { offset: u64::MAX - 31, ..HeaderValues::VALID }, "tensor x: its data lies outside the file"),
        (
            HeaderValues { shape: vec![1 << 33, 1 << 33], ..HeaderValues::VALID },
            "tensor x: shape [8589934592, 8589934592] overflows",
        ),
        (
            HeaderValues { shape: vec![0, 1 << 63, 4], ..HeaderValues::VALID },
            "tensor x: shape [4, 9223372036854775808, 0] overflows",
        ),
        (HeaderValues { shape: vec![1 << 33], ..HeaderValues::VALID }, "tensor x: its data lies outside the file"),
        (HeaderValues { shape: vec![1; 9], ..HeaderValues::VALID }, "tensor x: it has 9 dimensions"),
    ] {
        let error = GgufHeader::parse(&values.bytes()).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"GGML, old").unwrap();
    let error = GgufFile::open(file.path()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("does not begin with GGUF") && error.contains(file.path().to_str().unwrap()), "{error}");
}

#[test]
fn truncated_and_corrupted_headers_never_panic() {
    let good = std::fs::read(fixture("blocks.gguf")).unwrap();
    let header = good.len() - 6_500;
    for end in 0..header {
        assert!(GgufHeader::parse(&good[..end]).is_err(), "{end}");
    }
    for at in 0..header {
        let mut bytes = good.clone();
        for value in [0, 1, 9, 0x7f, 0xff] {
            bytes[at] = value;
            let _ = GgufHeader::parse(&bytes);
        }
    }
}
