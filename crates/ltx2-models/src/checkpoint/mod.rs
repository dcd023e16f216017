//! Model files in their published forms: safetensors with the architecture in its metadata, a folder of shards, the
//! folder layout of diffusers, and GGUF.

mod diffusers;
mod error;
mod files;
mod folder;
mod gguf;
mod header;
mod weight_cache;
mod reader;
mod safetensors_file;
mod weights;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{DType, Device};
use serde_json::Value;

pub use error::{CheckpointError, message};
pub use gguf::{GgufKind, gguf_kind};
pub use header::{TensorShapes, read_json, read_metadata, tensor_shapes};
pub use weight_cache::WeightCache;
pub(crate) use reader::{Reader, To};
pub(crate) use safetensors_file::SafetensorsFile;
pub(crate) use weights::Weights;

use crate::VarBuilder;
use crate::lora::LoraStrength;
use files::Files;
use folder::{hugging_face_name, shards, with_extension};
use gguf::Gguf;
use weights::Source;

/// Where a checkpoint keeps the transformer.
const MODEL: &str = "model.diffusion_model.";
/// What stands there too, but is not in every transformer's file.
const CONNECTORS: [&str; 2] =
    ["model.diffusion_model.video_embeddings_connector.", "model.diffusion_model.audio_embeddings_connector."];

/// Where weights come from. Opening reads the headers alone; tensors are read when a network asks for them.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    path: PathBuf,
    source: Source,
    config: Value,
    version: String,
}

impl Checkpoint {
    /// A single file with `config` and `model_version` in its metadata.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let (config, version) = Self::describe(path)?;
        let mut files = Files::default();
        files.add_safetensors(path, |name| Some(name.into()))?;
        Ok(Self::of_files(path, files, config, version))
    }

    /// The same with the transformer of a GGUF file in place of its own, if it has one.
    pub fn open_with_transformer(path: &Path, transformer: &Path) -> Result<Self, CheckpointError> {
        let (config, version) = Self::describe(path)?;
        let mut files = Files::default();
        files.add_safetensors(path, |name| Some(name.into()))?;
        files.set_home("", path);
        replace_transformer(&mut files, transformer)?;
        Ok(Self::of_files(transformer, files, config, version))
    }

    /// The text encoder's folder: `config.json` beside one or several safetensors shards, as on Hugging Face, or one GGUF
    /// file of llama.cpp's.
    pub fn open_folder(folder: &Path) -> Result<Self, CheckpointError> {
        let refuse = |reason| Err(CheckpointError::Folder { path: folder.into(), reason });
        let shards = shards(folder)?;
        let mut encoders = Vec::new();
        for path in with_extension(folder, "gguf")? {
            let file = Gguf::open(&path)?;
            if file.kind() == GgufKind::TextEncoder {
                encoders.push(file);
            }
        }
        match (encoders.len(), shards.is_empty()) {
            (0, true) => refuse("it has neither *.safetensors nor a Gemma 3 *.gguf".into()),
            (0, false) => {
                let config = read_json(&folder.join("config.json"))?;
                let mut files = Files::default();
                for shard in &shards {
                    files.add_safetensors(shard, |name| Some(hugging_face_name(name)))?;
                }
                Ok(Self::of_files(folder, files, config, String::new()))
            }
            (1, true) => Self::of_text_encoder(encoders.remove(0)),
            _ => {
                let files = encoders.iter().map(Gguf::path).chain(shards.iter().map(PathBuf::as_path));
                refuse(format!("it has more than one candidate for the weights: {:?}", files.collect::<Vec<_>>()))
            }
        }
    }

    /// A diffusers folder (`model_index.json`, `transformer/`, `vae/` ...), with the transformer of a GGUF file in place
    /// of its own, if one is given.
    pub fn open_diffusers(folder: &Path, transformer: Option<&Path>) -> Result<Self, CheckpointError> {
        let (mut files, config, version) = diffusers::open(folder)?;
        if let Some(path) = transformer {
            replace_transformer(&mut files, path)?;
        }
        Ok(Self::of_files(transformer.unwrap_or(folder), files, config, version.into()))
    }

    /// The latent upsampler of a diffusers folder, from its own folder.
    pub fn open_diffusers_upsampler(folder: &Path) -> Result<Self, CheckpointError> {
        let (files, config) = diffusers::open_upsampler(folder)?;
        Ok(Self::of_files(folder, files, config, String::new()))
    }

    /// Weights from the synthetic rule (see [`crate::synth`]) for an architecture, at any size and without a file.
    pub fn synthetic(config: Value, version: &str, seed: u64) -> Self {
        let path = format!("synthetic weights of seed {seed}").into();
        Self { path, source: Source::Synthetic { seed }, config, version: version.into() }
    }

    fn of_files(path: &Path, files: Files, config: Value, version: String) -> Self {
        Self { path: path.into(), source: Source::Files(Arc::new(files)), config, version }
    }

    fn of_text_encoder(file: Gguf) -> Result<Self, CheckpointError> {
        let path = file.path().to_path_buf();
        let config =
            gguf::gemma_config(&file).map_err(|source| CheckpointError::Config { path: path.clone(), source })?;
        let mut files = Files::default();
        files.add_gguf(file, gguf::gemma_name)?;
        Ok(Self::of_files(&path, files, config, String::new()))
    }

    /// `config` and `model_version` of a file's metadata.
    fn describe(path: &Path) -> Result<(Value, String), CheckpointError> {
        let metadata = read_metadata(path)?;
        let config = metadata.get("config").ok_or(CheckpointError::Foreign { path: path.into(), key: "config" })?;
        let config = serde_json::from_str(config).map_err(|error| CheckpointError::Damaged {
            path: path.into(),
            reason: format!("its config is not JSON: {error}"),
        })?;
        Ok((config, metadata.get("model_version").cloned().unwrap_or_default()))
    }

    /// Where it is, for messages: the transformer's file, if that is another than the rest's.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The architecture.
    pub fn config(&self) -> &Value {
        &self.config
    }

    /// `model_version` of the metadata, such as `2.0`; empty if the file has none.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Names and shapes of all tensors; none for synthetic weights, which have whatever is asked for.
    pub fn shapes(&self) -> Result<TensorShapes, CheckpointError> {
        match &self.source {
            Source::Files(files) => Ok(files.shapes()),
            Source::Synthetic { .. } => Ok(TensorShapes::new()),
        }
    }

    /// Bytes that the tensors whose names begin with one of `prefixes` take once they are loaded as `dtype`; none for
    /// synthetic weights.
    pub fn loaded_bytes(&self, prefixes: &[&str], dtype: DType) -> usize {
        match &self.source {
            Source::Files(files) => {
                files.loaded_bytes(dtype, |name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
            }
            Source::Synthetic { .. } => 0,
        }
    }

    /// Builds a network: `build` gets the weights as `dtype` on `device`.
    pub fn load<T>(
        &self,
        dtype: DType,
        device: &Device,
        build: impl FnOnce(VarBuilder) -> candle_core::Result<T>,
    ) -> Result<T, CheckpointError> {
        self.load_with_loras(&[], dtype, device, build)
    }

    /// The same with adapters added to the weights.
    pub fn load_with_loras<T>(
        &self,
        loras: &[LoraStrength],
        dtype: DType,
        device: &Device,
        build: impl FnOnce(VarBuilder) -> candle_core::Result<T>,
    ) -> Result<T, CheckpointError> {
        self.check(loras)?;
        self.build(Weights::new(self.source.clone(), loras), dtype, device, build)
    }

    /// As [`Checkpoint::load`], with what [`Checkpoint::load_from_cache`] takes.
    pub fn load_with_cache<T>(
        &self,
        dtype: DType,
        device: &Device,
        build: impl FnOnce(VarBuilder) -> candle_core::Result<T>,
    ) -> Result<(T, WeightCache), CheckpointError> {
        let kept = WeightCache::default();
        let network = self.build(Weights::keeping(self.source.clone(), &kept), dtype, device, build)?;
        Ok((network, kept))
    }

    /// Builds a network anew with adapters added to its weights, which are not read again. Each goes as it is replaced, if
    /// the network that it was loaded for is gone.
    pub fn load_from_cache<T>(
        &self,
        kept: WeightCache,
        loras: &[LoraStrength],
        dtype: DType,
        device: &Device,
        build: impl FnOnce(VarBuilder) -> candle_core::Result<T>,
    ) -> Result<T, CheckpointError> {
        self.check(loras)?;
        self.build(Weights::of_kept(kept, loras), dtype, device, build)
    }

    fn build<T>(
        &self,
        weights: Weights,
        dtype: DType,
        device: &Device,
        build: impl FnOnce(VarBuilder) -> candle_core::Result<T>,
    ) -> Result<T, CheckpointError> {
        build(VarBuilder::from_weights(weights, dtype, device)).map_err(|error| self.tensor_error(error))
    }

    /// Refuses adapters that do not fit.
    fn check(&self, loras: &[LoraStrength]) -> Result<(), CheckpointError> {
        if loras.is_empty() || matches!(self.source, Source::Synthetic { .. }) {
            return Ok(());
        }
        let shapes = self.shapes()?;
        loras.iter().try_for_each(|LoraStrength { lora, .. }| lora.check(&shapes))
    }

    /// Turns an error about the architecture into one that names the file.
    pub fn config_error(&self, source: crate::ConfigError) -> CheckpointError {
        CheckpointError::Config { path: self.path.clone(), source }
    }

    /// Names the file that the error came from, if it is known, else this checkpoint.
    fn tensor_error(&self, error: candle_core::Error) -> CheckpointError {
        use candle_core::Error;
        match error {
            Error::WithPath { inner, path } => CheckpointError::Tensor { path, source: *inner },
            Error::WithBacktrace { inner, .. } => self.tensor_error(*inner),
            source => CheckpointError::Tensor { path: self.path.clone(), source },
        }
    }
}

/// Puts a GGUF file's transformer in place of that of `files`; the rest stays.
fn replace_transformer(files: &mut Files, path: &Path) -> Result<(), CheckpointError> {
    let transformer = Gguf::open(path)?;
    if transformer.kind() != GgufKind::Transformer {
        let reason = "it has no tensor ...transformer_blocks.0.audio_to_video_attn.to_q.weight, so it is no LTX-2";
        return Err(CheckpointError::Gguf { path: path.into(), reason: reason.into() });
    }
    let given: BTreeSet<String> = transformer.tensors().map(|(name, _)| gguf::transformer_name(name)).collect();
    let is_connector = |name: &str| CONNECTORS.iter().any(|prefix| name.starts_with(prefix));
    files.remove(|name| (name.starts_with(MODEL) && !is_connector(name)) || given.contains(name));
    files.set_home(MODEL, path);
    files.add_gguf(transformer, |name| Some(gguf::transformer_name(name).into()))
}
