//! Previews of running tasks.

use std::time::Duration;

use ltx2_store::ReleaseReason;

use crate::support::{MINUTE, claim, open, record, request, write_outputs};

#[tokio::test]
async fn previews_are_numbered_and_dropped_with_the_run() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    let lease = claim(&store).await.lease;
    assert_eq!(store.preview(&id).await.unwrap(), None);
    for (number, jpeg) in [(1, b"jpg1"), (2, b"jpg2")] {
        store.put_preview(&lease, jpeg).await.unwrap();
        assert_eq!(store.preview(&id).await.unwrap(), Some((number, jpeg.to_vec())));
        assert_eq!(record(&store, &id).await.preview, Some(number));
    }
    store.release(&lease, ReleaseReason::Shutdown).await.unwrap();
    assert_eq!((store.preview(&id).await.unwrap(), record(&store, &id).await.preview), (None, None));

    let lease = claim(&store).await.lease;
    store.put_preview(&lease, b"jpg").await.unwrap();
    assert_eq!(record(&store, &id).await.preview, Some(1));
    store.complete(&lease, &write_outputs(&store, &id, 10)).await.unwrap();
    assert_eq!((store.preview(&id).await.unwrap(), record(&store, &id).await.preview), (None, None));
}

#[tokio::test]
async fn requests_for_previews_reach_the_worker() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let mut changes = store.changes();
    let id = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    let lease = claim(&store).await.lease;
    assert!(!store.heartbeat(&lease, &[]).await.unwrap().previews);
    store.want_previews(&id).await.unwrap();
    tokio::time::timeout(MINUTE, changes.signals(&id)).await.expect("notified");
    assert!(store.heartbeat(&lease, &[]).await.unwrap().previews);
}

#[tokio::test]
async fn a_viewer_requests_previews_until_it_is_dropped() {
    let data = tempfile::tempdir().unwrap();
    let store = open(data.path()).await;
    let id = store.enqueue(&request("a fox"), vec![]).await.unwrap();
    let lease = claim(&store).await.lease;
    let viewer = store.view_previews(&id).await.unwrap();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(store.heartbeat(&lease, &[]).await.unwrap().previews);
    }
    drop(viewer);
    let stopped = async {
        while store.heartbeat(&lease, &[]).await.unwrap().previews {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), stopped).await.expect("no viewer");
}
