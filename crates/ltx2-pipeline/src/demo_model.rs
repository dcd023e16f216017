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

macro_rules! file {
    ($folder:literal, $name:literal, $out:literal) => {
        Weights {
            name: $out,
            tensors: include_str!(concat!("../../../models/demo/", $folder, "/", $name, ".tensors")),
            metadata: include_str!(concat!("../../../models/demo/", $folder, "/", $name, ".metadata.json")),
        }
    };
}

macro_rules! weights {
    ($folder:literal) => {
        [
            file!($folder, "ltx", "ltx.safetensors"),
            file!($folder, "spatial_upscaler", "spatial_upscaler.safetensors"),
            file!($folder, "lora", "lora.safetensors"),
        ]
    };
}

/// Which published model the demo is a small version of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Base {
    /// LTX-2 19B.
    #[default]
    Ltx2_19b,
    /// LTX-2.3 22B.
    Ltx23_22b,
}

impl Base {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Ltx2_19b, Self::Ltx23_22b];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ltx2_19b => "ltx-2-19b",
            Self::Ltx23_22b => "ltx-2.3-22b",
        }
    }

    fn weights(self) -> [Weights; 3] {
        match self {
            Self::Ltx2_19b => weights!("ltx-2-19b"),
            Self::Ltx23_22b => weights!("ltx-2.3-22b"),
        }
    }
}

impl std::str::FromStr for Base {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|base| base.name() == text);
        known.ok_or_else(|| format!("base is {text}, but it must be one of {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// A safetensors file of the set: the names and shapes of its tensors, and its metadata.
struct Weights {
    name: &'static str,
    tensors: &'static str,
    metadata: &'static str,
}

macro_rules! text {
    ($name:literal) => {
        (concat!("gemma/", $name), include_str!(concat!("../../../models/demo/gemma/", $name)))
    };
}

const TEXTS: [(&str, &str); 5] = [
    text!("config.json"),
    text!("preprocessor_config.json"),
    text!("tokenizer.json"),
    text!("tokenizer.model"),
    text!("tokenizer_config.json"),
];

const TEXT_ENCODER: Weights = file!("gemma", "model", "gemma/model.safetensors");

/// Writes the demo model of `base` with weights of `seed` into `folder`.
pub fn write(folder: &Path, base: Base, seed: u64) -> Result<(), DemoModelError> {
    let failed = |path: &Path, reason: String| DemoModelError { path: path.into(), reason };
    std::fs::create_dir_all(folder.join("gemma")).map_err(|error| failed(folder, error.to_string()))?;
    for (name, text) in TEXTS {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|error| failed(&path, error.to_string()))?;
    }
    for weights in base.weights().into_iter().chain([TEXT_ENCODER]) {
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
