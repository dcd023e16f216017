//! A model file in the published form: safetensors with the architecture in its metadata, or a folder of shards.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::safetensors::MmapedSafetensors;
use candle_core::{DType, Device, Shape, Tensor};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use safetensors::SafeTensors;
use safetensors::tensor::Metadata;
use serde_json::Value;

use crate::lora::{self, LoraStrength};
use crate::synth::SynthBackend;

/// Why a model file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// Not there or not readable.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Not a whole safetensors file.
    #[error("{path} is not a usable safetensors file: {reason} (truncated, or of another kind?)")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The metadata lacks what an LTX-2 checkpoint has.
    #[error("{path} has no `{key}` in its metadata, so it is not an LTX-2 checkpoint")]
    Foreign {
        /// The file.
        path: PathBuf,
        /// The missing metadata key.
        key: &'static str,
    },
    /// Its architecture is not one of ours.
    #[error("{path}: {source}")]
    Config {
        /// The file.
        path: PathBuf,
        /// Which value.
        source: crate::ConfigError,
    },
    /// Not an adapter, or one for another model.
    #[error("the LoRA {path} does not fit: {reason}")]
    Lora {
        /// The file.
        path: PathBuf,
        /// Why it is refused.
        reason: String,
    },
    /// A tensor is missing or has another shape.
    #[error("{path}: {}", message(source))]
    Tensor {
        /// The file.
        path: PathBuf,
        /// Which tensor.
        source: candle_core::Error,
    },
}

/// What a tensor error says, without the backtrace that candle may add to it.
pub fn message(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => message(inner),
        other => other.to_string(),
    }
}

/// Where weights come from. Opening reads the header alone; tensors are read when a network asks for them.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    path: PathBuf,
    source: Source,
    config: Value,
    version: String,
}

#[derive(Debug, Clone)]
enum Source {
    Files(Vec<PathBuf>),
    Synthetic { seed: u64 },
}

impl Checkpoint {
    /// A single file with `config` and `model_version` in its metadata.
    pub fn open(path: &Path) -> Result<Self, CheckpointError> {
        let metadata = read_metadata(path)?;
        let config = metadata.get("config").ok_or(CheckpointError::Foreign { path: path.into(), key: "config" })?;
        let config = serde_json::from_str(config).map_err(|error| CheckpointError::Damaged {
            path: path.into(),
            reason: format!("its config is not JSON: {error}"),
        })?;
        Ok(Self {
            path: path.into(),
            source: Source::Files(vec![path.into()]),
            config,
            version: metadata.get("model_version").cloned().unwrap_or_default(),
        })
    }

    /// A Hugging Face folder: `config.json` beside one or several safetensors shards.
    pub fn open_folder(folder: &Path) -> Result<Self, CheckpointError> {
        let path = folder.join("config.json");
        let config = read_json(&path)?;
        let mut files = std::fs::read_dir(folder)
            .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>())
            .map_err(|source| CheckpointError::Io { path: folder.into(), source })?;
        files.retain(|file| file.extension().is_some_and(|extension| extension == "safetensors"));
        files.sort();
        if files.is_empty() {
            let reason = "it has no *.safetensors".into();
            return Err(CheckpointError::Damaged { path: folder.into(), reason });
        }
        for file in &files {
            read_metadata(file)?;
        }
        Ok(Self { path: folder.into(), source: Source::Files(files), config, version: String::new() })
    }

    /// Weights from the synthetic rule (see [`crate::synth`]) for an architecture, at any size and without a file.
    pub fn synthetic(config: Value, version: &str, seed: u64) -> Self {
        let path = format!("synthetic weights of seed {seed}").into();
        Self { path, source: Source::Synthetic { seed }, config, version: version.into() }
    }

    /// Where it is, for messages.
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
        let files = match &self.source {
            Source::Files(files) => files.as_slice(),
            Source::Synthetic { .. } => &[],
        };
        let mut shapes = TensorShapes::new();
        for file in files {
            shapes.extend(tensor_shapes(file)?);
        }
        Ok(shapes)
    }

    /// Builds a network: `build` gets the weights as `dtype` on `device`.
    pub fn load<T>(
        &self,
        dtype: DType,
        device: &Device,
        build: impl FnOnce(VarBuilder<'static>) -> candle_core::Result<T>,
    ) -> Result<T, CheckpointError> {
        self.load_with(&[], dtype, device, build)
    }

    /// The same with adapters added to the weights.
    pub fn load_with<T>(
        &self,
        loras: &[LoraStrength],
        dtype: DType,
        device: &Device,
        build: impl FnOnce(VarBuilder<'static>) -> candle_core::Result<T>,
    ) -> Result<T, CheckpointError> {
        if matches!(self.source, Source::Files(_)) && !loras.is_empty() {
            let shapes = self.shapes()?;
            loras.iter().try_for_each(|LoraStrength { lora, .. }| lora.check(&shapes))?;
        }
        let tensor = |source| CheckpointError::Tensor { path: self.path.clone(), source };
        let base: Box<dyn SimpleBackend> = match &self.source {
            // SAFETY: the files are model weights; they are not written to while the server runs.
            Source::Files(files) => Box::new(Scaled(unsafe { MmapedSafetensors::multi(files) }.map_err(tensor)?)),
            Source::Synthetic { seed } => Box::new(SynthBackend::new(*seed)),
        };
        let backend: Box<dyn SimpleBackend> = match loras {
            [] => base,
            loras => Box::new(Adapted { base, loras: loras.to_vec() }),
        };
        build(VarBuilder::from_backend(backend, dtype, device.clone())).map_err(tensor)
    }

    /// Turns an error about the architecture into one that names the file.
    pub fn config_error(&self, source: crate::ConfigError) -> CheckpointError {
        CheckpointError::Config { path: self.path.clone(), source }
    }
}

/// Weights of files, those in float8 multiplied by their scale where the file has one.
struct Scaled(MmapedSafetensors);

impl Scaled {
    /// What `read` gives for `name`: as it is, or, with a `weight_scale` beside it, scaled in float32 and rounded once.
    fn read(
        &self,
        name: &str,
        (dtype, device): (DType, &Device),
        read: impl Fn(DType, &Device) -> candle_core::Result<Tensor>,
    ) -> candle_core::Result<Tensor> {
        let scale = name.strip_suffix(".weight").map(|layer| format!("{layer}.weight_scale"));
        let Some(scale) = scale.filter(|scale| self.0.contains_tensor(scale)) else { return read(dtype, device) };
        let scale = self.0.load(&scale, &Device::Cpu)?.to_dtype(DType::F32)?.flatten_all()?;
        read(DType::F32, &Device::Cpu)?.broadcast_mul(&scale)?.to_dtype(dtype)?.to_device(device)
    }
}

impl SimpleBackend for Scaled {
    fn get(&self, shape: Shape, name: &str, hint: Init, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        self.read(name, (dtype, device), |dtype, device| {
            SimpleBackend::get(&self.0, shape.clone(), name, hint, dtype, device)
        })
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        self.read(name, (dtype, device), |dtype, device| self.0.get_unchecked(name, dtype, device))
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.0.contains_tensor(name)
    }
}

/// Weights with adapters added.
struct Adapted {
    base: Box<dyn SimpleBackend>,
    loras: Vec<LoraStrength>,
}

impl SimpleBackend for Adapted {
    fn get(&self, shape: Shape, name: &str, hint: Init, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        let weight = self.base.get(shape, name, hint, DType::F32, device)?;
        lora::fuse(name, weight, &self.loras, dtype)
    }

    fn get_unchecked(&self, name: &str, dtype: DType, device: &Device) -> candle_core::Result<Tensor> {
        lora::fuse(name, self.base.get_unchecked(name, DType::F32, device)?, &self.loras, dtype)
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.base.contains_tensor(name)
    }
}

/// Names and shapes of the tensors of a file.
pub type TensorShapes = BTreeMap<String, Vec<usize>>;

/// Parses a JSON file.
pub fn read_json(path: &Path) -> Result<Value, CheckpointError> {
    let text = std::fs::read_to_string(path).map_err(|source| CheckpointError::Io { path: path.into(), source })?;
    serde_json::from_str(&text)
        .map_err(|error| CheckpointError::Damaged { path: path.into(), reason: format!("not JSON: {error}") })
}

/// The string metadata of a safetensors file, after checking that the file is as long as its header says.
pub fn read_metadata(path: &Path) -> Result<HashMap<String, String>, CheckpointError> {
    header(path, |_, metadata| metadata.metadata().clone().unwrap_or_default())
}

/// The names and shapes of the tensors of a safetensors file.
pub fn tensor_shapes(path: &Path) -> Result<TensorShapes, CheckpointError> {
    header(path, |tensors, _| tensors.tensors().into_iter().map(|(name, view)| (name, view.shape().to_vec())).collect())
}

fn header<T>(path: &Path, read: impl FnOnce(&SafeTensors, &Metadata) -> T) -> Result<T, CheckpointError> {
    let io = |source| CheckpointError::Io { path: path.into(), source };
    let damaged = |reason: String| CheckpointError::Damaged { path: path.into(), reason };
    let file = std::fs::File::open(path).map_err(io)?;
    if file.metadata().map_err(io)?.len() == 0 {
        return Err(damaged("it is empty".into()));
    }
    // SAFETY: read once here, and not changed while the server runs.
    let bytes = unsafe { memmap2::Mmap::map(&file) }.map_err(io)?;
    let tensors = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
    Ok(read(&tensors, &metadata))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(name: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        (folder, path)
    }

    fn whole(metadata: &[(&str, &str)]) -> Vec<u8> {
        let values: Vec<u8> = [1f32, 2.].iter().flat_map(|v| v.to_le_bytes()).collect();
        let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![2], &values).unwrap();
        let metadata = metadata.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect();
        safetensors::serialize([("x", view)], Some(metadata)).unwrap()
    }

    #[test]
    fn damaged_and_foreign_files_are_refused_by_name() {
        let good = whole(&[("config", "{}"), ("model_version", "2.0")]);
        for (bytes, expected) in [
            (vec![], "it is empty"),
            (b"not a model at all, but text".to_vec(), "not a usable safetensors file"),
            (good[..good.len() - 3].to_vec(), "not a usable safetensors file"),
            (whole(&[("model_version", "2.0")]), "no `config` in its metadata"),
            (whole(&[("config", "{")]), "its config is not JSON"),
        ] {
            let (_folder, path) = write("model.safetensors", &bytes);
            let error = Checkpoint::open(&path).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains("model.safetensors"), "{error}");
        }
        let (_folder, path) = write("model.safetensors", &good);
        assert_eq!(Checkpoint::open(&path).unwrap().version(), "2.0");
        assert!(Checkpoint::open(Path::new("nowhere.safetensors")).unwrap_err().to_string().contains("nowhere"));
    }

    #[test]
    fn a_missing_tensor_or_another_shape_is_named() {
        let (_folder, path) = write("model.safetensors", &whole(&[("config", "{}")]));
        let checkpoint = Checkpoint::open(&path).unwrap();
        let get = |shape: usize, name: &'static str| {
            checkpoint.load(DType::F32, &Device::Cpu, |vb| vb.get(shape, name)).unwrap_err().to_string()
        };
        assert!(get(2, "absent").contains("absent"));
        assert!(get(3, "x").contains('x'));
    }

    /// What the 256 codes of float8 e4m3 stand for: no infinities, and not-a-number at all ones.
    fn e4m3(code: u8) -> f32 {
        let (sign, exponent, mantissa) = (code >> 7, (code >> 3) & 15, f32::from(code & 7));
        let size = match (exponent, code & 7) {
            (15, 7) => f32::NAN,
            (0, _) => mantissa / 8.0 * 2f32.powi(-6),
            _ => (1.0 + mantissa / 8.0) * 2f32.powi(i32::from(exponent) - 7),
        };
        if sign == 1 { -size } else { size }
    }

    #[test]
    fn float8_weights_are_read_exactly_with_and_without_a_scale() {
        let codes: Vec<u8> = (0..=255).collect();
        let scale = 0.37f32;
        let (scale_bytes, bias) = (scale.to_le_bytes(), [0u8; 4]);
        let view =
            |dtype, shape: &[usize], bytes| safetensors::tensor::TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
        let tensors = [
            ("cast.weight", view(safetensors::Dtype::F8_E4M3, &[16, 16], &codes)),
            ("scaled.weight", view(safetensors::Dtype::F8_E4M3, &[16, 16], &codes)),
            ("scaled.weight_scale", view(safetensors::Dtype::F32, &[], &scale_bytes)),
            ("scaled.input_scale", view(safetensors::Dtype::F32, &[], &bias)),
        ];
        let metadata = HashMap::from([("config".to_string(), "{}".to_string())]);
        let (_folder, path) = write("fp8.safetensors", &safetensors::serialize(tensors, Some(metadata)).unwrap());
        let checkpoint = Checkpoint::open(&path).unwrap();
        let read = |name: &'static str| {
            let weight = checkpoint.load(DType::F32, &Device::Cpu, |vb| vb.get((16, 16), name)).unwrap();
            weight.flatten_all().unwrap().to_vec1::<f32>().unwrap()
        };
        let bits = |values: Vec<f32>| values.into_iter().filter(|v| !v.is_nan()).map(f32::to_bits).collect::<Vec<_>>();
        let expected: Vec<f32> = codes.iter().map(|code| e4m3(*code)).collect();
        assert_eq!(bits(read("cast.weight")), bits(expected.clone()));
        assert_eq!(bits(read("scaled.weight")), bits(expected.iter().map(|value| value * scale).collect()));
    }
}
