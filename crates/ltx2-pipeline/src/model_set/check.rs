//! Check of all files of a model set from their headers, before anything runs.

use ltx2_models::audio_vae::{AudioDecoder, AudioEncoder};
use ltx2_models::text_encoder::{EmbeddingsProcessor, Gemma, GemmaConfig};
use ltx2_models::transformer::Transformer;
use ltx2_models::upsampler::{LatentUpsampler, UpsamplerConfig};
use ltx2_models::video_vae::{VideoDecoder, VideoEncoder};
use ltx2_models::vocoder::Vocoder;
use ltx2_models::{Checkpoint, CheckpointError, TensorShapes, requested_tensors};

use super::configs::Configs;
use crate::error::PipelineError;

/// Prefix of the transformer and the connectors.
const TRANSFORMER: &str = "model.diffusion_model.";
/// Prefix of the projections from hidden states to features.
const TEXT_PROJECTION: &str = "text_embedding_projection.";
/// Prefix of the audio encoder, which some checkpoints lack.
const AUDIO_ENCODER: &str = "audio_vae.encoder.";
/// Prefixes of the tensors of a checkpoint's networks.
const CHECKPOINT: [&str; 5] = [TRANSFORMER, TEXT_PROJECTION, "vae.", "audio_vae.", "vocoder."];
/// Prefix of the text model of a text encoder, which also has a vision tower.
const TEXT_MODEL: &str = "language_model.model.";

/// Width and number of layers of the published sizes of Gemma 3.
const GEMMA_SIZES: [(&str, usize, usize); 4] =
    [("1B", 1152, 26), ("4B", 2560, 34), ("12B", 3840, 48), ("27B", 5376, 62)];

/// Returns the tensors that LoRAs can change: those of the transformer, the connectors and the text projection.
pub(super) fn lora_targets(configs: &Configs) -> Result<TensorShapes, PipelineError> {
    Ok(requested_tensors(|vb| {
        Transformer::new(&configs.transformer, vb.clone())?;
        EmbeddingsProcessor::new(&configs.embeddings, &configs.gemma, vb)
    })?)
}

/// Checks names, shapes and encodings of the tensors of all networks. `lora_targets` are those of [`lora_targets`].
///
/// # Errors
/// Names the file, the tensor and the likely cause.
pub(super) fn check(
    checkpoint: &Checkpoint,
    gemma: &Checkpoint,
    upsampler: Option<&(Checkpoint, UpsamplerConfig)>,
    configs: &Configs,
    lora_targets: &TensorShapes,
) -> Result<(), PipelineError> {
    gemma.check(&requested_tensors(|vb| Gemma::new(&configs.gemma, vb))?, &[TEXT_MODEL])?;
    check_text_encoder_size(checkpoint, gemma, &configs.gemma, lora_targets)?;
    let has_audio_encoder = checkpoint.has_tensors(AUDIO_ENCODER);
    let mut requested = requested_tensors(|vb| {
        if has_audio_encoder {
            AudioEncoder::new(&configs.audio_vae, vb.clone())?;
        }
        VideoEncoder::new(&configs.video_vae, vb.clone())?;
        VideoDecoder::new(&configs.video_vae, vb.clone())?;
        AudioDecoder::new(&configs.audio_vae, vb.clone())?;
        Vocoder::new(&configs.vocoder, vb)
    })?;
    requested.extend(lora_targets.clone());
    checkpoint.check(&requested, &CHECKPOINT)?;
    if let Some((file, config)) = upsampler {
        file.check(&requested_tensors(|vb| LatentUpsampler::new(config, vb))?, &[""])?;
    }
    Ok(())
}

/// Checks that the hidden states of the text encoder have the size that the checkpoint projects.
fn check_text_encoder_size(
    checkpoint: &Checkpoint,
    gemma: &Checkpoint,
    config: &GemmaConfig,
    requested: &TensorShapes,
) -> Result<(), CheckpointError> {
    let projections = requested.iter().filter(|(name, shape)| name.starts_with(TEXT_PROJECTION) && shape.len() == 2);
    for (name, expected) in projections {
        let Some(&[_, found]) = checkpoint.shape(name) else { continue };
        // Codes that are packed several to an element have another shape; `Checkpoint::check` names their format.
        if found == expected[1] || found * 2 == expected[1] {
            continue;
        }
        let features = |width: usize, layers: usize| width * (layers + 1);
        let size = GEMMA_SIZES.iter().find(|(_, width, layers)| features(*width, *layers) == found);
        let needed = match size {
            Some((name, width, layers)) => format!("{name} (width {width}, {layers} layers)"),
            None => format!("text encoder with width times (layers + 1) = {found}"),
        };
        let (width, layers) = (config.hidden_size, config.num_hidden_layers);
        let size = GEMMA_SIZES.iter().find(|(_, w, l)| (*w, *l) == (width, layers)).map_or("", |(name, ..)| name);
        return Err(CheckpointError::Folder {
            path: gemma.path().into(),
            reason: format!(
                "this is Gemma 3 {size} with width {width} and {layers} layers, but the checkpoint {} needs the {needed}, \
                 by its tensor {name}",
                checkpoint.path().display()
            ),
        });
    }
    Ok(())
}
