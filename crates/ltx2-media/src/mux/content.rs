//! Everything about a video but its frames.

use ltx2_types::{AudioClip, OutputSpec, VideoInfo};

/// Format, properties, audio and metadata of a video to write.
#[derive(Clone)]
pub(super) struct Video {
    pub(super) spec: OutputSpec,
    pub(super) info: VideoInfo,
    pub(super) audio: Option<AudioClip>,
    /// Comment in the file's metadata.
    pub(super) metadata: Option<String>,
}
