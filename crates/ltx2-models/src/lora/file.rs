//! LoRA files.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::alpha::HeaderAlpha;
use super::fitted::FittedLora;
use super::parts::Meaning;
use super::targets::Targets;
use super::update::{Layer, LayerParts, Update};
use crate::weight_files::{CheckpointError, SafetensorsFile, TensorShapes, read_metadata};

/// Metadata keys of IC-LoRAs, which need a reference video.
const REFERENCE_KEYS: [&str; 3] =
    ["reference_downscale_factor", "reference_spatial_scale_factor", "reference_temporal_scale_factor"];

/// An open LoRA file. [`Lora::fit`] checks it against the networks.
#[derive(Clone)]
pub struct Lora {
    file: Arc<SafetensorsFile>,
    /// Parts of each layer, by the layer's name in the file.
    layers: BTreeMap<String, LayerParts>,
    /// Tensors that cannot be applied, with the reason.
    unusable: Vec<(String, &'static str)>,
    alpha: HeaderAlpha,
    kind: LoraKind,
}

/// Kind of a LoRA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoraKind {
    /// Changes weights only.
    Ordinary,
    /// Trained with a reference video as input (IC-LoRA); without it the result is meaningless.
    InContext,
}

impl std::fmt::Debug for Lora {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lora").field("path", &self.path()).field("layers", &self.layers.len()).finish()
    }
}

impl Lora {
    /// Opens a LoRA file and reads its header.
    ///
    /// # Errors
    /// If the file is not safetensors or has no tensor of a LoRA.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let refuse = |reason| CheckpointError::Lora { path: path.into(), reason };
        let file = SafetensorsFile::open(path)?;
        let (mut layers, mut unusable, mut is_lora) = (BTreeMap::<String, LayerParts>::new(), Vec::new(), false);
        for name in file.shapes().into_keys() {
            let meaning = Meaning::of(&name);
            is_lora |= meaning.marks_a_lora();
            match meaning {
                Meaning::Part { layer, part } => match layers.entry(layer).or_default().insert(part, name) {
                    None => {}
                    Some(other) => unusable.push((other, "its layer has a second tensor of the same meaning")),
                },
                Meaning::Unsupported(reason) => unusable.push((name, reason)),
                Meaning::Unknown => unusable.push((name, "it is not a tensor of a LoRA")),
            }
        }
        if !is_lora {
            let expected =
                "it has no pair of matrices named like diffusion_model.<layer>.lora_A.weight and .lora_B.weight";
            return Err(refuse(expected.into()));
        }
        let metadata = read_metadata(path)?;
        let has_reference = REFERENCE_KEYS.iter().any(|key| metadata.contains_key(*key));
        let kind = if has_reference || is_named_in_context(path) { LoraKind::InContext } else { LoraKind::Ordinary };
        let config = adapter_config(path)?;
        let alpha = HeaderAlpha::new(&metadata, config.as_ref()).map_err(refuse)?;
        Ok(Self { file: Arc::new(file), layers, unusable, alpha, kind })
    }

    /// Path of the file.
    pub fn path(&self) -> &Path {
        self.file.path()
    }

    /// Kind of the LoRA.
    pub fn kind(&self) -> LoraKind {
        self.kind
    }

    /// Matches the file with networks of the tensors `shapes`.
    ///
    /// # Errors
    /// Names the first tensor that has no counterpart, belongs to no known method, or has the wrong shape or dtype, and
    /// the number of such tensors.
    pub fn fit(&self, shapes: &TensorShapes) -> Result<FittedLora, CheckpointError> {
        self.updates(&Targets::new(shapes))
            .map(|updates| FittedLora::new(self.file.clone(), updates))
            .map_err(|reason| CheckpointError::Lora { path: self.path().into(), reason })
    }

    fn updates(&self, targets: &Targets) -> Result<BTreeMap<String, Vec<Update>>, String> {
        if let Some((name, reason)) = self.unusable.first() {
            return Err(format!("{name} cannot be applied: {reason}{}", and_more(self.unusable.len(), "tensor")));
        }
        let unknown: Vec<&String> = self.layers.keys().filter(|layer| targets.layer(layer).is_none()).collect();
        match unknown.first() {
            Some(name) if unknown.len() == self.layers.len() => {
                let count = self.layers.len();
                return Err(format!("none of its {count} layers is in the checkpoint, for example {name}"));
            }
            Some(name) => {
                let more = and_more(unknown.len(), "layer");
                return Err(format!("its layer {name} is not in the checkpoint{more}"));
            }
            None => {}
        }
        let mut updates = BTreeMap::<String, (String, Vec<Update>)>::new();
        for (name, parts) in &self.layers {
            let layer = targets.layer(name).expect("layers without a target were refused");
            let found = Layer { name, parts, file: &self.file, alpha: &self.alpha }.updates()?;
            for (tensor, kind, found) in
                [(targets.weight(&layer), "weight", found.weight), (targets.bias(&layer), "bias", found.bias)]
            {
                if found.is_empty() {
                    continue;
                }
                let (tensor, shape) = tensor.ok_or_else(|| format!("the layer {layer} has no {kind} to update"))?;
                if let Some(update) = found.iter().find(|update| update.shape != shape) {
                    return Err(format!(
                        "its update of {tensor} has shape {:?}, but the weight in the checkpoint has shape {shape:?}",
                        update.shape
                    ));
                }
                if let Some((other, _)) = updates.insert(tensor.clone(), (name.clone(), found)) {
                    return Err(format!("its layers {other} and {name} both update {tensor}"));
                }
            }
        }
        Ok(updates.into_iter().map(|(tensor, (_, updates))| (tensor, updates)).collect())
    }
}

/// Phrase for the number of further tensors or layers.
fn and_more(count: usize, noun: &str) -> String {
    match count {
        0 | 1 => String::new(),
        2 => format!(" (and 1 more {noun})"),
        count => format!(" (and {} more {noun}s)", count - 1),
    }
}

/// Whether the words of the file name contain `ic lora`, as those of the published IC-LoRAs do.
fn is_named_in_context(path: &Path) -> bool {
    let name = path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
    let words: Vec<&str> = name.split(|c: char| !c.is_alphanumeric()).collect();
    words.windows(2).any(|pair| pair == ["ic", "lora"])
}

/// Reads the configuration that peft writes beside `adapter_model.safetensors`.
fn adapter_config(path: &Path) -> Result<Option<serde_json::Value>, CheckpointError> {
    if path.file_stem().is_none_or(|stem| stem != "adapter_model") {
        return Ok(None);
    }
    let path = path.with_file_name("adapter_config.json");
    match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text).map(Some).map_err(|source| CheckpointError::Json { path, source }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(CheckpointError::Io { path, source }),
    }
}
