//! The parts of a model that are in memory.

use std::sync::Arc;

use ltx2_models::audio_vae::AudioDecoder;
use ltx2_models::transformer::Transformer;
use ltx2_models::video_vae::{VideoDecoder, VideoEncoder};
use ltx2_models::vocoder::Vocoder;

use super::{Engine, Result};
use crate::device::make_room;
use crate::plan::LoraPlan;

/// What stays in memory between runs. The text encoder does not: it is as large as the rest.
#[derive(Debug, Default)]
pub(super) struct Parts {
    /// With the adapters that are fused into it.
    transformer: Option<(Vec<LoraPlan>, Arc<Transformer>)>,
    video_encoder: Option<Arc<VideoEncoder>>,
    video_decoder: Option<Arc<VideoDecoder>>,
    audio: Option<Arc<(AudioDecoder, Vocoder)>>,
}

impl Parts {
    pub(super) fn is_loaded(&self) -> bool {
        let Self { transformer, video_encoder, video_decoder, audio } = self;
        transformer.is_some() || video_encoder.is_some() || video_decoder.is_some() || audio.is_some()
    }
}

impl Engine {
    pub(crate) fn transformer(&mut self, loras: &[LoraPlan]) -> Result<Arc<Transformer>> {
        if let Some((_, transformer)) = self.parts.transformer.as_ref().filter(|(fused, _)| fused == loras) {
            return Ok(transformer.clone());
        }
        // The old one first: there is hardly room for two.
        self.parts.transformer = None;
        make_room(&self.settings.device, self.models.parameters(self.dtype()).transformer);
        let transformer = Arc::new(self.models.transformer(loras, self.dtype(), &self.settings.device)?);
        self.parts.transformer = Some((loras.to_vec(), transformer.clone()));
        Ok(transformer)
    }

    pub(super) fn video_encoder(&mut self) -> Result<Arc<VideoEncoder>> {
        let (dtype, device) = (self.dtype(), &self.settings.device);
        resident(&mut self.parts.video_encoder, || Ok(self.models.video_encoder(dtype, device)?))
    }

    pub(crate) fn video_decoder(&mut self) -> Result<Arc<VideoDecoder>> {
        let (dtype, device) = (self.dtype(), &self.settings.device);
        resident(&mut self.parts.video_decoder, || Ok(self.models.video_decoder(dtype, device)?))
    }

    pub(crate) fn audio(&mut self) -> Result<Arc<(AudioDecoder, Vocoder)>> {
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
