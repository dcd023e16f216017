//! Two stores on one folder, as in two processes: an API and a worker.

use std::time::{Duration, Instant};

use ltx2_store::{Removal, TaskStatus};
use ltx2_types::{Failure, Phase};

use crate::support::{MINUTE, claim, completion, open, progress, request, status, write_outputs};

/// Time within which changes of another process must be noticed.
const NOTICED: Duration = Duration::from_secs(2);

#[tokio::test]
async fn a_task_runs_in_another_process() {
    let data = tempfile::tempdir().unwrap();
    let (api, worker) = (open(data.path()).await, open(data.path()).await);
    let mut queue = worker.changes();
    let id = api.enqueue(&request("a fox"), vec![]).await.unwrap();
    tokio::time::timeout(NOTICED, queue.queue()).await.expect("the worker notices the task");
    let mut changes = api.changes();
    let lease = claim(&worker).await.lease;
    assert_eq!(lease.task(), &id);
    tokio::time::timeout(NOTICED, changes.task(&id)).await.expect("the client notices the start");
    assert_eq!(status(&api, &id).await, TaskStatus::Running { progress: None });

    let progress = progress(Phase::Denoising, 3);
    worker.heartbeat(&lease, &[progress]).await.unwrap();
    tokio::time::timeout(NOTICED, changes.task(&id)).await.expect("the client notices the progress");
    assert_eq!(status(&api, &id).await, TaskStatus::Running { progress: Some(progress) });
    assert_eq!(api.events_after(&id, 0).await.unwrap().len(), 3);

    worker.complete(&lease, &write_outputs(&worker, &id, 10)).await.unwrap();
    tokio::time::timeout(NOTICED, changes.task(&id)).await.expect("the client notices the end");
    assert_eq!(status(&api, &id).await, TaskStatus::Completed(completion(&id, 10)));
}

#[tokio::test]
async fn another_process_cancels_and_watches_previews() {
    let data = tempfile::tempdir().unwrap();
    let (api, worker) = (open(data.path()).await, open(data.path()).await);
    let id = api.enqueue(&request("a fox"), vec![]).await.unwrap();
    let lease = claim(&worker).await.lease;
    let _viewer = api.view_previews(&id).await.unwrap();
    assert!(worker.heartbeat(&lease, &[]).await.unwrap().previews);
    let mut changes = api.changes();
    worker.put_preview(&lease, b"jpg").await.unwrap();
    tokio::time::timeout(NOTICED, changes.task(&id)).await.expect("the client notices the preview");
    assert_eq!(api.preview(&id).await.unwrap(), Some((1, b"jpg".to_vec())));

    assert_eq!(api.remove(&id).await.unwrap(), Some(Removal::Stopping));
    assert!(worker.heartbeat(&lease, &[]).await.unwrap().cancel);
    worker.fail(&lease, &Failure::cancelled()).await.unwrap();
    assert_eq!(status(&api, &id).await, TaskStatus::Failed(Failure::cancelled()));
    assert_eq!(api.remove(&id).await.unwrap(), Some(Removal::Deleted));
    assert!(worker.task(&id).await.unwrap().is_none());
}

#[tokio::test]
async fn opening_a_folder_leaves_running_tasks_alone() {
    let data = tempfile::tempdir().unwrap();
    let worker = open(data.path()).await;
    let id = worker.enqueue(&request("a fox"), vec![]).await.unwrap();
    let lease = claim(&worker).await.lease;
    let _lock = worker.lock_worker().unwrap();
    let api = open(data.path()).await;
    assert_eq!(status(&api, &id).await, TaskStatus::Running { progress: None });
    worker.heartbeat(&lease, &[]).await.unwrap();
}

#[tokio::test]
async fn a_new_folder_is_opened_by_several_processes_at_once() {
    let data = tempfile::tempdir().unwrap();
    let opens = (0..4).map(|_| {
        let path = data.path().to_owned();
        tokio::spawn(async move { open(&path).await.enqueue(&request("a fox"), vec![]).await.unwrap() })
    });
    for open in opens.collect::<Vec<_>>() {
        open.await.unwrap();
    }
    assert_eq!(open(data.path()).await.open_tasks().await.unwrap().waiting, 4);
}

#[tokio::test]
async fn own_commits_are_notified_once() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let mut changes = store.changes();
    let id = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    let start = Instant::now();
    // Of the submission: its task and the queue.
    for _ in 0..2 {
        tokio::time::timeout(MINUTE, changes.task(&id)).await.unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(1));
    let more = tokio::time::timeout(Duration::from_millis(700), changes.task(&id)).await;
    assert!(more.is_err(), "a commit of this store is not one of another process");
}
