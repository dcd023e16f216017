//! One folder per public wording of the service.

pub(crate) mod lan;
