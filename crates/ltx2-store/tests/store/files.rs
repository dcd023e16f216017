//! Uploads, unused files and locks.

use std::collections::HashSet;
use std::time::Duration;

use ltx2_store::{StoreError, Submission, Upload, new_task_id};
use ltx2_types::{Failure, FailureCode, InputRef};

use crate::support::{
    MINUTE, claim, completed, files_in, image_request, image_submission, open, outputs, request, restart, video_name,
};

#[tokio::test]
async fn uploads_are_kept_until_their_task_ends() {
    let data = tempfile::tempdir().unwrap();
    let inputs = data.path().join("inputs");
    let store = open(data.path()).await;
    let submission = image_submission(b"image");
    let (name, source) = (submission.inputs[0].name().clone(), submission.inputs[0].source());
    store.submit(submission).await.unwrap();
    std::fs::write(inputs.join(".left.part"), b"half").unwrap();
    std::fs::write(inputs.join("orphan"), b"whole").unwrap();

    let store = restart(store, data.path()).await;
    assert_eq!(files_in(&inputs), HashSet::from([name.to_string()]));
    assert_eq!(std::fs::read(store.input_path(&source).await.unwrap()).unwrap(), b"image");
    let lease = claim(&store).await.lease;
    store.fail(&lease, &Failure::new(FailureCode::OutOfMemory, "too big")).await.unwrap();
    assert!(files_in(&inputs).is_empty());
}

#[tokio::test]
async fn unused_files_are_swept_once_they_are_old() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let kept = completed(&store, "kept").await;
    let orphan = store.output_path(&video_name(&new_task_id()));
    let upload = data.path().join("inputs").join("input_orphan");
    let asset = data.path().join("assets").join("asset_orphan");
    let notes = store.outputs_dir().join("notes.txt");
    for path in [&orphan, &upload, &asset, &notes] {
        std::fs::write(path, b"x").unwrap();
    }
    store.sweep(MINUTE).await.unwrap();
    assert!(orphan.exists() && upload.exists() && asset.exists());

    store.sweep(Duration::ZERO).await.unwrap();
    assert!(!orphan.exists() && !upload.exists() && !asset.exists() && notes.exists());
    assert!(store.output_path(&video_name(&kept)).exists());
    assert_eq!(outputs(&store), 3);
}

#[tokio::test]
async fn uploads_must_match_the_request() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let elsewhere = image_request(InputRef::Upload("elsewhere".into()));
    for (request, inputs) in [(elsewhere, vec![]), (request("a fox"), vec![Upload::new(vec![1])])] {
        let submitted = store.submit(Submission::new(request, inputs)).await;
        assert!(matches!(submitted, Err(StoreError::InputsMismatch)));
    }
    assert!(files_in(&data.path().join("inputs")).is_empty());
}

#[tokio::test]
async fn only_one_worker_holds_the_lock() {
    let data = tempfile::tempdir().unwrap();
    let (store, other) = (open(data.path()).await, open(data.path()).await);
    let lock = store.lock_worker().unwrap();
    assert!(matches!(other.lock_worker(), Err(StoreError::InUse(_))));
    drop(lock);
    other.lock_worker().unwrap();
}
