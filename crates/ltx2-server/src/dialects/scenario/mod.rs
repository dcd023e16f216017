//! Scenario's API: generation by model id, jobs, assets, uploads and models, as its SDKs use them.

mod assets;
mod generate;
mod jobs;
mod models;
mod routes;
mod wire;

pub(crate) use models::{model_body, models_body};
pub(crate) use routes::routes;
