//! Muxers of the containers.

use ffmpeg_next::Dictionary;
use ltx2_types::Container;

/// Returns the name of the muxer in ffmpeg.
pub(super) fn name(container: Container) -> &'static str {
    container.extension()
}

/// Returns the options of the muxer.
pub(super) fn options(container: Container) -> Dictionary<'static> {
    let mut options = Dictionary::new();
    match container {
        // Streaming players need the index before the data.
        Container::Mp4 => options.set("movflags", "+faststart"),
        Container::Mov => options.set("movflags", "+faststart+write_colr"),
        Container::Webm => options.set("cues_to_front", "1"),
        // Written without ffmpeg.
        Container::Gif | Container::Zip => {}
    }
    options
}
