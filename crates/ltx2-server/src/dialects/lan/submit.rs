//! From the fields of a request to a submitted task.

use axum::http::HeaderMap;
use ltx2_store::{Submitted, Upload};
use ltx2_types::{FieldError, GenerationRequest, InputRef};
use serde_json::Value;

use super::edit::{self, RequestKind};
use super::map::{self, ConditioningImage};
use super::wire::{ALIASES, DIALECT, VideoRequest};
use crate::body::Fields;
use crate::caller::Caller;
use crate::error::{ApiError, FieldProblem, Location, ProblemKind, shortened};
use crate::service::{ImageSource, LoadedImage, SubmitError, SubmitRequest, submission_key};
use crate::state::Service;

/// Submits the request in `fields`. Reports all problems at once.
pub(super) async fn submit(
    service: &Service,
    caller: &Caller,
    headers: &HeaderMap,
    mut fields: Fields,
    kind: RequestKind,
) -> Result<Submitted, ApiError> {
    fields.resolve_aliases(ALIASES);
    let key = headers.get("idempotency-key");
    let key = key.map(|key| submission_key(key.to_str().ok(), || fields.fingerprint())).transpose()?;
    if kind == RequestKind::Images && !fields.has("image") && !fields.has("keyframes") {
        fields.push(FieldProblem::missing("image"));
    }
    let edit = match kind {
        RequestKind::Edit(kind) => edit::read(service, kind, &mut fields).await?,
        RequestKind::Text | RequestKind::Images => None,
    };
    let Some(mut video) = fields.read::<VideoRequest>() else { return Err(fields.into_error()) };
    let images = map::images(&mut video, &mut fields, &service.limits.defaults);
    let (mut inputs, sources) = load(service, &images, &mut fields).await?;
    let priority = map::priority(video.priority, &mut fields);
    let webhook = match video.webhook_url.take() {
        Some(url) => service.webhook(&url, &caller.urls.base).map(Some).unwrap_or_else(|reason| {
            let message = format!("webhook_url is {}, but {reason}", shortened(url.clone().into()));
            fields.push(FieldProblem::field(ProblemKind::WebhookRefused, "webhook_url", message, url.into()));
            None
        }),
        None => None,
    };
    let request = match edit {
        None if matches!(kind, RequestKind::Edit(_)) => return Err(fields.into_error()),
        None => map::generation_request(video, map::task(&images, sources), &mut fields),
        Some(edit) => {
            video.num_frames = edit.num_frames(&mut fields).or(video.num_frames);
            let task = edit.task(map::image_inputs(&images, sources));
            inputs.extend(edit.upload);
            GenerationRequest { source: Some(edit.info), ..map::generation_request(video, task, &mut fields) }
        }
    };
    let request = match service.validate(request) {
        Ok(request) if fields.is_valid() => request,
        Ok(_) => return Err(fields.into_error()),
        Err(errors) => return Err(with_errors(fields, &errors)),
    };
    let submit = SubmitRequest {
        request,
        inputs,
        priority,
        key,
        content: None,
        webhook,
        dialect: DIALECT,
        owner: caller.principal.clone(),
    };
    service.submit(submit).await.map_err(|error| match error {
        SubmitError::Field(error) => map::problem(&error, &fields).into(),
        SubmitError::Api(error) => error,
    })
}

/// Loads `images`. Returns the valid files, and a reference for each image.
async fn load(
    service: &Service,
    images: &[ConditioningImage],
    fields: &mut Fields,
) -> Result<(Vec<Upload>, Vec<InputRef>), ApiError> {
    let (mut inputs, mut references) = (Vec::new(), Vec::new());
    let loaded = service.load_images(images.iter().map(|image| image.source.clone()).collect()).await?;
    for (image, loaded) in images.iter().zip(loaded) {
        match loaded {
            LoadedImage::Valid { input, upload, .. } => {
                references.push(input);
                inputs.extend(upload);
            }
            LoadedImage::Invalid(kind, reason) => {
                fields.push(image_problem(image, kind, &reason));
                references.push(InputRef::Upload(String::new()));
            }
        }
    }
    Ok((inputs, references))
}

fn image_problem(image: &ConditioningImage, kind: ProblemKind, reason: &str) -> FieldProblem {
    let field = image.field;
    match &image.source {
        ImageSource::Url(url) if kind == ProblemKind::ImageUnreachable => {
            let url = shortened(url.clone().into());
            FieldProblem::field(kind, field, format!("{field}: the image is {url}, but {reason}"), url)
        }
        _ => FieldProblem::field(kind, field, format!("{field}: {reason}"), Value::Null),
    }
}

fn with_errors(mut fields: Fields, errors: &[FieldError]) -> ApiError {
    for error in errors {
        let problem = map::problem(error, &fields);
        // One field here may set two of the request, which then both break the rule.
        let is_known = matches!(&problem.location, Location::Field(name) if fields.has_problem(name));
        if !is_known {
            fields.push(problem);
        }
    }
    fields.into_error()
}
