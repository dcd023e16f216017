//! Updates of a task as server-sent events.

use std::convert::Infallible;
use std::time::Duration;

use axum::http::HeaderMap;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::unfold;
use ltx2_store::{EventKind, TaskEvent, TaskId, TaskRecord, TaskStatus};
use ltx2_types::Phase;
use serde::Serialize;
use serde_json::Value;

use super::map;
use super::wire::{PreviewBody, TaskProgress};
use crate::caller::Urls;
use crate::error::{ApiError, FieldProblem, ProblemKind};
use crate::service::{Update, Watcher};

/// Interval of comments that keep the connection through proxies open.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Returns the number of the last event that the client has; 0 without one.
pub(super) fn last_event_id(headers: &HeaderMap) -> Result<u64, ApiError> {
    let Some(value) = headers.get("last-event-id") else { return Ok(0) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| {
        let message = "Last-Event-ID must be the id of an event of this task";
        FieldProblem::header(ProblemKind::EventIdInvalid, "last-event-id", message).into()
    })
}

/// Returns the updates of `watcher` as an event stream.
pub(super) fn stream(watcher: Watcher, urls: Urls) -> Response {
    let events = unfold((watcher, urls), |(mut watcher, urls)| async move {
        let update = watcher.next().await?;
        let event = match update {
            Update::Event(event, record) => stored(&event, &record, &urls),
            Update::Position(record) => data(Event::default().event("queued"), &map::task_progress(&record)),
            Update::Preview(number) => preview(watcher.id(), number, &urls),
        };
        Some((Ok::<_, Infallible>(event), (watcher, urls)))
    });
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    ([("x-accel-buffering", "no")], sse).into_response()
}

/// The number makes each URL unique, so that browsers load the new image.
fn preview(id: &TaskId, number: u32, urls: &Urls) -> Event {
    let mut url = urls.signed(&map::preview_path(id));
    let separator = if url.contains('?') { '&' } else { '?' };
    url.push_str(&format!("{separator}number={number}"));
    data(Event::default().event("preview"), &PreviewBody { url })
}

fn stored(event: &TaskEvent, record: &TaskRecord, urls: &Urls) -> Event {
    let sse = Event::default().id(event.number.to_string()).event(name(event));
    match event.kind {
        EventKind::Queued => data(sse, &queued(record)),
        EventKind::Started | EventKind::Stage | EventKind::Step => data(sse, &map::run_progress(event.progress, false)),
        EventKind::Completed | EventKind::Failed => data(sse, &map::task_body(record.clone(), urls)),
    }
}

fn queued(record: &TaskRecord) -> TaskProgress {
    match record.status {
        TaskStatus::Queued { .. } => map::task_progress(record),
        _ => map::queued(),
    }
}

/// Returns the name of an event on the wire.
fn name(event: &TaskEvent) -> &'static str {
    match (event.kind, event.progress.map(|progress| progress.phase)) {
        (EventKind::Queued, _) => "queued",
        (EventKind::Stage, Some(Phase::Loading)) => "loading",
        (EventKind::Started | EventKind::Stage, _) => "stage",
        (EventKind::Step, _) => "step",
        (EventKind::Completed, _) => "completed",
        (EventKind::Failed, _) => "failed",
    }
}

fn data<T: Serialize>(event: Event, body: &T) -> Event {
    // JSON text has no line breaks, so it is one data line.
    let body = serde_json::to_value(body).unwrap_or(Value::Null);
    event.data(body.to_string())
}
