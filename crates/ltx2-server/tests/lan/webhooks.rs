//! Webhook calls.

use std::time::Duration;

use axum::http::StatusCode;
use ltx2_server::{AllowedNetworks, Secret, WebhookRules, call_webhooks};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::support::{Bench, bench_with};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn rules(allowed: &[&str]) -> WebhookRules {
    let allowed = allowed.iter().map(|network| network.parse().unwrap()).collect();
    WebhookRules { secret: Secret::parse(SECRET).unwrap(), allowed: AllowedNetworks(allowed) }
}

async fn bench(allowed: &[&str]) -> Bench {
    bench_with(|service| service.webhooks = Some(rules(allowed))).await
}

/// Accepts a call and answers with `status`. Returns its headers in lower case, and its body.
async fn receive(listener: &TcpListener, status: &str) -> (String, String) {
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut call = Vec::new();
    loop {
        let mut part = [0; 4096];
        let read = stream.read(&mut part).await.unwrap();
        assert!(read > 0, "cut off");
        call.extend_from_slice(&part[..read]);
        let text = String::from_utf8_lossy(&call).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let head = head.to_ascii_lowercase();
        let length: usize = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        if body.len() == length {
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            return (head, body.into());
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> &'a str {
    head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).expect(name)
}

#[tokio::test]
async fn a_failed_call_is_repeated_until_it_succeeds() {
    let bench = bench(&["127.0.0.0/8"]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://localhost:{}/hook", listener.local_addr().unwrap().port());
    let calls = tokio::spawn(call_webhooks(bench.store.clone(), rules(&["127.0.0.0/8"])));
    let id = bench.queued(&json!({"prompt": "a fox", "webhook_url": url}).to_string()).await;
    let claim = bench.claim().await;
    bench.complete(&claim, b"video").await;

    let (head, first) = receive(&listener, "500 Oops").await;
    assert!(head.starts_with("post /hook "), "{head}");
    let event: Value = serde_json::from_str(&first).unwrap();
    assert_eq!((&event["type"], &event["data"]["id"]), (&json!("video.completed"), &json!(id.as_str())));
    assert!(event["data"]["url"].as_str().unwrap().ends_with(&format!("/outputs/ltx2_{id}.mp4")), "{event}");
    assert_eq!(header(&head, "webhook-id"), format!("evt_{id}"));
    assert!(header(&head, "webhook-signature").starts_with("v1,"));
    let again = tokio::time::timeout(Duration::from_secs(30), receive(&listener, "200 OK")).await.unwrap();
    assert_eq!((header(&again.0, "webhook-id"), &again.1), (header(&head, "webhook-id"), &first));
    let more = tokio::time::timeout(Duration::from_secs(1), listener.accept()).await;
    assert!(more.is_err() && bench.store.claim_webhook(Duration::from_secs(60), &[]).await.unwrap().is_none());
    calls.abort();
}

#[tokio::test]
async fn private_addresses_are_not_called() {
    let bench = bench(&[]).await;
    for url in ["http://127.0.0.1:80/", "http://[::1]/", "http://169.254.169.254/latest", "file:///etc/passwd", "x"] {
        let answer = bench.t2v(&json!({"prompt": "a fox", "webhook_url": url}).to_string()).await;
        assert_eq!(answer.problems()[0].1, "webhook_refused", "{url}");
    }
    // A host name is checked when it is resolved.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://localhost:{}/", listener.local_addr().unwrap().port());
    let answer = bench.t2v(&json!({"prompt": "a fox", "webhook_url": url}).to_string()).await;
    assert_eq!(answer.status, StatusCode::OK);
    let claim = bench.claim().await;
    bench.complete(&claim, b"video").await;
    let calls = tokio::spawn(call_webhooks(bench.store.clone(), rules(&[])));
    let call = tokio::time::timeout(Duration::from_secs(1), listener.accept()).await;
    assert!(call.is_err(), "it was called");
    calls.abort();
}

#[tokio::test]
async fn a_slow_receiver_delays_no_other() {
    let bench = bench(&["127.0.0.0/8"]).await;
    let (hanging, fast) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let url = |listener: &TcpListener| format!("http://localhost:{}/", listener.local_addr().unwrap().port());
    // Calls of the hanging receiver are due first, and more of them than can run at once.
    let urls = std::iter::repeat_n(url(&hanging), 80).chain([url(&fast)]);
    for url in urls {
        bench.queued(&json!({"prompt": "a fox", "webhook_url": url}).to_string()).await;
        bench.complete(&bench.claim().await, b"video").await;
    }
    let calls = tokio::spawn(call_webhooks(bench.store.clone(), rules(&["127.0.0.0/8"])));
    let (head, _) = tokio::time::timeout(Duration::from_secs(10), receive(&fast, "200 OK")).await.unwrap();
    assert!(head.starts_with("post / "), "{head}");
    calls.abort();
}
