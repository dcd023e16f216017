//! Slow clients.

use std::time::{Duration, Instant};

use ltx2_server::ConnectionLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::network::{Server, exchange, start_with};
use crate::support::bench_with;

const SOON: Duration = Duration::from_millis(400);

async fn start(max_connections: usize) -> (crate::support::Bench, Server) {
    let bench = bench_with(|service| service.body.timeout = SOON).await;
    let limits = ConnectionLimits { head_timeout: SOON, write_timeout: SOON, max_connections };
    let server = start_with(&bench, limits).await;
    (bench, server)
}

/// Sends `text`, then single bytes until the server closes. Returns the response and the duration.
async fn drip(server: &Server, text: &str) -> (String, Duration) {
    let start = Instant::now();
    let (mut from, mut to) = TcpStream::connect(server.address).await.unwrap().into_split();
    to.write_all(text.as_bytes()).await.unwrap();
    let dripping = tokio::spawn(async move {
        while to.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    let mut answer = Vec::new();
    // The server may close the connection while bytes are in flight.
    let read = tokio::time::timeout(Duration::from_secs(20), from.read_to_end(&mut answer)).await;
    drop(read.expect("the server ends it"));
    dripping.abort();
    (String::from_utf8_lossy(&answer).into_owned(), start.elapsed())
}

#[tokio::test]
async fn slow_headers_and_bodies_time_out() {
    let (_bench, server) = start(100).await;
    let (_, silent) = drip(&server, "").await;
    let (_, head) = drip(&server, "GET /health HTTP/1.1\r\nHost: x\r\nX: ").await;
    let post = "POST /v1/video/async_t2v HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n";
    let (answer, body) = drip(&server, post).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("x-should-retry: false"), "{answer}");
    let form = "POST /v1/video/async_i2v HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\
                Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n";
    let (answer, form) = drip(&server, form).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    for took in [silent, head, body, form] {
        assert!((SOON..SOON * 10).contains(&took), "{took:?}");
    }
}

#[tokio::test]
async fn idle_connections_time_out() {
    let (_bench, server) = start(20).await;
    let mut idle = Vec::new();
    for _ in 0..60 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    let request = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = tokio::time::timeout(Duration::from_secs(20), exchange(server.address, request)).await;
    assert!(answer.expect("in time").starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_that_stops_reading_is_disconnected() {
    let (bench, server) = start(1).await;
    let id = bench.completed(&vec![0; 64 << 20]).await;
    let mut still = TcpStream::connect(server.address).await.unwrap();
    still.write_all(format!("GET /outputs/ltx2_{id}.mp4 HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
    // The limit is one connection, so this waits for the end of the other.
    let request = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answer = tokio::time::timeout(Duration::from_secs(20), exchange(server.address, request)).await;
    assert!(answer.expect("in time").starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn truncated_and_malformed_requests_are_closed() {
    let (_bench, server) = start(100).await;
    for request in ["GET /heal", "POST /v1/video/async_t2v HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{", ""] {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        drop(read.expect("the server ends it"));
        assert!(!answer.starts_with(b"HTTP/1.1 200"), "{request}");
    }
    for odd in ["\0\0\0\0\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let answer = exchange(server.address, odd).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{odd:?}: {answer}");
    }
    let big = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(1 << 20));
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    // The server may close before it has read everything.
    drop(stream.write_all(big.as_bytes()).await);
    let mut answer = Vec::new();
    drop(tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await.expect("an end"));
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&answer));
}
