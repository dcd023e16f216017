//! Crashes of the server and of engines.

use ltx2_store::{EventKind, MAX_ENGINE_CRASHES, ReleaseReason, Released, Store, StoreOptions, TaskStatus};
use ltx2_types::{FailureCode, Phase};

use crate::support::{
    MINUTE, claim, failure, internal, kinds, open, outputs, progress, record, request, restart, status, video_name,
    write_outputs,
};

#[tokio::test]
async fn tasks_are_durable_and_running_ones_are_queued_again() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let running = store.enqueue(&request("running"), vec![]).await.unwrap();
    let waiting = store.enqueue(&request("waiting"), vec![]).await.unwrap();
    let lease = claim(&store).await.lease;
    store.heartbeat(&lease, &[progress(Phase::Decoding, 1)]).await.unwrap();

    let store = restart(store, data.path()).await;
    assert_eq!(status(&store, &running).await, TaskStatus::Queued { position: 1 });
    assert_eq!(status(&store, &waiting).await, TaskStatus::Queued { position: 2 });
    assert_eq!(claim(&store).await.attempt, 2);
    assert_eq!(status(&store, &running).await, TaskStatus::Running { progress: None });
}

#[tokio::test]
async fn a_task_fails_when_the_server_stops_too_often() {
    let data = tempfile::tempdir().unwrap();
    let options = StoreOptions { max_starts: 4 };
    let mut store = Store::open_with(data.path(), options).await.unwrap();
    let id = store.enqueue(&request("poison"), vec![]).await.unwrap();
    for attempt in 1..=options.max_starts {
        assert_eq!(claim(&store).await.attempt, attempt);
        drop(store);
        store = Store::open_with(data.path(), options).await.unwrap();
        let lock = store.lock_worker().unwrap();
        assert_eq!(store.recover(&lock).await.unwrap(), 1);
    }
    assert!(store.claim("test", MINUTE).await.unwrap().is_none());
    let failure = failure(&store, &id).await;
    assert_eq!(failure.code, FailureCode::Internal);
    assert_eq!(failure.message, "given up after 4 starts: each time the server stopped before the end");
}

#[tokio::test]
async fn a_task_starts_twenty_times_by_default() {
    assert_eq!(StoreOptions::default().max_starts, 20);
}

#[tokio::test]
async fn a_task_fails_when_its_engine_crashes_too_often() {
    let data = tempfile::tempdir().unwrap();
    let mut store = open(data.path()).await;
    let id = store.enqueue(&request("poison"), vec![]).await.unwrap();
    let crash = || ReleaseReason::EngineCrash(internal("killed by signal 9"));
    for _ in 1..MAX_ENGINE_CRASHES {
        let lease = claim(&store).await.lease;
        assert_eq!(store.release(&lease, crash()).await.unwrap(), Released::Queued);
        // Restarts and shutdowns are not crashes of the engine.
        claim(&store).await;
        store = restart(store, data.path()).await;
        let lease = claim(&store).await.lease;
        store.release(&lease, ReleaseReason::Shutdown).await.unwrap();
    }
    let lease = claim(&store).await.lease;
    let expected = internal("given up after 3 engine crashes; the last one: killed by signal 9");
    assert_eq!(store.release(&lease, crash()).await.unwrap(), Released::Failed(expected.clone()));
    assert_eq!(failure(&store, &id).await, expected);
    assert_eq!(record(&store, &id).await.attempts, 5);
}

#[tokio::test]
async fn a_published_result_is_completed_after_a_crash() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    let lease = claim(&store).await.lease;
    let completion = write_outputs(&store, &id, 10);
    store.prepare(&lease, &completion).await.unwrap();
    assert!(!store.is_output(&video_name(&id)).await.unwrap());

    let store = restart(store, data.path()).await;
    assert_eq!(status(&store, &id).await, TaskStatus::Completed(completion));
    assert!(store.is_output(&video_name(&id)).await.unwrap());
    assert_eq!(kinds(&store, &id).await, [EventKind::Queued, EventKind::Started, EventKind::Completed]);
    assert!(store.claim("test", MINUTE).await.unwrap().is_none());
}

#[tokio::test]
async fn a_prepared_result_without_its_files_is_generated_again() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    let lease = claim(&store).await.lease;
    store.prepare(&lease, &write_outputs(&store, &id, 10)).await.unwrap();
    std::fs::remove_file(store.output_path(&video_name(&id))).unwrap();

    let store = restart(store, data.path()).await;
    assert_eq!(status(&store, &id).await, TaskStatus::Queued { position: 1 });
    assert_eq!(outputs(&store), 0);
    assert_eq!(claim(&store).await.attempt, 2);
}
