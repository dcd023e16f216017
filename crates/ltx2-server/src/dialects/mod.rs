//! API dialects. Each has wire types, their mapping to and from the service layer, and routes.

pub(crate) mod lan;
