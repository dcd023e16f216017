//! Tools for developers: benchmarks of the engine's phases, traces to compare with the official code, demo models
//! and models with synthetic weights. Not part of the product.

pub mod bench;
mod decoded_images;
pub mod demo_model;
mod published_model;
mod synthetic_models;
pub mod trace;
pub mod trained_model;

pub use decoded_images::DecodedImages;
pub use published_model::PublishedModel;
pub use synthetic_models::synthetic_models;
