//! Behaviour of real connections.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::network::{exchange, start};
use crate::support::bench;

#[tokio::test]
async fn ranges_and_head_requests_are_served() {
    let bench = bench().await;
    let id = bench.completed(b"0123456789").await;
    let server = start(&bench).await;
    let request_output = async |method: &str, header: &str| {
        let request =
            format!("{method} /outputs/ltx2_{id}.mp4 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n");
        exchange(server.address, &request).await.to_ascii_lowercase()
    };
    let part = request_output("GET", "Range: bytes=2-4\r\n").await;
    assert!(part.starts_with("http/1.1 206") && part.ends_with("\r\n\r\n234"), "{part}");
    assert!(part.contains("content-range: bytes 2-4/10\r\n"), "{part}");
    let beyond = request_output("GET", "Range: bytes=10-\r\n").await;
    assert!(beyond.starts_with("http/1.1 416") && beyond.contains("content-range: bytes */10\r\n"), "{beyond}");
    let head = request_output("HEAD", "").await;
    assert!(head.starts_with("http/1.1 200") && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains("content-length: 10\r\n") && head.contains("content-type: video/mp4\r\n"), "{head}");
}

#[tokio::test]
async fn a_request_without_a_host_gets_relative_urls() {
    let bench = bench().await;
    let id = bench.completed(b"video").await;
    let server = start(&bench).await;
    let answer = exchange(server.address, &format!("GET /v1/video/tasks/{id} HTTP/1.0\r\n\r\n")).await;
    assert!(answer.contains(&format!(r#""url":"/outputs/ltx2_{id}.mp4""#)), "{answer}");
}

#[tokio::test]
async fn path_traversal_is_refused() {
    let bench = bench().await;
    let server = start(&bench).await;
    for path in ["/outputs/../ltx2.sqlite", "/outputs/..%2fltx2.sqlite", "/outputs//etc/passwd", "/../../etc/passwd"] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = exchange(server.address, &request).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
}

#[tokio::test]
async fn shutdown_completes_a_running_request() {
    let bench = bench().await;
    let server = start(&bench).await;
    let body = r#"{"prompt":"a fox"}"#;
    let (begin, end) = body.split_at(5);
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let length = body.len();
    let head = format!("POST /v1/video/async_t2v HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n{begin}");
    stream.write_all(head.as_bytes()).await.unwrap();
    // Gives the server time to read the headers.
    tokio::time::sleep(Duration::from_millis(100)).await;
    server.stop.send(()).unwrap();
    stream.write_all(end.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    server.serving.await.unwrap().unwrap();
    assert!(TcpStream::connect(server.address).await.is_err());
    bench.claim().await;
}
