//! Tasks through the public interface, each test in a folder of its own.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use ltx2_store::{
    Artifact, Claim, FileName, InputFile, MAX_ATTEMPTS, Store, StoreError, TaskId, TaskRecord, TaskStatus, new_task_id,
};
use ltx2_types::{Failure, FailureCode, ImageInput, InputRef, Limits, Phase, Pipeline, Progress, Task, ValidRequest};

const MINUTE: Duration = Duration::from_secs(60);

fn text(prompt: &str) -> ValidRequest {
    ValidRequest { prompt: prompt.into(), ..Limits::server().defaults }
}

async fn open(data: &Path) -> Store {
    Store::open(data).await.expect("the store opens")
}

async fn claim(store: &Store) -> Claim {
    store.claim("test", MINUTE).await.unwrap().expect("a task waits")
}

async fn record(store: &Store, id: &TaskId) -> TaskRecord {
    store.task(id).await.unwrap().expect("the task exists")
}

fn failure(record: TaskRecord) -> Failure {
    match record.status {
        TaskStatus::Failed(failure) => failure,
        other => panic!("not failed: {other:?}"),
    }
}

async fn write_output(store: &Store, id: &TaskId) -> Artifact {
    let file = FileName::of_video(id);
    std::fs::write(store.output_path(&file), b"video").unwrap();
    Artifact { file, thumbnail: None, pipeline: Pipeline::OneStage, enhanced_prompt: None }
}

fn files_in(folder: &Path) -> HashSet<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

#[tokio::test]
async fn a_task_goes_from_queued_to_completed() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = store.enqueue(&text("a fox"), vec![]).await.unwrap();
    assert_eq!(record(&store, &id).await.status, TaskStatus::Queued { position: 1 });

    let claimed = claim(&store).await;
    assert_eq!((claimed.lease.task(), &claimed.request, claimed.attempt), (&id, &text("a fox"), 1));
    assert_eq!(record(&store, &id).await.status, TaskStatus::Running { progress: None });
    assert!(store.claim("other", MINUTE).await.unwrap().is_none());

    let progress = Progress { phase: Phase::Denoising, step: 3, total_steps: 40 };
    store.heartbeat(&claimed.lease).await.unwrap();
    store.report_progress(&claimed.lease, progress).await.unwrap();
    assert_eq!(record(&store, &id).await.status, TaskStatus::Running { progress: Some(progress) });

    let artifact = write_output(&store, &id).await;
    assert!(!store.is_output(&artifact.file).await.unwrap());
    store.complete(&claimed.lease, &artifact).await.unwrap();
    assert!(store.is_output(&artifact.file).await.unwrap());
    let record = record(&store, &id).await;
    assert_eq!((record.status, record.attempts), (TaskStatus::Completed(artifact), 1));
    assert!(record.created_at <= record.started_at.unwrap() && record.started_at <= record.finished_at);
}

#[tokio::test]
async fn the_oldest_comes_first_and_positions_follow() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let first = store.enqueue(&text("1"), vec![]).await.unwrap();
    let second = store.enqueue(&text("2"), vec![]).await.unwrap();
    let third = store.enqueue(&text("3"), vec![]).await.unwrap();
    assert_eq!(record(&store, &third).await.status, TaskStatus::Queued { position: 3 });
    let claimed = claim(&store).await;
    assert_eq!(claimed.lease.task(), &first);
    assert_eq!(record(&store, &second).await.status, TaskStatus::Queued { position: 1 });
    store.release(&claimed.lease).await.unwrap();
    assert_eq!(record(&store, &first).await.status, TaskStatus::Queued { position: 1 });
    assert_eq!(record(&store, &first).await.attempts, 0);
    assert_eq!(claim(&store).await.lease.task(), &first);
}

#[tokio::test]
async fn tasks_survive_and_running_ones_are_queued_again() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let running = store.enqueue(&text("running"), vec![]).await.unwrap();
    let waiting = store.enqueue(&text("waiting"), vec![]).await.unwrap();
    let lease = claim(&store).await.lease;
    store.report_progress(&lease, Progress { phase: Phase::Decoding, step: 1, total_steps: 2 }).await.unwrap();
    drop(store);

    let store = open(data.path()).await;
    assert_eq!(record(&store, &running).await.status, TaskStatus::Queued { position: 1 });
    assert_eq!(record(&store, &waiting).await.status, TaskStatus::Queued { position: 2 });
    assert_eq!(claim(&store).await.attempt, 2);
    assert_eq!(record(&store, &running).await.status, TaskStatus::Running { progress: None });
}

#[tokio::test]
async fn a_task_that_kills_the_process_is_given_up() {
    let data = tempfile::tempdir().unwrap();
    let mut store = open(data.path()).await;
    let id = store.enqueue(&text("poison"), vec![]).await.unwrap();
    for attempt in 1..=MAX_ATTEMPTS {
        assert_eq!(claim(&store).await.attempt, attempt);
        drop(store);
        store = open(data.path()).await;
    }
    assert!(store.claim("test", MINUTE).await.unwrap().is_none());
    let failure = failure(record(&store, &id).await);
    assert_eq!(failure.code, FailureCode::Internal);
    assert_eq!(failure.message, "given up after 3 starts: each time the server stopped before the end");
}

#[tokio::test]
async fn a_lapsed_lease_is_taken_over_and_its_holder_loses_it() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = store.enqueue(&text("a fox"), vec![]).await.unwrap();
    let lost = store.claim("slow", Duration::ZERO).await.unwrap().unwrap().lease;
    let held = claim(&store).await;
    assert_eq!((held.lease.task(), held.attempt), (&id, 2));

    let artifact = write_output(&store, &id).await;
    let progress = Progress { phase: Phase::Loading, step: 0, total_steps: 1 };
    let failure = Failure::new(FailureCode::Internal, "late");
    let answers = [
        store.heartbeat(&lost).await,
        store.report_progress(&lost, progress).await,
        store.complete(&lost, &artifact).await,
        store.fail(&lost, &failure).await,
        store.release(&lost).await,
    ];
    for answer in answers {
        assert!(matches!(answer, Err(StoreError::LeaseLost(task)) if task == id));
    }
    store.complete(&held.lease, &artifact).await.unwrap();
    assert!(matches!(store.fail(&held.lease, &failure).await, Err(StoreError::LeaseLost(_))));
    assert_eq!(record(&store, &id).await.status, TaskStatus::Completed(artifact));
}

#[tokio::test]
async fn completing_needs_the_file() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = store.enqueue(&text("a fox"), vec![]).await.unwrap();
    let lease = claim(&store).await.lease;
    let artifact = Artifact {
        file: FileName::of_video(&id),
        thumbnail: None,
        pipeline: Pipeline::OneStage,
        enhanced_prompt: Some("A fox walks".into()),
    };
    assert!(matches!(store.complete(&lease, &artifact).await, Err(StoreError::File { .. })));
    assert_eq!(record(&store, &id).await.status, TaskStatus::Running { progress: None });
}

#[tokio::test]
async fn inputs_live_as_long_as_their_task() {
    let data = tempfile::tempdir().unwrap();
    let inputs = data.path().join("inputs");
    let store = open(data.path()).await;
    let input = InputFile::new(b"picture".to_vec());
    let name = input.name().clone();
    let images = vec![ImageInput::first_frame(InputRef::Upload(name.to_string()))];
    let request = ValidRequest { task: Task::ImageToVideo { images }, ..text("move") };
    store.enqueue(&request, vec![input]).await.unwrap();
    std::fs::write(inputs.join(".left.part"), b"half").unwrap();
    std::fs::write(inputs.join("orphan"), b"whole").unwrap();
    drop(store);

    let store = open(data.path()).await;
    assert_eq!(files_in(&inputs), HashSet::from([name.to_string()]));
    assert_eq!(std::fs::read(store.input_path(&name)).unwrap(), b"picture");
    let lease = claim(&store).await.lease;
    store.fail(&lease, &Failure::new(FailureCode::OutOfMemory, "too big")).await.unwrap();
    assert!(files_in(&inputs).is_empty());
    assert_eq!(failure(record(&store, lease.task()).await), Failure::new(FailureCode::OutOfMemory, "too big"));
}

#[tokio::test]
async fn inputs_and_request_must_agree() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let images = vec![ImageInput::first_frame(InputRef::Upload("elsewhere".into()))];
    let request = ValidRequest { task: Task::ImageToVideo { images }, ..text("move") };
    for (request, inputs) in [(request, vec![]), (text("a fox"), vec![InputFile::new(vec![1])])] {
        assert!(matches!(store.enqueue(&request, inputs).await, Err(StoreError::InputsMismatch)));
    }
    assert!(files_in(&data.path().join("inputs")).is_empty());
}

#[tokio::test]
async fn one_process_at_a_time() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    assert!(matches!(Store::open(data.path()).await, Err(StoreError::InUse(_))));
    store.close().await;
    drop(store);
    open(data.path()).await;
}

#[tokio::test]
async fn each_task_is_claimed_once_though_many_ask() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let submits = (0..20).map(|n| {
        let store = store.clone();
        tokio::spawn(async move { store.enqueue(&text(&n.to_string()), vec![]).await.unwrap() })
    });
    let mut ids = HashSet::new();
    for submit in submits.collect::<Vec<_>>() {
        ids.insert(submit.await.unwrap());
    }
    let claims = (0..30).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.claim("test", MINUTE).await.unwrap() })
    });
    let mut claimed = Vec::new();
    for claim in claims.collect::<Vec<_>>() {
        claimed.extend(claim.await.unwrap().map(|claim| claim.lease.task().clone()));
    }
    assert_eq!(claimed.len(), 20);
    assert_eq!(HashSet::from_iter(claimed), ids);
}

#[tokio::test]
async fn queueing_wakes_a_waiter_even_before_it_waits() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    store.enqueue(&text("a fox"), vec![]).await.unwrap();
    tokio::time::timeout(MINUTE, store.wait_for_queued()).await.expect("woken");
}

#[tokio::test]
async fn unknown_tasks_and_outputs_are_none() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    assert!(store.task(&new_task_id()).await.unwrap().is_none());
    assert!(!store.is_output(&FileName::of_video(&new_task_id())).await.unwrap());
}

#[tokio::test]
async fn numbers_come_back_as_they_were() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let mut request = text("a fox");
    // A parser that takes the quick way misses some of these by the last bit.
    for bits in 0..100 {
        request.video_guidance.cfg = f64::from_bits(3.3_f64.to_bits() + bits);
        store.enqueue(&request, vec![]).await.unwrap();
        assert_eq!(claim(&store).await.request, request);
    }
}
