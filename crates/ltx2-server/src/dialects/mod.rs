//! API dialects. Each has wire types, their mapping to and from the service layer, and routes.

use std::sync::Arc;

use axum::Router;

use crate::state::Service;

mod hosted_error;
pub(crate) mod lan;
mod model_list;
mod scenario;

pub(crate) use hosted_error::hosted_error_body;
pub(crate) use model_list::model_routes;

/// Returns the routes of the APIs of hosted services: each at the path of its service, and below a prefix of its own.
pub(crate) fn hosted_routes() -> Router<Arc<Service>> {
    Router::new().nest("/v1", scenario::routes()).nest("/scenario/v1", scenario::routes().merge(model_routes()))
}
