//! Request headers (API keys, idempotency keys, hosts, conditions, ranges), one per line, after a byte that selects the
//! path.
#![no_main]

use std::cell::LazyCell;

use axum::body::Body;
use axum::http::request::Builder;
use axum::http::{HeaderName, HeaderValue, Request};
use libfuzzer_sys::{Corpus, fuzz_target};
use ltx2_fuzz::Server;

thread_local! {
    static SERVER: LazyCell<Server> = LazyCell::new(|| Server::new(&["first-key", "second:key"]));
}

const PATHS: [&str; 4] =
    ["/v1/video/tasks", "/v1/video/tasks/0123456789abcdef0123456789abcdef/events", "/health", "/outputs/private.txt"];

/// Returns a request without headers: a query, a completed video, or a new task.
fn request(choice: u8) -> (Builder, Body) {
    match choice % 6 {
        4 => (Request::get(SERVER.with(|server| server.result.clone())), Body::empty()),
        5 => (Request::post("/v1/video/async_t2v"), Body::from(r#"{"prompt": "a"}"#)),
        other => (Request::get(PATHS[usize::from(other)]), Body::empty()),
    }
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((&choice, lines)) = input.split_first() else { return Corpus::Reject };
    let (mut request, body) = request(choice);
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]));
        let (Ok(name), Ok(value)) = (name, value) else { continue };
        request = request.header(name, value);
    }
    let Ok(request) = request.body(body) else { return Corpus::Reject };
    SERVER.with(|server| server.send(request));
    Corpus::Keep
});
