//! Conversion between media files and frames or samples.
//!
//! Reading: [`FileInputs`], [`read_image`], and the H.264 pass of conditioning images ([`crf_roundtrip`]). Writing:
//! [`FileOutputs`], [`VideoWriter`] and [`small_jpeg`].

mod color_profile;
mod crf_roundtrip;
mod demux;
mod error;
mod ffmpeg;
mod image;
mod inputs;
mod jpeg;
mod jpeg_end;
mod metadata;
mod mux;
mod outputs;
mod pending_file;
mod pending_output;
mod resample;
mod still;
mod webp_frames;

pub use crf_roundtrip::{ConditioningError, conditioning_image, crf_roundtrip};
pub use demux::{ProbeError, probe_source};
pub use error::MediaError;
pub use image::{ImageError, read_image};
pub use inputs::FileInputs;
pub use jpeg::{JpegError, small_jpeg};
pub use metadata::metadata;
pub use mux::{VideoWriter, missing_encoders};
pub use outputs::{FileOutputs, PendingOutputs};
pub use pending_file::remove_leftovers;
pub use pending_output::PendingOutput;
