//! Engines that crash or do not respond, and the messages between worker and engine.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ltx2_engine::EngineClient;
use ltx2_store::{Removal, TaskStatus, Upload};
use ltx2_types::{Failure, FailureCode};
use ltx2_worker::{Activity, Launch, Worker, WorkerSettings};

use crate::support::{
    Bars, PNG, failure, image_request, on_threads, open, outputs, request, start, until, until_ended, video,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_model_is_unloaded_and_loaded_again() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let settings = WorkerSettings { idle_timeout: Some(Duration::from_millis(50)), ..WorkerSettings::default() };
    let (worker, ended) = start(&store, settings).await;
    let mut status = worker.watch_status();
    for round in 1..=2 {
        let id = store.enqueue(&request("a fox"), vec![]).await.unwrap();
        video(&store, &id).await;
        let unloaded = status.wait_for(|status| status.activity == Activity::Idle && !status.loaded);
        tokio::time::timeout(Duration::from_secs(20), unloaded).await.expect("in time").unwrap();
        until_ended(&ended, round).await;
    }
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_engine_fails_does_not_start() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let no_device = on_threads(|| Err(Failure::new(FailureCode::Model, "no CUDA device")));
    let error = Worker::spawn(store.clone(), no_device, WorkerSettings::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "the engine could not start: no CUDA device");
    let mistake = on_threads(|| panic!("a mistake"));
    let error = Worker::spawn(store, mistake, WorkerSettings::default()).await.unwrap_err();
    assert_eq!(error.to_string(), "the engine could not start: the engine exited unexpectedly; see the server log");
}

/// Starts shells as the first `crashes` engines, which are killed when they get a task, and then engines on threads.
fn crashing_first(crashes: u32) -> Launch {
    let launches = AtomicU32::new(0);
    let stable = on_threads(|| Ok(Bars { loaded: false, ended: Arc::default() }));
    Box::new(move || {
        if launches.fetch_add(1, Ordering::Relaxed) >= crashes {
            return stable();
        }
        let mut shell = Command::new("bash");
        shell.args(["-c", r#"echo '{"ready":{"protocol":1,"device":"cpu"}}' >&0; read -r; kill -9 $$"#]);
        Ok(EngineClient::start_process(shell).unwrap())
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_runs_again_after_an_engine_crash() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let worker = Worker::spawn(store.clone(), crashing_first(2), WorkerSettings::default()).await.unwrap();
    let id = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    video(&store, &id).await;
    assert_eq!(store.task(&id).await.unwrap().unwrap().attempts, 3);
    assert_eq!(outputs(&store), 3);
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_crashes_three_engines_fails_and_the_next_one_runs() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let worker = Worker::spawn(store.clone(), crashing_first(3), WorkerSettings::default()).await.unwrap();
    let crashing = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    let next = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    let failure = failure(&store, &crashing).await;
    assert_eq!(failure.code, FailureCode::Internal);
    let expected =
        "given up after 3 engine crashes; the last one: the engine was killed, probably because memory ran out";
    assert!(failure.message.starts_with(expected), "{failure}");
    video(&store, &next).await;
    assert_eq!(outputs(&store), 3);
    worker.shutdown().await.unwrap();
}

/// Its unfinished files are removed.
#[tokio::test(flavor = "multi_thread")]
async fn shutdown_kills_an_engine_that_does_not_respond() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let part = store.outputs_dir().join(".ltx2_x.mp4.1-0.part");
    let script = format!(
        r#"echo '{{"ready":{{"protocol":1,"device":"cpu"}}}}' >&0; read -r; echo x > '{}'; sleep 1000"#,
        part.display()
    );
    let launch: Launch = Box::new(move || {
        let mut shell = Command::new("bash");
        shell.args(["-c", &script]);
        Ok(EngineClient::start_process(shell).unwrap())
    });
    let worker = Worker::spawn(store.clone(), launch, WorkerSettings::default()).await.unwrap();
    let id = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    let begun = async {
        while outputs(&store) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), begun).await.expect("in time");
    tokio::time::timeout(Duration::from_secs(5), worker.shutdown()).await.expect("at once").unwrap();
    assert_eq!((store.task(&id).await.unwrap().unwrap().attempts, outputs(&store)), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn previews_are_made_while_they_are_wanted() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let (worker, _) = start(&store, WorkerSettings::default()).await;
    let id = store.enqueue(&request("watched"), vec![]).await.unwrap();
    until(&store, &id, |status| matches!(status, TaskStatus::Running { .. })).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(store.preview(&id).await.unwrap(), None);
    let viewer = store.view_previews(&id).await.unwrap();
    let second = async {
        loop {
            match store.preview(&id).await.unwrap() {
                Some((number, jpeg)) if number >= 2 => return jpeg,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let jpeg = tokio::time::timeout(Duration::from_secs(20), second).await.expect("two previews");
    drop(viewer);
    let image = ltx2_media::read_image(&jpeg, ltx2_types::ImageLimits::default()).unwrap();
    assert_eq!((image.width, image.height), (256, 128));
    assert_eq!(store.remove(&id).await.unwrap(), Some(Removal::Stopping));
    assert_eq!(failure(&store, &id).await.code, FailureCode::Cancelled);
    assert_eq!((store.preview(&id).await.unwrap(), outputs(&store)), (None, 0));
    worker.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn images_beyond_the_limits_fail() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let image = ltx2_types::ImageLimits { max_pixels: 0, ..ltx2_types::ImageLimits::default() };
    let (worker, _) = start(&store, WorkerSettings { image, ..WorkerSettings::default() }).await;
    let upload = Upload::new(PNG.to_vec());
    let name = upload.name().clone();
    let id = store.enqueue(&image_request(&upload), vec![upload]).await.unwrap();
    let failure = failure(&store, &id).await;
    assert_eq!(failure.code, FailureCode::BadInput);
    let reason = "the image is 1x1, 1 pixels; the limit is 0 pixels (ltx2 serve --max-image)";
    assert_eq!(failure.message, format!("cannot use image input 0 ({name}): {reason}"));
    worker.shutdown().await.unwrap();
}
