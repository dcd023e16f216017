//! Databases of earlier versions.

use std::path::Path;

use ltx2_store::{Artifact, Completion, EventKind, FileName, Store, StoreError, TaskId, TaskStatus, new_task_id};
use ltx2_types::{Failure, FailureCode, InputRef, OutputRole, Pipeline};
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

use crate::support::{
    MINUTE, claim, files_in, image_request, kinds, open, record, request, restart, status, thumbnail_name, video_name,
};

const MIGRATIONS: [&str; 3] = ["0001_tasks.sql", "0002_service.sql", "0003_enhanced_prompts.sql"];

/// Creates a database by the first migrations.
async fn database(data: &Path, migrations: &[&str]) -> SqlitePool {
    let first = tempfile::tempdir().unwrap();
    for name in migrations {
        std::fs::copy(Path::new("src/sqlite/migrations").join(name), first.path().join(name)).unwrap();
    }
    let options = SqliteConnectOptions::new().filename(data.join("ltx2.sqlite")).create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await.unwrap();
    Migrator::new(first.path()).await.unwrap().run(&pool).await.unwrap();
    pool
}

fn text(request: &ltx2_types::ValidRequest) -> String {
    serde_json::to_string(request).unwrap()
}

#[tokio::test]
async fn a_database_of_the_first_version_is_opened() {
    let data = tempfile::tempdir().unwrap();
    let pool = database(data.path(), &MIGRATIONS[..1]).await;
    let id = new_task_id();
    let insert = "INSERT INTO tasks (id, state, request, created_at) VALUES (?, 'queued', ?, 0)";
    sqlx::query(insert).bind(id.as_str()).bind(text(&request("old"))).execute(&pool).await.unwrap();
    pool.close().await;

    let store = open(data.path()).await;
    assert_eq!(status(&store, &id).await, TaskStatus::Queued { position: 1 });
    assert_eq!(claim(&store).await.request, request("old"));
    assert_eq!(kinds(&store, &id).await, [EventKind::Started]);
}

/// Rows of the third version, one per state.
struct Old {
    queued: TaskId,
    running: TaskId,
    published: TaskId,
    completed: TaskId,
    bare: TaskId,
    failed: TaskId,
}

async fn insert_old(pool: &SqlitePool, data: &Path) -> Old {
    let old = Old {
        queued: new_task_id(),
        running: new_task_id(),
        published: new_task_id(),
        completed: new_task_id(),
        bare: new_task_id(),
        failed: new_task_id(),
    };
    let image = text(&image_request(InputRef::Upload("input_1".into())));
    let plain = text(&request("old"));
    let rows = [
        (&old.queued, "queued", image.as_str()),
        (&old.running, "running", plain.as_str()),
        (&old.published, "running", plain.as_str()),
        (&old.completed, "completed", plain.as_str()),
        (&old.bare, "completed", plain.as_str()),
        (&old.failed, "failed", plain.as_str()),
    ];
    for (id, state, request) in rows {
        let sql = "INSERT INTO tasks (id, state, request, created_at, work, priority) VALUES (?, ?, ?, 1, 500, 2)";
        sqlx::query(sql).bind(id.as_str()).bind(state).bind(request).execute(pool).await.unwrap();
    }
    sqlx::query("INSERT INTO task_inputs (file, task) VALUES ('input_1', ?)")
        .bind(old.queued.as_str())
        .execute(pool)
        .await
        .unwrap();
    let lease = "UPDATE tasks SET lease_owner = 'worker', lease_token = 'x', lease_expires_at = 9000000000000,
                     attempts = 1, started_at = 2 WHERE state = 'running'";
    sqlx::query(lease).execute(pool).await.unwrap();
    for id in [&old.published, &old.completed, &old.bare] {
        let sql =
            "UPDATE tasks SET result_file = ?, thumbnail_file = ?, pipeline = 'two-stage', enhanced_prompt = 'long',
                       result_bytes = 13 WHERE id = ?";
        let thumbnail = (id != &old.bare).then(|| thumbnail_name(id).to_string());
        let query = sqlx::query(sql).bind(video_name(id).to_string()).bind(thumbnail);
        query.bind(id.as_str()).execute(pool).await.unwrap();
    }
    let end = "UPDATE tasks SET started_at = 2, finished_at = 3, webhook_url = 'http://x/', webhook_due_at = 3
               WHERE state IN ('completed', 'failed')";
    sqlx::query(end).execute(pool).await.unwrap();
    let failure = "UPDATE tasks SET error_code = 'model', error_message = 'no model' WHERE state = 'failed'";
    sqlx::query(failure).execute(pool).await.unwrap();
    for folder in ["inputs", "outputs"] {
        std::fs::create_dir_all(data.join(folder)).unwrap();
    }
    std::fs::write(data.join("inputs/input_1"), b"image").unwrap();
    for id in [&old.published, &old.completed] {
        std::fs::write(data.join("outputs").join(video_name(id).as_str()), [0; 10]).unwrap();
        std::fs::write(data.join("outputs").join(thumbnail_name(id).as_str()), b"jpg").unwrap();
    }
    std::fs::write(data.join("outputs").join(video_name(&old.bare).as_str()), [0; 13]).unwrap();
    old
}

fn artifact(role: OutputRole, key: FileName, mime: &str, bytes: u64) -> Artifact {
    Artifact { role, key, mime: mime.into(), bytes, width: None, height: None, duration: None, note: None }
}

fn completion(outputs: Vec<Artifact>) -> TaskStatus {
    let enhanced_prompt = Some("long".into());
    TaskStatus::Completed(Completion { outputs, pipeline: Pipeline::TwoStage, enhanced_prompt })
}

#[tokio::test]
async fn tasks_of_the_third_version_keep_their_state_and_files() {
    let data = tempfile::tempdir().unwrap();
    let pool = database(data.path(), &MIGRATIONS).await;
    let old = insert_old(&pool, data.path()).await;
    pool.close().await;

    let store = open(data.path()).await;
    // The sum of the bytes is what is known.
    let video = artifact(OutputRole::Video, video_name(&old.completed), "video/mp4", 13);
    let thumbnail = artifact(OutputRole::Thumbnail, thumbnail_name(&old.completed), "image/jpeg", 0);
    assert_eq!(status(&store, &old.completed).await, completion(vec![video, thumbnail]));
    let video = artifact(OutputRole::Video, video_name(&old.bare), "video/mp4", 13);
    assert_eq!(status(&store, &old.bare).await, completion(vec![video]));
    assert!(store.is_output(&thumbnail_name(&old.completed)).await.unwrap());
    assert_eq!(status(&store, &old.failed).await, TaskStatus::Failed(Failure::new(FailureCode::Model, "no model")));
    assert_eq!(status(&store, &old.running).await, TaskStatus::Running { progress: None });
    assert_eq!(status(&store, &old.queued).await, TaskStatus::Queued { position: 1 });
    let queued = record(&store, &old.queued).await;
    assert_eq!((queued.priority, queued.dialect, queued.owner, queued.plan), (2, None, None, None));
    for _ in 0..3 {
        assert!(store.claim_webhook(MINUTE, &[]).await.unwrap().is_some());
    }

    let store = restart(store, data.path()).await;
    let video = artifact(OutputRole::Video, video_name(&old.published), "video/mp4", 10);
    let thumbnail = artifact(OutputRole::Thumbnail, thumbnail_name(&old.published), "image/jpeg", 3);
    assert_eq!(status(&store, &old.published).await, completion(vec![video, thumbnail]));
    assert_eq!(files_in(&data.path().join("inputs")).len(), 1);
    let mut claimed = [claim(&store).await, claim(&store).await].map(|claim| claim.lease.task().clone());
    claimed.sort();
    let mut expected = [old.queued, old.running];
    expected.sort();
    assert_eq!(claimed, expected);
}

#[tokio::test]
async fn a_database_is_not_migrated_while_a_worker_of_the_earlier_version_runs() {
    let data = tempfile::tempdir().unwrap();
    database(data.path(), &MIGRATIONS).await.close().await;
    let lock = std::fs::File::create(data.path().join("ltx2.lock")).unwrap();
    lock.try_lock().unwrap();
    assert!(matches!(Store::open(data.path()).await, Err(StoreError::InUse(_))));
    drop(lock);
    open(data.path()).await;
}
