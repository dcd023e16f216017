//! Polling a task, from the queue to its file.

use axum::http::{Method, StatusCode, header};
use ltx2_store::{FileName, TaskId};
use ltx2_types::{Failure, FailureCode, Phase, Progress};
use serde_json::{Value, json};

use crate::support::{Bench, bench, bench_at};

async fn poll(bench: &Bench, id: &TaskId) -> Value {
    let answer = bench.get(&format!("/v1/video/tasks/{id}")).await;
    assert_eq!(answer.status, StatusCode::OK);
    let mut body = answer.json();
    let fields = body.as_object_mut().unwrap();
    let created = fields.remove("created_at").unwrap().as_i64().unwrap();
    assert!(created > 1_700_000_000, "{created}");
    assert_eq!((fields.remove("task_id").unwrap(), fields.remove("priority").unwrap()), (json!(id.as_str()), json!(0)));
    let timings = fields.remove("timings").unwrap();
    assert!(timings["queued"].as_f64().unwrap() < 60.0, "{timings}");
    let started = fields.remove("started_at").map(|at| at.as_i64().unwrap());
    assert_eq!(started.is_some(), timings["running"].is_number(), "{timings}");
    assert!(started.is_none_or(|at| (created..created + 60).contains(&at)));
    let finished = fields.remove("finished_at").map(|at| at.as_i64().unwrap());
    assert_eq!(finished.is_some(), fields["status"] != "processing");
    assert!(finished.is_none_or(|at| (created..created + 60).contains(&at)));
    for part in ["events", "preview"] {
        let url = format!("http://lan:8004/v1/video/tasks/{id}/{part}");
        let expected = (fields["status"] == "processing").then(|| json!(url));
        assert_eq!(fields.remove(&format!("{part}_url")), expected);
    }
    // An estimate, which depends on the machine.
    fields.remove("eta_seconds").inspect(|eta| assert!(eta.is_u64()));
    body
}

#[tokio::test]
async fn a_task_is_processing_until_it_ends() {
    let bench = bench().await;
    let first = TaskId::parse(bench.t2v(r#"{"prompt":"1"}"#).await.json()["task_id"].as_str().unwrap()).unwrap();
    let second = TaskId::parse(bench.t2v(r#"{"prompt":"2"}"#).await.json()["task_id"].as_str().unwrap()).unwrap();
    let queued = |position: u32| json!({"status": "processing", "stage": "queued", "progress": 0.0, "queue_position": position, "seed": 42});
    assert_eq!(poll(&bench, &first).await, queued(1));
    assert_eq!(poll(&bench, &second).await, queued(2));

    let claim = bench.claim().await;
    let starting = json!({"status": "processing", "stage": "starting", "progress": 0.0, "seed": 42});
    assert_eq!(poll(&bench, &first).await, starting);
    let progress = Progress { phase: Phase::Denoising, step: 10, total_steps: 40 };
    bench.store.heartbeat(&claim.lease, &[progress]).await.unwrap();
    let expected = json!({
        "status": "processing", "stage": "denoising", "step": 10, "total_steps": 40, "progress": 0.288, "seed": 42
    });
    assert_eq!(poll(&bench, &first).await, expected);

    let failure = Failure::new(FailureCode::OutOfMemory, "the GPU has too little memory");
    bench.store.fail(&claim.lease, &failure).await.unwrap();
    assert_eq!(
        poll(&bench, &first).await,
        json!({"status": "failed", "error": "the GPU has too little memory", "seed": 42})
    );
}

#[tokio::test]
async fn urls_of_results_have_the_host_that_the_client_used() {
    let bench = bench().await;
    let id = bench.completed(b"video").await;
    let url = format!("http://lan:8004/outputs/ltx2_{id}.mp4");
    let thumbnail = format!("http://lan:8004/outputs/ltx2_{id}.jpg");
    let last_frame = format!("http://lan:8004/outputs/ltx2_{id}.png");
    let expected = json!({
        "status": "completed", "url": url, "thumbnail_url": thumbnail, "last_frame_url": last_frame,
        "note": "a lower quality", "pipeline": "two-stage", "progress": 1.0,
        "seed": 42
    });
    assert_eq!(poll(&bench, &id).await, expected);
}

#[tokio::test]
async fn a_configured_public_url_takes_precedence() {
    let bench = bench_at(Some("https://video.example/ltx/")).await;
    let id = bench.completed(b"video").await;
    assert_eq!(poll(&bench, &id).await["url"], format!("https://video.example/ltx/outputs/ltx2_{id}.mp4"));
}

#[tokio::test]
async fn a_poll_of_an_unknown_task_answers_failed() {
    let bench = bench().await;
    let error = "Task not found (server may have restarted or ID is invalid). Please submit a new request.";
    for id in [&ltx2_store::new_task_id().to_string(), "abc123", "..%2Fx", "%ff"] {
        let answer = bench.get(&format!("/v1/video/tasks/{id}")).await;
        assert_eq!(
            (answer.status, answer.json()),
            (StatusCode::OK, json!({"status": "failed", "error": error})),
            "{id}"
        );
    }
}

#[tokio::test]
async fn outputs_are_served_with_length_and_type() {
    let bench = bench().await;
    let id = bench.completed(b"0123456789").await;
    let path = format!("/outputs/ltx2_{id}.mp4");
    let whole = bench.get(&path).await;
    assert_eq!((whole.status, &whole.body[..]), (StatusCode::OK, &b"0123456789"[..]));
    assert_eq!(whole.headers[header::CONTENT_TYPE], "video/mp4");
    assert_eq!(whole.headers[header::CONTENT_LENGTH], "10");
    assert_eq!(whole.headers[header::ACCEPT_RANGES], "bytes");
    let head = bench.call(Method::HEAD, &path).await;
    assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
    assert_eq!(head.headers[header::CONTENT_LENGTH], "10");
}

#[tokio::test]
async fn only_outputs_of_completed_tasks_are_served() {
    let bench = bench().await;
    let running = bench.accepted(bench.t2v(r#"{"prompt":"a fox"}"#).await).await;
    let unfinished = FileName::of_output(running.lease.task(), "mp4");
    std::fs::write(bench.store.output_path(&unfinished), b"half").unwrap();
    std::fs::write(bench.store.outputs_dir().join("notes.txt"), b"private").unwrap();
    std::fs::write(bench.store.outputs_dir().join(".x.part"), b"private").unwrap();
    let removed = FileName::of_output(&bench.completed(b"video").await, "mp4");
    std::fs::remove_file(bench.store.output_path(&removed)).unwrap();
    let names = [
        unfinished.as_str(),
        removed.as_str(),
        "notes.txt",
        ".x.part",
        "..%2Fltx2.sqlite",
        "..",
        "%2e%2e%2fltx2.sqlite",
        "..%5Cltx2.sqlite",
        "%2Fetc%2Fpasswd",
        "x%00.mp4",
        "%ff",
        "",
        "a/b",
    ];
    for name in names {
        let answer = bench.get(&format!("/outputs/{name}")).await;
        assert_eq!((answer.status, answer.json()), (StatusCode::NOT_FOUND, json!({"detail": "Not Found"})), "{name}");
    }
}
