//! Watching a task: its events so far and as they happen, its queue position and its previews.

use std::collections::VecDeque;

use ltx2_store::{Changes, PreviewViewer, Store, StoreError, TaskEvent, TaskId, TaskRecord, TaskStatus};
use tokio_util::sync::CancellationToken;

use crate::error::ApiError;
use crate::state::Service;

/// Result of opening a watcher.
pub(crate) enum Watch {
    /// The task does not exist.
    Unknown,
    /// The task has ended and the client has its last event.
    Ended,
    /// Further updates follow.
    Open(Watcher),
}

/// An update of a watched task.
pub(crate) enum Update {
    /// A stored event, with the task as it is now.
    Event(TaskEvent, Box<TaskRecord>),
    /// A new queue position. State, not an event: it has no number and is not repeated.
    Position(Box<TaskRecord>),
    /// A new preview with its number. State as well.
    Preview(u32),
}

/// Stream of updates of a task. Previews are made while it exists.
pub(crate) struct Watcher {
    store: Store,
    id: TaskId,
    changes: Changes,
    closing: CancellationToken,
    _viewer: PreviewViewer,
    /// Number of the last event that was returned.
    last_event: u64,
    /// Queue position that was returned last.
    position: Option<u32>,
    /// Preview that was returned last.
    preview: Option<u32>,
    ready: VecDeque<Update>,
    has_ended: bool,
}

impl Service {
    /// Watches a task from the event after `last_event` on.
    pub(crate) async fn watch(&self, id: TaskId, last_event: u64) -> Result<Watch, ApiError> {
        // Subscribed before the first read, so that no change is missed in between.
        let changes = self.store.changes();
        if self.store.task(&id).await?.is_none() {
            return Ok(Watch::Unknown);
        }
        let events = self.store.events_after(&id, 0).await?;
        if events.last().is_some_and(|last| last.kind.is_last() && last.number <= last_event) {
            return Ok(Watch::Ended);
        }
        Ok(Watch::Open(Watcher {
            store: self.store.clone(),
            _viewer: self.store.view_previews(&id).await?,
            id,
            changes,
            closing: self.closing.clone(),
            last_event,
            position: None,
            preview: None,
            ready: VecDeque::new(),
            has_ended: false,
        }))
    }

    /// Returns the latest preview of a task that has not ended, a JPEG, and has further ones made for some minutes.
    pub(crate) async fn preview(&self, record: &TaskRecord) -> Result<Option<Vec<u8>>, ApiError> {
        if !matches!(record.status, TaskStatus::Queued { .. } | TaskStatus::Running { .. }) {
            return Ok(None);
        }
        self.store.want_previews(&record.id).await?;
        let latest = self.store.preview(&record.id).await?;
        Ok(latest.map(|(_, jpeg)| jpeg))
    }
}

impl Watcher {
    /// Returns the task.
    pub(crate) fn id(&self) -> &TaskId {
        &self.id
    }

    /// Waits for the next update; `None` after the last one and at shutdown.
    pub(crate) async fn next(&mut self) -> Option<Update> {
        loop {
            if let Some(update) = self.ready.pop_front() {
                return Some(update);
            }
            if self.has_ended || self.closing.is_cancelled() {
                return None;
            }
            if let Err(error) = self.read().await {
                tracing::error!(task = %self.id, %error, "cannot read the events of task {}: {error}", self.id);
                return None;
            }
            if self.ready.is_empty() && !self.has_ended {
                self.closing.run_until_cancelled(self.changes.task(&self.id)).await?;
            }
        }
    }

    async fn read(&mut self) -> Result<(), StoreError> {
        let events = self.store.events_after(&self.id, self.last_event).await?;
        let Some(record) = self.store.task(&self.id).await? else {
            // Deleted meanwhile.
            self.has_ended = true;
            return Ok(());
        };
        let preview = record.preview;
        let position = match record.status {
            TaskStatus::Queued { position } => Some(position),
            _ => None,
        };
        let has_moved = position.is_some() && position != self.position && events.is_empty();
        self.position = position;
        for event in &events {
            self.last_event = event.number;
            self.has_ended |= event.kind.is_last();
            self.ready.push_back(Update::Event(event.clone(), Box::new(record.clone())));
        }
        if has_moved {
            self.ready.push_back(Update::Position(Box::new(record)));
        }
        if preview != self.preview && !self.has_ended {
            self.ready.extend(preview.map(Update::Preview));
        }
        self.preview = preview;
        Ok(())
    }
}
