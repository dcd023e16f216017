//! Retention of ended tasks.

use std::time::Duration;

use ltx2_store::{Retention, TaskStatus};

use crate::support::{
    MINUTE, completed, files_in, image_submission, open, outputs, status, thumbnail_name, video_name,
};

#[tokio::test]
async fn old_and_excess_results_are_removed_unless_held() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let mut ids = Vec::new();
    for prompt in ["1", "2", "3"] {
        ids.push(completed(&store, prompt).await);
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let waiting = store.submit(image_submission(b"image")).await.unwrap().id().clone();
    assert_eq!(store.expire(&Retention::default()).await.unwrap(), 0);

    // Two of 13 bytes are 26.
    let by_size = Retention { max_bytes: Some(26), max_age: None };
    let hold = store.hold(&thumbnail_name(&ids[0])).unwrap();
    assert_eq!(store.expire(&by_size).await.unwrap(), 0);
    drop(hold);
    assert_eq!(store.expire(&by_size).await.unwrap(), 1);
    assert!(store.task(&ids[0]).await.unwrap().is_none());

    let by_age = Retention { max_age: Some(Duration::from_millis(1)), max_bytes: None };
    let hold = store.hold(&video_name(&ids[2])).unwrap();
    assert_eq!(store.expire(&Retention { max_age: Some(MINUTE), max_bytes: None }).await.unwrap(), 0);
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(store.expire(&by_age).await.unwrap(), 1);
    drop(hold);
    assert_eq!(store.expire(&by_age).await.unwrap(), 1);
    assert_eq!(outputs(&store), 0);
    assert_eq!(status(&store, &waiting).await, TaskStatus::Queued { position: 1 });
    assert_eq!(files_in(&data.path().join("inputs")).len(), 1);
}
