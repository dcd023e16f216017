//! What a server needs of the store beside the plain life of a task, each test in a folder of its own.

use std::path::Path;
use std::time::Duration;

use ltx2_store::{
    Artifact, Change, Claim, Cursor, EventKind, FileName, InputFile, Listed, OpenTasks, Removal, Retention, Store,
    StoreError, Submission, SubmissionKey, Submitted, TaskId, TaskStatus, Webhook, new_task_id,
};
use ltx2_types::{Failure, FailureCode, ImageInput, InputRef, Limits, Phase, Pipeline, Progress, Task, ValidRequest};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

const MINUTE: Duration = Duration::from_secs(60);

fn text(prompt: &str) -> ValidRequest {
    ValidRequest { prompt: prompt.into(), ..Limits::server().defaults }
}

fn submission(prompt: &str) -> Submission {
    Submission::new(text(prompt), vec![])
}

async fn open(data: &Path) -> Store {
    Store::open(data).await.expect("the store opens")
}

async fn claim(store: &Store) -> Claim {
    store.claim("test", MINUTE).await.unwrap().expect("a task waits")
}

async fn status(store: &Store, id: &TaskId) -> TaskStatus {
    store.task(id).await.unwrap().expect("the task exists").status
}

fn cancelled() -> TaskStatus {
    TaskStatus::Failed(Failure::new(FailureCode::Cancelled, "cancelled"))
}

/// Both files of a task, of `bytes` and 3 bytes.
fn write_outputs(store: &Store, id: &TaskId, bytes: usize) -> Artifact {
    let (file, thumbnail) = (FileName::of_video(id), FileName::of_thumbnail(id));
    std::fs::write(store.output_path(&file), vec![0; bytes]).unwrap();
    std::fs::write(store.output_path(&thumbnail), b"jpg").unwrap();
    Artifact { file, thumbnail: Some(thumbnail), pipeline: Pipeline::OneStage, enhanced_prompt: None }
}

/// A completed task with 10 + 3 bytes.
async fn completed(store: &Store, prompt: &str) -> TaskId {
    let id = store.enqueue(&text(prompt), vec![]).await.unwrap();
    let claimed = claim(store).await;
    assert_eq!(claimed.lease.task(), &id);
    store.complete(&claimed.lease, &write_outputs(store, &id, 10)).await.unwrap();
    id
}

fn outputs(store: &Store) -> usize {
    std::fs::read_dir(store.outputs_dir()).unwrap().count()
}

async fn kinds(store: &Store, id: &TaskId) -> Vec<EventKind> {
    store.events_after(id, 0).await.unwrap().iter().map(|event| event.kind).collect()
}

#[tokio::test]
async fn higher_priorities_go_first() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let mut ids = Vec::new();
    for priority in [0, -1, 5, 5, 0] {
        let submitted = store.submit(Submission { priority, ..submission("x") }).await.unwrap();
        ids.push(submitted.id().clone());
    }
    let order = [2, 3, 0, 4, 1];
    for (position, index) in (1..).zip(order) {
        assert_eq!(status(&store, &ids[index]).await, TaskStatus::Queued { position });
    }
    for index in order {
        assert_eq!(claim(&store).await.lease.task(), &ids[index]);
    }
}

#[tokio::test]
async fn a_finished_task_is_not_run_again_though_its_end_was_not_written() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = store.enqueue(&text("a fox"), vec![]).await.unwrap();
    let lease = claim(&store).await.lease;
    let artifact = write_outputs(&store, &id, 10);
    store.prepare(&lease, &artifact).await.unwrap();
    assert!(!store.is_output(&artifact.file).await.unwrap());
    drop(store);

    let store = open(data.path()).await;
    assert_eq!(status(&store, &id).await, TaskStatus::Completed(artifact.clone()));
    assert!(store.is_output(&artifact.file).await.unwrap());
    assert_eq!(kinds(&store, &id).await, [EventKind::Queued, EventKind::Started, EventKind::Completed]);
    assert!(store.claim("test", MINUTE).await.unwrap().is_none());
}

#[tokio::test]
async fn a_result_that_was_announced_but_is_not_there_is_made_again() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = store.enqueue(&text("a fox"), vec![]).await.unwrap();
    let lease = claim(&store).await.lease;
    let artifact = write_outputs(&store, &id, 10);
    store.prepare(&lease, &artifact).await.unwrap();
    std::fs::remove_file(store.output_path(&artifact.file)).unwrap();
    drop(store);

    let store = open(data.path()).await;
    assert_eq!(status(&store, &id).await, TaskStatus::Queued { position: 1 });
    assert_eq!(outputs(&store), 0);
    assert_eq!(claim(&store).await.attempt, 2);
}

#[tokio::test]
async fn leftovers_of_results_are_swept_and_other_files_stay() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let kept = completed(&store, "kept").await;
    let orphan = store.output_path(&FileName::of_video(&new_task_id()));
    let notes = store.outputs_dir().join("notes.txt");
    std::fs::write(&orphan, b"orphan").unwrap();
    std::fs::write(&notes, b"a person's").unwrap();
    drop(store);
    let store = open(data.path()).await;
    assert!(!orphan.exists() && notes.exists());
    assert!(store.output_path(&FileName::of_video(&kept)).exists());
    assert_eq!(outputs(&store), 3);
}

#[tokio::test]
async fn events_are_numbered_and_outlive_the_process() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let mut changes = store.changes();
    let id = store.enqueue(&text("a fox"), vec![]).await.unwrap();
    assert_eq!(changes.recv().await.unwrap(), Change::Task(id.clone()));
    let lease = claim(&store).await.lease;
    let at = |phase, step| Progress { phase, step, total_steps: 2 };
    let steps = [at(Phase::Loading, 0), at(Phase::Denoising, 0), at(Phase::Denoising, 1), at(Phase::Denoising, 2)];
    store.report_steps(&lease, &steps[..3]).await.unwrap();
    store.report_steps(&lease, &steps[3..]).await.unwrap();
    drop((store, changes));

    let store = open(data.path()).await;
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
async fn a_key_finds_its_task_again() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let keyed = |fingerprint: &str| {
        let input = InputFile::new(b"picture".to_vec());
        let images = vec![ImageInput::first_frame(InputRef::Upload(input.name().to_string()))];
        let request = ValidRequest { task: Task::ImageToVideo { images }, ..text("a fox") };
        let key = SubmissionKey { key: "mine".into(), fingerprint: fingerprint.into() };
        Submission { key: Some(key), max_waiting: Some(1), ..Submission::new(request, vec![input]) }
    };
    let first = store.submit(keyed("1")).await.unwrap();
    assert!(matches!(first, Submitted::Queued(_)));
    assert_eq!(store.submit(keyed("1")).await.unwrap(), Submitted::Known(first.id().clone()));
    assert!(matches!(store.submit(keyed("2")).await, Err(StoreError::KeyReused)));
    assert_eq!(std::fs::read_dir(data.path().join("inputs")).unwrap().count(), 1);
}

#[tokio::test]
async fn the_queue_has_an_end() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let limited = || Submission { max_waiting: Some(2), ..submission("x") };
    store.submit(limited()).await.unwrap();
    store.submit(limited()).await.unwrap();
    assert!(matches!(store.submit(limited()).await, Err(StoreError::QueueFull { waiting: 2, most: 2 })));
    claim(&store).await;
    store.submit(limited()).await.unwrap();
    assert_eq!(store.open_tasks().await.unwrap(), OpenTasks { waiting: 2, running: 1 });
}

#[tokio::test]
async fn tasks_are_cancelled_by_where_they_stand() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    assert_eq!(store.remove(&new_task_id()).await.unwrap(), None);
    let running = store.enqueue(&text("running"), vec![]).await.unwrap();
    let queued = store.enqueue(&text("queued"), vec![]).await.unwrap();
    let lease = claim(&store).await.lease;

    assert_eq!(store.remove(&queued).await.unwrap(), Some(Removal::Cancelled));
    assert_eq!(status(&store, &queued).await, cancelled());
    assert_eq!(store.cancel(&queued).await.unwrap(), None);
    assert_eq!(store.remove(&queued).await.unwrap(), Some(Removal::Deleted));
    assert!(store.task(&queued).await.unwrap().is_none());
    assert!(store.events_after(&queued, 0).await.unwrap().is_empty());

    assert!(!store.is_cancel_requested(&lease).await.unwrap());
    assert_eq!(store.remove(&running).await.unwrap(), Some(Removal::Stopping));
    assert!(store.is_cancel_requested(&lease).await.unwrap());
    assert!(store.task(&running).await.unwrap().unwrap().is_stopping);
    drop(store);
    // Its worker died before it saw that: it is not begun again.
    let store = open(data.path()).await;
    assert_eq!(status(&store, &running).await, cancelled());
}

#[tokio::test]
async fn deleting_removes_the_files() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = completed(&store, "a fox").await;
    assert_eq!(outputs(&store), 2);
    assert_eq!(store.remove(&id).await.unwrap(), Some(Removal::Deleted));
    assert_eq!(outputs(&store), 0);
}

#[tokio::test]
async fn lists_are_filtered_and_paged() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let done = completed(&store, "done").await;
    let failed = store.enqueue(&text("failed"), vec![]).await.unwrap();
    store.cancel(&failed).await.unwrap();
    let running = store.enqueue(&text("running"), vec![]).await.unwrap();
    claim(&store).await;
    let queued = store.enqueue(&text("queued"), vec![]).await.unwrap();
    let listed = async |listed, cursor, limit| {
        let page = store.tasks(listed, cursor, limit).await.unwrap();
        (page.tasks.into_iter().map(|task| task.id).collect::<Vec<_>>(), page.next)
    };
    let newest_first = [&queued, &running, &failed, &done].map(Clone::clone);
    assert_eq!(listed(Listed::All, None, 4).await, (newest_first.to_vec(), None));
    assert_eq!(listed(Listed::Open, None, 9).await.0, newest_first[..2]);
    assert_eq!(listed(Listed::Failed, None, 9).await.0, [failed]);
    assert_eq!(listed(Listed::Completed, None, 9).await.0, [done]);

    let (first, next) = listed(Listed::All, None, 3).await;
    assert_eq!(first, newest_first[..3]);
    // What comes in front does not move the pages.
    store.enqueue(&text("later"), vec![]).await.unwrap();
    let cursor = Cursor::parse(&next.unwrap().text());
    assert_eq!(listed(Listed::All, cursor, 3).await, (newest_first[3..].to_vec(), None));
    for bad in ["", "t", "tzzzzzzzzzzzzzzzz", "tffffffffffffffff", "0000000000000001", "t+000000000000001"] {
        assert!(Cursor::parse(bad).is_none(), "{bad}");
    }
}

#[tokio::test]
async fn what_is_old_or_too_much_goes_unless_it_is_read() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let mut ids = Vec::new();
    for prompt in ["1", "2", "3"] {
        ids.push(completed(&store, prompt).await);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let input = InputFile::new(b"picture".to_vec());
    let images = vec![ImageInput::first_frame(InputRef::Upload(input.name().to_string()))];
    let request = ValidRequest { task: Task::ImageToVideo { images }, ..text("waits") };
    let waiting = store.enqueue(&request, vec![input]).await.unwrap();
    assert_eq!(store.expire(&Retention::default()).await.unwrap(), 0);

    // Two of 13 bytes are 26.
    let by_size = Retention { max_bytes: Some(26), max_age: None };
    let hold = store.hold(&FileName::of_thumbnail(&ids[0])).unwrap();
    assert_eq!(store.expire(&by_size).await.unwrap(), 0);
    drop(hold);
    assert_eq!(store.expire(&by_size).await.unwrap(), 1);
    assert!(store.task(&ids[0]).await.unwrap().is_none());

    let by_age = Retention { max_age: Some(Duration::from_millis(1)), max_bytes: None };
    let hold = store.hold(&FileName::of_video(&ids[2])).unwrap();
    assert_eq!(store.expire(&Retention { max_age: Some(MINUTE), max_bytes: None }).await.unwrap(), 0);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(store.expire(&by_age).await.unwrap(), 1);
    drop(hold);
    assert_eq!(store.expire(&by_age).await.unwrap(), 1);
    assert_eq!(outputs(&store), 0);
    assert_eq!(status(&store, &waiting).await, TaskStatus::Queued { position: 1 });
    assert_eq!(std::fs::read_dir(data.path().join("inputs")).unwrap().count(), 1);
}

#[tokio::test]
async fn webhooks_are_due_until_they_are_called() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let webhook = Webhook { url: "http://x/".into(), base: "http://me".into() };
    let id = store.submit(Submission { webhook: Some(webhook.clone()), ..submission("x") }).await.unwrap().id().clone();
    completed_without_webhook(&store).await;
    assert!(store.due_webhooks(9).await.unwrap().is_empty());
    store.cancel(&id).await.unwrap();
    drop(store);

    let store = open(data.path()).await;
    let due = store.due_webhooks(9).await.unwrap();
    assert_eq!((due.len(), &due[0].task, &due[0].webhook, due[0].attempts), (1, &id, &webhook, 0));
    store.webhook_called(&id, Some(MINUTE)).await.unwrap();
    assert!(store.due_webhooks(9).await.unwrap().is_empty());
    store.webhook_called(&id, Some(Duration::ZERO)).await.unwrap();
    assert_eq!(store.due_webhooks(9).await.unwrap()[0].attempts, 2);
    store.webhook_called(&id, None).await.unwrap();
    assert!(store.due_webhooks(9).await.unwrap().is_empty());
}

async fn completed_without_webhook(store: &Store) {
    let first = Submission { priority: 1, ..submission("first") };
    store.submit(first).await.unwrap();
    let lease = claim(store).await.lease;
    store.complete(&lease, &write_outputs(store, lease.task(), 1)).await.unwrap();
}

#[tokio::test]
async fn times_are_guessed_from_earlier_ones() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let expected = async |id: &TaskId| store.task(id).await.unwrap().unwrap().expected_ms;
    let unknown = store.enqueue(&text("x"), vec![]).await.unwrap();
    assert_eq!(expected(&unknown).await, None);
    let lease = claim(&store).await.lease;
    tokio::time::sleep(Duration::from_millis(50)).await;
    store.complete(&lease, &write_outputs(&store, &unknown, 1)).await.unwrap();
    let first = store.enqueue(&text("x"), vec![]).await.unwrap();
    let second = store.enqueue(&text("x"), vec![]).await.unwrap();
    let (one, two) = (expected(&first).await.unwrap(), expected(&second).await.unwrap());
    assert!(one >= 50 && (2 * one - 1..=2 * one + 1).contains(&two), "{one} and {two}");
}

#[tokio::test]
async fn a_folder_of_the_first_version_is_taken_over() {
    let data = tempfile::tempdir().unwrap();
    let first = tempfile::tempdir().unwrap();
    let migration = "0001_tasks.sql";
    std::fs::copy(Path::new("migrations").join(migration), first.path().join(migration)).unwrap();
    let options = SqliteConnectOptions::new().filename(data.path().join("ltx2.sqlite")).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    Migrator::new(first.path()).await.unwrap().run(&pool).await.unwrap();
    let id = new_task_id();
    let request = serde_json::to_string(&text("old")).unwrap();
    let insert = "INSERT INTO tasks (id, state, request, created_at) VALUES (?, 'queued', ?, 0)";
    sqlx::query(insert).bind(id.as_str()).bind(request).execute(&pool).await.unwrap();
    pool.close().await;

    let store = open(data.path()).await;
    assert_eq!(status(&store, &id).await, TaskStatus::Queued { position: 1 });
    assert_eq!(claim(&store).await.request, text("old"));
    assert_eq!(kinds(&store, &id).await, [EventKind::Started]);
}
