//! Request targets: paths with task ids and file names, and queries with filters and cursors.
#![no_main]

use std::cell::LazyCell;

use axum::body::Body;
use axum::http::{Method, Request, Uri};
use libfuzzer_sys::{Corpus, fuzz_target};
use ltx2_fuzz::Server;

thread_local! {
    static SERVER: LazyCell<Server> = LazyCell::new(|| Server::new(&[]));
}

fuzz_target!(|input: &[u8]| -> Corpus {
    let Some((&method, address)) = input.split_first() else { return Corpus::Reject };
    let Ok(uri) = Uri::try_from(address) else { return Corpus::Reject };
    let method = [Method::GET, Method::DELETE, Method::POST][usize::from(method % 3)].clone();
    let request = Request::builder().method(method).uri(uri).body(Body::empty());
    let Ok(request) = request else { return Corpus::Reject };
    SERVER.with(|server| server.send(request));
    Corpus::Keep
});
