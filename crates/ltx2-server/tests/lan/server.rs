//! Responses outside of tasks.

use axum::http::{Method, StatusCode, header};
use serde_json::json;

use crate::support::bench;

#[tokio::test]
async fn health_reports_the_device() {
    let answer = bench().await.get("/health").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json(), json!({"status": "running", "device": "cpu", "vram_loaded": false}));
}

#[tokio::test]
async fn unknown_routes_and_methods_are_refused() {
    let bench = bench().await;
    for path in ["/", "/v1/video", "/v1/video/async_t2v/", "/outputs"] {
        let answer = bench.get(path).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::NOT_FOUND, json!({"detail": "Not Found"})), "{path}");
    }
    let not_allowed = json!({"detail": "Method Not Allowed"});
    let answer = bench.get("/v1/video/async_t2v").await;
    assert_eq!((answer.status, answer.json()), (StatusCode::METHOD_NOT_ALLOWED, not_allowed.clone()));
    assert_eq!(answer.headers[header::ALLOW], "POST");
    for path in ["/health", "/outputs/x.mp4", "/v1/video/tasks"] {
        let answer = bench.call(Method::DELETE, path).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::METHOD_NOT_ALLOWED, not_allowed.clone()), "{path}");
        assert_eq!(answer.headers[header::ALLOW], "GET,HEAD", "{path}");
    }
}

#[tokio::test]
async fn store_errors_are_not_revealed() {
    let bench = bench().await;
    let id = bench.completed(b"video").await;
    bench.store.close().await;
    let answers = [
        bench.t2v(r#"{"prompt":"a fox"}"#).await,
        bench.get(&format!("/v1/video/tasks/{id}")).await,
        bench.get(&format!("/outputs/ltx2_{id}.mp4")).await,
    ];
    for answer in answers {
        assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.json(), json!({"detail": "Internal Server Error"}));
    }
}
