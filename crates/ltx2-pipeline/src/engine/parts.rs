//! The parts of a model that are in memory.

use std::sync::Arc;

use ltx2_models::WeightCache;
use ltx2_models::audio_vae::AudioDecoder;
use ltx2_models::transformer::Transformer;
use ltx2_models::video_vae::{VideoDecoder, VideoEncoder};
use ltx2_models::vocoder::Vocoder;

use super::{Engine, Result};
use crate::device::{Gib, available, give_back, make_room};
use crate::plan::LoraPlan;

/// What stays in memory between runs. The text encoder does not: it is as large as the rest, and seldom needed.
#[derive(Debug, Default)]
pub(super) struct Parts {
    transformer: Option<LoadedTransformer>,
    video_encoder: Option<Arc<VideoEncoder>>,
    video_decoder: Option<Arc<VideoDecoder>>,
    audio: Option<Arc<(AudioDecoder, Vocoder)>>,
}

/// A transformer with the adapters that are fused into it.
#[derive(Debug)]
struct LoadedTransformer {
    loras: Vec<LoraPlan>,
    transformer: Arc<Transformer>,
    /// Its weights, if they are the checkpoint's own.
    kept: Option<WeightCache>,
}

impl Parts {
    pub(super) fn is_loaded(&self) -> bool {
        let Self { transformer, video_encoder, video_decoder, audio } = self;
        transformer.is_some() || video_encoder.is_some() || video_decoder.is_some() || audio.is_some()
    }
}

/// What the next phase of a run needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Need {
    TextEncoder,
    Transformer,
    Autoencoders,
}

impl Parts {
    /// Drops what the phase does without; whether there was any.
    fn keep_only(&mut self, need: Need) -> bool {
        let was_loaded = match need {
            Need::TextEncoder => self.is_loaded(),
            Need::Transformer => self.video_encoder.is_some() || self.video_decoder.is_some() || self.audio.is_some(),
            Need::Autoencoders => self.transformer.is_some(),
        };
        let Self { transformer, video_encoder, video_decoder, audio } = std::mem::take(self);
        match need {
            Need::TextEncoder => {}
            Need::Transformer => self.transformer = transformer,
            Need::Autoencoders => *self = Self { transformer: None, video_encoder, video_decoder, audio },
        }
        was_loaded
    }
}

impl Engine {
    /// Called before a phase that takes `bytes` besides what is loaded: if there is less, parts that it does without go,
    /// to be loaded again when they are needed.
    pub(super) fn prepare(&mut self, need: Need, bytes: usize) {
        let device = &self.settings.device;
        let Some(available) = available(device).filter(|available| *available < bytes) else { return };
        if self.parts.keep_only(need) {
            give_back(device);
            let (available, bytes) = (Gib(available), Gib(bytes));
            tracing::info!("{bytes} GiB are needed where {available} were free: parts of the model were unloaded");
        }
    }

    /// What the transformer has of the memory.
    pub(super) fn transformer_bytes(&self) -> usize {
        let resident = self.parts.transformer.as_ref().map(|loaded| loaded.transformer.resident_blocks());
        resident.map_or(0, |resident| self.models.parameters(self.dtype()).transformer_with(resident))
    }

    /// The whole transformer with adapters.
    pub fn transformer(&mut self, loras: &[LoraPlan]) -> Result<Arc<Transformer>> {
        self.transformer_with(loras, self.models.transformer_config().num_layers)
    }

    /// The same with as many blocks in memory as there is room for, where denoising takes `bytes` with all of them.
    pub(super) fn transformer_within(&mut self, loras: &[LoraPlan], bytes: usize) -> Result<Arc<Transformer>> {
        let layers = self.models.transformer_config().num_layers;
        let Some(available) = available(&self.settings.device) else { return self.transformer(loras) };
        let sizes = self.models.parameters(self.dtype());
        let resident = sizes.resident_blocks(available + self.transformer_bytes(), bytes);
        let loaded = self.parts.transformer.as_ref().map(|loaded| loaded.transformer.resident_blocks());
        // Some blocks more are not worth reading all of them again.
        let resident = if resident < layers { resident.min(loaded.unwrap_or(resident)) } else { resident };
        if resident < layers && loaded != Some(resident) {
            let room = Gib(available);
            tracing::info!(
                "{resident} of {layers} blocks stay in the {room} GiB that are free, each step reads the others"
            );
        }
        self.transformer_with(loras, resident)
    }

    fn transformer_with(&mut self, loras: &[LoraPlan], resident: usize) -> Result<Arc<Transformer>> {
        let is_it =
            |loaded: &&LoadedTransformer| loaded.loras == loras && loaded.transformer.resident_blocks() == resident;
        if let Some(loaded) = self.parts.transformer.as_ref().filter(is_it) {
            return Ok(loaded.transformer.clone());
        }
        let (kernel, dtype, device) = (self.settings.attention_kernel, self.dtype(), &self.settings.device);
        let is_whole = resident == self.models.transformer_config().num_layers;
        // The old one goes first, as there is hardly room for two; but its weights need not be read again to be added to.
        let kept = self.parts.transformer.take().and_then(|old| old.kept).filter(|_| is_whole);
        let (transformer, kept) = match kept {
            Some(kept) => (self.models.adapted_transformer(kept, loras, kernel, dtype, device)?, None),
            None => {
                make_room(device, self.models.parameters(dtype).transformer_with(resident));
                self.models.transformer(loras, resident, kernel, dtype, device)?
            }
        };
        let transformer = Arc::new(transformer);
        self.parts.transformer =
            Some(LoadedTransformer { loras: loras.to_vec(), transformer: transformer.clone(), kept });
        Ok(transformer)
    }

    pub(super) fn video_encoder(&mut self) -> Result<Arc<VideoEncoder>> {
        let (dtype, device) = (self.dtype(), &self.settings.device);
        resident(&mut self.parts.video_encoder, || Ok(self.models.video_encoder(dtype, device)?))
    }

    /// Returns the video decoder, loaded if necessary.
    pub fn video_decoder(&mut self) -> Result<Arc<VideoDecoder>> {
        let (dtype, device) = (self.dtype(), &self.settings.device);
        resident(&mut self.parts.video_decoder, || Ok(self.models.video_decoder(dtype, device)?))
    }

    /// Returns the audio decoder and the vocoder, loaded if necessary.
    pub fn audio(&mut self) -> Result<Arc<(AudioDecoder, Vocoder)>> {
        let (dtype, device) = (self.dtype(), &self.settings.device);
        resident(&mut self.parts.audio, || {
            Ok((self.models.audio_decoder(dtype, device)?, self.models.vocoder(dtype, device)?))
        })
    }
}

/// The part in `slot`, loaded if it is not there yet.
fn resident<T>(slot: &mut Option<Arc<T>>, load: impl FnOnce() -> Result<T>) -> Result<Arc<T>> {
    if slot.is_none() {
        *slot = Some(Arc::new(load()?));
    }
    Ok(slot.clone().expect("just loaded"))
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;
    use crate::{EngineSettings, ModelSet, Precision};
    use ltx2_devtools::{PublishedModel, demo_model};

    /// What is loaded: transformer, encoder, decoder, sound.
    fn loaded(engine: &Engine) -> [bool; 4] {
        let Parts { transformer, video_encoder, video_decoder, audio } = &engine.parts;
        [transformer.is_some(), video_encoder.is_some(), video_decoder.is_some(), audio.is_some()]
    }

    #[test]
    fn blocks_that_there_is_no_room_for_are_left_to_the_steps() {
        let folder = tempfile::tempdir().unwrap();
        demo_model::write(folder.path(), PublishedModel::default(), 0).unwrap();
        let settings = EngineSettings::new(Device::Cpu, Precision::F32);
        let mut engine = Engine::new(ModelSet::open(folder.path()).unwrap(), settings);
        let layers = engine.models.transformer_config().num_layers;
        let mut resident = |bytes: usize| {
            let transformer = engine.transformer_within(&[], bytes).unwrap();
            let kept = engine.parts.transformer.as_ref().unwrap().kept.is_some();
            (transformer.resident_blocks(), engine.transformer_bytes(), kept)
        };
        let sizes = ModelSet::open(folder.path()).unwrap().parameters(Precision::F32.dtype());
        assert_eq!(resident(usize::MAX / 2), (0, sizes.transformer_with(0), false));
        assert_eq!(resident(sizes.transformer), (layers, sizes.transformer_with(layers), true));
        assert_eq!(resident(usize::MAX / 2).0, 0);
    }

    #[test]
    fn parts_that_a_phase_does_without_go_where_there_is_no_room() {
        let folder = tempfile::tempdir().unwrap();
        demo_model::write(folder.path(), PublishedModel::default(), 0).unwrap();
        let settings = EngineSettings::new(Device::Cpu, Precision::F32);
        let mut engine = Engine::new(ModelSet::open(folder.path()).unwrap(), settings);
        for (need, left) in [
            (Need::TextEncoder, [false; 4]),
            (Need::Transformer, [true, false, false, false]),
            (Need::Autoencoders, [false, true, true, true]),
        ] {
            engine.transformer(&[]).unwrap();
            engine.video_encoder().unwrap();
            engine.video_decoder().unwrap();
            engine.audio().unwrap();
            engine.prepare(need, 1);
            assert_eq!(loaded(&engine), [true; 4]);
            engine.prepare(need, usize::MAX);
            assert_eq!(loaded(&engine), left, "{need:?}");
        }
    }
}
