//! Low-rank adapters: files with a pair of thin matrices for some of a checkpoint's linear layers (`fuse_loras.py`).

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use candle_core::{DType, Device, Result, Tensor};

use crate::checkpoint::{CheckpointError, Reader, SafetensorsFile, TensorShapes, To};

/// Where a checkpoint keeps the layers that adapters speak of.
const MODEL: &str = "model.diffusion_model.";
/// How files begin their names: as published, and as diffusers writes them.
const PREFIXES: [&str; 3] = ["diffusion_model.", "transformer.", "base_model.model."];
/// How the thin matrices are called: as published, and as other trainers write them.
const PAIRS: [(&str, &str); 2] = [(".lora_A.weight", ".lora_B.weight"), (".lora_down.weight", ".lora_up.weight")];

/// An adapter file.
#[derive(Clone)]
pub struct Lora {
    file: Arc<SafetensorsFile>,
    /// By the name of the checkpoint's weight.
    pairs: BTreeMap<String, Pair>,
}

#[derive(Debug, Clone)]
struct Pair {
    down: String,
    up: String,
    alpha: Option<String>,
    /// (d_out, d_in) of the weight that it changes.
    shape: (usize, usize),
    rank: usize,
}

impl std::fmt::Debug for Lora {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lora").field("path", &self.path()).field("layers", &self.pairs.len()).finish()
    }
}

/// An adapter and how much of it is added.
#[derive(Debug, Clone)]
pub struct LoraStrength {
    /// The adapter.
    pub lora: Lora,
    /// 1 adds it as trained, 0 not at all; negative values push the other way.
    pub strength: f64,
}

impl Lora {
    /// Reads the header of an adapter file.
    pub fn open(path: &Path) -> std::result::Result<Self, CheckpointError> {
        let file = SafetensorsFile::open(path)?;
        let pairs = pairs(&file.shapes());
        if pairs.is_empty() {
            return Err(CheckpointError::Lora {
                path: path.into(),
                reason: "it has no pair of matrices named like diffusion_model.<layer>.lora_A.weight".into(),
            });
        }
        Ok(Self { file: Arc::new(file), pairs })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Refuses the adapter unless each of its layers is in a checkpoint with `shapes`, at the same width.
    pub fn check(&self, shapes: &TensorShapes) -> std::result::Result<(), CheckpointError> {
        let refuse = |reason| Err(CheckpointError::Lora { path: self.path().into(), reason });
        let known = self.pairs.keys().filter(|name| shapes.contains_key(*name)).count();
        if known == 0 {
            let name = self.pairs.keys().next().expect("open refuses a file without pairs");
            return refuse(format!("none of its {} layers is in the checkpoint, such as {name}", self.pairs.len()));
        }
        for (name, pair) in &self.pairs {
            match shapes.get(name).map(Vec::as_slice) {
                None => return refuse(format!("its layer {name} is not in the checkpoint")),
                Some(&[d_out, d_in]) if (d_out, d_in) == pair.shape => {}
                Some(found) => {
                    return refuse(format!("it changes {name} as {:?}, but the checkpoint's is {found:?}", pair.shape));
                }
            }
        }
        Ok(())
    }

    /// Whether it changes the weight `name`.
    pub(crate) fn changes(&self, name: &str) -> bool {
        self.pairs.contains_key(name)
    }

    /// What is added to the weight `name` at `strength`, as `dtype`; nothing if the adapter leaves it alone.
    ///
    /// The scaled matrix and the product are rounded to the file's dtype, as the official fusion does.
    fn delta(&self, name: &str, strength: f64, dtype: DType, to: To) -> Result<Option<Tensor>> {
        let Some(pair) = self.pairs.get(name) else { return Ok(None) };
        let (up, down) = (self.file.tensor(&pair.up, to)?, self.file.tensor(&pair.down, to)?);
        let scale = match &pair.alpha {
            Some(alpha) => {
                let alpha = self.file.tensor(alpha, To { device: &Device::Cpu, ..to })?;
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

/// `weight` called `name` with all of `loras` added, as `dtype`.
pub(crate) fn fuse(
    name: &str,
    weight: Tensor,
    loras: &[LoraStrength],
    dtype: DType,
    reader: &Reader,
) -> Result<Tensor> {
    let to = To { device: weight.device(), reader };
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

fn pairs(shapes: &TensorShapes) -> BTreeMap<String, Pair> {
    let mut pairs = BTreeMap::new();
    for (down, down_shape) in shapes {
        for (down_end, up_end) in PAIRS {
            let Some(layer) = down.strip_suffix(down_end) else { continue };
            let up = format!("{layer}{up_end}");
            let (Some(&[d_out, rank]), &[rank_in, d_in]) = (shapes.get(&up).map(Vec::as_slice), down_shape.as_slice())
            else {
                continue;
            };
            // Nothing is added by matrices without a rank, and alpha could not be divided by it.
            if rank != rank_in || rank == 0 {
                continue;
            }
            let bare = PREFIXES.iter().find_map(|prefix| layer.strip_prefix(prefix)).unwrap_or(layer);
            let alpha = Some(format!("{layer}.alpha")).filter(|alpha| shapes.contains_key(alpha));
            let pair = Pair { down: down.clone(), up, alpha, shape: (d_out, d_in), rank };
            pairs.insert(format!("{MODEL}{bare}.weight"), pair);
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_matrices_that_fit_and_have_a_rank_are_pairs() {
        let found = |down: &[usize], up: &[usize]| {
            let named = |end: &str, shape: &[usize]| (format!("transformer.a{end}"), shape.to_vec());
            let shapes = TensorShapes::from([named(".lora_A.weight", down), named(".lora_B.weight", up)]);
            pairs(&shapes).into_iter().map(|(name, pair)| (name, pair.shape, pair.rank)).collect::<Vec<_>>()
        };
        assert_eq!(found(&[4, 3], &[2, 4]), [("model.diffusion_model.a.weight".to_string(), (2, 3), 4)]);
        for (down, up) in [(&[0, 3][..], &[2, 0][..]), (&[4, 3], &[2, 5]), (&[4], &[2, 4]), (&[4, 3], &[2, 4, 1])] {
            assert_eq!(found(down, up), [], "{down:?} {up:?}");
        }
    }
}
