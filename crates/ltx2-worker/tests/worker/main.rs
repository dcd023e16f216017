//! The worker with a generator that draws colour bars, a real store and real files.

mod engines;
mod support;

use std::time::Duration;

use ltx2_store::{EventKind, FileName, Removal, TaskStatus, Upload};
use ltx2_types::{Device, Failure, FailureCode, OutputRole, Phase, Progress, ValidRequest};
use ltx2_worker::{Activity, WorkerSettings};

use self::support::{PNG, end, failure, image_request, open, outputs, request, start, until, until_ended, video};

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_run_and_its_outputs_are_stored() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    std::fs::write(store.outputs_dir().join(".ltx2_x.mp4.1-0.part"), b"left by a crash").unwrap();
    let (worker, _) = start(&store, WorkerSettings::default()).await;
    assert_eq!((worker.status().loaded, worker.status().device), (false, Device::Cpu));

    let id = store.enqueue(&ValidRequest { enhance_prompt: true, ..request("a fox") }, vec![]).await.unwrap();
    assert_eq!(&video(&store, &id).await[4..8], b"ftyp");
    let TaskStatus::Completed(completion) = end(&store, &id).await else { panic!("not completed") };
    let thumbnail = completion.output(OutputRole::Thumbnail).unwrap();
    assert_eq!((&thumbnail.key, thumbnail.mime.as_str()), (&FileName::of_output(&id, "jpg"), "image/jpeg"));
    assert_eq!(std::fs::read(store.output_path(&thumbnail.key)).unwrap()[..3], *b"\xff\xd8\xff");
    let last_frame = completion.output(OutputRole::LastFrame).unwrap();
    assert_eq!((&last_frame.key, last_frame.mime.as_str()), (&FileName::of_output(&id, "png"), "image/png"));
    assert_eq!(std::fs::read(store.output_path(&last_frame.key)).unwrap()[..4], *b"\x89PNG");
    let video = completion.output(OutputRole::Video).unwrap();
    assert_eq!((video.mime.as_str(), video.width, video.height), ("video/mp4", Some(64), Some(64)));
    assert_eq!(outputs(&store), 3);
    assert_eq!(completion.enhanced_prompt.as_deref(), Some("a fox, at length"));
    let mut status = worker.watch_status();
    status.wait_for(|status| status.activity == Activity::Idle).await.unwrap();
    assert!(worker.status().loaded);
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_decoded_and_invalid_ones_fail() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let (worker, _) = start(&store, WorkerSettings::default()).await;
    let mut ids = Vec::new();
    for bytes in [PNG, b"no image"] {
        let image = Upload::new(bytes.to_vec());
        ids.push(store.enqueue(&image_request(&image), vec![image]).await.unwrap());
    }
    video(&store, &ids[0]).await;
    assert_eq!(failure(&store, &ids[1]).await.code, FailureCode::BadInput);
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_and_panics_are_stored_and_the_next_task_runs() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let (worker, ended) = start(&store, WorkerSettings::default()).await;
    let failing = store.enqueue(&request("fail"), vec![]).await.unwrap();
    let panicking = store.enqueue(&request("panic"), vec![]).await.unwrap();
    let fine = store.enqueue(&request("a fox"), vec![]).await.unwrap();

    let expected = Failure::new(FailureCode::OutOfMemory, "the GPU has too little memory");
    assert_eq!(failure(&store, &failing).await, expected);
    let message = "internal error: the engine panicked; see the server log";
    assert_eq!(failure(&store, &panicking).await, Failure::new(FailureCode::Internal, message));
    video(&store, &fine).await;
    until_ended(&ended, 1).await;
    assert_eq!(outputs(&store), 3);
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_releases_the_running_task() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let (worker, ended) = start(&store, WorkerSettings::default()).await;
    let id = store.enqueue(&request("wait"), vec![]).await.unwrap();
    let progress = Progress { phase: Phase::Denoising, step: 1, total_steps: 8 };
    until(&store, &id, |status| *status == TaskStatus::Running { progress: Some(progress) }).await;
    assert_eq!((worker.status().loaded, worker.status().activity), (true, Activity::Busy));

    worker.shutdown().await.unwrap();
    let record = store.task(&id).await.unwrap().unwrap();
    assert_eq!((record.status, record.attempts), (TaskStatus::Queued { position: 1 }, 0));
    // The worker does not wait for an engine on a thread.
    until_ended(&ended, 1).await;
    assert_eq!(outputs(&store), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_task_leaves_no_files() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let (worker, _) = start(&store, WorkerSettings::default()).await;
    let id = store.enqueue(&request("wait"), vec![]).await.unwrap();
    let next = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    until(&store, &id, |status| matches!(status, TaskStatus::Running { progress: Some(_) })).await;
    assert_eq!(store.remove(&id).await.unwrap(), Some(Removal::Stopping));
    assert_eq!(failure(&store, &id).await, Failure::new(FailureCode::Cancelled, "cancelled"));
    video(&store, &next).await;
    assert_eq!(outputs(&store), 3);
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn unloading_waits_for_the_running_task() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let (worker, ended) = start(&store, WorkerSettings::default()).await;
    let control = worker.control();
    // No model is in memory, but an engine runs.
    control.unload().await;
    until_ended(&ended, 1).await;
    control.unload().await;

    let id = store.enqueue(&request("wait"), vec![]).await.unwrap();
    until(&store, &id, |status| matches!(status, TaskStatus::Running { .. })).await;
    let unloading = tokio::spawn(async move { control.unload().await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!unloading.is_finished());
    store.cancel(&id).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), unloading).await.expect("in time").unwrap();
    until_ended(&ended, 2).await;
    assert!(!worker.status().loaded);
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_is_an_event() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let (worker, _) = start(&store, WorkerSettings::default()).await;
    let id = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    video(&store, &id).await;
    let events = store.events_after(&id, 0).await.unwrap();
    use EventKind::{Completed, Queued, Stage, Started};
    assert_eq!(events.iter().map(|event| event.kind).collect::<Vec<_>>(), [Queued, Started, Stage, Completed]);
    assert_eq!(events[2].progress, Some(Progress { phase: Phase::Denoising, step: 1, total_steps: 8 }));
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_ran_during_a_crash_runs_again() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    store.claim("dies", Duration::from_secs(3600)).await.unwrap().unwrap();
    drop(store);

    let store = open(data.path()).await;
    let lock = store.lock_worker().unwrap();
    assert_eq!(store.recover(&lock).await.unwrap(), 1);
    let (worker, _) = start(&store, WorkerSettings::default()).await;
    video(&store, &id).await;
    assert_eq!(store.task(&id).await.unwrap().unwrap().attempts, 2);
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reclaimed_task_is_abandoned() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let settings = WorkerSettings { lease: Duration::ZERO, ..WorkerSettings::default() };
    let (worker, _) = start(&store, settings).await;
    let id = store.enqueue(&request("wait"), vec![]).await.unwrap();
    let mut status = worker.watch_status();
    status.wait_for(|status| status.activity == Activity::Busy).await.unwrap();

    // Reclaiming and claiming are two transactions: the worker may claim the task in between.
    let steal = async {
        loop {
            if let Some(claim) = store.claim("thief", Duration::from_secs(3600)).await.unwrap() {
                return claim;
            }
        }
    };
    let stolen = tokio::time::timeout(Duration::from_secs(20), steal).await.expect("in time");
    assert_eq!(stolen.lease.task(), &id);
    status.wait_for(|status| status.activity == Activity::Idle).await.unwrap();
    store.heartbeat(&stolen.lease, &[]).await.unwrap();
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeats_keep_the_lease_of_a_running_task() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let settings = WorkerSettings { lease: Duration::from_millis(1200), ..WorkerSettings::default() };
    let (worker, _) = start(&store, settings).await;
    let id = store.enqueue(&request("wait"), vec![]).await.unwrap();
    until(&store, &id, |status| matches!(status, TaskStatus::Running { .. })).await;
    tokio::time::sleep(Duration::from_millis(2000)).await;
    assert!(store.claim("thief", Duration::from_secs(3600)).await.unwrap().is_none());
    worker.shutdown().await.unwrap();
}

/// The API and the worker use stores of their own, as in two processes.
#[tokio::test(flavor = "multi_thread")]
async fn another_process_submits_watches_and_cancels() {
    let data = tempfile::tempdir().unwrap();
    let (api, store) = (open(data.path()).await, open(data.path()).await);
    let (worker, _) = start(&store, WorkerSettings::default()).await;
    let mut status = worker.watch_status();
    let id = api.enqueue(&request("watched"), vec![]).await.unwrap();
    let busy = status.wait_for(|status| status.activity == Activity::Busy);
    tokio::time::timeout(Duration::from_secs(2), busy).await.expect("the task is noticed").unwrap();

    let _viewer = api.view_previews(&id).await.unwrap();
    let preview = async {
        while api.preview(&id).await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), preview).await.expect("a preview");
    let cancelled_at = std::time::Instant::now();
    assert_eq!(api.remove(&id).await.unwrap(), Some(Removal::Stopping));
    assert_eq!(failure(&api, &id).await, Failure::cancelled());
    assert!(cancelled_at.elapsed() < Duration::from_secs(2), "{:?}", cancelled_at.elapsed());
    worker.shutdown().await.unwrap();
}
