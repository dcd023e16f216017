//! Helpers of the store's tests.

use std::collections::HashSet;
use std::path::Path;
use std::time::Duration;

use ltx2_store::{
    Artifact, Claim, Completion, EventKind, FileName, Store, Submission, TaskId, TaskRecord, TaskStatus, Upload,
};
use ltx2_types::{
    Failure, FailureCode, ImageInput, InputRef, Limits, OutputRole, Phase, Pipeline, PlanSummary, Progress,
    StageSummary, Task, ValidRequest,
};

pub const MINUTE: Duration = Duration::from_secs(60);

pub fn request(prompt: &str) -> ValidRequest {
    ValidRequest { prompt: prompt.into(), ..Limits::server().defaults }
}

/// A request that refers to `source`.
pub fn image_request(source: InputRef) -> ValidRequest {
    ValidRequest { task: Task::ImageToVideo { images: vec![ImageInput::first_frame(source)] }, ..request("move") }
}

pub fn submission(prompt: &str) -> Submission {
    Submission::new(request(prompt), vec![])
}

/// A submission with one upload.
pub fn image_submission(bytes: &[u8]) -> Submission {
    let upload = Upload::new(bytes.to_vec());
    Submission::new(image_request(upload.source()), vec![upload])
}

/// A plan whose cost is `cost`.
pub fn plan(cost: u64) -> PlanSummary {
    let stage =
        StageSummary { width: 64, height: 64, num_frames: 9, video_tokens: cost, audio_tokens: 0, steps: 1, passes: 1 };
    PlanSummary { pipeline: Pipeline::OneStage, stages: vec![stage] }
}

pub fn progress(phase: Phase, step: u32) -> Progress {
    Progress { phase, step, total_steps: 40 }
}

pub fn internal(message: &str) -> Failure {
    Failure::new(FailureCode::Internal, message)
}

pub async fn open(data: &Path) -> Store {
    Store::open(data).await.expect("the store opens")
}

/// Opens a folder as `ltx2 serve` does after a crash.
pub async fn restart(store: Store, data: &Path) -> Store {
    drop(store);
    let store = open(data).await;
    let lock = store.lock_worker().expect("no worker runs");
    store.recover(&lock).await.unwrap();
    store.sweep(Duration::ZERO).await.unwrap();
    store
}

pub async fn claim(store: &Store) -> Claim {
    store.claim("test", MINUTE).await.unwrap().expect("a task waits")
}

pub async fn record(store: &Store, id: &TaskId) -> TaskRecord {
    store.task(id).await.unwrap().expect("the task exists")
}

pub async fn status(store: &Store, id: &TaskId) -> TaskStatus {
    record(store, id).await.status
}

pub async fn failure(store: &Store, id: &TaskId) -> Failure {
    match status(store, id).await {
        TaskStatus::Failed(failure) => failure,
        other => panic!("not failed: {other:?}"),
    }
}

pub async fn kinds(store: &Store, id: &TaskId) -> Vec<EventKind> {
    store.events_after(id, 0).await.unwrap().iter().map(|event| event.kind).collect()
}

pub fn video_name(id: &TaskId) -> FileName {
    FileName::of_output(id, "mp4")
}

pub fn thumbnail_name(id: &TaskId) -> FileName {
    FileName::of_output(id, "jpg")
}

fn artifact(role: OutputRole, key: FileName, mime: &str, bytes: u64) -> Artifact {
    Artifact { role, key, mime: mime.into(), bytes, width: Some(64), height: Some(32), duration: None, note: None }
}

/// The result of `id`, with a video of `bytes` bytes and a thumbnail of 3.
pub fn completion(id: &TaskId, bytes: u64) -> Completion {
    let video = artifact(OutputRole::Video, video_name(id), "video/mp4", bytes);
    let outputs = vec![
        Artifact { duration: Some(1.5), note: Some("a lower quality".into()), ..video },
        artifact(OutputRole::Thumbnail, thumbnail_name(id), "image/jpeg", 3),
    ];
    Completion { outputs, pipeline: Pipeline::OneStage, enhanced_prompt: None }
}

/// Writes the files of [`completion`].
pub fn write_outputs(store: &Store, id: &TaskId, bytes: u64) -> Completion {
    std::fs::write(store.output_path(&video_name(id)), vec![0; bytes as usize]).unwrap();
    std::fs::write(store.output_path(&thumbnail_name(id)), b"jpg").unwrap();
    completion(id, bytes)
}

/// A completed task of 10 + 3 bytes.
pub async fn completed(store: &Store, prompt: &str) -> TaskId {
    let id = store.enqueue(&request(prompt), vec![]).await.unwrap();
    let claimed = claim(store).await;
    assert_eq!(claimed.lease.task(), &id);
    store.complete(&claimed.lease, &write_outputs(store, &id, 10)).await.unwrap();
    id
}

pub fn files_in(folder: &Path) -> HashSet<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

pub fn outputs(store: &Store) -> usize {
    files_in(&store.outputs_dir()).len()
}

/// Pseudo-random numbers, the same in each run.
pub struct Numbers(pub u64);

impl Numbers {
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % end
    }
}
