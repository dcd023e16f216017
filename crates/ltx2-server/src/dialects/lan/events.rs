//! Watching a task: what happened to it so far, and what happens, as server-sent events.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream::{StreamExt, unfold};
use ltx2_store::{Change, EventKind, PreviewViewer, Store, StoreError, TaskEvent, TaskId, TaskRecord, TaskStatus};
use ltx2_types::Phase;
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;

use super::tasks::{id, unknown};
use super::wire::{Place, TaskBody};
use super::{map, wire};
use crate::Service;
use crate::base_url::base_url;
use crate::error::{ApiError, Fault};

/// A comment is sent after this long without an event, so that proxies keep the connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn watch(
    State(service): State<Arc<Service>>,
    path: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let Some(id) = id(path) else { return Ok(unknown()) };
    let seen = last_event_id(&headers)?;
    // Before the first look, so that nothing falls in between.
    let changes = service.store.changes();
    if service.store.task(&id).await?.is_none() {
        return Ok(unknown());
    }
    let events = service.store.events_after(&id, 0).await?;
    if events.last().is_some_and(|last| last.kind.is_last() && last.number <= seen) {
        // Browsers come back for ever unless told that there is nothing left.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let base = base_url(service.public_url.as_ref(), &headers, &uri);
    let watcher = Watcher {
        store: service.store.clone(),
        _viewer: service.store.view_previews(&id),
        preview: None,
        id,
        base,
        changes,
        seen,
        position: None,
        ready: VecDeque::new(),
        has_ended: false,
    };
    let events = unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await?;
        Some((Ok::<_, Infallible>(event), watcher))
    });
    let events = events.take_until(service.closing.clone().cancelled_owned());
    let sse = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
    Ok(([("x-accel-buffering", "no")], sse).into_response())
}

fn last_event_id(headers: &HeaderMap) -> Result<u64, ApiError> {
    let Some(value) = headers.get("last-event-id") else { return Ok(0) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| {
        let msg = "Last-Event-ID must be the id of an event of this task";
        ApiError::Invalid(vec![Fault::header("event_id_invalid", "last-event-id", msg)])
    })
}

struct Watcher {
    store: Store,
    /// Has previews made while it is connected.
    _viewer: PreviewViewer,
    /// The preview that was sent last, by its number.
    preview: Option<u32>,
    id: TaskId,
    base: String,
    changes: Receiver<Change>,
    /// The last event that was sent.
    seen: u64,
    /// The place in the queue that was sent last.
    position: Option<u32>,
    ready: VecDeque<Event>,
    has_ended: bool,
}

impl Watcher {
    /// The next event; `None` after the last.
    async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.has_ended {
                return None;
            }
            if let Err(error) = self.look().await {
                tracing::error!(task = %self.id, %error, "the events of task {} cannot be read: {error}", self.id);
                return None;
            }
            if self.ready.is_empty() && !self.has_ended {
                Store::wait_for_change(&mut self.changes, &self.id).await;
            }
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let events = self.store.events_after(&self.id, self.seen).await?;
        let Some(record) = self.store.task(&self.id).await? else {
            // Deleted meanwhile.
            self.has_ended = true;
            return Ok(());
        };
        let position = match record.status {
            TaskStatus::Queued { position } => Some(position),
            _ => None,
        };
        for event in events.iter() {
            self.seen = event.number;
            self.has_ended |= event.kind.is_last();
            self.ready.push_back(render(event, &record, &self.base));
        }
        // A place in the queue is how things are, not what happened: it has no number and is not repeated.
        let has_moved = position.is_some() && position != self.position;
        if has_moved && events.is_empty() {
            self.ready.push_back(data(Event::default().event("queued"), &map::place(&record)));
        }
        self.position = position;
        // So is the latest preview.
        let preview = self.store.previews_made(&self.id);
        if preview != self.preview && !self.has_ended {
            self.ready.extend(preview.map(|number| render_preview(&self.id, number, &self.base)));
        }
        self.preview = preview;
        Ok(())
    }
}

/// The number makes it a new address each time, so that pages show a new picture.
fn render_preview(id: &TaskId, number: u32, base: &str) -> Event {
    let url = format!("{base}/v1/video/tasks/{id}/preview?number={number}");
    data(Event::default().event("preview"), &json!({"url": url}))
}

fn render(event: &TaskEvent, record: &TaskRecord, base: &str) -> Event {
    let sse = Event::default().id(event.number.to_string()).event(name(event));
    match event.kind {
        EventKind::Queued => data(sse, &queued(record)),
        EventKind::Started | EventKind::Stage | EventKind::Step => data(sse, &map::running(event.progress, false)),
        EventKind::Completed | EventKind::Failed => data::<TaskBody>(sse, &map::task_body(record.clone(), base)),
    }
}

fn queued(record: &TaskRecord) -> Place {
    match record.status {
        TaskStatus::Queued { .. } => map::place(record),
        _ => wire::Place { stage: "queued", ..map::running(None, false) },
    }
}

/// What the event is called on the wire.
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

fn data<T: serde::Serialize>(event: Event, body: &T) -> Event {
    // Through a value: text in it has its line ends escaped, so that it cannot break the event.
    let body = serde_json::to_value(body).unwrap_or(Value::Null);
    event.data(body.to_string())
}
