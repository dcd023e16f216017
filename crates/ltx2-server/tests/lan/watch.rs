//! Event streams, and requests that wait for the video.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode};
use ltx2_store::{TaskId, TaskQuery, TaskStatus};
use ltx2_types::{Failure, FailureCode, Phase, Progress};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::network::{Server, start};
use crate::support::{Bench, bench};

/// `(id, event, data)`.
pub type Event = (Option<u64>, String, Value);

pub struct Watcher(BufReader<TcpStream>);

impl Watcher {
    pub async fn open(server: &Server, task: &TaskId, seen: Option<u64>) -> Self {
        Self::open_path(server, &format!("/v1/video/tasks/{task}/events"), seen).await
    }

    pub async fn open_path(server: &Server, path: &str, seen: Option<u64>) -> Self {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let seen = seen.map_or(String::new(), |seen| format!("Last-Event-ID: {seen}\r\n"));
        // In HTTP 1.0 the response ends with the connection and is not chunked.
        let request = format!("GET {path} HTTP/1.0\r\nHost: x\r\n{seen}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reader = BufReader::new(stream);
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(reader.read_line(&mut head).await.unwrap() > 0, "{head}");
        }
        assert!(head.contains("text/event-stream") && head.contains("x-accel-buffering: no"), "{head}");
        Self(reader)
    }

    pub async fn next(&mut self) -> Option<Event> {
        let (mut id, mut name, mut data) = (None, String::new(), Value::Null);
        loop {
            let mut line = String::new();
            let read = tokio::time::timeout(Duration::from_secs(20), self.0.read_line(&mut line));
            if read.await.expect("an event in time").unwrap() == 0 {
                return None;
            }
            match line.trim_end().split_once(": ") {
                Some(("id", number)) => id = Some(number.parse().unwrap()),
                Some(("event", event)) => name = event.into(),
                Some(("data", text)) => data = serde_json::from_str(text).unwrap(),
                _ if line == "\n" && !name.is_empty() => return Some((id, name, data)),
                _ => {}
            }
        }
    }

    pub async fn take(&mut self, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            events.push(self.next().await.expect("an event"));
        }
        events
    }
}

fn names(events: &[Event]) -> Vec<(Option<u64>, &str)> {
    events.iter().map(|(id, name, _)| (*id, &name[..])).collect()
}

#[tokio::test]
async fn a_watcher_that_reconnects_misses_no_event() {
    let bench = bench().await;
    let server = start(&bench).await;
    let ahead = bench.queued(r#"{"prompt":"ahead"}"#).await;
    let id = bench.queued(r#"{"prompt":"a fox"}"#).await;
    let mut watcher = Watcher::open(&server, &id, None).await;
    let (number, name, data) = watcher.next().await.unwrap();
    assert_eq!((number, &name[..], &data["queue_position"]), (Some(1), "queued", &json!(2)));
    bench.store.cancel(&ahead).await.unwrap();
    let (number, name, data) = watcher.next().await.unwrap();
    assert_eq!((number, &name[..], &data["queue_position"]), (None, "queued", &json!(1)));

    let claim = bench.claim().await;
    let at = |phase, step| Progress { phase, step, total_steps: 2 };
    let steps = [at(Phase::EncodingPrompt, 0), at(Phase::Loading, 0), at(Phase::Denoising, 0), at(Phase::Denoising, 1)];
    bench.store.heartbeat(&claim.lease, &steps).await.unwrap();
    let seen = watcher.take(5).await;
    let expected = [(2, "stage"), (3, "stage"), (4, "loading"), (5, "stage"), (6, "step")];
    assert_eq!(names(&seen), expected.map(|(id, name)| (Some(id), name)));
    assert_eq!(seen[4].2, json!({"progress": 0.475, "stage": "denoising", "step": 1, "total_steps": 2}));
    drop(watcher);

    bench.store.heartbeat(&claim.lease, &[at(Phase::Denoising, 2), at(Phase::Decoding, 0)]).await.unwrap();
    bench.complete(&claim, b"video").await;
    let mut back = Watcher::open(&server, &id, Some(5)).await;
    let rest = back.take(4).await;
    let expected = [(6, "step"), (7, "step"), (8, "stage"), (9, "completed")];
    assert_eq!(names(&rest), expected.map(|(id, name)| (Some(id), name)));
    assert_eq!(rest[3].2["url"], format!("http://x/outputs/ltx2_{id}.mp4"));
    assert!(back.next().await.is_none());
    // Every watcher gets the same events.
    let all = Watcher::open(&server, &id, None).await.take(9).await;
    assert_eq!(all[5..], rest[..]);

    let request = Request::get(format!("/v1/video/tasks/{id}/events")).header("last-event-id", "9");
    assert_eq!(bench.send(request.body(Body::empty()).unwrap()).await.status, StatusCode::NO_CONTENT);
    let request = Request::get(format!("/v1/video/tasks/{id}/events")).header("last-event-id", "x");
    let wrong = bench.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!(wrong.status, StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_hundred_watchers_all_receive_the_end() {
    let bench = bench().await;
    let server = start(&bench).await;
    let id = bench.queued(r#"{"prompt":"a fox"}"#).await;
    let mut watchers = Vec::new();
    for _ in 0..100 {
        watchers.push(Watcher::open(&server, &id, None).await);
    }
    let claim = bench.claim().await;
    for step in 0..20 {
        let progress = Progress { phase: Phase::Denoising, step, total_steps: 20 };
        bench.store.heartbeat(&claim.lease, &[progress]).await.unwrap();
    }
    bench.store.fail(&claim.lease, &Failure::new(FailureCode::Model, "line\nbreak")).await.unwrap();
    for watcher in &mut watchers {
        let events = watcher.take(23).await;
        let (id, name, data) = &events[22];
        assert_eq!((*id, &name[..], &data["error"]), (Some(23), "failed", &json!("line\nbreak")));
        assert!(watcher.next().await.is_none());
    }
}

#[tokio::test]
async fn shutdown_ends_event_streams_and_long_polls() {
    let bench = bench().await;
    let server = start(&bench).await;
    let task = bench.queued(r#"{"prompt":"a fox"}"#).await;
    let mut watcher = Watcher::open(&server, &task, None).await;
    assert_eq!(names(&watcher.take(1).await), [(Some(1), "queued")]);
    let waiting = async {
        let answer = bench.post("/v1/video/t2v", Some("application/json"), r#"{"prompt": "a fox"}"#).await;
        (answer.status.as_u16(), answer.json()["detail"].clone(), answer.headers["retry-after"].clone())
    };
    let close = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        bench.closing.cancel();
    };
    let (answer, ()) = tokio::join!(waiting, close);
    assert_eq!(answer, (503, "the server is shutting down; try again later".into(), "30".parse().unwrap()));
    assert!(watcher.next().await.is_none());
    server.stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(2), server.serving).await.expect("at once").unwrap().unwrap();
}

/// Worker that ends each task as its prompt says.
async fn work(bench: &Bench) {
    let mut changes = bench.store.changes();
    loop {
        if let Some(claim) = bench.store.claim("test", Duration::from_secs(60)).await.unwrap() {
            match claim.request.prompt.as_str() {
                "fail" => {
                    let failure = Failure::new(FailureCode::OutOfMemory, "the GPU has too little memory");
                    bench.store.fail(&claim.lease, &failure).await.unwrap();
                }
                _ => bench.complete(&claim, claim.request.prompt.as_bytes()).await,
            }
        }
        changes.queue().await;
    }
}

#[tokio::test]
async fn synchronous_requests_answer_with_the_video() {
    let bench = bench().await;
    let post = async |body: &str| bench.post("/v1/video/t2v", Some("application/json"), body.to_owned()).await;
    let ask = async {
        let done = post(r#"{"prompt":"a fox"}"#).await;
        assert_eq!((done.status, &done.body[..]), (StatusCode::OK, &b"a fox"[..]));
        assert_eq!(done.headers["content-type"], "video/mp4");
        let id = done.headers["x-task-id"].to_str().unwrap();
        assert_eq!(bench.get(&format!("/v1/video/tasks/{id}")).await.json()["status"], "completed");
        let failed = post(r#"{"prompt":"fail"}"#).await;
        let detail = json!({"detail": "the GPU has too little memory"});
        assert_eq!((failed.status, failed.json()), (StatusCode::INTERNAL_SERVER_ERROR, detail));
        assert_eq!(failed.headers["x-should-retry"], "false");
        assert_eq!(post("{}").await.problems()[0].1, "missing");
    };
    tokio::select! {
        () = work(&bench) => {}
        () = ask => {}
    }
}

/// Sends a synchronous request and disconnects.
async fn leave(server: &Server, key: &str) {
    let body = r#"{"prompt":"a fox"}"#;
    let length = body.len();
    let request = format!("POST /v1/video/t2v HTTP/1.1\r\nHost: x\r\n{key}Content-Length: {length}\r\n\r\n{body}");
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    // No response while the task is queued.
    let mut byte = [0];
    assert!(tokio::time::timeout(Duration::from_millis(300), stream.read(&mut byte)).await.is_err());
}

#[tokio::test]
async fn a_disconnect_cancels_the_task_unless_it_has_an_idempotency_key() {
    let bench = bench().await;
    let server = start(&bench).await;
    leave(&server, "").await;
    leave(&server, "Idempotency-Key: mine\r\n").await;
    let left = bench.store.tasks(&TaskQuery::newest(9)).await.unwrap().tasks;
    let cancelled = async {
        loop {
            if let TaskStatus::Failed(failure) = bench.store.task(&left[1].id).await.unwrap().unwrap().status {
                return failure.message;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), cancelled).await.unwrap(), "cancelled");
    assert_eq!(bench.claim().await.lease.task(), &left[0].id);
}
