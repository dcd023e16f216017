//! Checkpoints in their published layouts: a safetensors file with its architecture in the metadata, a folder of shards,
//! the folder layout of diffusers, and GGUF.

mod architecture;
mod check;
mod diffusers;
mod file_kind;
mod folder;
mod gemma_file;
mod gguf;
mod names;
mod parts;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device};
use serde_json::Value;

use self::folder::{hugging_face_name, shards, with_extension};
use self::gguf::{gemma_config, gemma_mapping, kind_of};

use crate::config::ConfigError;
use crate::lora::LoraStrength;
use crate::synth::SynthBackend;
use crate::var_builder::VarBuilder;
use crate::weight_backend::{WeightBackend, WeightSource};
use crate::weight_cache::WeightCache;
use crate::weight_files::gguf::GgufFile;
use crate::weight_files::tensor_files::TensorFiles;

pub use self::file_kind::{FileKind, file_kind};
pub use self::folder::{has_extension, is_hidden, read_json};
pub use self::gguf::{GgufKind, gguf_kind};
pub use self::names::Component;
pub use self::parts::CheckpointPart;
pub use crate::weight_files::{CheckpointError, TensorShapes, message, read_metadata, tensor_shapes};

/// Weights and architecture of a model. Opening reads headers only; tensors are read when a network is built.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    path: PathBuf,
    source: WeightSource,
    config: Value,
    version: String,
}

impl Checkpoint {
    /// Opens a safetensors file with `config` and `model_version` in its metadata.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let (config, version) = read_architecture(path)?;
        let mut files = TensorFiles::default();
        files.add_safetensors(path, |name| Some(name.into()))?;
        Ok(Self::from_files(path, files, config, version))
    }

    /// Opens a checkpoint whose networks are spread over `parts`. The architecture of each network is that in the metadata
    /// of its file, or else of another part, or else that of the published model with the same transformer.
    ///
    /// # Errors
    /// A file cannot be read, or the architecture of a network is not known.
    pub fn open_parts(parts: &[CheckpointPart]) -> Result<Self, CheckpointError> {
        let (files, config, version) = parts::open(parts)?;
        let main = parts.iter().find(|part| part.components.contains(&Component::Transformer)).or(parts.first());
        Ok(Self::from_files(main.map_or(Path::new(""), |part| &part.path), files, config, version))
    }

    /// Opens a text encoder: a folder as for [`Checkpoint::open_folder`], a GGUF file of llama.cpp, or one safetensors file
    /// without `config.json`, as published for ComfyUI.
    pub fn open_text_encoder(path: &Path) -> Result<Self, CheckpointError> {
        if path.is_dir() {
            return Self::open_folder(path);
        }
        if has_extension(path, &["gguf"]) {
            return Self::from_gguf_text_encoder(GgufFile::open(path)?);
        }
        let mut files = TensorFiles::default();
        files.add_safetensors(path, |name| Some(hugging_face_name(name)))?;
        let config = gemma_file::gemma_config(&files.shapes())
            .map_err(|source| CheckpointError::Config { path: path.into(), source })?;
        Ok(Self::from_files(path, files, config, String::new()))
    }

    /// Opens the folder of a text encoder: `config.json` and safetensors shards, as on Hugging Face, or one GGUF file of
    /// llama.cpp.
    ///
    /// # Errors
    /// Also if the folder has several candidates for the weights.
    pub fn open_folder(folder: &Path) -> Result<Self, CheckpointError> {
        let refuse = |reason| Err(CheckpointError::Folder { path: folder.into(), reason });
        let shards = shards(folder)?;
        let mut encoders = Vec::new();
        for path in with_extension(folder, "gguf")? {
            let file = GgufFile::open(&path)?;
            if kind_of(&file) == GgufKind::TextEncoder {
                encoders.push(file);
            }
        }
        match (encoders.len(), shards.is_empty()) {
            (0, true) => refuse("it has neither *.safetensors nor a Gemma 3 *.gguf".into()),
            (0, false) => {
                let config = read_json(&folder.join("config.json"))?;
                let mut files = TensorFiles::default();
                for shard in &shards {
                    files.add_safetensors(shard, |name| Some(hugging_face_name(name)))?;
                }
                Ok(Self::from_files(folder, files, config, String::new()))
            }
            (1, true) => Self::from_gguf_text_encoder(encoders.remove(0)),
            _ => {
                let candidates: Vec<&Path> =
                    encoders.iter().map(GgufFile::path).chain(shards.iter().map(PathBuf::as_path)).collect();
                refuse(format!("it has more than one candidate for the weights, remove all but one: {candidates:?}"))
            }
        }
    }

    /// Opens a diffusers folder (`model_index.json`, `transformer/`, `vae/` ...). If another file holds some of the networks,
    /// such as the transformer, it replaces those of the folder.
    pub fn open_diffusers(folder: &Path, other: Option<&CheckpointPart>) -> Result<Self, CheckpointError> {
        let (mut files, config, version) = diffusers::open(folder)?;
        if let Some(part) = other {
            parts::replace(&mut files, part)?;
        }
        Ok(Self::from_files(other.map_or(folder, |part| &part.path), files, config, version.into()))
    }

    /// Opens the folder of a diffusers latent upsampler.
    pub fn open_diffusers_upsampler(folder: &Path) -> Result<Self, CheckpointError> {
        let (files, config) = diffusers::open_upsampler(folder)?;
        Ok(Self::from_files(folder, files, config, String::new()))
    }

    /// A checkpoint of synthetic weights (see [`crate::synth`]) for an architecture of any size.
    pub fn synthetic(config: Value, version: &str, seed: u64) -> Self {
        let path = format!("synthetic weights of seed {seed}").into();
        let source = WeightSource::Generator(Arc::new(SynthBackend::new(seed)));
        Self { path, source, config, version: version.into() }
    }

    fn from_files(path: &Path, files: TensorFiles, config: Value, version: String) -> Self {
        Self { path: path.into(), source: WeightSource::Files(Arc::new(files)), config, version }
    }

    fn from_gguf_text_encoder(file: GgufFile) -> Result<Self, CheckpointError> {
        let path = file.path().to_path_buf();
        let config = gemma_config(&file).map_err(|source| CheckpointError::Config { path: path.clone(), source })?;
        let mut files = TensorFiles::default();
        files.add_gguf(file, gemma_mapping)?;
        Ok(Self::from_files(&path, files, config, String::new()))
    }

    /// Path for messages: that of the transformer if it has a file of its own.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The architecture.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// `model_version` of the metadata, such as `2.0`; empty if there is none.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Names and shapes of all tensors; empty for synthetic weights.
    pub fn shapes(&self) -> TensorShapes {
        self.files().map(TensorFiles::shapes).unwrap_or_default()
    }

    /// Bytes that the tensors with one of `prefixes` take once they are loaded as `dtype`; 0 for synthetic weights.
    pub fn loaded_bytes(&self, prefixes: &[&str], dtype: DType) -> usize {
        let has_prefix = |name: &str| prefixes.iter().any(|prefix| name.starts_with(prefix));
        self.files().map_or(0, |files| files.loaded_bytes(dtype, has_prefix))
    }

    fn files(&self) -> Option<&TensorFiles> {
        match &self.source {
            WeightSource::Files(files) => Some(files),
            WeightSource::Generator(_) | WeightSource::Cache(_) => None,
        }
    }

    /// Builds a network from the weights as `dtype` on `device`.
    pub fn load<T>(
        &self,
        dtype: DType,
        device: &Device,
        build: impl FnOnce(VarBuilder) -> candle_core::Result<T>,
    ) -> Result<T, CheckpointError> {
        self.load_with_loras(&[], dtype, device, build)
    }

    /// Builds a network from the weights with `loras` merged.
    pub fn load_with_loras<T>(
        &self,
        loras: &[LoraStrength],
        dtype: DType,
        device: &Device,
        build: impl FnOnce(VarBuilder) -> candle_core::Result<T>,
    ) -> Result<T, CheckpointError> {
        self.build(WeightBackend::new(self.source.clone(), loras), dtype, device, build)
    }

    /// Builds a network from the weights and caches them for [`Checkpoint::load_from_cache`].
    pub fn load_with_cache<T>(
        &self,
        dtype: DType,
        device: &Device,
        build: impl FnOnce(VarBuilder) -> candle_core::Result<T>,
    ) -> Result<(T, WeightCache), CheckpointError> {
        let cache = WeightCache::default();
        let network = self.build(WeightBackend::filling(self.source.clone(), &cache), dtype, device, build)?;
        Ok((network, cache))
    }

    /// Rebuilds a network from cached weights with `loras` merged. Each cached tensor is freed once it is replaced, unless
    /// another network still holds it.
    pub fn load_from_cache<T>(
        &self,
        cache: WeightCache,
        loras: &[LoraStrength],
        dtype: DType,
        device: &Device,
        build: impl FnOnce(VarBuilder) -> candle_core::Result<T>,
    ) -> Result<T, CheckpointError> {
        self.build(WeightBackend::new(WeightSource::Cache(cache), loras), dtype, device, build)
    }

    fn build<T>(
        &self,
        weights: WeightBackend,
        dtype: DType,
        device: &Device,
        build: impl FnOnce(VarBuilder) -> candle_core::Result<T>,
    ) -> Result<T, CheckpointError> {
        build(VarBuilder::from_weights(weights, dtype, device)).map_err(|error| self.tensor_error(error))
    }

    /// Adds the path of the checkpoint to an error about its architecture.
    pub fn config_error(&self, source: ConfigError) -> CheckpointError {
        CheckpointError::Config { path: self.path.clone(), source }
    }

    /// Adds a path to an error: that of the file it came from, if it carries one, or else that of the checkpoint.
    fn tensor_error(&self, error: candle_core::Error) -> CheckpointError {
        use candle_core::Error;
        match error {
            Error::WithPath { inner, path } => CheckpointError::Tensor { path, source: *inner },
            Error::WithBacktrace { inner, .. } => self.tensor_error(*inner),
            source => CheckpointError::Tensor { path: self.path.clone(), source },
        }
    }
}

/// Reads `config` and `model_version` from the metadata of a safetensors file.
fn read_architecture(path: &Path) -> Result<(Value, String), CheckpointError> {
    let metadata = read_metadata(path)?;
    let config = metadata.get("config").ok_or(CheckpointError::MissingMetadata { path: path.into(), key: "config" })?;
    let config = serde_json::from_str(config).map_err(|error| CheckpointError::Safetensors {
        path: path.into(),
        reason: format!("`config` in its metadata is not JSON: {error}"),
    })?;
    Ok((config, metadata.get("model_version").map(|text| version_text(text)).unwrap_or_default()))
}

/// Returns a version that is written plainly or as a JSON string, as the official code reads it.
fn version_text(metadata: &str) -> String {
    serde_json::from_str(metadata).unwrap_or_else(|_| metadata.to_owned())
}
