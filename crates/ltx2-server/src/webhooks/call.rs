//! Calling the webhooks that the store has due.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ltx2_store::{DueWebhook, Store, StoreError, TaskStatus};
use ltx2_types::OutputRole;
use reqwest::{Client, StatusCode};
use serde::Serialize;
use tokio::task::{self, JoinSet};
use url::{Position, Url};

use super::WebhookRules;

/// Time for one call.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Lease on a due call. A call that this process did not finish is due again after it.
const LEASE: Duration = Duration::from_secs(60);
/// Seconds after each failure until the next attempt; after the last one the call is given up.
const RETRY_AFTER: [u64; 8] = [5, 30, 120, 600, 1800, 3600, 3 * 3600, 6 * 3600];
/// Interval of checks for calls that are due again.
const POLL: Duration = Duration::from_secs(2);
/// Maximum number of concurrent calls.
const MAX_CALLS: usize = 64;
/// Maximum number of concurrent calls to one receiver.
const MAX_CALLS_TO_RECEIVER: usize = 8;

/// Calls the due webhooks of `store`, forever. Each call stays in the store until it succeeds or is given up, so it
/// survives restarts. Calls are concurrent, and few of them go to one receiver: a slow one does not delay the others.
///
/// # Errors
/// If the TLS root certificates of the system cannot be read.
pub async fn call_webhooks(store: Store, rules: WebhookRules) -> Result<(), reqwest::Error> {
    let client = rules.allowed.client(TIMEOUT)?;
    let mut changes = store.changes();
    let caller = Arc::new(Caller { client, store, rules });
    let mut calls = RunningCalls::default();
    loop {
        while calls.tasks.len() < MAX_CALLS
            && let Some(due) = caller.claim(&calls.busy()).await
        {
            calls.spawn(caller.clone(), due);
        }
        tokio::select! {
            Some(()) = calls.join_next() => {}
            () = changes.queue() => {}
            () = tokio::time::sleep(POLL) => {}
        }
    }
}

/// Calls that run, with their receivers.
#[derive(Default)]
struct RunningCalls {
    tasks: JoinSet<()>,
    receivers: HashMap<task::Id, String>,
}

impl RunningCalls {
    fn spawn(&mut self, caller: Arc<Caller>, due: DueWebhook) {
        let receiver = receiver(&due.webhook.url);
        let task = self.tasks.spawn(async move { caller.call(due).await });
        self.receivers.insert(task.id(), receiver);
    }

    /// Waits for the end of a call; `None` if no call runs.
    async fn join_next(&mut self) -> Option<()> {
        let id = match self.tasks.join_next_with_id().await? {
            Ok((id, ())) => id,
            Err(error) => {
                tracing::error!(%error, "webhook call panicked: {error}");
                error.id()
            }
        };
        self.receivers.remove(&id);
        Some(())
    }

    /// Returns the receivers that take no further call for now.
    fn busy(&self) -> Vec<String> {
        let mut calls: HashMap<&str, usize> = HashMap::new();
        for receiver in self.receivers.values() {
            *calls.entry(receiver).or_default() += 1;
        }
        let full = calls.into_iter().filter(|&(_, count)| count >= MAX_CALLS_TO_RECEIVER);
        full.map(|(receiver, _)| receiver.into()).collect()
    }
}

/// Returns the receiver of calls to `url`: the URL up to its path.
fn receiver(url: &str) -> String {
    Url::parse(url).map_or_else(|_| url.into(), |url| format!("{}/", &url[..Position::BeforePath]))
}

struct Caller {
    client: Client,
    store: Store,
    rules: WebhookRules,
}

/// Reason why a call did not succeed.
enum CallError {
    /// The receiver or the task no longer exists: no further attempt.
    Gone,
    /// Any other reason: a further attempt follows.
    Failed(String),
}

impl Caller {
    async fn claim(&self, busy: &[String]) -> Option<DueWebhook> {
        match self.store.claim_webhook(LEASE, busy).await {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(%error, "cannot claim a webhook call: {error}");
                None
            }
        }
    }

    async fn call(&self, due: DueWebhook) {
        let id = &due.task;
        let retry_after = match self.try_call(&due).await {
            Ok(()) => None,
            Err(CallError::Gone) => {
                tracing::info!(task = %id, "webhook of task {id} dropped: its receiver or task is gone");
                None
            }
            Err(CallError::Failed(reason)) => {
                let retry_after = RETRY_AFTER.get(due.attempts as usize).map(|&seconds| Duration::from_secs(seconds));
                match retry_after {
                    Some(wait) => {
                        tracing::warn!(task = %id, "webhook of task {id} failed, retry in {wait:?}: {reason}")
                    }
                    None => tracing::error!(task = %id, "webhook of task {id} failed, no further retry: {reason}"),
                }
                retry_after
            }
        };
        if let Err(error) = self.store.webhook_called(&due, retry_after).await {
            tracing::error!(task = %id, %error, "cannot record the webhook call of task {id}, it is repeated: {error}");
        }
    }

    async fn try_call(&self, due: &DueWebhook) -> Result<(), CallError> {
        let url = self.rules.allowed.check(&due.webhook.url).map_err(CallError::Failed)?;
        let event = Event::of(&self.store, due).await.map_err(|error| CallError::Failed(error.to_string()))?;
        let event = event.ok_or(CallError::Gone)?;
        let body = serde_json::to_string(&event).map_err(|error| CallError::Failed(error.to_string()))?;
        let now = Timestamp::now().as_second();
        let request = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", &event.id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", self.rules.secret.sign(&event.id, now, &body))
            .body(body);
        // The body of the response is not read, so it may have any length.
        let response = request.send().await.map_err(|error| CallError::Failed(error.without_url().to_string()))?;
        match response.status() {
            status if status.is_success() => Ok(()),
            StatusCode::GONE => Err(CallError::Gone),
            status => Err(CallError::Failed(format!("the receiver answered {status}"))),
        }
    }
}

/// Body of a call.
#[derive(Serialize)]
struct Event {
    /// Unix time of the end, seconds.
    created_at: i64,
    data: EventData,
    /// The same for each attempt, so that the receiver recognises repetitions.
    id: String,
    object: &'static str,
    r#type: &'static str,
}

/// The ended task.
#[derive(Serialize)]
struct EventData {
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    id: String,
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<String>,
}

impl Event {
    /// Returns the event for a task; `None` if it no longer exists.
    async fn of(store: &Store, due: &DueWebhook) -> Result<Option<Self>, StoreError> {
        let Some(record) = store.task(&due.task).await? else { return Ok(None) };
        let (r#type, status, error, url) = match record.status {
            TaskStatus::Completed(completion) => {
                let video = completion.output(OutputRole::Video);
                let url = video.map(|video| format!("{}/outputs/{}", due.webhook.base, video.key));
                ("video.completed", "completed", None, url)
            }
            TaskStatus::Failed(failure) => ("video.failed", "failed", Some(failure.message), None),
            TaskStatus::Queued { .. } | TaskStatus::Running { .. } => return Ok(None),
        };
        Ok(Some(Self {
            created_at: record.finished_at.unwrap_or_default() / 1000,
            data: EventData { error, id: due.task.to_string(), status, url },
            id: format!("evt_{}", due.task),
            object: "event",
            r#type,
        }))
    }
}
