//! Location, dtype and shape of a tensor in a safetensors file.

use std::collections::BTreeMap;

use safetensors::Dtype;

/// Shapes of tensors by name.
pub type TensorShapes = BTreeMap<String, Vec<usize>>;

/// A tensor of a safetensors file: its dtype, its shape and the byte range that the two imply.
pub(super) struct TensorRange {
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<usize>,
    /// Byte offset of the first element from the beginning of the file.
    pub(super) offset: u64,
}

/// Whether element count and strides of `shape` fit a `usize`. Dimensions of 0 are skipped, because the strides of the
/// others are computed all the same.
pub(super) fn fits_usize(shape: &[usize]) -> bool {
    shape.iter().filter(|side| **side > 0).try_fold(1_usize, |product, side| product.checked_mul(*side)).is_some()
}
