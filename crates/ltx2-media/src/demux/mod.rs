//! Reading video and audio files.

mod audio;
mod error;
mod probe;
mod reader;
mod source;
mod video;

pub(crate) use audio::read_audio;
pub(crate) use error::DemuxError;
pub use source::{ProbeError, probe_source};
pub(crate) use video::open_video;
