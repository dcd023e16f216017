//! Encoders that the linked ffmpeg has.

use ffmpeg_next::encoder::find_by_name;
use ltx2_types::{Quality, VariantArray, VideoFormat};

use super::{audio, settings::VideoSettings};

/// Returns the formats that the linked ffmpeg cannot write, each with the encoder that it lacks.
pub fn missing_encoders() -> Vec<(VideoFormat, &'static str)> {
    crate::ffmpeg::init();
    missing(|encoder| find_by_name(encoder).is_some())
}

fn missing(is_present: impl Fn(&str) -> bool) -> Vec<(VideoFormat, &'static str)> {
    let lacks = |format: &VideoFormat| {
        let (container, codec) = format.streams();
        let video = VideoSettings::of(codec, Quality::High, 0).map(|settings| settings.encoder);
        let encoder = [video, audio::encoder(container)].into_iter().flatten().find(|encoder| !is_present(encoder));
        Some((*format, encoder?))
    };
    VideoFormat::VARIANTS.iter().filter_map(lacks).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_whose_encoder_is_absent_are_named_with_it() {
        assert_eq!(missing(|_| true), []);
        assert_eq!(missing(|encoder| encoder != "libvpx-vp9"), [(VideoFormat::Webm, "libvpx-vp9")]);
        let without_aac = [(VideoFormat::Mp4, "aac"), (VideoFormat::Mp4H265, "aac")];
        assert_eq!(missing(|encoder| encoder != "aac"), without_aac);
        let only_own: Vec<_> = missing(|_| false).into_iter().map(|(format, _)| format).collect();
        assert_eq!(only_own, [VideoFormat::Mp4, VideoFormat::Mp4H265, VideoFormat::Webm, VideoFormat::Mov]);
    }
}
