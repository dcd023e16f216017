//! The server's own API over a real store, without a network unless a test needs one.

mod access;
mod keyframes;
mod manage;
mod network;
mod poll;
mod previews;
mod server;
mod slow;
mod sockets;
mod submit;
mod support;
mod urls;
mod watch;
mod webhooks;
