//! The folder layout of diffusers: a folder per network, each with a `config.json` and its own names.

mod config;
mod names;
mod rules;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::{Value, json};

use self::config::Component;
use super::files::Files;
use super::folder::shards;
use super::{CheckpointError, read_json};
use crate::ConfigError;

/// The tensors under the single file's names, its configuration, and its `model_version`.
pub(super) fn open(folder: &Path) -> Result<(Files, Value, &'static str), CheckpointError> {
    let read = |name: &str, classes: &[&str]| {
        let path = folder.join(name).join("config.json");
        let given = read_json(&path)?;
        Component::new(&given, classes).map_err(|source| CheckpointError::Config { path, source })
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
        "vae": config::vae(&vae).map_err(in_folder("vae"))?,
        "audio_vae": config::audio_vae(&audio_vae).map_err(in_folder("audio_vae"))?,
        "vocoder": config::vocoder(&vocoder).map_err(in_folder("vocoder"))?,
    });
    let version = config::version(&transformer).map_err(in_folder("transformer"))?;
    let levels = config::encoder_levels(&vae).map_err(in_folder("vae"))?;
    let mut files = Files::default();
    for component in names::COMPONENTS {
        let path = folder.join(component.folder);
        let shards = shards(&path)?;
        if shards.is_empty() {
            return Err(CheckpointError::Folder { path, reason: "it has no *.safetensors".into() });
        }
        for shard in shards {
            files.add_safetensors(&shard, |name| Some(component.rename(name, levels)))?;
        }
        component.homes().into_iter().for_each(|prefix| files.set_home(prefix, &path));
    }
    Ok((files, config, version))
}

/// The tensors of an upsampler's folder, which have the single file's names, and its configuration.
pub(super) fn open_upsampler(folder: &Path) -> Result<(Files, Value), CheckpointError> {
    let path = folder.join("config.json");
    let given = read_json(&path)?;
    let mut files = Files::default();
    for shard in shards(folder)? {
        files.add_safetensors(&shard, |name| Some(name.into()))?;
    }
    let config = config::latent_upsampler(&given, files.contains("upsampler.conv.weight"))
        .map_err(|source| CheckpointError::Config { path, source })?;
    Ok((files, config))
}
