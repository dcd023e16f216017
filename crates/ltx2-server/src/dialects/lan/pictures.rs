//! The pictures of a request: the first frame, and keyframes at their times.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ltx2_store::InputFile;
use ltx2_types::{ImageInput, InputRef, Task};
use serde_json::{Map, Value};

use super::fields::Fields;
use crate::Service;
use crate::error::{ApiError, Fault, shortened};
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
/// An image is a file of the form, or a URL: of the web, or a data URL. A keyframe names its file. The first frame alone, and keyframes beside
/// it, are pictures of an image-to-video; keyframes alone are a task of their own.
pub(super) async fn read(
    service: &Arc<Service>,
    fields: &mut Fields,
    files: BTreeMap<String, Bytes>,
) -> Result<Pictures, ApiError> {
    let mut inputs = Vec::new();
    let mut images = Vec::new();
    let strength = fields.number("image_strength").unwrap_or(1.0);
    let first = match files.get("image") {
        Some(bytes) => Some(Source::Bytes(bytes.clone())),
        None => fields.text("image").and_then(|url| match Source::parse(&url, &BTreeMap::new()) {
            Ok(source) => Some(source),
            Err(rule) => {
                fields.reject("image_invalid", "image", &rule);
                None
            }
        }),
    };
    if let Some(source) = first
        && let Some(input) = input(service, fields, "image", source).await?
    {
        images.push(ImageInput { strength, ..ImageInput::first_frame(InputRef::Upload(input.name().to_string())) });
        inputs.push(input);
    }
    let has_first = !images.is_empty();
    for Keyframe { source, frame, strength } in keyframes(service, fields, &files) {
        let Some(input) = input(service, fields, "keyframes", source).await? else { continue };
        images.push(ImageInput {
            frame,
            strength,
            ..ImageInput::first_frame(InputRef::Upload(input.name().to_string()))
        });
        inputs.push(input);
    }
    let task = match (images.is_empty(), has_first) {
        (true, _) => Task::TextToVideo,
        (false, true) => Task::ImageToVideo { images },
        (false, false) => Task::Keyframes { images },
    };
    Ok(Pictures { task, inputs })
}

/// Where a picture is.
enum Source {
    Bytes(Bytes),
    Url(String),
}

impl Source {
    /// `text` is the name of one of `files`, or a URL; an error is the rule that it breaks.
    fn parse(text: &str, files: &BTreeMap<String, Bytes>) -> Result<Self, String> {
        if let Some(data) = text.strip_prefix("data:") {
            return decoded(data).map(Self::Bytes);
        }
        if let Some(bytes) = files.get(text) {
            return Ok(Self::Bytes(bytes.clone()));
        }
        let is_web = ["http://", "https://"].iter().any(|scheme| text.starts_with(scheme));
        if is_web { Ok(Self::Url(text.into())) } else { Err(RULE.into()) }
    }
}

const RULE: &str = "image must be a file of the form, a URL or a data URL";

/// The picture of `field` as a file; `None` if it cannot be had, which is noted in `fields`.
async fn input(
    service: &Arc<Service>,
    fields: &mut Fields,
    field: &str,
    source: Source,
) -> Result<Option<InputFile>, ApiError> {
    let bytes = match source {
        Source::Bytes(bytes) => bytes,
        Source::Url(url) => match fetch(service, &url).await {
            Ok(bytes) => bytes,
            Err(reason) => {
                let url = shortened(url.into());
                let message = format!("{field}: the image is {url}, but {reason}");
                fields.faults.push(Fault::new("image_unreachable", Some(field), message, url));
                return Ok(None);
            }
        },
    };
    fields.faults.extend(image_fault(service, field, bytes.clone()).await?);
    Ok(Some(InputFile::new(bytes.into())))
}

async fn fetch(service: &Service, url: &str) -> Result<Bytes, String> {
    match &service.fetcher {
        Some(fetcher) => fetcher.fetch(url).await,
        None => Err("this server fetches nothing; send the picture itself".into()),
    }
}

struct Keyframe {
    source: Source,
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
    let image = object.get("image").and_then(Value::as_str).ok_or(RULE)?;
    let source = Source::parse(image, files)?;
    Ok(Keyframe { source, frame: frame as u32, strength: number("strength")?.unwrap_or(1.0) })
}

/// The bytes of a data URL, from behind its scheme.
fn decoded(data: &str) -> Result<Bytes, String> {
    let encoded = data.split_once(";base64,").map(|(_, encoded)| encoded);
    let encoded = encoded.ok_or("image must be in base64, as data:image/png;base64,...")?;
    STANDARD.decode(encoded.trim()).map(Bytes::from).map_err(|error| format!("image must be valid base64: {error}"))
}
