//! Reads model files and builds networks.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::{DType, Device, Error, Result, Shape, Tensor};
use candle_nn::Init;
use candle_nn::var_builder::SimpleBackend;
use ltx2_models::audio_vae::{AudioDecoder, AudioVaeConfig};
use ltx2_models::lora::LoraStrength;
use ltx2_models::text_encoder::{EmbeddingsConfig, EmbeddingsProcessor, Gemma, GemmaConfig};
use ltx2_models::transformer::{Transformer, TransformerConfig};
use ltx2_models::upsampler::{LatentUpsampler, UpsamplerConfig};
use ltx2_models::video_vae::{VideoDecoder, VideoEncoder, VideoVaeConfig};
use ltx2_models::vocoder::{Vocoder, VocoderConfig};
use ltx2_models::{Checkpoint, Section, VarBuilder};
use serde_json::Value;
use tempfile::TempDir;

/// Maximum number of elements of a tensor to read.
const MAX_ELEMENTS: usize = 1 << 18;
/// Maximum size of a dimension of a tensor to read.
const MAX_DIMENSION: usize = 4096;
/// Maximum number of tensors of a network; construction fails beyond it.
const MAX_TENSORS: usize = 1000;

/// A temporary folder.
pub struct Folder(TempDir);

impl Default for Folder {
    fn default() -> Self {
        Self(tempfile::tempdir().expect("create a folder"))
    }
}

impl Folder {
    /// Path of the folder.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes the file `name`, and returns its path.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a path within the folder")).expect("create a folder");
        std::fs::write(&path, bytes).expect("write a file");
        path
    }
}

/// Builds a safetensors file from a header as text, a zero byte and the tensors' bytes, with the correct header length,
/// which random inputs rarely have. An input without a header is returned unchanged.
pub fn join(input: &[u8]) -> Vec<u8> {
    let end = input.iter().position(|byte| *byte == 0).unwrap_or(input.len());
    let (header, data) = (&input[..end], input.get(end + 1..).unwrap_or_default());
    if header.is_empty() {
        return data.to_vec();
    }
    [&(header.len() as u64).to_le_bytes(), header, data].concat()
}

/// Reads all tensors up to the size limit, with `loras` merged. Errors are accepted.
pub fn read_all(checkpoint: &Checkpoint, loras: &[LoraStrength]) {
    let bytes = checkpoint.loaded_bytes(&[""], DType::F32);
    for (name, shape) in checkpoint.shapes() {
        let elements = shape.iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
        // Quantised blocks are kept as stored, with at least a quarter of a byte per element.
        assert!(elements.is_some_and(|elements| elements / 4 <= bytes), "{name}: {shape:?} in {bytes} bytes");
        if elements.is_some_and(|elements| elements <= MAX_ELEMENTS) {
            let read = |vb: VarBuilder| {
                if let &[rows, columns] = shape.as_slice() {
                    vb.get_quantized((rows, columns), &name)?;
                }
                vb.get(shape.clone(), &name)
            };
            let _ = checkpoint.load_with_loras(loras, DType::F32, &Device::Cpu, read);
        }
    }
}

/// Configurations of the networks built last, which are not built again.
#[derive(Default)]
struct Built {
    transformer: Option<TransformerConfig>,
    embeddings: Option<(EmbeddingsConfig, GemmaConfig)>,
    video_vae: Option<VideoVaeConfig>,
    audio_vae: Option<AudioVaeConfig>,
    vocoder: Option<VocoderConfig>,
    upsampler: Option<UpsamplerConfig>,
}

thread_local! {
    static BUILT: RefCell<Built> = RefCell::default();
}

fn replace_if_changed<T: PartialEq + Clone>(config: &T, last: &mut Option<T>) -> bool {
    let is_changed = last.as_ref() != Some(config);
    *last = Some(config.clone());
    is_changed
}

/// Parses all configurations in `config` and builds their networks. Errors are accepted.
pub fn build_all(config: &Value) {
    BUILT.with_borrow_mut(|built| build_changed(config, built));
}

fn build_changed(config: &Value, built: &mut Built) {
    let root = Section::root(config);
    let transformer = root.section("transformer");
    if let Ok(config) = TransformerConfig::new(&transformer) {
        assert!(config.streams.video.dim() > 0 && config.streams.audio.dim() > 0);
        if replace_if_changed(&config, &mut built.transformer) {
            let _ = Transformer::new(&config, zeros());
        }
    }
    if let (Ok(config), Ok(gemma)) = (EmbeddingsConfig::new(&transformer), GemmaConfig::new(config)) {
        config.widths();
        if replace_if_changed(&(config.clone(), gemma.clone()), &mut built.embeddings) {
            let _ = (EmbeddingsProcessor::new(&config, &gemma, zeros()), Gemma::new(&gemma, zeros()));
        }
    }
    if let Ok(config) = VideoVaeConfig::new(&root.section("vae")) {
        assert!(config.decoder_channels() > 0);
        if replace_if_changed(&config, &mut built.video_vae) {
            let _ = (VideoEncoder::new(&config, zeros()), VideoDecoder::new(&config, zeros()));
        }
    }
    if let Ok(config) = AudioVaeConfig::new(&root.section("audio_vae")) {
        assert!(config.sample_rate > 0 && config.hop_length > 0);
        if replace_if_changed(&config, &mut built.audio_vae) {
            let _ = AudioDecoder::new(&config, zeros());
        }
    }
    if let Ok(config) = VocoderConfig::new(&root.section("vocoder")) {
        assert!(config.output_sampling_rate > 0);
        if replace_if_changed(&config, &mut built.vocoder) {
            let _ = Vocoder::new(&config, zeros());
        }
    }
    if let Ok(config) = UpsamplerConfig::new(&root) {
        assert!(config.spatial_scale().of(64) > 0);
        if replace_if_changed(&config, &mut built.upsampler) {
            let _ = LatentUpsampler::new(&config, zeros());
        }
    }
}

/// Weights that are broadcast zeros, which take no memory.
struct Zeros {
    count: AtomicUsize,
}

fn zeros() -> VarBuilder {
    VarBuilder::from_backend(Box::new(Zeros { count: AtomicUsize::new(0) }), DType::F32, Device::Cpu)
}

impl SimpleBackend for Zeros {
    fn get(&self, shape: Shape, name: &str, _: Init, dtype: DType, device: &Device) -> Result<Tensor> {
        let elements = shape.dims().iter().try_fold(1_usize, |product, side| product.checked_mul(*side));
        let is_small = elements.is_some_and(|elements| elements <= MAX_ELEMENTS)
            && shape.dims().iter().all(|side| *side <= MAX_DIMENSION);
        if !is_small || self.count.fetch_add(1, Ordering::Relaxed) > MAX_TENSORS {
            return Err(Error::CannotFindTensor { path: name.into() });
        }
        Tensor::zeros((), dtype, device)?.broadcast_as(shape)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        Err(Error::CannotFindTensor { path: name.into() })
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}
