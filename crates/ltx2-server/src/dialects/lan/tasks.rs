//! Looking at tasks and removing them.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use ltx2_store::{Cursor, Listed, Removal, TaskId, TaskStatus};
use serde::Deserialize;

use super::map;
use super::wire::{Removed, TaskBody, TaskList};
use crate::Service;
use crate::base_url::base_url;
use crate::error::{ApiError, Fault};

/// Tasks on a page, unless the client says how many.
const PAGE: u32 = 20;
/// Most tasks on a page.
const LONGEST_PAGE: u32 = 100;

/// A task's id from a path; `None` where it cannot be one.
pub(super) fn id(path: Result<Path<String>, PathRejection>) -> Option<TaskId> {
    path.ok().and_then(|Path(id)| TaskId::parse(&id))
}

/// The answer about a task that is not there, to those who want to do something with it.
pub(super) fn unknown() -> Response {
    (StatusCode::NOT_FOUND, Json(TaskBody::unknown())).into_response()
}

pub(super) async fn poll(
    State(service): State<Arc<Service>>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<TaskBody>, ApiError> {
    let record = match id(path) {
        Some(id) => service.store.task(&id).await?,
        None => None,
    };
    Ok(Json(match record {
        Some(record) => map::task_body(record, &base_url(service.public_url.as_ref(), &headers, &uri)),
        None => TaskBody::unknown(),
    }))
}

/// The query of a list, as it was sent.
#[derive(Deserialize)]
pub(super) struct ListQuery {
    status: Option<String>,
    limit: Option<String>,
    cursor: Option<String>,
}

pub(super) async fn list(
    State(service): State<Arc<Service>>,
    query: Result<Query<ListQuery>, QueryRejection>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Json<TaskList>, ApiError> {
    let Query(query) = query.map_err(|rejection| {
        ApiError::Invalid(vec![Fault::query("query_invalid", "query", rejection.body_text(), "")])
    })?;
    let (listed, cursor, limit) = read(&query).map_err(ApiError::Invalid)?;
    let page = service.store.tasks(listed, cursor, limit).await?;
    let base = base_url(service.public_url.as_ref(), &headers, &uri);
    let tasks = page.tasks.into_iter().map(|record| map::task_body(record, &base)).collect();
    Ok(Json(TaskList { tasks, next_cursor: page.next.map(Cursor::text) }))
}

fn read(query: &ListQuery) -> Result<(Listed, Option<Cursor>, u32), Vec<Fault>> {
    let mut faults = Vec::new();
    let listed = match query.status.as_deref() {
        None | Some("") => Listed::All,
        Some("processing") => Listed::Open,
        Some("completed") => Listed::Completed,
        Some("failed") => Listed::Failed,
        Some(other) => {
            let msg = format!("status is {other}, but it must be one of processing, completed, failed");
            faults.push(Fault::query("enum", "status", msg, other));
            Listed::All
        }
    };
    let limit = query.limit.as_deref().map_or(Some(PAGE), |text| text.parse().ok());
    let limit = limit.filter(|limit| (1..=LONGEST_PAGE).contains(limit)).unwrap_or_else(|| {
        let sent = query.limit.as_deref().unwrap_or_default();
        let msg = format!("limit is {sent}, but it must be a whole number between 1 and {LONGEST_PAGE}");
        faults.push(Fault::query("out_of_range", "limit", msg, sent));
        PAGE
    });
    let cursor = query.cursor.as_deref().filter(|text| !text.is_empty()).and_then(|text| {
        let cursor = Cursor::parse(text);
        if cursor.is_none() {
            let msg = "cursor is not a next_cursor of this server";
            faults.push(Fault::query("cursor_invalid", "cursor", msg, text));
        }
        cursor
    });
    if faults.is_empty() { Ok((listed, cursor, limit)) } else { Err(faults) }
}

pub(super) async fn remove(
    State(service): State<Arc<Service>>,
    path: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let Some(id) = id(path) else { return Ok(unknown()) };
    let Some(before) = service.store.task(&id).await? else { return Ok(unknown()) };
    let Some(removal) = service.store.remove(&id).await? else { return Ok(unknown()) };
    tracing::info!(task = %id, "task {id} is removed by a client: {removal:?}");
    let (status, error, deleted, message) = match removal {
        Removal::Cancelled => ("failed", Some("cancelled"), false, "The task is cancelled."),
        Removal::Stopping => ("processing", None, false, "The task stops after its current step."),
        Removal::Deleted => {
            let status = if matches!(before.status, TaskStatus::Failed(_)) { "failed" } else { "completed" };
            (status, None, true, "The task and its files are deleted.")
        }
    };
    Ok(Json(Removed { task_id: id.to_string(), status, error, deleted, message }).into_response())
}
