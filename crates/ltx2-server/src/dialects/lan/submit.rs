//! Taking requests in.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, Uri};
use ltx2_store::{InputFile, Submission, SubmissionKey, Submitted, Webhook};
use ltx2_types::ValidRequest;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::fields::{Fields, is_json};
use super::map::{self, Ask};
use super::pictures::{self, Pictures};
use super::wire;
use crate::Service;
use crate::base_url::base_url;
use crate::error::{ApiError, Fault};

/// What a route of this API got.
pub(super) struct Incoming {
    pub(super) headers: HeaderMap,
    pub(super) uri: Uri,
}

pub(super) async fn async_t2v(
    State(service): State<Arc<Service>>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<wire::Submitted>, ApiError> {
    let submitted = t2v(&service, Incoming { headers, uri }, body).await?;
    Ok(Json(wire::Submitted::new(submitted.id())))
}

pub(super) async fn async_i2v(
    State(service): State<Arc<Service>>,
    request: Request,
) -> Result<Json<wire::Submitted>, ApiError> {
    let submitted = i2v(&service, request).await?;
    Ok(Json(wire::Submitted::new(submitted.id())))
}

/// Queues a video from text.
pub(super) async fn t2v(
    service: &Arc<Service>,
    incoming: Incoming,
    body: Result<Bytes, BytesRejection>,
) -> Result<Submitted, ApiError> {
    let mut fields = Fields::from_json(&incoming.headers, body, service.body.max_bytes)?;
    let files = BTreeMap::new();
    let key = key(&incoming.headers, &fields, &files)?;
    let Pictures { task, inputs } = pictures::read(service, &mut fields, files).await?;
    let ask = map::ask(fields, task, &service.limits).map_err(ApiError::Invalid)?;
    submit(service, &incoming, Wanted { ask, key, inputs }).await
}

/// Queues a video from text and pictures: a form with files, or JSON with URLs.
pub(super) async fn i2v(service: &Arc<Service>, request: Request) -> Result<Submitted, ApiError> {
    let incoming = Incoming { headers: request.headers().clone(), uri: request.uri().clone() };
    let max_bytes = service.body.max_bytes;
    let (mut fields, files) = if is_json(&incoming.headers) {
        let body = Bytes::from_request(request, &()).await;
        (Fields::from_json(&incoming.headers, body, max_bytes)?, BTreeMap::new())
    } else {
        let form = Multipart::from_request(request, &()).await;
        Fields::from_form(&incoming.headers, form, max_bytes).await?
    };
    let key = key(&incoming.headers, &fields, &files)?;
    if !files.contains_key("image") && ["image", "keyframes"].iter().all(|name| fields.sent(name).is_null()) {
        fields.faults.push(Fault::missing(Some("image")));
    }
    let Pictures { task, inputs } = pictures::read(service, &mut fields, files).await?;
    let ask = map::ask(fields, task, &service.limits).map_err(ApiError::Invalid)?;
    submit(service, &incoming, Wanted { ask, key, inputs }).await
}

/// A request that is understood.
struct Wanted {
    ask: Ask,
    key: Option<SubmissionKey>,
    inputs: Vec<InputFile>,
}

async fn submit(service: &Arc<Service>, incoming: &Incoming, wanted: Wanted) -> Result<Submitted, ApiError> {
    let Wanted { ask: Ask { request, priority, webhook_url }, key, inputs } = wanted;
    let webhook = webhook_url.map(|url| webhook(service, incoming, url)).transpose()?;
    let request = runnable(service, request).await?;
    let ValidRequest { width, height, num_frames, .. } = request;
    let max_waiting = Some(service.max_waiting);
    let submission = Submission { request, inputs, priority, key, webhook, max_waiting };
    let submitted = service.store.submit(submission).await?;
    let id = submitted.id();
    match submitted {
        Submitted::Queued(_) => {
            tracing::info!(task = %id, "task {id} is queued: {width}x{height}, {num_frames} frames");
        }
        Submitted::Known(_) => tracing::info!(task = %id, "task {id} was asked for again"),
    }
    Ok(submitted)
}

/// `request`, if this server's model and memory can run it.
async fn runnable(service: &Arc<Service>, request: ValidRequest) -> Result<ValidRequest, ApiError> {
    let check = service.check_request.clone();
    let checked = tokio::task::spawn_blocking(move || check(&request).map(|()| request)).await;
    match checked {
        Ok(Ok(request)) => Ok(request),
        Ok(Err(reason)) => Err(ApiError::body("not_possible", reason, Value::Null)),
        Err(error) => {
            tracing::error!(%error, "checking a request failed: {error}");
            Err(ApiError::Internal)
        }
    }
}

fn webhook(service: &Service, incoming: &Incoming, url: String) -> Result<Webhook, ApiError> {
    let fault = |reason: String| {
        let msg = format!("webhook_url is {:?}, but {reason}", crate::error::shortened(url.clone().into()));
        ApiError::Invalid(vec![Fault::new("webhook_refused", Some("webhook_url"), msg, url.clone().into())])
    };
    let Some(rules) = &service.webhooks else {
        return Err(fault("this server has no webhook secret, so that it calls nobody".into()));
    };
    rules.allowed.check(&url).map_err(fault)?;
    let base = base_url(service.public_url.as_ref(), &incoming.headers, &incoming.uri);
    Ok(Webhook { url, base })
}

/// Longest `Idempotency-Key`.
const LONGEST_KEY: usize = 255;

fn key(
    headers: &HeaderMap,
    fields: &Fields,
    files: &BTreeMap<String, Bytes>,
) -> Result<Option<SubmissionKey>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=LONGEST_KEY).contains(&key.len())).ok_or_else(|| {
        let msg = format!("Idempotency-Key must be 1 to {LONGEST_KEY} characters of ASCII");
        ApiError::Invalid(vec![Fault::header("key_invalid", "idempotency-key", msg)])
    })?;
    let fields = fields.canonical();
    let mut hash = Sha256::new();
    let mut add = |bytes: &[u8]| {
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(bytes);
    };
    add(fields.as_bytes());
    for (name, bytes) in files {
        add(name.as_bytes());
        add(bytes);
    }
    let fingerprint = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Some(SubmissionKey { key: key.into(), fingerprint }))
}
