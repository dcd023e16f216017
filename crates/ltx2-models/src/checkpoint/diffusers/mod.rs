//! The folder layout of diffusers: a folder per network, each with a `config.json` and tensor names of its own.
//!
//! Names and configuration are converted to those of the published single file.

mod component_config;
mod config;
mod rules;
#[cfg(test)]
mod tests;
mod vae_config;

use std::path::Path;

use serde_json::{Value, json};

use self::component_config::ComponentConfig;
use super::folder::{read_json, shards};
use crate::config::ConfigError;
use crate::diffusers_names::COMPONENTS;
use crate::weight_files::CheckpointError;
use crate::weight_files::tensor_files::TensorFiles;

/// Opens a diffusers folder. Returns its tensors, its configuration and its `model_version`, all as in the single file.
pub(super) fn open(folder: &Path) -> Result<(TensorFiles, Value, &'static str), CheckpointError> {
    let read = |name: &str, classes: &[&str]| {
        let path = folder.join(name).join("config.json");
        let json = read_json(&path)?;
        ComponentConfig::new(&json, classes).map_err(|source| CheckpointError::Config { path, source })
    };
    let in_folder = |name: &str| {
        let path = folder.join(name).join("config.json");
        move |source: ConfigError| CheckpointError::Config { path, source }
    };
    let transformer = read("transformer", &["LTX2VideoTransformer3DModel"])?;
    let connectors = read("connectors", &["LTX2TextConnectors"])?;
    let vae = read("vae", &["AutoencoderKLLTX2Video"])?;
    let audio_vae = read("audio_vae", &["AutoencoderKLLTX2Audio"])?;
    let vocoder = read("vocoder", &["LTX2Vocoder", "LTX2VocoderWithBWE"])?;
    let config = json!({
        "transformer": config::transformer(&transformer, &connectors, &audio_vae).map_err(in_folder("transformer"))?,
        "vae": vae_config::vae(&vae).map_err(in_folder("vae"))?,
        "audio_vae": config::audio_vae(&audio_vae).map_err(in_folder("audio_vae"))?,
        "vocoder": config::vocoder(&vocoder).map_err(in_folder("vocoder"))?,
    });
    let version = config::version(&transformer).map_err(in_folder("transformer"))?;
    let levels = vae_config::encoder_levels(&vae).map_err(in_folder("vae"))?;
    let mut files = TensorFiles::default();
    for names in &COMPONENTS {
        let path = folder.join(names.folder);
        let shards = shards(&path)?;
        if shards.is_empty() {
            return Err(CheckpointError::Folder { path, reason: "it has no *.safetensors".into() });
        }
        for shard in shards {
            files.add_safetensors(&shard, |name| Some(names.rename(name, levels)))?;
        }
        names.prefixes().into_iter().for_each(|prefix| files.expect_in(prefix, &path));
    }
    Ok((files, config, version))
}

/// Opens the folder of a latent upsampler, whose tensor names are those of the single file. Returns its tensors and its
/// configuration.
pub(super) fn open_upsampler(folder: &Path) -> Result<(TensorFiles, Value), CheckpointError> {
    let path = folder.join("config.json");
    let json = read_json(&path)?;
    let mut files = TensorFiles::default();
    for shard in shards(folder)? {
        files.add_safetensors(&shard, |name| Some(name.into()))?;
    }
    let config = config::latent_upsampler(&json, files.contains("upsampler.conv.weight"))
        .map_err(|source| CheckpointError::Config { path, source })?;
    Ok((files, config))
}
