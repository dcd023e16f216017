//! Tests of the native API over a real store, with sockets only where a test needs them.

mod access;
mod aliases;
mod edit;
mod keyframes;
mod manage;
mod network;
mod poll;
mod previews;
mod scenario;
mod server;
mod slow;
mod sockets;
mod submit;
mod support;
mod urls;
mod watch;
mod webhooks;
