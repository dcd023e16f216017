//! Headers: keys, hosts, conditions and ranges, one in a line behind the address.
#![no_main]

use std::cell::LazyCell;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Request};
use libfuzzer_sys::{Corpus, fuzz_target};
use ltx2_fuzz::Server;

thread_local! {
    static SERVER: LazyCell<Server> = LazyCell::new(|| Server::new(&["first-key", "second:key"]));
}

const PATHS: [&str; 4] =
    ["/v1/video/tasks", "/v1/video/tasks/0123456789abcdef0123456789abcdef/events", "/health", "/outputs/private.txt"];

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((&path, lines)) = input.split_first() else { return Corpus::Reject };
    let mut request = Request::get(PATHS[usize::from(path % 4)]);
    for line in lines.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (HeaderName::from_bytes(&line[..colon]), HeaderValue::from_bytes(&line[colon + 1..]));
        let (Ok(name), Ok(value)) = (name, value) else { continue };
        request = request.header(name, value);
    }
    let Ok(request) = request.body(Body::empty()) else { return Corpus::Reject };
    SERVER.with(|server| server.send(request));
    Corpus::Keep
});
