//! The store through its public interface, each test in a folder of its own.

mod assets;
mod concurrency;
mod crashes;
mod events;
mod files;
mod lifecycle;
mod lists;
mod migration;
mod previews;
mod processes;
mod queue_order;
mod retention;
mod support;
mod webhooks;
