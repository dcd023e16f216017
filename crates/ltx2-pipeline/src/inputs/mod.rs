//! Inputs of a task as tensors.

mod image;

pub(crate) use image::conditioning_pixels;
