//! Parameters of the MP4 muxer.

use ffmpeg_next::Dictionary;

/// Name of the muxer in ffmpeg.
pub(super) const NAME: &str = "mp4";

/// Returns the options of the muxer.
pub(super) fn options() -> Dictionary<'static> {
    let mut options = Dictionary::new();
    // Streaming players need the index before the data.
    options.set("movflags", "+faststart");
    options
}
