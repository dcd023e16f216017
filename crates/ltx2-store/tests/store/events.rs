//! Events of tasks.

use ltx2_store::EventKind;
use ltx2_types::{Failure, FailureCode, Phase, Progress};

use crate::support::{MINUTE, claim, kinds, open, progress, request, restart};

#[tokio::test]
async fn events_are_numbered_and_durable() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let mut changes = store.changes();
    let id = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    tokio::time::timeout(MINUTE, changes.task(&id)).await.expect("notified");
    let lease = claim(&store).await.lease;
    let steps = [
        progress(Phase::Loading, 0),
        progress(Phase::Denoising, 0),
        progress(Phase::Denoising, 1),
        progress(Phase::Denoising, 2),
    ];
    store.heartbeat(&lease, &steps[..3]).await.unwrap();
    store.heartbeat(&lease, &steps[3..]).await.unwrap();

    let store = restart(store, data.path()).await;
    let lease = claim(&store).await.lease;
    store.fail(&lease, &Failure::new(FailureCode::Model, "no model")).await.unwrap();
    let events = store.events_after(&id, 0).await.unwrap();
    assert!(events.iter().map(|event| event.number).eq(1..=9));
    let stages: Vec<Option<Progress>> = events[2..6].iter().map(|event| event.progress).collect();
    assert_eq!(stages, steps.map(Some));
    use EventKind::{Failed, Queued, Stage, Started, Step};
    assert_eq!(kinds(&store, &id).await, [Queued, Started, Stage, Stage, Step, Step, Queued, Started, Failed]);
    assert_eq!(store.events_after(&id, 7).await.unwrap()[..], events[7..]);
    assert!(store.events_after(&id, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_queue_notification_before_the_wait_is_not_missed() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let mut changes = store.changes();
    store.enqueue(&request("a fox"), vec![]).await.unwrap();
    tokio::time::timeout(MINUTE, changes.queue()).await.expect("notified");
}
