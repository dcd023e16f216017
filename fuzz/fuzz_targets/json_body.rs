//! Body of a text-to-video request.
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
    let request = Request::post("/v1/video/async_t2v").header("content-type", "application/json");
    SERVER.with(|server| server.send(request.body(Body::from(body.to_vec())).expect("a valid request")));
});
