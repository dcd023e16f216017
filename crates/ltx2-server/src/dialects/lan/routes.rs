//! Routes of the native API.

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use ltx2_store::{Cursor, Submitted, TaskId, TaskQuery, TaskState, TaskStatus};
use ltx2_types::{OutputRole, VariantArray};

use super::edit::{EditKind, RequestKind};
use super::submit::submit;
use super::wire::{
    ListQuery, LoraListBody, RemoveResponse, StatusResponse, SubmitResponse, TaskBody, TaskList, UNKNOWN_TASK,
    UnloadResponse,
};
use super::{events, map};
use crate::caller::Caller;
use crate::error::{ApiError, FieldProblem, ProblemKind};
use crate::service::{DEFAULT_PAGE, MAX_PAGE, Removed, Watch};
use crate::state::{EngineActivity, Service};
use crate::{body, outputs};

type Shared = State<Arc<Service>>;

/// Returns the routes of this API.
pub(crate) fn routes() -> Router<Arc<Service>> {
    Router::new()
        .route("/v1/video/async_t2v", post(async_t2v))
        .route("/v1/video/async_i2v", queue(RequestKind::Images))
        .route("/v1/video/keyframes", queue(RequestKind::Images))
        .route("/v1/video/extend", queue(RequestKind::Edit(EditKind::Extend)))
        .route("/v1/video/retake", queue(RequestKind::Edit(EditKind::Retake)))
        .route("/v1/video/audio_to_video", queue(RequestKind::Edit(EditKind::AudioToVideo)))
        .route("/v1/video/video_to_video", queue(RequestKind::Edit(EditKind::VideoToVideo)))
        .route("/v1/video/t2v", post(t2v))
        .route("/v1/video/i2v", post(i2v))
        .route("/v1/video/tasks", get(list))
        .route("/v1/video/tasks/{id}", get(poll).delete(remove))
        .route("/v1/video/tasks/{id}/events", get(watch))
        .route("/v1/video/tasks/{id}/preview", get(preview))
        .route("/v1/loras", get(loras))
        .route("/v1/internal/unload", get(unload).post(unload))
        .route("/v1/internal/status", get(status))
}

/// Queues a video from text: JSON.
async fn async_t2v(
    State(service): Shared,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Json<SubmitResponse>, ApiError> {
    Ok(queued(&submit_text(&service, &caller, &headers, body).await?))
}

/// Returns the handler that queues requests of `kind`: a form with files, or JSON with URLs or task ids.
fn queue(kind: RequestKind) -> MethodRouter<Arc<Service>> {
    post(move |State(service): Shared, caller: Caller, headers: HeaderMap, request: Request| async move {
        submit_form(&service, &caller, &headers, request, kind).await.map(|submitted| queued(&submitted))
    })
}

/// Makes a video from text and sends it when it is done.
async fn t2v(
    State(service): Shared,
    caller: Caller,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, ApiError> {
    let submitted = submit_text(&service, &caller, &headers, body).await?;
    video(&service, &submitted, &headers).await
}

/// Makes a video from text and images and sends it when it is done.
async fn i2v(
    State(service): Shared,
    caller: Caller,
    headers: HeaderMap,
    request: Request,
) -> Result<Response, ApiError> {
    let submitted = submit_form(&service, &caller, &headers, request, RequestKind::Images).await?;
    video(&service, &submitted, &headers).await
}

async fn submit_text(
    service: &Service,
    caller: &Caller,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Submitted, ApiError> {
    let fields = body::from_json(headers, body, service.body.max_bytes)?;
    submit(service, caller, headers, fields, RequestKind::Text).await
}

async fn submit_form(
    service: &Service,
    caller: &Caller,
    headers: &HeaderMap,
    request: Request,
    kind: RequestKind,
) -> Result<Submitted, ApiError> {
    let fields = body::read(request, service.body.max_bytes).await?;
    submit(service, caller, headers, fields, kind).await
}

fn queued(submitted: &Submitted) -> Json<SubmitResponse> {
    // The braces are part of the message.
    let message = "Task queued. Poll GET /v1/video/tasks/{task_id}";
    Json(SubmitResponse { task_id: submitted.id().to_string(), status: "processing", message })
}

/// Waits for the task and sends its video. A client that disconnects before cancels its task, unless it sent an
/// idempotency key, with which it can find the task again.
async fn video(service: &Service, submitted: &Submitted, headers: &HeaderMap) -> Result<Response, ApiError> {
    let id = submitted.id();
    let ended = service.wait(id, headers.contains_key("idempotency-key")).await?;
    let file = match ended.map(|record| record.status) {
        Some(TaskStatus::Completed(completion)) => completion.output(OutputRole::Video).map(|video| video.key.clone()),
        Some(TaskStatus::Failed(failure)) => return Err(ApiError::task_failed(failure.message)),
        Some(TaskStatus::Queued { .. } | TaskStatus::Running { .. }) | None => {
            return Err(ApiError::task_failed(UNKNOWN_TASK));
        }
    };
    let file = file.ok_or_else(ApiError::not_found)?;
    let mut response = outputs::send(service, &file, Request::new(Body::empty())).await?;
    if let Ok(id) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert("x-task-id", id);
    }
    Ok(response)
}

/// Parses the id of a task; `None` if it cannot be one.
fn task_id(path: Result<Path<String>, PathRejection>) -> Option<TaskId> {
    path.ok().and_then(|Path(id)| TaskId::parse(&id))
}

/// Returns the response for an unknown task, except to a poll.
fn unknown() -> Response {
    (StatusCode::NOT_FOUND, Json(TaskBody::unknown())).into_response()
}

async fn poll(
    State(service): Shared,
    path: Result<Path<String>, PathRejection>,
    caller: Caller,
) -> Result<Json<TaskBody>, ApiError> {
    let record = match task_id(path) {
        Some(id) => service.task(&id).await?,
        None => None,
    };
    Ok(Json(record.map_or_else(TaskBody::unknown, |record| map::task_body(record, &caller.urls))))
}

async fn list(
    State(service): Shared,
    query: Result<Query<Vec<(String, String)>>, QueryRejection>,
    caller: Caller,
) -> Result<Json<TaskList>, ApiError> {
    let Query(query) = query
        .map_err(|rejection| FieldProblem::query(ProblemKind::QueryInvalid, "query", rejection.body_text(), ""))?;
    let query = ListQuery::new(query)?;
    let page = service.list(page(&query).map_err(ApiError::invalid)?).await?;
    let tasks = page.tasks.into_iter().map(|record| map::task_body(record, &caller.urls)).collect();
    Ok(Json(TaskList { tasks, next_cursor: page.next.map(Cursor::text) }))
}

fn page(query: &ListQuery) -> Result<TaskQuery, Vec<FieldProblem>> {
    let mut problems = Vec::new();
    let all = TaskState::VARIANTS;
    let states = match query.status.as_deref() {
        None | Some("") => all,
        Some("processing") => &[TaskState::Queued, TaskState::Running],
        Some("completed") => &[TaskState::Completed],
        Some("failed") => &[TaskState::Failed],
        Some(other) => {
            let message = format!("status is {other}, but it must be one of processing, completed, failed");
            problems.push(FieldProblem::query(ProblemKind::Enum, "status", message, other));
            all
        }
    };
    let limit = query.limit.as_deref().map_or(Some(DEFAULT_PAGE), |text| text.parse().ok());
    let limit = limit.filter(|limit| (1..=MAX_PAGE).contains(limit)).unwrap_or_else(|| {
        let sent = query.limit.as_deref().unwrap_or_default();
        let message = format!("limit is {sent}, but it must be a whole number between 1 and {MAX_PAGE}");
        problems.push(FieldProblem::query(ProblemKind::OutOfRange, "limit", message, sent));
        DEFAULT_PAGE
    });
    let cursor = query.cursor.as_deref().filter(|text| !text.is_empty()).and_then(|text| {
        let cursor = Cursor::parse(text);
        if cursor.is_none() {
            let message = "cursor is not a next_cursor of this server";
            problems.push(FieldProblem::query(ProblemKind::CursorInvalid, "cursor", message, text));
        }
        cursor
    });
    let query = TaskQuery { states: states.to_vec(), after: cursor, ..TaskQuery::newest(limit) };
    if problems.is_empty() { Ok(query) } else { Err(problems) }
}

async fn remove(State(service): Shared, path: Result<Path<String>, PathRejection>) -> Result<Response, ApiError> {
    let Some(id) = task_id(path) else { return Ok(unknown()) };
    let Some(removed) = service.remove(&id).await? else { return Ok(unknown()) };
    let deleted = "The task and its files are deleted.";
    let (status, error, deleted, message) = match removed {
        Removed::Cancelled => ("failed", Some("cancelled"), false, "The task is cancelled."),
        Removed::Stopping => ("processing", None, false, "The task stops after its current step."),
        Removed::CompletedDeleted => ("completed", None, true, deleted),
        Removed::FailedDeleted => ("failed", None, true, deleted),
    };
    Ok(Json(RemoveResponse { task_id: id.to_string(), status, error, deleted, message }).into_response())
}

async fn watch(
    State(service): Shared,
    path: Result<Path<String>, PathRejection>,
    caller: Caller,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let Some(id) = task_id(path) else { return Ok(unknown()) };
    Ok(match service.watch(id, events::last_event_id(&headers)?).await? {
        Watch::Unknown => unknown(),
        // Browsers reconnect until they get this status.
        Watch::Ended => StatusCode::NO_CONTENT.into_response(),
        Watch::Open(watcher) => events::stream(watcher, caller.urls),
    })
}

/// Sends the latest preview, a JPEG, or 404 while there is none. Further previews are made for some minutes.
async fn preview(State(service): Shared, path: Result<Path<String>, PathRejection>) -> Result<Response, ApiError> {
    let Some(id) = task_id(path) else { return Ok(unknown()) };
    let Some(record) = service.task(&id).await? else { return Ok(unknown()) };
    let jpeg = service.preview(&record).await?.ok_or_else(ApiError::not_found)?;
    let headers = [(header::CONTENT_TYPE, "image/jpeg"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, jpeg).into_response())
}

/// Lists the LoRAs and camera motions that requests can name, and the files that cannot be used.
async fn loras(State(service): Shared) -> Json<LoraListBody> {
    Json(map::lora_list(&service.loras))
}

/// Unloads the model once the running task has ended.
async fn unload(State(service): Shared) -> Json<UnloadResponse> {
    (service.engine.unload)().await;
    Json(UnloadResponse { status: "models unloaded" })
}

async fn status(State(service): Shared) -> Result<Json<StatusResponse>, ApiError> {
    let engine = (service.engine.status)();
    let open = service.store.open_tasks().await?;
    let status = match engine.activity {
        EngineActivity::Idle => "idle",
        EngineActivity::Generating => "generating",
    };
    let (queued, running) = (open.waiting, open.running);
    Ok(Json(StatusResponse { status, model_loaded: engine.loaded, device: engine.device, queued, running }))
}
