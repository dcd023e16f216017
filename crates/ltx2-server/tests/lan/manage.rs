//! Lists, removals, idempotency keys, limits, and the routes for operators.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::body::Body;
use axum::http::{Method, Request, StatusCode, header};
use ltx2_server::{ApiKeys, EngineActivity, EngineStatus};
use ltx2_store::TaskId;
use ltx2_types::Pipeline;
use serde_json::{Value, json};

use crate::support::{Answer, Bench, PNG, bench, bench_with};

async fn keyed(bench: &Bench, key: &str, body: &str) -> Answer {
    let request = Request::post("/v1/video/async_t2v").header("idempotency-key", key);
    bench.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

fn ids(list: &Value) -> Vec<&str> {
    list["tasks"].as_array().unwrap().iter().map(|task| task["task_id"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn tasks_are_listed_newest_first_in_pages() {
    let bench = bench().await;
    assert_eq!(bench.get("/v1/video/tasks").await.json(), json!({"tasks": [], "next_cursor": null}));
    let done = bench.completed(b"video").await;
    let first = bench.queued(r#"{"prompt":"1"}"#).await;
    let second = bench.queued(r#"{"prompt":"2","priority":3}"#).await;
    let all = bench.get("/v1/video/tasks").await.json();
    assert_eq!(ids(&all), [second.as_str(), first.as_str(), done.as_str()]);
    assert_eq!(all["tasks"][0]["queue_position"], 1);
    assert_eq!((&all["tasks"][0]["priority"], &all["tasks"][1]["queue_position"]), (&json!(3), &json!(2)));
    assert_eq!(all["tasks"][2]["url"], format!("http://lan:8004/outputs/ltx2_{done}.mp4"));
    assert_eq!(ids(&bench.get("/v1/video/tasks?status=completed").await.json()), [done.as_str()]);
    assert_eq!(ids(&bench.get("/v1/video/tasks?status=processing&limit=1").await.json()), [second.as_str()]);

    let page = bench.get("/v1/video/tasks?limit=2").await.json();
    let cursor = page["next_cursor"].as_str().unwrap();
    let last = bench.get(&format!("/v1/video/tasks?limit=2&cursor={cursor}")).await.json();
    assert_eq!((ids(&last), &last["next_cursor"]), (vec![done.as_str()], &Value::Null));
}

#[tokio::test]
async fn invalid_query_parameters_are_reported() {
    let bench = bench().await;
    let answer = bench.get("/v1/video/tasks?status=done&limit=0&cursor=%00").await;
    assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY);
    let locations: Vec<Value> =
        answer.json()["detail"].as_array().unwrap().iter().map(|problem| problem["loc"].clone()).collect();
    assert_eq!(locations, [json!(["query", "status"]), json!(["query", "limit"]), json!(["query", "cursor"])]);
    for (query, message) in [
        ("limit=1&limit=2", "limit is given more than once; send one value"),
        ("state=failed", "state is not a known field; did you mean status?"),
    ] {
        let answer = bench.get(&format!("/v1/video/tasks?{query}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert_eq!(answer.json()["detail"][0]["msg"], message);
    }
}

#[tokio::test]
async fn removal_depends_on_the_state_of_the_task() {
    let bench = bench().await;
    let done = bench.completed(b"video").await;
    let running = bench.queued(r#"{"prompt":"1"}"#).await;
    bench.claim().await;
    let queued = bench.queued(r#"{"prompt":"2"}"#).await;
    let remove = async |id: &TaskId| bench.call(Method::DELETE, &format!("/v1/video/tasks/{id}")).await;
    let poll = async |id: &TaskId| bench.get(&format!("/v1/video/tasks/{id}")).await.json();

    let answer = remove(&queued).await.json();
    let message = "The task is cancelled.";
    let expected = json!({"task_id": queued.as_str(), "status": "failed", "error": "cancelled", "deleted": false,
        "message": message});
    assert_eq!(answer, expected);
    assert_eq!(
        (&poll(&queued).await["status"], &poll(&queued).await["error"]),
        (&json!("failed"), &json!("cancelled"))
    );

    let answer = remove(&running).await.json();
    assert_eq!((&answer["status"], &answer["deleted"]), (&json!("processing"), &json!(false)));
    assert_eq!(poll(&running).await["stage"], "stopping");

    let answer = remove(&done).await.json();
    assert_eq!((&answer["status"], &answer["deleted"]), (&json!("completed"), &json!(true)));
    assert!(poll(&done).await["error"].as_str().unwrap().starts_with("Task not found"));
    assert_eq!(bench.get(&format!("/outputs/ltx2_{done}.mp4")).await.status, StatusCode::NOT_FOUND);
    let again = remove(&done).await;
    assert_eq!((again.status, &again.json()["status"]), (StatusCode::NOT_FOUND, &json!("failed")));
}

#[tokio::test]
async fn the_same_idempotency_key_returns_the_same_task() {
    let bench = bench().await;
    let body = r#"{"prompt":"a fox","seed":-1}"#;
    let first = keyed(&bench, "k1", body).await.json();
    // The same request in a different spelling.
    assert_eq!(keyed(&bench, "k1", r#"{"seed":-1, "prompt":"a fox"}"#).await.json(), first);
    assert_ne!(keyed(&bench, "k2", body).await.json(), first);
    let other = keyed(&bench, "k1", r#"{"prompt":"a cat","seed":-1}"#).await;
    assert_eq!(other.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(other.json()["detail"][0]["loc"], json!(["header", "idempotency-key"]));
    let long = keyed(&bench, &"x".repeat(256), body).await;
    assert_eq!(long.json()["detail"][0]["type"], "key_invalid");
}

#[tokio::test]
async fn a_full_queue_answers_503_with_retry_after() {
    let bench = bench_with(|service| service.max_waiting = 1).await;
    bench.queued(r#"{"prompt":"1"}"#).await;
    let text = bench.t2v(r#"{"prompt":"2"}"#).await;
    let image = bench.i2v(&[("prompt", b"3"), ("image", PNG)]).await;
    for full in [text, image] {
        assert_eq!(full.status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            (full.headers["retry-after"].as_bytes(), full.headers["x-should-retry"].as_bytes()),
            (&b"30"[..], &b"false"[..])
        );
        assert_eq!(full.json(), json!({"detail": "the queue is full: 1 tasks are waiting; try again later"}));
    }
    assert_eq!(std::fs::read_dir(bench.data.path().join("inputs")).unwrap().count(), 0);
}

#[tokio::test]
async fn requests_that_cannot_run_are_refused_at_submit() {
    let bench = bench().await;
    let problems = bench.t2v(r#"{"prompt":"impossible"}"#).await.problems();
    let message = "num_frames is 121, but it takes 93 GiB and 80 GiB are allowed";
    assert_eq!(problems, [("num_frames".into(), "not_possible".into(), message.into())]);
    let problems = bench.t2v(r#"{"prompt":"x","priority":101}"#).await.problems();
    assert_eq!(problems[0].2, "priority is 101, but it must be between -100 and 100");
    let problems = bench.t2v(r#"{"prompt":"x","webhook_url":"http://example.com"}"#).await.problems();
    assert_eq!((&problems[0].0[..], &problems[0].1[..]), ("webhook_url", "webhook_refused"));
}

#[tokio::test]
async fn operators_see_and_unload_the_engine() {
    let unloads = Arc::new(AtomicU32::new(0));
    let counted = unloads.clone();
    let bench = bench_with(|service| {
        let status = EngineStatus { device: "cuda", loaded: true, activity: EngineActivity::Generating };
        service.engine.status = Arc::new(move || status);
        service.engine.unload = Arc::new(move || {
            let counted = counted.clone();
            Box::pin(async move {
                counted.fetch_add(1, Ordering::Relaxed);
            })
        });
    })
    .await;
    bench.queued(r#"{"prompt":"1"}"#).await;
    let expected = json!({"status": "generating", "model_loaded": true, "device": "cuda", "queued": 1, "running": 0});
    assert_eq!(bench.get("/v1/internal/status").await.json(), expected);
    for method in [Method::GET, Method::POST] {
        let answer = bench.call(method, "/v1/internal/unload").await;
        assert_eq!((answer.status, answer.json()), (StatusCode::OK, json!({"status": "models unloaded"})));
    }
    assert_eq!(unloads.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn outputs_support_caching_ranges_and_downloads() {
    let bench = bench().await;
    let id = bench.completed(b"0123456789").await;
    let path = format!("/outputs/ltx2_{id}.mp4");
    let get = async |query: &str, headers: &[(&str, &str)]| {
        let request = headers.iter().fold(Request::get(format!("{path}{query}")), |r, (n, v)| r.header(*n, *v));
        bench.send(request.body(Body::empty()).unwrap()).await
    };
    let whole = get("", &[]).await;
    let tag = whole.headers[header::ETAG].to_str().unwrap();
    assert_eq!(whole.headers["content-disposition"], format!("inline; filename=\"ltx2_{id}.mp4\""));
    let download = get("?download=1", &[]).await;
    assert_eq!(download.headers["content-disposition"], format!("attachment; filename=\"ltx2_{id}.mp4\""));
    assert_eq!(get("", &[("if-none-match", tag)]).await.status, StatusCode::NOT_MODIFIED);
    let resumed = get("", &[("if-range", tag), ("range", "bytes=7-")]).await;
    assert_eq!((resumed.status, &resumed.body[..]), (StatusCode::PARTIAL_CONTENT, &b"789"[..]));
    let changed = get("", &[("if-range", "\"other\""), ("range", "bytes=7-")]).await;
    assert_eq!((changed.status, changed.body.len()), (StatusCode::OK, 10));
    let thumbnail = bench.get(&format!("/outputs/ltx2_{id}.jpg")).await;
    assert_eq!((thumbnail.status, thumbnail.headers["content-type"].as_bytes()), (StatusCode::OK, &b"image/jpeg"[..]));
}

#[tokio::test]
async fn tasks_are_stored_with_their_plan_dialect_and_owner() {
    let open = bench().await;
    let id = open.queued(r#"{"prompt":"1"}"#).await;
    let record = open.store.task(&id).await.unwrap().unwrap();
    assert_eq!((record.dialect.as_deref(), record.owner), (Some("lan"), None));
    assert_eq!(record.plan.unwrap().pipeline, Pipeline::TwoStage);
    assert_eq!(record.request.unwrap().pipeline, Some(Pipeline::TwoStage));

    let closed = bench_with(|service| service.api_keys = ApiKeys::new(["first", "second"])).await;
    let submit = async |key: &str| {
        let request = Request::post("/v1/video/async_t2v").header("x-api-key", key);
        let answer = closed.send(request.body(Body::from(r#"{"prompt":"1"}"#)).unwrap()).await.json();
        let id = TaskId::parse(answer["task_id"].as_str().unwrap()).unwrap();
        closed.store.task(&id).await.unwrap().unwrap().owner.unwrap()
    };
    let (first, second) = (submit("first").await, submit("second").await);
    assert_eq!(first, submit("first").await);
    assert!(first != second && !first.contains("first"), "{first}, {second}");
}
