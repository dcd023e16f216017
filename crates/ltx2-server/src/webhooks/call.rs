//! Making the calls that the store says are due.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ltx2_store::{DueWebhook, Store, StoreError, TaskStatus};
use ltx2_types::OutputRole;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::WebhookRules;

/// How long a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How long to wait after the first failure, the second and so on; after the last the call is given up.
const AGAIN: [u64; 8] = [5, 30, 120, 600, 1800, 3600, 3 * 3600, 6 * 3600];
/// How often to look for calls that are due again.
const LOOK: Duration = Duration::from_secs(2);
/// Calls at a time.
const MANY: usize = 8;
/// Lease of a call, longer than the call takes.
const LEASE: Duration = Duration::from_secs(60);

/// Makes the calls of `store` that are due, for ever. They are in the store until they were heard, so that they outlive
/// the process.
pub async fn call_webhooks(store: Store, rules: WebhookRules) -> Result<(), reqwest::Error> {
    let mut changes = store.changes();
    let calls = Arc::new(Semaphore::new(MANY));
    let caller = Arc::new(Caller { client: rules.allowed.client(TIMEOUT)?, store, rules });
    loop {
        // Never closed.
        let Ok(permit) = calls.clone().acquire_owned().await else { return Ok(()) };
        match caller.store.claim_webhook(LEASE).await {
            Ok(Some(due)) => {
                let caller = caller.clone();
                tokio::spawn(async move {
                    caller.call(due).await;
                    drop(permit);
                });
                continue;
            }
            Ok(None) => drop(permit),
            Err(error) => tracing::error!(%error, "due webhooks cannot be read: {error}"),
        }
        tokio::select! {
            () = changes.queue() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

struct Caller {
    client: Client,
    store: Store,
    rules: WebhookRules,
}

impl Caller {
    async fn call(&self, due: DueWebhook) {
        let id = &due.task;
        let again = match self.try_call(&due).await {
            Ok(()) => None,
            Err(Refusal::Gone) => {
                tracing::info!(task = %id, "the webhook of task {id} is not wanted any more");
                None
            }
            Err(Refusal::Failed(reason)) => {
                let again = AGAIN.get(due.attempts as usize).map(|&seconds| Duration::from_secs(seconds));
                match again {
                    Some(wait) => {
                        tracing::warn!(task = %id, "the webhook of task {id} failed, again in {wait:?}: {reason}")
                    }
                    None => tracing::error!(task = %id, "the webhook of task {id} failed for the last time: {reason}"),
                }
                again
            }
        };
        if let Err(error) = self.store.webhook_called(&due, again).await {
            tracing::error!(task = %id, %error, "the webhook of task {id} will be called once more: {error}");
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn try_call(&self, due: &DueWebhook) -> Result<(), Refusal> {
        let url = self.rules.allowed.check(&due.webhook.url).map_err(Refusal::Failed)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let now = i64::try_from(now).unwrap_or(i64::MAX);
        let Some(body) = body(&self.store, due).await.map_err(|error| Refusal::Failed(error.to_string()))? else {
            return Err(Refusal::Gone);
        };
        // The same for each repetition, so that the receiver can tell that it is one.
        let id = format!("evt_{}", due.task);
        let request = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", now)
            .header("webhook-signature", self.rules.secret.sign(&id, now, &body))
            .body(body);
        // What the receiver says beside its status is not read, so that it may be as long as it likes.
        let response = request.send().await.map_err(|error| Refusal::Failed(error.without_url().to_string()))?;
        match response.status() {
            status if status.is_success() => Ok(()),
            StatusCode::GONE => Err(Refusal::Gone),
            status => Err(Refusal::Failed(format!("it answered {status}"))),
        }
    }
}

enum Refusal {
    /// Nobody wants it.
    Gone,
    Failed(String),
}

/// What is told; `None` when the task is not there any more.
async fn body(store: &Store, due: &DueWebhook) -> Result<Option<String>, StoreError> {
    let Some(record) = store.task(&due.task).await? else { return Ok(None) };
    let (kind, mut data) = match record.status {
        TaskStatus::Completed(completion) => {
            let Some(video) = completion.output(OutputRole::Video) else { return Ok(None) };
            let url = format!("{}/outputs/{}", due.webhook.base, video.key);
            ("video.completed", json!({"status": "completed", "url": url}))
        }
        TaskStatus::Failed(failure) => ("video.failed", json!({"status": "failed", "error": failure.message})),
        TaskStatus::Queued { .. } | TaskStatus::Running { .. } => return Ok(None),
    };
    data["id"] = Value::from(due.task.as_str());
    let created_at = record.finished_at.unwrap_or_default() / 1000;
    let id = format!("evt_{}", due.task);
    let event = json!({"id": id, "object": "event", "type": kind, "created_at": created_at, "data": data});
    Ok(Some(event.to_string()))
}
