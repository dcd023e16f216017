//! The server's own API over a real store, without a network unless a test needs one.

mod poll;
mod server;
mod sockets;
mod submit;
mod support;
