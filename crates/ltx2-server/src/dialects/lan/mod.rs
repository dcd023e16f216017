//! Native API: submit, wait, poll, list, watch and remove tasks.

mod edit;
mod events;
mod map;
mod routes;
mod submit;
mod wire;

pub(crate) use map::error_body;
pub(crate) use routes::routes;
