//! Safetensors files in memory.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use half::bf16;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

/// A tensor with its bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub dtype: Dtype,
    pub shape: Vec<usize>,
    pub bytes: Vec<u8>,
}

/// Tensors and metadata of a file.
#[derive(Debug, Clone, Default)]
pub struct Contents {
    pub tensors: BTreeMap<String, Stored>,
    pub metadata: HashMap<String, String>,
}

impl Stored {
    pub fn floats(shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { dtype: Dtype::F32, shape: shape.to_vec(), bytes }
    }

    /// Values of a bfloat16 or float32 tensor.
    pub fn values(&self) -> Vec<f32> {
        match self.dtype {
            Dtype::BF16 => {
                self.bytes.chunks(2).map(|pair| bf16::from_le_bytes(pair.try_into().unwrap()).to_f32()).collect()
            }
            Dtype::F32 => self.bytes.chunks(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect(),
            other => panic!("{other:?}"),
        }
    }

    /// The same values in bfloat16.
    pub fn bf16(shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| bf16::from_f32(*value).to_le_bytes()).collect();
        Self { dtype: Dtype::BF16, shape: shape.to_vec(), bytes }
    }
}

impl Contents {
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let stored = |(name, view): (String, TensorView)| {
            (name, Stored { dtype: view.dtype(), shape: view.shape().to_vec(), bytes: view.data().to_vec() })
        };
        let metadata = SafeTensors::read_metadata(&bytes).unwrap().1.metadata().clone().unwrap_or_default();
        Self { tensors: tensors.tensors().into_iter().map(stored).collect(), metadata }
    }

    pub fn write(&self, path: &Path) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let views = self
            .tensors
            .iter()
            .map(|(name, stored)| (name, TensorView::new(stored.dtype, stored.shape.clone(), &stored.bytes).unwrap()));
        std::fs::write(path, safetensors::serialize(views, Some(self.metadata.clone())).unwrap()).unwrap();
    }

    /// Returns the file with each tensor renamed.
    pub fn renamed(&self, rename: impl Fn(&str) -> String) -> Self {
        let tensors = self.tensors.iter().map(|(name, stored)| (rename(name), stored.clone())).collect();
        Self { tensors, metadata: self.metadata.clone() }
    }

    /// Returns the file with one more tensor.
    pub fn with(&self, name: &str, stored: Stored) -> Self {
        let mut changed = self.clone();
        changed.tensors.insert(name.into(), stored);
        changed
    }

    pub fn with_metadata(&self, key: &str, value: &str) -> Self {
        let mut changed = self.clone();
        changed.metadata.insert(key.into(), value.into());
        changed
    }
}

/// Decodes a float8 e4m3 code.
pub fn e4m3(code: u8) -> f32 {
    let (exponent, fraction) = (i32::from(code >> 3 & 15), f32::from(code & 7) / 8.0);
    let size = match exponent {
        0 => fraction * 2f32.powi(-6),
        _ => (1.0 + fraction) * 2f32.powi(exponent - 7),
    };
    if code & 0x80 == 0 { size } else { -size }
}

/// Returns the float8 e4m3 codes that are nearest to `values`.
pub fn to_e4m3(values: &[f32]) -> Vec<u8> {
    // Codes of positive values are in the order of their values.
    let positive: Vec<f32> = (0..0x7f).map(e4m3).collect();
    let nearest = |value: &f32| {
        let above = positive.partition_point(|known| *known < value.abs()).min(0x7e);
        let below = above.saturating_sub(1);
        let is_below = value.abs() - positive[below] < positive[above] - value.abs();
        (if is_below { below } else { above }) as u8 | if *value < 0.0 { 0x80 } else { 0 }
    };
    values.iter().map(nearest).collect()
}
