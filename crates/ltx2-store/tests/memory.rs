//! What the store answers from memory is what the database says at that moment, whatever is written and by whom.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ltx2_store::{
    Artifact, FileName, InputFile, Lease, Store, StoreError, Submission, TaskId, TaskRecord, TaskStatus, new_task_id,
};
use ltx2_types::{Failure, FailureCode, ImageInput, InputRef, Limits, Phase, Pipeline, Progress, Task, ValidRequest};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

/// Small numbers, the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}

/// A row as it is in the database, read beside the store.
#[derive(Debug, sqlx::FromRow)]
struct Row {
    id: String,
    seq: i64,
    state: String,
    request: String,
    priority: i32,
    attempts: u32,
    cancel_requested: bool,
    step: Option<u32>,
    error_message: Option<String>,
    result_file: Option<String>,
    created_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
}

impl Row {
    /// What the store has to say about it.
    fn record(&self, all: &[Row]) -> TaskRecord {
        let turn = |row: &Row| (-row.priority, row.seq);
        let status = match self.state.as_str() {
            "queued" => {
                let before = all.iter().filter(|row| row.state == "queued" && turn(row) < turn(self)).count();
                TaskStatus::Queued { position: before as u32 + 1 }
            }
            "running" => TaskStatus::Running { progress: self.step.map(progress) },
            "completed" => TaskStatus::Completed(Artifact {
                file: FileName::parse(self.result_file.as_deref().unwrap()).unwrap(),
                thumbnail: None,
                pipeline: Pipeline::OneStage,
                enhanced_prompt: None,
            }),
            _ => {
                let message = self.error_message.clone().unwrap();
                let code = if message == "cancelled" { FailureCode::Cancelled } else { FailureCode::Internal };
                TaskStatus::Failed(Failure::new(code, message))
            }
        };
        TaskRecord {
            id: TaskId::parse(&self.id).unwrap(),
            request: Some(Arc::new(serde_json::from_str(&self.request).unwrap())),
            status,
            priority: self.priority,
            attempts: self.attempts,
            is_stopping: self.state == "running" && self.cancel_requested,
            expected_ms: None,
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
        }
    }
}

fn progress(step: u32) -> Progress {
    Progress { phase: Phase::Denoising, step, total_steps: u32::MAX }
}

/// A connection of its own to the store's database.
async fn connect(data: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(data.join("ltx2.sqlite")).read_only(true);
    options.connect().await.unwrap()
}

/// Differs from the last one if and only if something was committed since.
async fn version(database: &mut SqliteConnection) -> i64 {
    sqlx::query_scalar("PRAGMA data_version").fetch_one(database).await.unwrap()
}

async fn rows(database: &mut SqliteConnection) -> Vec<Row> {
    sqlx::query_as("SELECT * FROM tasks ORDER BY seq").fetch_all(database).await.unwrap()
}

async fn told(store: &Store, id: &TaskId) -> Option<TaskRecord> {
    // Time is guessed, and passes.
    store.task(id).await.unwrap().map(|record| TaskRecord { expected_ms: None, ..record })
}

/// Tasks and leases that the clients know of.
#[derive(Default)]
struct World {
    tasks: Mutex<Vec<TaskId>>,
    leases: Mutex<Vec<Lease>>,
    steps: AtomicU32,
    is_over: AtomicBool,
}

impl World {
    fn some_task(&self, numbers: &mut Numbers) -> TaskId {
        let tasks = self.tasks.lock().unwrap();
        // Mostly one of the latest.
        let latest = tasks.len().min(if numbers.below(4) > 0 { 8 } else { usize::MAX });
        if latest == 0 { new_task_id() } else { tasks[tasks.len() - 1 - numbers.below(latest)].clone() }
    }

    fn some_lease(&self, numbers: &mut Numbers) -> Option<Lease> {
        let leases = self.leases.lock().unwrap();
        let latest = leases.len().min(3);
        (latest > 0).then(|| leases[leases.len() - 1 - numbers.below(latest)].clone())
    }

    async fn submit(&self, store: &Store, priority: i32) -> Result<(), StoreError> {
        let input = InputFile::new(vec![0; 9]);
        let images = vec![ImageInput::first_frame(InputRef::Upload(input.name().to_string()))];
        let request = ValidRequest { task: Task::ImageToVideo { images }, ..Limits::server().defaults };
        let submitted = store.submit(Submission { priority, ..Submission::new(request, vec![input]) }).await?;
        self.tasks.lock().unwrap().push(submitted.id().clone());
        Ok(())
    }

    async fn claim(&self, store: &Store, length: Duration) -> Result<(), StoreError> {
        if let Some(claim) = store.claim("test", length).await? {
            self.leases.lock().unwrap().push(claim.lease);
        }
        Ok(())
    }

    async fn report(&self, store: &Store, lease: &Lease) -> Result<(), StoreError> {
        let first = self.steps.fetch_add(2, Ordering::Relaxed);
        store.report_steps(lease, &[progress(first), progress(first + 1)]).await
    }

    async fn complete(&self, store: &Store, lease: &Lease) -> Result<(), StoreError> {
        let file = FileName::of_video(lease.task());
        std::fs::write(store.output_path(&file), b"video").unwrap();
        let artifact = Artifact { file, thumbnail: None, pipeline: Pipeline::OneStage, enhanced_prompt: None };
        store.prepare(lease, &artifact).await?;
        store.complete(lease, &artifact).await
    }

    /// One of the things that can happen.
    async fn act(&self, store: &Store, numbers: &mut Numbers) {
        let choice = numbers.below(20);
        let (task, lease) = (self.some_task(numbers), self.some_lease(numbers));
        let done = match (choice, lease) {
            (0..4, _) => self.submit(store, numbers.below(5) as i32 - 2).await,
            (4..7, _) => self.claim(store, Duration::from_secs(60)).await,
            (7, _) => self.claim(store, Duration::ZERO).await,
            (8..11, _) => store.remove(&task).await.map(drop),
            (11..15, Some(lease)) => self.report(store, &lease).await,
            (15, Some(lease)) => store.heartbeat(&lease).await,
            (16, Some(lease)) => store.release(&lease).await,
            (17, Some(lease)) => store.fail(&lease, &Failure::new(FailureCode::Internal, "x")).await,
            (18, Some(lease)) => self.complete(store, &lease).await,
            _ => Ok(()),
        };
        assert!(matches!(done, Ok(()) | Err(StoreError::LeaseLost(_))), "{choice}: {done:?}");
    }
}

/// Does one thing after another, and goes away in the middle of some.
async fn write(store: Store, world: Arc<World>, mut numbers: Numbers) {
    for _ in 0..150 {
        let (store, world, mut own) = (store.clone(), world.clone(), Numbers(numbers.below(usize::MAX >> 33) as u64));
        let patience = numbers.below(4000) as u64;
        let action = tokio::spawn(async move { world.act(&store, &mut own).await });
        if numbers.below(4) > 0 {
            action.await.unwrap();
        } else {
            tokio::time::sleep(Duration::from_micros(patience)).await;
            action.abort();
        }
    }
}

/// Compares memory and database until all is over; returns how often nothing was committed in between.
async fn compare(store: Store, world: Arc<World>, mut database: SqliteConnection, mut numbers: Numbers) -> usize {
    let mut compared = 0;
    while !world.is_over.load(Ordering::Relaxed) {
        let id = world.some_task(&mut numbers);
        let before = version(&mut database).await;
        // At once: those who wrote may not have heard yet that it is done.
        let told = [told(&store, &id).await, told(&store, &id).await];
        let rows = rows(&mut database).await;
        if version(&mut database).await != before {
            continue;
        }
        let expected = rows.iter().find(|row| row.id == id.as_str()).map(|row| row.record(&rows));
        assert_eq!(told, [expected.clone(), expected]);
        compared += 1;
    }
    compared
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn memory_and_database_never_disagree() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let world = Arc::new(World::default());
    let mut readers = Vec::new();
    for seed in 0..3 {
        let database = connect(data.path()).await;
        readers.push(tokio::spawn(compare(store.clone(), world.clone(), database, Numbers(seed))));
    }
    let writers = (10..13).map(|seed| tokio::spawn(write(store.clone(), world.clone(), Numbers(seed))));
    let writers: Vec<_> = writers.collect();
    for writer in writers {
        writer.await.unwrap();
    }
    world.is_over.store(true, Ordering::Relaxed);
    let mut compared = 0;
    for reader in readers {
        compared += reader.await.unwrap();
    }
    assert!(compared > 50, "{compared}");

    // All is at rest.
    let mut database = connect(data.path()).await;
    let rows = rows(&mut database).await;
    let tasks = world.tasks.lock().unwrap().clone();
    for id in tasks {
        let expected = rows.iter().find(|row| row.id == id.as_str()).map(|row| row.record(&rows));
        assert_eq!(told(&store, &id).await, expected);
    }
    database.close().await.unwrap();
}

#[tokio::test]
async fn asking_again_needs_no_database() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let request = Limits::server().defaults;
    let running = store.enqueue(&request, vec![]).await.unwrap();
    let lease = store.claim("test", Duration::from_secs(60)).await.unwrap().unwrap().lease;
    store.report_steps(&lease, &[progress(1)]).await.unwrap();
    let gone = store.enqueue(&request, vec![]).await.unwrap();
    let queued = store.enqueue(&request, vec![]).await.unwrap();
    store.cancel(&gone).await.unwrap();
    let first = (told(&store, &running).await, told(&store, &gone).await, told(&store, &queued).await);
    assert_eq!(first.2.as_ref().unwrap().status, TaskStatus::Queued { position: 1 });

    store.close().await;
    assert!(store.open_tasks().await.is_err());
    assert_eq!((told(&store, &running).await, told(&store, &gone).await, told(&store, &queued).await), first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_goes_away_keeps_nobody_waiting() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).await.unwrap();
    let mut queued = 0;
    for patience in 0..60 {
        let submitter = store.clone();
        let submit = tokio::spawn(async move { submitter.enqueue(&Limits::server().defaults, vec![]).await });
        tokio::time::sleep(Duration::from_micros(patience * 50)).await;
        submit.abort();
        let _ = submit.await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        if store.open_tasks().await.unwrap().waiting > 0 {
            queued += 1;
            tokio::time::timeout(Duration::from_secs(60), store.wait_for_queued()).await.expect("woken");
        }
        while let Some(claim) = store.claim("test", Duration::from_secs(60)).await.unwrap() {
            store.fail(&claim.lease, &Failure::new(FailureCode::Internal, "x")).await.unwrap();
        }
    }
    assert!(queued > 0);
}
