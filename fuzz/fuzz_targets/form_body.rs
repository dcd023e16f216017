//! Body of an image-to-video request: a multipart form with boundary `X`.
#![no_main]

use std::cell::LazyCell;

use axum::body::Body;
use axum::http::Request;
use libfuzzer_sys::fuzz_target;
use ltx2_fuzz::Server;

thread_local! {
    static SERVER: LazyCell<Server> = LazyCell::new(|| Server::new(&[]));
}

fuzz_target!(|body: &[u8]| {
    let request = Request::post("/v1/video/async_i2v").header("content-type", "multipart/form-data; boundary=X");
    SERVER.with(|server| server.send(request.body(Body::from(body.to_vec())).expect("a valid request")));
});
