//! The server's own API: submit, poll, fetch.

mod fields;
mod map;
mod wire;

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::multipart::MultipartRejection;
use axum::extract::rejection::{BytesRejection, PathRejection};
use axum::extract::{Multipart, Path, State};
use axum::http::{HeaderMap, Uri};
use axum::routing::{get, post};
use axum::{Json, Router};
use ltx2_store::{InputFile, TaskId};
use ltx2_types::{ImageInput, Task, ValidRequest};

use self::fields::Fields;
use self::wire::{Submitted, TaskBody};
use crate::Service;
use crate::base_url::base_url;
use crate::error::{ApiError, Fault};
use crate::images::image_fault;

pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/video/async_t2v", post(async_t2v))
        .route("/v1/video/async_i2v", post(async_i2v))
        .route("/v1/video/tasks/{id}", get(task))
}

async fn async_t2v(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<Submitted>, ApiError> {
    let fields = Fields::from_json(&headers, body, service.max_body)?;
    let request = map::valid_request(fields, Task::TextToVideo, &service.limits).map_err(ApiError::Invalid)?;
    submit(&service, &request, vec![]).await
}

async fn async_i2v(
    State(service): State<Arc<Service>>,
    headers: HeaderMap,
    form: Result<Multipart, MultipartRejection>,
) -> Result<Json<Submitted>, ApiError> {
    let (mut fields, image) = Fields::from_form(&headers, form, service.max_body).await?;
    let input = match image {
        Some(bytes) => {
            fields.faults.extend(image_fault(&service, "image", bytes.clone()).await?);
            Some(InputFile::new(bytes.into()))
        }
        None => {
            fields.faults.push(Fault::missing(Some("image")));
            None
        }
    };
    let images = input.iter().map(|input| ImageInput::first_frame(input.name().as_str())).collect();
    let task = Task::ImageToVideo { images };
    let request = map::valid_request(fields, task, &service.limits).map_err(ApiError::Invalid)?;
    submit(&service, &request, input.into_iter().collect()).await
}

async fn submit(
    service: &Service,
    request: &ValidRequest,
    inputs: Vec<InputFile>,
) -> Result<Json<Submitted>, ApiError> {
    let id = service.store.enqueue(request, inputs).await?;
    let ValidRequest { width, height, num_frames, .. } = request;
    tracing::info!(task = %id, "task {id} is queued: {width}x{height}, {num_frames} frames");
    Ok(Json(Submitted::new(&id)))
}

async fn task(
    State(service): State<Arc<Service>>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<TaskBody>, ApiError> {
    let id = id.ok().and_then(|Path(id)| TaskId::parse(&id));
    let record = match id {
        Some(id) => service.store.task(&id).await?,
        None => None,
    };
    Ok(Json(match record {
        Some(record) => map::task_body(record, &base_url(service.public_url.as_ref(), &headers, &uri)),
        None => TaskBody::unknown(),
    }))
}
