//! Responses outside of tasks.

use axum::http::{Method, StatusCode, header};
use ltx2_server::LoraList;
use ltx2_types::CameraMotion;
use serde_json::json;

use crate::support::{bench, bench_with};

#[tokio::test]
async fn health_reports_the_device() {
    let answer = bench().await.get("/health").await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.json(), json!({"status": "running", "device": "cpu", "vram_loaded": false}));
}

#[tokio::test]
async fn a_slash_at_the_end_of_a_path_is_ignored() {
    let bench = bench().await;
    for path in ["/health/", "/v1/video/tasks/", "/v1/internal/status/"] {
        assert_eq!(bench.get(path).await.status, StatusCode::OK, "{path}");
    }
    let submitted = bench.post("/v1/video/async_t2v/", None, r#"{"prompt":"x"}"#).await;
    assert_eq!(submitted.status, StatusCode::OK);
}

#[tokio::test]
async fn the_root_names_the_server_and_its_routes() {
    let answer = bench().await.get("/").await;
    assert_eq!(answer.json()["name"], "ltx2");
    for (_, route) in serde_json::from_value::<Vec<(String, String)>>(answer.json()["routes"].clone()).unwrap() {
        let path = route.split_once(' ').unwrap().1;
        assert_ne!(bench().await.get(path).await.status, StatusCode::NOT_FOUND, "{route}");
    }
}

#[tokio::test]
async fn loras_are_listed_with_the_reasons_why_others_cannot_be_used() {
    let bench = bench_with(|service| {
        service.loras = LoraList {
            names: vec!["ink".into(), "loras/ink".into()],
            cameras: vec![CameraMotion::DollyIn],
            unusable: vec![("loras/page.safetensors".into(), "it is an HTML page".into())],
        };
    })
    .await;
    let expected = json!({
        "loras": ["ink", "loras/ink"],
        "cameras": ["dolly_in"],
        "unusable": [{"file": "loras/page.safetensors", "reason": "it is an HTML page"}],
    });
    assert_eq!(bench.get("/v1/loras").await.json(), expected);
}

#[tokio::test]
async fn unknown_routes_and_methods_are_refused() {
    let bench = bench().await;
    for path in ["/x", "/v1/video", "/v1/video/async_t2v/x", "/outputs"] {
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
