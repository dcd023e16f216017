//! Reading video and audio files.

mod audio;
mod error;
mod probe;
mod reader;
mod video;

pub(crate) use audio::read_audio;
pub(crate) use error::DemuxError;
pub(crate) use video::open_video;
