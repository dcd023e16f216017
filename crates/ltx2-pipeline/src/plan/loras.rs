//! LoRAs of a request.

use std::path::{Path, PathBuf};

use ltx2_types::{Camera, Field, FieldError, LoraInput, LoraSource, Rule, ValidRequest};

use super::capabilities::ModelCapabilities;
use super::types::LoraPlan;

/// Returns the LoRAs of all stages: those of the request, then that of the camera motion.
pub(super) fn requested_loras(request: &ValidRequest, model: &ModelCapabilities) -> Result<Vec<LoraPlan>, FieldError> {
    let requested = request.loras.iter().map(|lora| requested_lora(lora, model));
    let camera = request.camera.iter().map(|camera| camera_lora(*camera, model));
    requested.chain(camera).collect()
}

fn requested_lora(lora: &LoraInput, model: &ModelCapabilities) -> Result<LoraPlan, FieldError> {
    let file = match &lora.source {
        LoraSource::File(path) => path.into(),
        LoraSource::Name(name) => named_lora(name, model)?,
    };
    Ok(LoraPlan { file, strength: lora.strength })
}

fn named_lora(name: &str, model: &ModelCapabilities) -> Result<PathBuf, FieldError> {
    let names = lora_names(&model.loras);
    if let Some((_, path)) = names.iter().find(|(known, _)| known == name) {
        return Ok(path.to_path_buf());
    }
    let unusable = model.unusable_loras.iter().find(|(path, _)| path.file_stem().is_some_and(|stem| stem == name));
    let rule = match unusable {
        Some((path, reason)) => format!("{} cannot be used: {reason}", path.display()),
        None => {
            let names: Vec<&str> = names.iter().map(|(name, _)| name.as_str()).collect();
            let names = if names.is_empty() { "no LoRA at all".into() } else { names.join(", ") };
            format!("the model set has none of that name; it has {names}")
        }
    };
    Err(FieldError::new(Field::Lora, format!("{name:?}"), Rule::Supported(rule)))
}

/// Returns the names by which requests refer to the files `loras`: the file stem, with the folder's name before it if an
/// earlier file has the same stem, such as `loras/ink`.
pub(crate) fn lora_names(loras: &[PathBuf]) -> Vec<(String, &Path)> {
    let mut names: Vec<(String, &Path)> = Vec::new();
    for path in loras {
        let Some(stem) = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()) else { continue };
        let folder = path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let longer = format!("{}/{stem}", folder.unwrap_or_default());
        let is_taken = names.iter().any(|(name, _)| *name == stem);
        names.push((if is_taken { longer } else { stem }, path));
    }
    names
}

fn camera_lora(camera: Camera, model: &ModelCapabilities) -> Result<LoraPlan, FieldError> {
    let known = model.camera_loras.iter().find(|(motion, _)| *motion == camera.motion);
    let (_, file) = known.ok_or_else(|| {
        let name = camera.motion.name();
        let file = name.replace('_', "-");
        let rule = format!("the model set has no LoRA named like camera-control-{file}.safetensors");
        FieldError::new(Field::Camera, name, Rule::Supported(rule))
    })?;
    Ok(LoraPlan { file: file.clone(), strength: camera.strength })
}
