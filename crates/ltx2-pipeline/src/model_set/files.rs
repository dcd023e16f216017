//! Search for the files of a model set in a folder.

use std::path::{Path, PathBuf};

use ltx2_models::checkpoint::{GgufKind, gguf_kind, read_json, read_metadata};
use ltx2_models::lora::Lora;
use ltx2_models::text_encoder::Tokenizer;
use ltx2_models::upsampler::{SpatialScale, UpsamplerConfig};
use ltx2_models::{Checkpoint, CheckpointError, Section};
use ltx2_types::{CameraMotion, VariantArray};
use serde_json::Value;

use crate::error::PipelineError;

/// Names in diffusers folders.
const MODEL_INDEX: &str = "model_index.json";
const LATENT_UPSAMPLER: &str = "latent_upsampler";
/// Name of the folder for LoRAs.
const LORAS: &str = "loras";

/// Files of a model set.
#[derive(Debug)]
pub(super) struct ModelFiles {
    checkpoint: PathBuf,
    /// File of the transformer that replaces the checkpoint's own.
    transformer: Option<PathBuf>,
    /// Folder of the text encoder.
    pub gemma: PathBuf,
    upscaler: Option<PathBuf>,
    /// All LoRAs.
    pub loras: Vec<PathBuf>,
    /// LoRA that distils the second stage.
    pub distilled_lora: Option<PathBuf>,
    /// LoRAs for camera motions.
    pub camera_loras: Vec<(CameraMotion, PathBuf)>,
}

/// Candidates for each file of a model set.
#[derive(Default)]
struct Candidates {
    checkpoints: Vec<PathBuf>,
    transformers: Vec<PathBuf>,
    upscalers: Vec<PathBuf>,
    loras: Vec<PathBuf>,
    /// LoRAs in the folder for LoRAs; requests refer to them by name.
    more_loras: Vec<PathBuf>,
    gemmas: Vec<PathBuf>,
}

impl ModelFiles {
    /// Finds the files in `folder`.
    ///
    /// # Errors
    /// A required file is missing, or a file has several candidates, which the error names.
    pub(super) fn find(folder: &Path) -> Result<Self, PipelineError> {
        let found = Candidates::of(&list(folder)?)?;
        let Candidates { checkpoints, transformers, upscalers, loras, more_loras, gemmas } = found;
        let (camera_loras, others) = camera_loras(loras.clone());
        let optional = |what, found: Vec<PathBuf>| {
            if found.is_empty() { Ok(None) } else { only(folder, what, found).map(Some) }
        };
        Ok(Self {
            checkpoint: only(folder, "an LTX-2 checkpoint (*.safetensors or model_index.json)", checkpoints)?,
            transformer: optional("a transformer (*.gguf)", transformers)?,
            gemma: only(folder, "a Gemma 3 folder (with config.json or *.gguf)", gemmas)?,
            upscaler: optional("a spatial upscaler", spatial_upscalers(upscalers)?)?,
            loras: [loras, more_loras].concat(),
            distilled_lora: distilled_lora(others),
            camera_loras,
        })
    }

    /// Opens the checkpoint.
    pub(super) fn checkpoint(&self) -> Result<Checkpoint, CheckpointError> {
        match (self.checkpoint.ends_with(MODEL_INDEX), &self.transformer) {
            (true, transformer) => {
                let folder = self.checkpoint.parent().unwrap_or(Path::new("."));
                Checkpoint::open_diffusers(folder, transformer.as_deref())
            }
            (false, Some(transformer)) => Checkpoint::open_with_transformer(&self.checkpoint, transformer),
            (false, None) => Checkpoint::open(&self.checkpoint),
        }
    }

    /// Opens the upscaler, if there is one.
    pub(super) fn upscaler(&self) -> Result<Option<Checkpoint>, CheckpointError> {
        self.upscaler.as_deref().map(open_upscaler).transpose()
    }

    /// Opens the tokenizer in the text encoder's folder, or in the folder `tokenizer/` beside it.
    pub(super) fn tokenizer(&self) -> Result<Tokenizer, PipelineError> {
        let beside = self.gemma.with_file_name("tokenizer");
        let is_beside = !self.gemma.join("tokenizer.json").is_file() && beside.join("tokenizer.json").is_file();
        Ok(Tokenizer::open(if is_beside { &beside } else { &self.gemma })?)
    }
}

impl Candidates {
    fn of(entries: &[PathBuf]) -> Result<Self, CheckpointError> {
        let mut found = Self::default();
        for path in entries {
            let extension = path.extension().and_then(|extension| extension.to_str());
            match extension {
                _ if path.is_dir() => found.add_folder(path)?,
                Some("safetensors") => found.add_safetensors(path)?,
                Some("gguf") if gguf_kind(path)? == GgufKind::Transformer => found.transformers.push(path.clone()),
                _ if path.ends_with(MODEL_INDEX) => found.checkpoints.push(path.clone()),
                _ => {}
            }
        }
        Ok(found)
    }

    fn add_safetensors(&mut self, path: &Path) -> Result<(), CheckpointError> {
        let metadata = read_metadata(path)?;
        let config = metadata.get("config").and_then(|text| serde_json::from_str::<Value>(text).ok());
        match config {
            Some(config) if config.get("transformer").is_some() => self.checkpoints.push(path.into()),
            Some(config) if config.get("spatial_upsample").is_some() => self.upscalers.push(path.into()),
            _ if Lora::open(path).is_ok() => self.loras.push(path.into()),
            _ => {}
        }
        Ok(())
    }

    fn add_folder(&mut self, path: &Path) -> Result<(), CheckpointError> {
        let config = path.join("config.json");
        let is_gemma = config.is_file() && read_json(&config)?.get("model_type").is_some_and(|kind| kind == "gemma3");
        if path.ends_with(LORAS) {
            self.more_loras = loras_in(path);
        } else if path.ends_with(LATENT_UPSAMPLER) && config.is_file() {
            self.upscalers.push(path.into());
        } else if is_gemma || holds_text_encoder(path)? {
            self.gemmas.push(path.into());
        }
        Ok(())
    }
}

/// Opens an upscaler, a file or a diffusers folder.
fn open_upscaler(path: &Path) -> Result<Checkpoint, CheckpointError> {
    if path.is_dir() { Checkpoint::open_diffusers_upsampler(path) } else { Checkpoint::open(path) }
}

/// Returns the twofold upscalers, or the other spatial ones if there is none. Temporal upscalers are omitted; files
/// with an unknown configuration stay, so that they are refused by name when they are used.
fn spatial_upscalers(found: Vec<PathBuf>) -> Result<Vec<PathBuf>, CheckpointError> {
    let (mut twofold, mut others) = (Vec::new(), Vec::new());
    for path in found {
        match UpsamplerConfig::new(&Section::root(open_upscaler(&path)?.config())) {
            Ok(config) if config.doubles_time() => {}
            Ok(config) if config.spatial_scale() == SpatialScale::TWO => twofold.push(path),
            _ => others.push(path),
        }
    }
    Ok(if twofold.is_empty() { others } else { twofold })
}

/// Returns the LoRAs in a folder, sorted by name.
fn loras_in(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let is_lora = |path: &PathBuf| path.extension().is_some_and(|end| end == "safetensors") && Lora::open(path).is_ok();
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_lora).collect();
    found.sort();
    found
}

/// Whether a `*.gguf` in the folder is Gemma 3. Folders that cannot be listed, such as `lost+found`, are skipped.
fn holds_text_encoder(folder: &Path) -> Result<bool, CheckpointError> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(false) };
    for path in entries.flatten().map(|entry| entry.path()) {
        let is_gguf = path.extension().is_some_and(|extension| extension == "gguf");
        if is_gguf && gguf_kind(&path)? == GgufKind::TextEncoder {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Returns the entries of `folder`, sorted.
fn list(folder: &Path) -> Result<Vec<PathBuf>, PipelineError> {
    let entries = std::fs::read_dir(folder).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut entries: Vec<PathBuf> =
        entries.map_err(|error| PipelineError::ModelSet { folder: folder.into(), reason: error.to_string() })?;
    entries.sort();
    Ok(entries)
}

/// Splits LoRAs into those named after a camera motion, as published, and the others.
fn camera_loras(loras: Vec<PathBuf>) -> (Vec<(CameraMotion, PathBuf)>, Vec<PathBuf>) {
    let motion_of = |path: &Path| {
        let name = path.file_stem()?.to_string_lossy().to_lowercase();
        CameraMotion::VARIANTS
            .iter()
            .copied()
            .find(|motion| name.ends_with(&format!("camera-control-{}", motion.name().replace('_', "-"))))
    };
    let (mut camera, mut others) = (Vec::new(), Vec::new());
    for path in loras {
        match motion_of(&path) {
            Some(motion) => camera.push((motion, path)),
            None => others.push(path),
        }
    }
    (camera, others)
}

/// Returns the LoRA with `distilled` in its name, or the only one.
fn distilled_lora(mut loras: Vec<PathBuf>) -> Option<PathBuf> {
    let is_named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().contains("distilled"));
    match loras.iter().position(is_named) {
        Some(at) => Some(loras.remove(at)),
        None if loras.len() == 1 => loras.pop(),
        None => None,
    }
}

/// Returns the only candidate for `what`.
fn only(folder: &Path, what: &str, mut found: Vec<PathBuf>) -> Result<PathBuf, PipelineError> {
    let reason = match found.len() {
        1 => return Ok(found.remove(0)),
        0 => format!("it lacks {what}"),
        _ => format!("it has more than one candidate for {what}: {found:?}"),
    };
    Err(PipelineError::ModelSet { folder: folder.into(), reason })
}
