//! The demo model: a small LTX-2 with every kind of layer and synthetic weights, in the published file formats, so
//! that a machine without weights or GPU runs the true code.

use std::collections::HashMap;
use std::path::Path;

use half::bf16;
use ltx2_models::synth::synth;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, serialize_to_file};

/// Why a demo model could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {reason}")]
pub struct DemoModelError {
    path: std::path::PathBuf,
    reason: String,
}

/// A safetensors file of the set: the names and shapes of its tensors, and its metadata.
struct Weights {
    name: &'static str,
    tensors: &'static str,
    metadata: &'static str,
}

macro_rules! weights {
    ($name:literal) => {
        Weights {
            name: concat!($name, ".safetensors"),
            tensors: include_str!(concat!("../../../models/demo/ltx-2-19b/", $name, ".tensors")),
            metadata: include_str!(concat!("../../../models/demo/ltx-2-19b/", $name, ".metadata.json")),
        }
    };
}

macro_rules! text {
    ($name:literal) => {
        ($name, include_str!(concat!("../../../models/demo/ltx-2-19b/", $name)))
    };
}

const WEIGHTS: [Weights; 4] =
    [weights!("ltx"), weights!("gemma/model"), weights!("spatial_upscaler"), weights!("lora")];

const TEXTS: [(&str, &str); 5] = [
    text!("gemma/config.json"),
    text!("gemma/preprocessor_config.json"),
    text!("gemma/tokenizer.json"),
    text!("gemma/tokenizer.model"),
    text!("gemma/tokenizer_config.json"),
];

/// Writes the demo model with weights of `seed` into `folder`.
pub fn write(folder: &Path, seed: u64) -> Result<(), DemoModelError> {
    let failed = |path: &Path, reason: String| DemoModelError { path: path.into(), reason };
    std::fs::create_dir_all(folder.join("gemma")).map_err(|error| failed(folder, error.to_string()))?;
    for (name, text) in TEXTS {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| failed(&path, error.to_string()))?;
    }
    for weights in WEIGHTS {
        let path = folder.join(weights.name);
        // Under another name until it is whole: a half-written file must not be taken for a model.
        let temporary = path.with_extension("part");
        weights.write(&temporary, seed).map_err(|reason| failed(&path, reason))?;
        std::fs::rename(&temporary, &path).map_err(|error| failed(&path, error.to_string()))?;
    }
    Ok(())
}

impl Weights {
    fn write(&self, path: &Path, seed: u64) -> Result<(), String> {
        let metadata: HashMap<String, String> =
            serde_json::from_str(self.metadata).map_err(|error| error.to_string())?;
        let tensors: Vec<(&str, Vec<usize>, Vec<u8>)> = self
            .tensors
            .lines()
            .map(|line| {
                let (name, shape) = line.split_once(' ').unwrap_or((line, ""));
                let shape: Vec<usize> = shape.split('x').filter_map(|side| side.parse().ok()).collect();
                let bytes = synth(name, &shape, seed).into_iter().flat_map(bf16::to_le_bytes).collect();
                (name, shape, bytes)
            })
            .collect();
        let views = tensors
            .iter()
            .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::BF16, shape.clone(), bytes)?)))
            .collect::<Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|error| error.to_string())?;
        serialize_to_file(views, Some(metadata), path).map_err(|error| error.to_string())
    }
}
