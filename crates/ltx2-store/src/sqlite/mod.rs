//! The task database on SQLite: all SQL of the store, one file per concern.
//!
//! Every method of [`Database`] is one transaction or one read. Writes go through a single connection, one after the
//! other; reads use others and never wait for a write.

mod assets;
mod cancel;
mod claim;
mod database;
mod events;
mod finish;
mod heartbeat;
mod lease_expiry;
mod previews;
mod query;
mod queue_order;
mod retention;
mod rows;
mod submit;
mod transaction;
mod webhooks;

pub(crate) use assets::LibraryKey;
pub(crate) use cancel::Cancelled;
pub(crate) use database::Database;
pub(crate) use lease_expiry::{ExpiredLease, Reclaimed};
