//! Loading of the networks of a model set.

use std::path::Path;

use candle_core::{DType, Device, Tensor};
use ltx2_models::audio_vae::{AudioDecoder, AudioEncoder, LogMel};
use ltx2_models::layers::PerChannelStatistics;
use ltx2_models::lora::{FittedLora, Lora, LoraKind, LoraStrength};
use ltx2_models::text_encoder::{EmbeddingsProcessor, Gemma, stream_hidden_states};
use ltx2_models::transformer::Transformer;
use ltx2_models::upsampler::LatentUpsampler;
use ltx2_models::video_vae::{VideoDecoder, VideoEncoder};
use ltx2_models::vocoder::Vocoder;
use ltx2_models::{AttentionKernel, CheckpointError, VarBuilder, WeightCache};
use ltx2_types::{Field, FieldError, Rule};

use super::{CONNECTORS, ModelSet, TEXT_PROJECTION, TRANSFORMER};
use crate::error::PipelineError;
use crate::plan::{LoraPlan, Plan};

impl ModelSet {
    /// Loads the text encoder.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn gemma(&self, dtype: DType, device: &Device) -> Result<Gemma, CheckpointError> {
        self.gemma.load(dtype, device, |vb| Gemma::new(&self.configs.gemma, vb))
    }

    /// Returns [`Gemma::hidden_states`] of each prompt, with one layer of the text encoder in memory at a time.
    pub(crate) fn hidden_states(
        &self,
        prompts: &[Vec<u32>],
        dtype: DType,
        device: &Device,
    ) -> Result<Vec<Vec<Tensor>>, CheckpointError> {
        self.gemma.load(dtype, device, |vb| stream_hidden_states(&self.configs.gemma, vb, prompts))
    }

    /// Loads the embeddings processor, which turns hidden states into contexts, with `loras` merged.
    ///
    /// # Errors
    /// A file cannot be read, or a LoRA cannot be merged.
    pub fn embeddings_processor(
        &self,
        loras: &[LoraPlan],
        kernel: AttentionKernel,
        dtype: DType,
        device: &Device,
    ) -> Result<EmbeddingsProcessor, CheckpointError> {
        let (config, gemma) = (&self.configs.embeddings, &self.configs.gemma);
        let build = |vb: VarBuilder| EmbeddingsProcessor::new(config, gemma, vb.with_attention_kernel(kernel));
        self.checkpoint.load_with_loras(&self.open_loras(loras)?, dtype, device, build)
    }

    /// Loads the transformer with its first `resident` blocks in memory. Returns the cache of its weights as well, if
    /// all blocks are resident and no LoRA is merged.
    pub(crate) fn transformer(
        &self,
        loras: &[LoraPlan],
        resident: usize,
        kernel: AttentionKernel,
        dtype: DType,
        device: &Device,
    ) -> Result<(Transformer, Option<WeightCache>), CheckpointError> {
        let config = &self.configs.transformer;
        let build =
            |vb: VarBuilder| Transformer::with_resident_blocks(config, vb.with_attention_kernel(kernel), resident);
        if loras.is_empty() && resident == config.num_layers {
            let (transformer, cache) = self.checkpoint.load_with_cache(dtype, device, build)?;
            return Ok((transformer, Some(cache)));
        }
        Ok((self.checkpoint.load_with_loras(&self.open_loras(loras)?, dtype, device, build)?, None))
    }

    /// Builds the transformer from cached weights with `loras` merged.
    pub(crate) fn transformer_from_cache(
        &self,
        cache: WeightCache,
        loras: &[LoraPlan],
        kernel: AttentionKernel,
        dtype: DType,
        device: &Device,
    ) -> Result<Transformer, CheckpointError> {
        let build = |vb: VarBuilder| Transformer::new(&self.configs.transformer, vb.with_attention_kernel(kernel));
        self.checkpoint.load_from_cache(cache, &self.open_loras(loras)?, dtype, device, build)
    }

    /// Loads the spatial upscaler and the statistics of the latents that it works on.
    pub(crate) fn upsampler(
        &self,
        dtype: DType,
        device: &Device,
    ) -> Result<(LatentUpsampler, PerChannelStatistics), PipelineError> {
        let (file, config) = self.upsampler.as_ref().ok_or_else(|| {
            PipelineError::Internal("the plan upscales latents, but the model set has no spatial upscaler".into())
        })?;
        let upsampler = file.load(dtype, device, |vb| LatentUpsampler::new(config, vb))?;
        let channels = self.latent_channels().video;
        let shape = [1, channels, 1, 1, 1];
        let statistics =
            self.checkpoint.load(dtype, device, |vb| PerChannelStatistics::new(channels, &shape, vb.pp("vae")))?;
        Ok((upsampler, statistics))
    }

    pub(crate) fn video_encoder(&self, dtype: DType, device: &Device) -> Result<VideoEncoder, CheckpointError> {
        self.checkpoint.load(dtype, device, |vb| VideoEncoder::new(&self.configs.video_vae, vb))
    }

    pub(crate) fn video_decoder(&self, dtype: DType, device: &Device) -> Result<VideoDecoder, CheckpointError> {
        self.checkpoint.load(dtype, device, |vb| VideoDecoder::new(&self.configs.video_vae, vb))
    }

    pub(crate) fn audio_decoder(&self, dtype: DType, device: &Device) -> Result<AudioDecoder, CheckpointError> {
        self.checkpoint.load(dtype, device, |vb| AudioDecoder::new(&self.configs.audio_vae, vb))
    }

    pub(crate) fn audio_encoder(&self, dtype: DType, device: &Device) -> Result<AudioEncoder, CheckpointError> {
        self.checkpoint.load(dtype, device, |vb| AudioEncoder::new(&self.configs.audio_vae, vb))
    }

    /// Returns the spectrogram that the audio encoder takes, and the rate of its samples.
    pub(crate) fn log_mel(&self, device: &Device) -> candle_core::Result<(LogMel, u32)> {
        let config = &self.configs.audio_vae;
        Ok((LogMel::new(config, device)?, config.sample_rate as u32))
    }

    pub(crate) fn vocoder(&self, dtype: DType, device: &Device) -> Result<Vocoder, CheckpointError> {
        let config = &self.configs.vocoder;
        self.checkpoint.load(config.dtype(dtype), device, |vb| Vocoder::new(config, vb))
    }

    /// Opens a LoRA and checks by its header that it can be merged.
    ///
    /// # Errors
    /// Names the first tensor of the LoRA that cannot be merged.
    pub fn lora(&self, file: &Path) -> Result<FittedLora, CheckpointError> {
        let lora = Lora::open(file)?;
        match lora.kind() {
            LoraKind::Ordinary => lora.fit(&self.lora_targets),
            LoraKind::InContext => {
                let reason = "it is an IC-LoRA, which needs a reference video; that is not supported yet";
                Err(CheckpointError::Lora { path: file.into(), reason: reason.into() })
            }
        }
    }

    /// Checks by their headers that all LoRAs of a plan can be merged.
    ///
    /// # Errors
    /// Names the first LoRA that cannot.
    pub fn check_loras(&self, plan: &Plan) -> Result<(), FieldError> {
        for lora in plan.stages.iter().flat_map(|stage| &stage.loras) {
            if let Err(error) = self.lora(&lora.file) {
                let name = lora.file.file_stem().unwrap_or_default().to_string_lossy();
                let rule = match error {
                    CheckpointError::Lora { reason, .. } => format!("it cannot be used: {reason}"),
                    other => other.to_string(),
                };
                return Err(FieldError::new(Field::Lora, name, Rule::Supported(rule)));
            }
        }
        Ok(())
    }

    /// Returns those of `loras` that change the embeddings processor, and checks all of them.
    pub(crate) fn context_loras(&self, loras: &[LoraPlan]) -> Result<Vec<LoraPlan>, CheckpointError> {
        let prefixes = CONNECTORS.map(|part| format!("{TRANSFORMER}{part}"));
        let prefixes = [prefixes[0].as_str(), prefixes[1].as_str(), TEXT_PROJECTION];
        let mut found = Vec::new();
        for plan in loras {
            if self.lora(&plan.file)?.changes_any(&prefixes) {
                found.push(plan.clone());
            }
        }
        Ok(found)
    }

    fn open_loras(&self, loras: &[LoraPlan]) -> Result<Vec<LoraStrength>, CheckpointError> {
        let open = |plan: &LoraPlan| Ok(LoraStrength { lora: self.lora(&plan.file)?, strength: plan.strength });
        loras.iter().map(open).collect()
    }
}
