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
    let stem = |path: &Path| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let known = model.loras.iter().find(|path| stem(path).is_some_and(|stem| stem == name));
    known.cloned().ok_or_else(|| {
        let names = model.loras.iter().filter_map(|path| stem(path)).collect::<Vec<_>>().join(", ");
        let names = if names.is_empty() { "no LoRA at all".into() } else { names };
        let rule = format!("the model set has none of that name; it has {names}");
        FieldError::new(Field::Lora, format!("{name:?}"), Rule::Supported(rule))
    })
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
