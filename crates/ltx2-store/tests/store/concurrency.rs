//! Concurrent changes and reads: every record is what the database holds at that moment.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ltx2_store::{
    Completion, Lease, ReleaseReason, Store, StoreError, Submission, TaskId, TaskRecord, TaskStatus, new_task_id,
};
use ltx2_types::{Failure, FailureCode, Limits, Phase, Progress};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};

use crate::support::{MINUTE, Numbers, completion, image_submission, internal, open, write_outputs};

/// A row of the database, read without the store.
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
    pipeline: Option<String>,
    created_at: i64,
    started_at: Option<i64>,
    finished_at: Option<i64>,
}

impl Row {
    /// Returns the expected record.
    fn record(&self, all: &[Row]) -> TaskRecord {
        let order = |row: &Row| (-row.priority, row.seq);
        let status = match self.state.as_str() {
            "queued" => {
                let before = all.iter().filter(|row| row.state == "queued" && order(row) < order(self)).count();
                TaskStatus::Queued { position: before as u32 + 1 }
            }
            "running" => TaskStatus::Running { progress: self.step.map(progress) },
            "completed" => {
                assert_eq!(self.pipeline.as_deref(), Some("one-stage"));
                TaskStatus::Completed(completion(&TaskId::parse(&self.id).unwrap(), 5))
            }
            _ => {
                let message = self.error_message.clone().unwrap();
                let code = if message == "cancelled" { FailureCode::Cancelled } else { FailureCode::Internal };
                TaskStatus::Failed(Failure::new(code, message))
            }
        };
        TaskRecord {
            id: TaskId::parse(&self.id).unwrap(),
            request: Some(serde_json::from_str(&self.request).unwrap()),
            plan: None,
            status,
            priority: self.priority,
            attempts: self.attempts,
            is_stopping: self.state == "running" && self.cancel_requested,
            expected_ms: None,
            preview: None,
            dialect: None,
            owner: None,
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
        }
    }
}

fn progress(step: u32) -> Progress {
    Progress { phase: Phase::Denoising, step, total_steps: u32::MAX }
}

/// Opens another connection to the database.
async fn connect(data: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(data.join("ltx2.sqlite")).read_only(true);
    options.connect().await.unwrap()
}

/// Returns a number that changes with every commit.
async fn version(database: &mut SqliteConnection) -> i64 {
    sqlx::query_scalar("PRAGMA data_version").fetch_one(database).await.unwrap()
}

async fn rows(database: &mut SqliteConnection) -> Vec<Row> {
    sqlx::query_as("SELECT * FROM tasks ORDER BY seq").fetch_all(database).await.unwrap()
}

async fn read(store: &Store, id: &TaskId) -> Option<TaskRecord> {
    // The expected time depends on the clock.
    store.task(id).await.unwrap().map(|record| TaskRecord { expected_ms: None, ..record })
}

/// Tasks and leases of the clients.
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
        let submitted = store.submit(Submission { priority, ..image_submission(&[0; 9]) }).await?;
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
        store.heartbeat(lease, &[progress(first), progress(first + 1)]).await.map(drop)
    }

    async fn complete(&self, store: &Store, lease: &Lease) -> Result<(), StoreError> {
        let completion: Completion = write_outputs(store, lease.task(), 5);
        store.prepare(lease, &completion).await?;
        store.complete(lease, &completion).await
    }

    /// Makes a random change.
    async fn act(&self, store: &Store, numbers: &mut Numbers) {
        let choice = numbers.below(20);
        let (task, lease) = (self.some_task(numbers), self.some_lease(numbers));
        let done = match (choice, lease) {
            (0..4, _) => self.submit(store, numbers.below(5) as i32 - 2).await,
            (4..7, _) => self.claim(store, MINUTE).await,
            (7, _) => self.claim(store, Duration::ZERO).await,
            (8..11, _) => store.remove(&task).await.map(drop),
            (11..15, Some(lease)) => self.report(store, &lease).await,
            (15, Some(lease)) => store.heartbeat(&lease, &[]).await.map(drop),
            (16, Some(lease)) => store.release(&lease, ReleaseReason::Shutdown).await.map(drop),
            (17, Some(lease)) => store.fail(&lease, &internal("x")).await,
            (18, Some(lease)) => self.complete(store, &lease).await,
            _ => Ok(()),
        };
        assert!(matches!(done, Ok(()) | Err(StoreError::LeaseLost(_))), "{choice}: {done:?}");
    }
}

/// Makes random changes, and drops some of their futures in the middle.
async fn write(store: Store, world: Arc<World>, mut numbers: Numbers) {
    for _ in 0..150 {
        let (store, world, mut own) = (store.clone(), world.clone(), Numbers(numbers.below(usize::MAX >> 33) as u64));
        let delay = numbers.below(4000) as u64;
        let action = tokio::spawn(async move { world.act(&store, &mut own).await });
        if numbers.below(4) > 0 {
            action.await.unwrap();
        } else {
            tokio::time::sleep(Duration::from_micros(delay)).await;
            action.abort();
        }
    }
}

/// Compares store and database until all clients are done. Returns the number of comparisons without a commit in
/// between.
async fn compare(store: Store, world: Arc<World>, mut database: SqliteConnection, mut numbers: Numbers) -> usize {
    let mut compared = 0;
    while !world.is_over.load(Ordering::Relaxed) {
        let id = world.some_task(&mut numbers);
        let before = version(&mut database).await;
        let records = [read(&store, &id).await, read(&store, &id).await];
        let rows = rows(&mut database).await;
        if version(&mut database).await != before {
            continue;
        }
        let expected = rows.iter().find(|row| row.id == id.as_str()).map(|row| row.record(&rows));
        assert_eq!(records, [expected.clone(), expected]);
        compared += 1;
    }
    compared
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn records_match_the_database_under_concurrent_changes() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
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

    // After the last commit.
    let mut database = connect(data.path()).await;
    let rows = rows(&mut database).await;
    let tasks = world.tasks.lock().unwrap().clone();
    for id in tasks {
        let expected = rows.iter().find(|row| row.id == id.as_str()).map(|row| row.record(&rows));
        assert_eq!(read(&store, &id).await, expected);
    }
    database.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_submission_is_still_notified() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let mut queued = 0;
    for delay in 0..60 {
        let (submitter, mut changes) = (store.clone(), store.changes());
        let submit = tokio::spawn(async move { submitter.enqueue(&Limits::server().defaults, vec![]).await });
        tokio::time::sleep(Duration::from_micros(delay * 50)).await;
        submit.abort();
        let _ = submit.await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        if store.open_tasks().await.unwrap().waiting > 0 {
            queued += 1;
            tokio::time::timeout(MINUTE, changes.queue()).await.expect("notified");
        }
        while let Some(claim) = store.claim("test", MINUTE).await.unwrap() {
            store.fail(&claim.lease, &internal("x")).await.unwrap();
        }
    }
    assert!(queued > 0);
}
