//! Previews of running tasks.

use axum::http::StatusCode;
use serde_json::json;

use crate::network::start;
use crate::support::bench;
use crate::watch::Watcher;

#[tokio::test]
async fn previews_exist_while_the_task_runs() {
    let bench = bench().await;
    let id = bench.queued(r#"{"prompt":"a fox"}"#).await;
    let path = format!("/v1/video/tasks/{id}/preview");
    let claim = bench.claim().await;
    assert!(!bench.store.heartbeat(&claim.lease, &[]).await.unwrap().previews);
    assert_eq!(bench.get(&path).await.status, StatusCode::NOT_FOUND);
    // The request has previews made.
    assert!(bench.store.heartbeat(&claim.lease, &[]).await.unwrap().previews);
    assert_eq!(bench.get(&path).await.status, StatusCode::NOT_FOUND);
    for content in [b"\xff\xd8\xff1", b"\xff\xd8\xff2"] {
        bench.store.put_preview(&claim.lease, content).await.unwrap();
        let answer = bench.get(&path).await;
        assert_eq!((answer.status, &answer.body[..]), (StatusCode::OK, &content[..]));
        assert_eq!(answer.headers["content-type"], "image/jpeg");
        assert_eq!(answer.headers["cache-control"], "no-store");
    }
    // A preview is not an output.
    assert_eq!(bench.get(&format!("/outputs/ltx2_{id}.preview.jpg")).await.status, StatusCode::NOT_FOUND);
    bench.complete(&claim, b"video").await;
    assert_eq!(bench.get(&path).await.status, StatusCode::NOT_FOUND);
    assert_eq!(bench.get(&format!("/outputs/ltx2_{id}.preview.jpg")).await.status, StatusCode::NOT_FOUND);
    assert_eq!(std::fs::read_dir(bench.store.outputs_dir()).unwrap().count(), 3);
}

#[tokio::test]
async fn previews_of_unknown_tasks_answer_404() {
    let bench = bench().await;
    for id in ["0123456789abcdef0123456789abcdef", "..%2f..%2fetc", "%ff"] {
        let answer = bench.get(&format!("/v1/video/tasks/{id}/preview")).await;
        assert_eq!((answer.status, &answer.json()["status"]), (StatusCode::NOT_FOUND, &json!("failed")), "{id}");
    }
}

#[tokio::test]
async fn watchers_request_previews_and_receive_their_urls() {
    let bench = bench().await;
    let server = start(&bench).await;
    let id = bench.queued(r#"{"prompt":"a fox"}"#).await;
    let mut watcher = Watcher::open(&server, &id, None).await;
    assert_eq!(watcher.take(1).await[0].1, "queued");
    let claim = bench.claim().await;
    assert!(bench.store.heartbeat(&claim.lease, &[]).await.unwrap().previews);
    assert_eq!(watcher.take(1).await[0].1, "stage");
    for number in 1..=2 {
        bench.store.put_preview(&claim.lease, b"\xff\xd8\xff").await.unwrap();
        let (event_id, name, data) = watcher.next().await.unwrap();
        // State, not an event: no number, and not repeated.
        assert_eq!((event_id, &name[..]), (None, "preview"));
        assert_eq!(data, json!({"url": format!("http://x/v1/video/tasks/{id}/preview?number={number}")}));
    }
    // A later watcher receives the latest.
    let mut late = Watcher::open(&server, &id, Some(2)).await;
    assert!(late.next().await.unwrap().2["url"].as_str().unwrap().ends_with("?number=2"));
    drop(late);
    bench.complete(&claim, b"video").await;
    let (_, name, _) = watcher.next().await.unwrap();
    assert_eq!((&name[..], watcher.next().await), ("completed", None));
}

#[tokio::test]
async fn previews_end_with_the_last_watcher() {
    let bench = bench().await;
    let server = start(&bench).await;
    let id = bench.queued(r#"{"prompt":"a fox"}"#).await;
    let claim = bench.claim().await;
    let mut watcher = Watcher::open(&server, &id, None).await;
    watcher.take(2).await;
    assert!(bench.store.heartbeat(&claim.lease, &[]).await.unwrap().previews);
    drop(watcher);
    let ended = async {
        while bench.store.heartbeat(&claim.lease, &[]).await.unwrap().previews {
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), ended).await.expect("no further previews");
}
