//! Demo models: small versions of the published models with every kind of layer and synthetic weights, in the published
//! file formats. They run the real code on machines without weights or a GPU.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use half::bf16;
use ltx2_models::synth::synth;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError, serialize_to_file};

use crate::PublishedModel;

/// A safetensors file of a demo model.
struct WeightFile {
    /// Path below the model's folder.
    path: &'static str,
    /// Lines of a tensor's name and shape.
    tensors: &'static str,
    /// Metadata as a JSON object.
    metadata: &'static str,
}

macro_rules! weight_file {
    ($folder:literal, $name:literal, $path:literal) => {
        WeightFile {
            path: $path,
            tensors: include_str!(concat!("../../../models/demo/", $folder, "/", $name, ".tensors")),
            metadata: include_str!(concat!("../../../models/demo/", $folder, "/", $name, ".metadata.json")),
        }
    };
}

macro_rules! weight_files {
    ($folder:literal) => {
        [
            weight_file!($folder, "ltx", "ltx.safetensors"),
            weight_file!($folder, "spatial_upscaler", "spatial_upscaler.safetensors"),
            weight_file!($folder, "lora", "distilled_lora.safetensors"),
        ]
    };
}

macro_rules! text_file {
    ($name:literal) => {
        (concat!("gemma/", $name), include_str!(concat!("../../../models/demo/gemma/", $name)))
    };
}

const TEXT_FILES: [(&str, &str); 6] = [
    text_file!("config.json"),
    text_file!("preprocessor_config.json"),
    text_file!("processor_config.json"),
    text_file!("tokenizer.json"),
    text_file!("tokenizer.model"),
    text_file!("tokenizer_config.json"),
];

const TEXT_ENCODER: WeightFile = weight_file!("gemma", "model", "gemma/model.safetensors");

fn weight_files(model: PublishedModel) -> [WeightFile; 3] {
    match model {
        PublishedModel::Ltx2_19b => weight_files!("ltx-2-19b"),
        PublishedModel::Ltx23_22b => weight_files!("ltx-2.3-22b"),
    }
}

/// Writes the demo version of `model` with synthetic weights of `seed` into `folder`, which is created if missing.
///
/// # Errors
/// A file cannot be written; the error names it.
pub fn write(folder: &Path, model: PublishedModel, seed: u64) -> Result<()> {
    fs::create_dir_all(folder.join("gemma")).with_context(|| cannot_write(folder))?;
    for (name, text) in TEXT_FILES {
        let path = folder.join(name);
        fs::write(&path, text).with_context(|| cannot_write(&path))?;
    }
    for file in weight_files(model).into_iter().chain([TEXT_ENCODER]) {
        let path = folder.join(file.path);
        // Renamed when complete, so that an incomplete file is never taken for a model.
        let temporary = path.with_extension("part");
        file.write(&temporary, seed).with_context(|| cannot_write(&path))?;
        fs::rename(&temporary, &path).with_context(|| cannot_write(&path))?;
    }
    Ok(())
}

fn cannot_write(path: &Path) -> String {
    format!("cannot write {}", path.display())
}

impl WeightFile {
    fn write(&self, path: &Path, seed: u64) -> Result<()> {
        let metadata: HashMap<String, String> = serde_json::from_str(self.metadata)?;
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
            .collect::<Result<Vec<_>, SafeTensorError>>()?;
        Ok(serialize_to_file(views, Some(metadata), path)?)
    }
}
