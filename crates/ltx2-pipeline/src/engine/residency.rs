//! Networks of a model set in memory: loading, reuse and unloading.

use std::sync::Arc;

use candle_core::DType;
use ltx2_models::WeightCache;
use ltx2_models::audio_vae::{AudioDecoder, AudioEncoder, LogMel};
use ltx2_models::transformer::Transformer;
use ltx2_models::video_vae::{VideoDecoder, VideoEncoder};
use ltx2_models::vocoder::Vocoder;

use super::settings::EngineSettings;
use crate::device::{Gib, available, release_memory, reserve};
use crate::error::Result;
use crate::model_set::ModelSet;
use crate::plan::LoraPlan;

/// A model set with its loaded networks.
#[derive(Debug)]
pub(super) struct Residency {
    pub models: ModelSet,
    pub settings: EngineSettings,
    loaded: LoadedComponents,
}

/// Networks that stay in memory between runs. The text encoder does not: it is as large as the others together and
/// seldom needed.
#[derive(Debug, Default)]
struct LoadedComponents {
    transformer: Option<LoadedTransformer>,
    video_encoder: Option<Arc<VideoEncoder>>,
    video_decoder: Option<Arc<VideoDecoder>>,
    audio: Option<Arc<AudioComponents>>,
}

/// A transformer with the LoRAs that are merged into it.
#[derive(Debug)]
struct LoadedTransformer {
    loras: Vec<LoraPlan>,
    transformer: Arc<Transformer>,
    /// Weights of the transformer, if no LoRA is merged and all blocks are resident.
    cache: Option<WeightCache>,
}

/// Networks that decode audio.
#[derive(Debug)]
pub struct AudioComponents {
    /// Decoder from audio latents to mel spectrograms.
    pub decoder: AudioDecoder,
    /// Vocoder from mel spectrograms to waveforms.
    pub vocoder: Vocoder,
}

/// Phases of a run, by the networks that they need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Workload {
    /// The text encoder.
    EncodingPrompt,
    /// The transformer.
    Denoising,
    /// The autoencoders and the vocoder.
    Decoding,
}

impl LoadedComponents {
    fn is_loaded(&self) -> bool {
        self.transformer.is_some() || self.has_autoencoders()
    }

    fn has_autoencoders(&self) -> bool {
        self.video_encoder.is_some() || self.video_decoder.is_some() || self.audio.is_some()
    }

    /// Unloads the networks that `workload` does not need; returns whether there were any.
    fn retain(&mut self, workload: Workload) -> bool {
        let unloads = match workload {
            Workload::EncodingPrompt => self.is_loaded(),
            Workload::Denoising => self.has_autoencoders(),
            Workload::Decoding => self.transformer.is_some(),
        };
        let transformer = self.transformer.take();
        match workload {
            Workload::EncodingPrompt => *self = Self::default(),
            Workload::Denoising => *self = Self { transformer, ..Self::default() },
            Workload::Decoding => {}
        }
        unloads
    }
}

impl Residency {
    pub(super) fn new(models: ModelSet, settings: EngineSettings) -> Self {
        Self { models, settings, loaded: LoadedComponents::default() }
    }

    pub(super) fn is_loaded(&self) -> bool {
        self.loaded.is_loaded()
    }

    /// Unloads all networks.
    pub(super) fn unload(&mut self) {
        self.loaded = LoadedComponents::default();
    }

    /// Unloads the networks that `workload` does not need if fewer than `bytes` are available for it. They are loaded
    /// again on demand.
    pub(super) fn prepare(&mut self, workload: Workload, bytes: usize) {
        let device = &self.settings.device;
        let Some(available) = available(device).filter(|available| *available < bytes) else { return };
        if self.loaded.retain(workload) {
            release_memory(device);
            tracing::info!(required_gib = %Gib(bytes), available_gib = %Gib(available), "unloaded networks");
        }
    }

    /// Returns the bytes of the loaded transformer; 0 if none is loaded.
    pub(super) fn transformer_bytes(&self) -> usize {
        let resident = self.loaded.transformer.as_ref().map(|loaded| loaded.transformer.resident_blocks());
        resident.map_or(0, |resident| self.models.weight_sizes(self.dtype()).transformer_with(resident))
    }

    /// Returns the transformer with `loras` merged and all blocks in memory.
    pub(super) fn transformer(&mut self, loras: &[LoraPlan]) -> Result<Arc<Transformer>> {
        self.transformer_with(loras, self.models.transformer_config().num_layers)
    }

    /// Returns the transformer with `loras` merged and as many blocks in memory as fit. `required` are the bytes of
    /// denoising with all blocks.
    pub(super) fn transformer_within(&mut self, loras: &[LoraPlan], required: usize) -> Result<Arc<Transformer>> {
        let layers = self.models.transformer_config().num_layers;
        let Some(available) = available(&self.settings.device) else { return self.transformer(loras) };
        let sizes = self.models.weight_sizes(self.dtype());
        let resident = sizes.resident_blocks(available + self.transformer_bytes(), required);
        let loaded = self.loaded.transformer.as_ref().map(|loaded| loaded.transformer.resident_blocks());
        // A few more blocks are not worth loading all of them again.
        let resident = if resident < layers { resident.min(loaded.unwrap_or(resident)) } else { resident };
        if resident < layers && loaded != Some(resident) {
            tracing::info!(resident, layers, available_gib = %Gib(available), "streaming transformer blocks");
        }
        self.transformer_with(loras, resident)
    }

    fn transformer_with(&mut self, loras: &[LoraPlan], resident: usize) -> Result<Arc<Transformer>> {
        let matches =
            |loaded: &&LoadedTransformer| loaded.loras == loras && loaded.transformer.resident_blocks() == resident;
        if let Some(loaded) = self.loaded.transformer.as_ref().filter(matches) {
            return Ok(loaded.transformer.clone());
        }
        let (kernel, dtype, device) = (self.settings.attention_kernel, self.dtype(), &self.settings.device);
        let is_whole = resident == self.models.transformer_config().num_layers;
        // The old transformer is dropped first, because memory hardly has room for two. Its cached weights are reused.
        let cache = self.loaded.transformer.take().and_then(|old| old.cache).filter(|_| is_whole);
        let (transformer, cache) = match cache {
            Some(cache) => (self.models.transformer_from_cache(cache, loras, kernel, dtype, device)?, None),
            None => {
                reserve(device, self.models.weight_sizes(dtype).transformer_with(resident));
                self.models.transformer(loras, resident, kernel, dtype, device)?
            }
        };
        let transformer = Arc::new(transformer);
        self.loaded.transformer =
            Some(LoadedTransformer { loras: loras.to_vec(), transformer: transformer.clone(), cache });
        Ok(transformer)
    }

    /// Returns the video encoder.
    pub(super) fn video_encoder(&mut self) -> Result<Arc<VideoEncoder>> {
        let (dtype, device) = (self.dtype(), &self.settings.device);
        load_once(&mut self.loaded.video_encoder, || Ok(self.models.video_encoder(dtype, device)?))
    }

    /// Returns the video decoder.
    pub(super) fn video_decoder(&mut self) -> Result<Arc<VideoDecoder>> {
        let (dtype, device) = (self.dtype(), &self.settings.device);
        load_once(&mut self.loaded.video_decoder, || Ok(self.models.video_decoder(dtype, device)?))
    }

    /// Returns the audio decoder and the vocoder.
    pub(super) fn audio(&mut self) -> Result<Arc<AudioComponents>> {
        let (dtype, device) = (self.dtype(), &self.settings.device);
        load_once(&mut self.loaded.audio, || {
            let decoder = self.models.audio_decoder(dtype, device)?;
            Ok(AudioComponents { decoder, vocoder: self.models.vocoder(dtype, device)? })
        })
    }

    /// Returns the audio encoder, the spectrogram that it takes, and the rate of its samples. They are small and seldom
    /// used, so that they are not kept.
    pub(super) fn audio_encoder(&self) -> Result<(AudioEncoder, LogMel, u32)> {
        let (dtype, device) = (self.dtype(), &self.settings.device);
        let (log_mel, rate) = self.models.log_mel(device)?;
        Ok((self.models.audio_encoder(dtype, device)?, log_mel, rate))
    }

    fn dtype(&self) -> DType {
        self.settings.precision.dtype()
    }
}

/// Returns the value of `slot`, loaded on the first call.
fn load_once<T>(slot: &mut Option<Arc<T>>, load: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
    if slot.is_none() {
        *slot = Some(Arc::new(load()?));
    }
    Ok(slot.clone().expect("just loaded"))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use ltx2_devtools::{PublishedModel, demo_model};
    use tempfile::TempDir;

    use super::*;
    use crate::execution::Precision;

    fn demo() -> (TempDir, Residency) {
        let folder = tempfile::tempdir().unwrap();
        demo_model::write(folder.path(), PublishedModel::default(), 0).unwrap();
        let models = ModelSet::open(folder.path()).unwrap();
        (folder, Residency::new(models, EngineSettings::new(Device::Cpu, Precision::F32)))
    }

    /// Whether the transformer, the video encoder, the video decoder and the audio networks are loaded.
    fn loaded(residency: &Residency) -> [bool; 4] {
        let LoadedComponents { transformer, video_encoder, video_decoder, audio } = &residency.loaded;
        [transformer.is_some(), video_encoder.is_some(), video_decoder.is_some(), audio.is_some()]
    }

    #[test]
    fn blocks_that_do_not_fit_are_streamed() {
        let (_folder, mut residency) = demo();
        let layers = residency.models.transformer_config().num_layers;
        let sizes = residency.models.weight_sizes(Precision::F32.dtype());
        let mut resident = |required: usize| {
            let transformer = residency.transformer_within(&[], required).unwrap();
            let is_cached = residency.loaded.transformer.as_ref().unwrap().cache.is_some();
            (transformer.resident_blocks(), residency.transformer_bytes(), is_cached)
        };
        assert_eq!(resident(usize::MAX / 2), (0, sizes.transformer_with(0), false));
        assert_eq!(resident(sizes.transformer), (layers, sizes.transformer_with(layers), true));
        assert_eq!(resident(usize::MAX / 2).0, 0);
    }

    #[test]
    fn networks_that_a_workload_does_not_need_are_unloaded_when_memory_is_short() {
        let (_folder, mut residency) = demo();
        for (workload, left) in [
            (Workload::EncodingPrompt, [false; 4]),
            (Workload::Denoising, [true, false, false, false]),
            (Workload::Decoding, [false, true, true, true]),
        ] {
            residency.transformer(&[]).unwrap();
            residency.video_encoder().unwrap();
            residency.video_decoder().unwrap();
            residency.audio().unwrap();
            residency.prepare(workload, 1);
            assert_eq!(loaded(&residency), [true; 4]);
            residency.prepare(workload, usize::MAX);
            assert_eq!(loaded(&residency), left, "{workload:?}");
        }
    }
}
