//! The pictures of a request: the first frame, and keyframes at their times.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ltx2_store::InputFile;
use ltx2_types::{ImageInput, Task};
use serde_json::{Map, Value};

use super::fields::Fields;
use crate::Service;
use crate::error::ApiError;
use crate::images::image_fault;

/// Most keyframes of a request.
const MOST: usize = 32;

/// What the video starts from and passes through.
pub(super) struct Pictures {
    pub(super) task: Task,
    /// The files that the task names.
    pub(super) inputs: Vec<InputFile>,
}

/// Reads `image` with `image_strength`, and `keyframes`; faults are noted in `fields`.
///
/// A keyframe's `image` is the name of a file of the form, or a data URL. The first frame alone, and keyframes beside
/// it, are pictures of an image-to-video; keyframes alone are a task of their own.
pub(super) async fn read(
    service: &Arc<Service>,
    fields: &mut Fields,
    files: BTreeMap<String, Bytes>,
) -> Result<Pictures, ApiError> {
    let mut inputs = Vec::new();
    let mut images = Vec::new();
    let strength = fields.number("image_strength").unwrap_or(1.0);
    if let Some(bytes) = files.get("image") {
        fields.faults.extend(image_fault(service, "image", bytes.clone()).await?);
        let input = InputFile::new(bytes.clone().into());
        images.push(ImageInput { strength, ..ImageInput::first_frame(input.name().as_str()) });
        inputs.push(input);
    }
    let has_first = !images.is_empty();
    for keyframe in keyframes(service, fields, &files) {
        fields.faults.extend(image_fault(service, "keyframes", keyframe.bytes.clone()).await?);
        let input = InputFile::new(keyframe.bytes.into());
        let image = ImageInput::first_frame(input.name().as_str());
        images.push(ImageInput { frame: keyframe.frame, strength: keyframe.strength, ..image });
        inputs.push(input);
    }
    let task = match (images.is_empty(), has_first) {
        (true, _) => Task::TextToVideo,
        (false, true) => Task::ImageToVideo { images },
        (false, false) => Task::Keyframes { images },
    };
    Ok(Pictures { task, inputs })
}

struct Keyframe {
    bytes: Bytes,
    frame: u32,
    strength: f64,
}

fn keyframes(service: &Service, fields: &mut Fields, files: &BTreeMap<String, Bytes>) -> Vec<Keyframe> {
    let objects = fields.objects("keyframes");
    if objects.len() > MOST {
        fields.reject("too_long", "keyframes", &format!("there may be at most {MOST}"));
        return Vec::new();
    }
    let rate = fields.sent("frame_rate");
    let rate = rate.as_f64().or_else(|| rate.as_str()?.trim().parse().ok());
    let rate = rate.unwrap_or_else(|| service.limits.defaults.frame_rate.as_f64());
    let mut keyframes = Vec::new();
    for (i, object) in objects.iter().enumerate() {
        match keyframe(object, rate, files) {
            Ok(keyframe) => keyframes.push(keyframe),
            Err(rule) => fields.reject("keyframe_invalid", "keyframes", &format!("in number {i} {rule}")),
        }
    }
    keyframes
}

fn keyframe(object: &Map<String, Value>, rate: f64, files: &BTreeMap<String, Bytes>) -> Result<Keyframe, String> {
    let number = |name: &str| match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_f64().map(Some).ok_or_else(|| format!("{name} must be a number")),
    };
    let frame = match (number("time")?, number("frame")?) {
        (Some(seconds), None) => (seconds * rate).round(),
        (None, Some(frame)) if frame.fract() == 0.0 => frame,
        (None, Some(_)) => return Err("frame must be a whole number".into()),
        _ => return Err("there must be either a time, in seconds, or a frame".into()),
    };
    if !(0.0..=f64::from(u32::MAX)).contains(&frame) {
        return Err("time and frame must not be negative, nor beyond 32 bits".into());
    }
    let image = object.get("image").and_then(Value::as_str);
    let image = image.ok_or("image must be the name of a file of the form, or a data URL")?;
    let bytes = match image.strip_prefix("data:") {
        Some(data) => decoded(data)?,
        None => files.get(image).cloned().ok_or("image must be the name of a file of the form, or a data URL")?,
    };
    Ok(Keyframe { bytes, frame: frame as u32, strength: number("strength")?.unwrap_or(1.0) })
}

/// The bytes of a data URL, from behind its scheme.
fn decoded(data: &str) -> Result<Bytes, String> {
    let encoded = data.split_once(";base64,").map(|(_, encoded)| encoded);
    let encoded = encoded.ok_or("image must be in base64, as data:image/png;base64,...")?;
    STANDARD.decode(encoded.trim()).map(Bytes::from).map_err(|error| format!("image must be valid base64: {error}"))
}
