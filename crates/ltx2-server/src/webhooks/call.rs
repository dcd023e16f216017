//! Making the calls that the store says are due.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ltx2_store::{DueWebhook, Store, StoreError, TaskStatus};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};

use super::WebhookRules;

/// How long a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(15);
/// How long to wait after the first failure, the second and so on; after the last the call is given up.
const AGAIN: [u64; 8] = [5, 30, 120, 600, 1800, 3600, 3 * 3600, 6 * 3600];
/// How often to look for calls that are due again.
const LOOK: Duration = Duration::from_secs(2);
/// Calls at a time.
const MANY: u32 = 8;

/// Makes the calls of `store` that are due, for ever. They are in the store until they were heard, so that they outlive
/// the process.
pub async fn call_webhooks(store: Store, rules: WebhookRules) -> Result<(), reqwest::Error> {
    let caller = Arc::new(Caller { client: rules.allowed.client(TIMEOUT)?, store, rules });
    loop {
        match caller.store.due_webhooks(MANY).await {
            Ok(due) if !due.is_empty() => {
                let calls = due.into_iter().map(|due| tokio::spawn(caller.clone().call(due)));
                for call in calls.collect::<Vec<_>>() {
                    if let Err(error) = call.await {
                        tracing::error!(%error, "a webhook broke: {error}");
                        tokio::time::sleep(LOOK).await;
                    }
                }
                continue;
            }
            Ok(_) => {}
            Err(error) => tracing::error!(%error, "due webhooks cannot be read: {error}"),
        }
        tokio::select! {
            () = caller.store.wait_for_due_webhook() => {}
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
    async fn call(self: Arc<Self>, due: DueWebhook) {
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
        if let Err(error) = self.store.webhook_called(id, again).await {
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
        TaskStatus::Completed(artifact) => {
            let url = format!("{}/outputs/{}", due.webhook.base, artifact.file);
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
