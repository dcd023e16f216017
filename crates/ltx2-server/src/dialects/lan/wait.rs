//! Requests that are answered with the video itself.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::BytesRejection;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::Response;
use ltx2_store::{Store, Submitted, TaskId, TaskStatus};

use super::submit::{self, Incoming};
use super::wire::UNKNOWN;
use crate::Service;
use crate::error::ApiError;
use crate::outputs;

pub(super) async fn t2v(
    State(service): State<Arc<Service>>,
    uri: Uri,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let is_named = is_named(&headers);
    let submitted = submit::t2v(&service, Incoming { headers, uri }, body).await?;
    video(&service, &submitted, is_named).await
}

pub(super) async fn i2v(State(service): State<Arc<Service>>, request: Request) -> Result<Response, ApiError> {
    let is_named = is_named(request.headers());
    let submitted = submit::i2v(&service, request).await?;
    video(&service, &submitted, is_named).await
}

fn is_named(headers: &HeaderMap) -> bool {
    headers.contains_key("idempotency-key")
}

/// Cancels a task when dropped: its client has gone, and nobody else knows its id.
struct Abandoned {
    store: Store,
    task: Option<TaskId>,
}

impl Drop for Abandoned {
    fn drop(&mut self) {
        let (Some(id), Ok(runtime)) = (self.task.take(), tokio::runtime::Handle::try_current()) else { return };
        let store = self.store.clone();
        runtime.spawn(async move {
            tracing::info!(task = %id, "task {id} is cancelled: its client did not wait for it");
            if let Err(error) = store.cancel(&id).await {
                tracing::warn!(task = %id, %error, "task {id} could not be cancelled: {error}");
            }
        });
    }
}

/// Waits for the task and sends its video. A client that goes away before takes its task with it, unless it gave the
/// task a name (an `Idempotency-Key`) by which it can come back to it.
async fn video(service: &Service, submitted: &Submitted, is_named: bool) -> Result<Response, ApiError> {
    let id = submitted.id();
    let task = (!is_named).then(|| id.clone());
    let mut abandoned = Abandoned { store: service.store.clone(), task };
    let mut changes = service.store.changes();
    let file = loop {
        let record = service.store.task(id).await?;
        match record.map(|record| record.status) {
            Some(TaskStatus::Completed(artifact)) => break artifact.file,
            Some(TaskStatus::Failed(failure)) => {
                abandoned.task = None;
                return Err(ApiError::TaskFailed(failure.message));
            }
            Some(TaskStatus::Queued { .. } | TaskStatus::Running { .. }) => {}
            None => return Err(ApiError::TaskFailed(UNKNOWN.into())),
        }
        let changed = Store::wait_for_change(&mut changes, id);
        service.closing.run_until_cancelled(changed).await.ok_or(ApiError::Stopping)?;
    };
    abandoned.task = None;
    let mut response = outputs::send(service, &file, Request::new(Body::empty())).await?;
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert("x-task-id", id);
    }
    Ok(response)
}
