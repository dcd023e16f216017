//! LoRAs: low-rank updates of linear layers, merged into the weights as they are loaded (`fuse_loras.py`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};

use crate::weight_files::reader::{ReadTarget, TensorReader};
use crate::weight_files::{CheckpointError, SafetensorsFile, TensorShapes};

/// Prefix of the transformer in a checkpoint.
const TRANSFORMER_PREFIX: &str = "model.diffusion_model.";
/// Prefixes of layer names in LoRA files: those of the published LoRAs, of diffusers and of peft.
const LORA_PREFIXES: [&str; 3] = ["diffusion_model.", "transformer.", "base_model.model."];
/// Suffixes of the down and up matrices: those of the published LoRAs and of other trainers.
const SUFFIXES: [(&str, &str); 2] = [(".lora_A.weight", ".lora_B.weight"), (".lora_down.weight", ".lora_up.weight")];

/// An open LoRA file.
#[derive(Clone)]
pub struct Lora {
    file: Arc<SafetensorsFile>,
    /// By name of the weight in the checkpoint.
    pairs: BTreeMap<String, LoraPair>,
}

/// Names of the tensors that update a weight.
#[derive(Debug, Clone)]
struct LoraPair {
    down: String,
    up: String,
    alpha: Option<String>,
    /// `(d_out, d_in)` of the weight.
    shape: (usize, usize),
    rank: usize,
}

impl std::fmt::Debug for Lora {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lora").field("path", &self.path()).field("layers", &self.pairs.len()).finish()
    }
}

/// A LoRA and the strength it is merged with.
#[derive(Debug, Clone)]
pub struct LoraStrength {
    /// The LoRA.
    pub lora: Lora,
    /// Factor of the update: 1 as trained, 0 for none, negative to invert.
    pub strength: f64,
}

impl Lora {
    /// Opens a LoRA file and reads its header.
    ///
    /// # Errors
    /// If the file is not safetensors or has no LoRA matrices.
    pub fn open(path: &Path) -> std::result::Result<Self, CheckpointError> {
        let file = SafetensorsFile::open(path)?;
        let pairs = find_pairs(&file.shapes());
        if pairs.is_empty() {
            return Err(CheckpointError::Lora {
                path: path.into(),
                reason:
                    "it has no pair of matrices named like diffusion_model.<layer>.lora_A.weight and .lora_B.weight"
                        .into(),
            });
        }
        Ok(Self { file: Arc::new(file), pairs })
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Checks that a checkpoint with `shapes` has every layer of the LoRA, in the same shape.
    ///
    /// # Errors
    /// Names the first layer that is missing or has another shape.
    pub fn check(&self, shapes: &TensorShapes) -> std::result::Result<(), CheckpointError> {
        let refuse = |reason| Err(CheckpointError::Lora { path: self.path().into(), reason });
        let known = self.pairs.keys().filter(|name| shapes.contains_key(*name)).count();
        if known == 0 {
            let name = self.pairs.keys().next().expect("open refuses a file without pairs");
            return refuse(format!("none of its {} layers is in the checkpoint, for example {name}", self.pairs.len()));
        }
        for (name, pair) in &self.pairs {
            match shapes.get(name).map(Vec::as_slice) {
                None => return refuse(format!("its layer {name} is not in the checkpoint")),
                Some(&[d_out, d_in]) if (d_out, d_in) == pair.shape => {}
                Some(found) => {
                    return refuse(format!(
                        "its update of {name} has shape {:?}, but the weight in the checkpoint has shape {found:?}",
                        pair.shape
                    ));
                }
            }
        }
        Ok(())
    }

    /// Whether the LoRA updates the weight `name`.
    pub(crate) fn changes(&self, name: &str) -> bool {
        self.pairs.contains_key(name)
    }

    /// Computes the update of the weight `name` at `strength` as `dtype`; `None` if the LoRA does not change the weight.
    ///
    /// The scaled up matrix and the product are rounded to the dtype of the file, as in the official fusion.
    fn delta(&self, name: &str, strength: f64, dtype: DType, to: ReadTarget) -> Result<Option<Tensor>> {
        let Some(pair) = self.pairs.get(name) else { return Ok(None) };
        let (up, down) = (self.file.tensor(&pair.up, to)?, self.file.tensor(&pair.down, to)?);
        let scale = match &pair.alpha {
            Some(alpha) => {
                let alpha = self.file.tensor(alpha, ReadTarget { device: &Device::Cpu, ..to })?;
                let alpha = alpha.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
                f64::from(alpha.first().copied().unwrap_or(pair.rank as f32)) / pair.rank as f64
            }
            None => 1.0,
        };
        let scaled = (up.to_dtype(DType::F32)? * (strength * scale))?.to_dtype(up.dtype())?.to_dtype(DType::F32)?;
        let product = scaled.matmul(&down.to_dtype(DType::F32)?)?.to_dtype(up.dtype())?;
        Ok(Some(product.to_dtype(dtype)?))
    }
}

/// Merges `loras` into the weight `name` and returns it as `dtype`.
pub(crate) fn merge(
    name: &str,
    weight: Tensor,
    loras: &[LoraStrength],
    dtype: DType,
    reader: &TensorReader,
) -> Result<Tensor> {
    let to = ReadTarget { device: weight.device(), reader };
    let mut sum: Option<Tensor> = None;
    for LoraStrength { lora, strength } in loras.iter().filter(|lora| lora.strength != 0.0) {
        if let Some(delta) = lora.delta(name, *strength, dtype, to)? {
            sum = Some(match sum {
                Some(sum) => (sum + delta)?,
                None => delta,
            });
        }
    }
    match sum {
        Some(delta) => delta + weight.to_dtype(dtype)?,
        None => weight.to_dtype(dtype),
    }
}

/// Finds the LoRA pairs among the tensors of a file. Tensors that form no valid pair are skipped.
fn find_pairs(shapes: &TensorShapes) -> BTreeMap<String, LoraPair> {
    let mut pairs = BTreeMap::new();
    for (down, down_shape) in shapes {
        for (down_suffix, up_suffix) in SUFFIXES {
            let Some(layer) = down.strip_suffix(down_suffix) else { continue };
            let up = format!("{layer}{up_suffix}");
            let (Some(&[d_out, rank]), &[rank_in, d_in]) = (shapes.get(&up).map(Vec::as_slice), down_shape.as_slice())
            else {
                continue;
            };
            // A pair of rank 0 adds nothing, and alpha cannot be divided by it.
            if rank != rank_in || rank == 0 {
                continue;
            }
            let bare = LORA_PREFIXES.iter().find_map(|prefix| layer.strip_prefix(prefix)).unwrap_or(layer);
            let alpha = Some(format!("{layer}.alpha")).filter(|alpha| shapes.contains_key(alpha));
            let pair = LoraPair { down: down.clone(), up, alpha, shape: (d_out, d_in), rank };
            pairs.insert(format!("{TRANSFORMER_PREFIX}{bare}.weight"), pair);
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_matching_matrices_of_nonzero_rank_form_a_pair() {
        let found = |down: &[usize], up: &[usize]| {
            let named = |suffix: &str, shape: &[usize]| (format!("transformer.a{suffix}"), shape.to_vec());
            let shapes = TensorShapes::from([named(".lora_A.weight", down), named(".lora_B.weight", up)]);
            find_pairs(&shapes).into_iter().map(|(name, pair)| (name, pair.shape, pair.rank)).collect::<Vec<_>>()
        };
        assert_eq!(found(&[4, 3], &[2, 4]), [("model.diffusion_model.a.weight".to_string(), (2, 3), 4)]);
        for (down, up) in [(&[0, 3][..], &[2, 0][..]), (&[4, 3], &[2, 5]), (&[4], &[2, 4]), (&[4, 3], &[2, 4, 1])] {
            assert_eq!(found(down, up), [], "{down:?} {up:?}");
        }
    }
}
