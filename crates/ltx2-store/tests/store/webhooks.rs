//! Due webhook calls.

use std::time::Duration;

use ltx2_store::{Submission, Webhook};

use crate::support::{MINUTE, claim, open, submission, write_outputs};

fn webhook() -> Webhook {
    Webhook { url: "http://x/".into(), base: "http://me".into() }
}

#[tokio::test]
async fn a_webhook_is_due_until_it_is_called() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let submitted = store.submit(Submission { callback: Some(webhook()), ..submission("x") }).await.unwrap();
    let id = submitted.id().clone();
    store.submit(Submission { priority: 1, ..submission("without a webhook") }).await.unwrap();
    let lease = claim(&store).await.lease;
    store.complete(&lease, &write_outputs(&store, lease.task(), 1)).await.unwrap();
    assert!(store.claim_webhook(MINUTE, &[]).await.unwrap().is_none());
    store.cancel(&id).await.unwrap();
    drop(store);

    let store = open(data.path()).await;
    let due = store.claim_webhook(MINUTE, &[]).await.unwrap().unwrap();
    assert_eq!((&due.task, &due.webhook, due.attempts), (&id, &webhook(), 0));
    store.webhook_called(&due, Some(MINUTE)).await.unwrap();
    assert!(store.claim_webhook(MINUTE, &[]).await.unwrap().is_none());
}

#[tokio::test]
async fn attempts_are_counted() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let submitted = store.submit(Submission { callback: Some(webhook()), ..submission("x") }).await.unwrap();
    store.cancel(submitted.id()).await.unwrap();
    for attempts in 0..3 {
        let due = store.claim_webhook(MINUTE, &[]).await.unwrap().unwrap();
        assert_eq!(due.attempts, attempts);
        store.webhook_called(&due, Some(Duration::ZERO)).await.unwrap();
    }
    let due = store.claim_webhook(MINUTE, &[]).await.unwrap().unwrap();
    store.webhook_called(&due, None).await.unwrap();
    assert!(store.claim_webhook(MINUTE, &[]).await.unwrap().is_none());
}

#[tokio::test]
async fn a_leased_webhook_is_called_once_until_its_lease_expires() {
    let data = tempfile::tempdir().unwrap();
    let (store, other) = (open(data.path()).await, open(data.path()).await);
    let submitted = store.submit(Submission { callback: Some(webhook()), ..submission("x") }).await.unwrap();
    store.cancel(submitted.id()).await.unwrap();
    let late = store.claim_webhook(Duration::from_millis(50), &[]).await.unwrap().unwrap();
    assert!(other.claim_webhook(MINUTE, &[]).await.unwrap().is_none());
    tokio::time::sleep(Duration::from_millis(60)).await;
    let due = other.claim_webhook(MINUTE, &[]).await.unwrap().unwrap();
    // The first caller has lost its lease.
    store.webhook_called(&late, None).await.unwrap();
    other.webhook_called(&due, Some(Duration::ZERO)).await.unwrap();
    assert_eq!(store.claim_webhook(MINUTE, &[]).await.unwrap().unwrap().attempts, 1);
}

#[tokio::test]
async fn calls_to_busy_receivers_are_left_out() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    for url in ["http://slow/1", "http://slow.example/2"] {
        let callback = Some(Webhook { url: url.into(), ..webhook() });
        let submitted = store.submit(Submission { callback, ..submission("x") }).await.unwrap();
        store.cancel(submitted.id()).await.unwrap();
    }
    let busy = ["http://slow/".to_owned(), "http://_".to_owned()];
    let due = store.claim_webhook(MINUTE, &busy).await.unwrap().unwrap();
    assert_eq!(due.webhook.url, "http://slow.example/2");
    assert!(store.claim_webhook(MINUTE, &busy).await.unwrap().is_none());
    assert_eq!(store.claim_webhook(MINUTE, &[]).await.unwrap().unwrap().webhook.url, "http://slow/1");
}
