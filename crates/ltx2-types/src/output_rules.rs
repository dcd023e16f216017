//! Rules for the format of a result.

use crate::{Field, FieldError, FrameRate, OutputSpec, Quality, Rule, VariantArray, VideoCodec, VideoFormat};

/// Maximum frame rate of a GIF: players slow down shorter frames than 20 ms.
const MAX_GIF_RATE: f64 = 50.0;

/// Returns the fields of `output` that its format does not support, and the format if its encoder is among `missing`.
pub(crate) fn check_output(
    output: OutputSpec,
    frame_rate: FrameRate,
    missing: &[(VideoFormat, &'static str)],
) -> Vec<FieldError> {
    let refused = |field, value: String, rule: &str| FieldError::new(field, value, Rule::Supported(rule.into()));
    let mut errors = Vec::new();
    let is_chosen = |format: VideoFormat| format.streams() == (output.container, output.codec);
    if let Some((format, encoder)) = missing.iter().find(|(format, _)| is_chosen(*format)) {
        let is_offered = |format: &&VideoFormat| !missing.iter().any(|(missing, _)| missing == *format);
        let offered: Vec<_> = VideoFormat::VARIANTS.iter().filter(is_offered).map(|format| format.name()).collect();
        let rule =
            format!("this build of ffmpeg has no {encoder} encoder; format must be one of {}", offered.join(", "));
        errors.push(refused(Field::Format, format.name().into(), &rule));
    }
    if output.quality == Quality::Lossless {
        let rule = match output.codec {
            VideoCodec::ProRes => Some("ProRes has no lossless mode; it must be low, balanced or high"),
            VideoCodec::Gif => Some("GIF has 256 colours per frame; it must be omitted, or format must be png-zip"),
            _ => None,
        };
        errors.extend(rule.map(|rule| refused(Field::Quality, output.quality.name().into(), rule)));
    }
    if output.codec == VideoCodec::Gif && frame_rate.as_f64() > MAX_GIF_RATE {
        let rule = "players show at most 50 frames per second of a GIF; frame_rate must be at most 50";
        errors.push(refused(Field::FrameRate, frame_rate.as_f64().to_string(), rule));
    }
    let Some(max_bytes) = output.max_bytes else { return errors };
    if max_bytes == 0 {
        errors.push(FieldError::new(Field::MaxBytes, max_bytes, Rule::AtLeast(1)));
    } else if matches!(output.codec, VideoCodec::Gif | VideoCodec::Png) {
        let rule = "GIF and PNG have no bit rate; format must be mp4, mp4-h265, webm or mov";
        errors.push(refused(Field::MaxBytes, max_bytes.to_string(), rule));
    } else if output.quality == Quality::Lossless {
        let rule = "the size of a lossless video cannot be reduced; quality must be low, balanced or high";
        errors.push(refused(Field::MaxBytes, max_bytes.to_string(), rule));
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_format_does_not_support_is_refused() {
        let spec = |format, quality, max_bytes| OutputSpec { quality, max_bytes, ..OutputSpec::new(format) };
        for (output, rate, message) in [
            (
                spec(VideoFormat::Mov, Quality::Lossless, None),
                25.0,
                "quality is lossless, but ProRes has no lossless mode; it must be low, balanced or high",
            ),
            (
                spec(VideoFormat::Gif, Quality::Lossless, None),
                25.0,
                "quality is lossless, but GIF has 256 colours per frame; it must be omitted, or format must be png-zip",
            ),
            (
                spec(VideoFormat::Gif, Quality::High, None),
                60.0,
                "frame_rate is 60, but players show at most 50 frames per second of a GIF; frame_rate must be at most 50",
            ),
            (spec(VideoFormat::Mp4, Quality::High, Some(0)), 25.0, "max_bytes is 0, but it must be at least 1"),
            (
                spec(VideoFormat::Mp4, Quality::Lossless, Some(5000)),
                25.0,
                "max_bytes is 5000, but the size of a lossless video cannot be reduced; quality must be low, balanced or \
                 high",
            ),
            (
                spec(VideoFormat::PngZip, Quality::High, Some(5000)),
                25.0,
                "max_bytes is 5000, but GIF and PNG have no bit rate; format must be mp4, mp4-h265, webm or mov",
            ),
        ] {
            let errors = check_output(output, FrameRate::new(rate).unwrap(), &[]);
            assert_eq!(errors.iter().map(ToString::to_string).collect::<Vec<_>>(), [message]);
        }
        let accepted = spec(VideoFormat::PngZip, Quality::Lossless, None);
        assert_eq!(check_output(accepted, FrameRate::new(120.0).unwrap(), &[]), []);
    }

    #[test]
    fn a_format_without_an_encoder_is_refused_with_those_that_are_offered() {
        let missing = [(VideoFormat::Webm, "libvpx-vp9")];
        let errors = |format| check_output(OutputSpec::new(format), FrameRate::new(25.0).unwrap(), &missing);
        assert_eq!(errors(VideoFormat::Mp4), []);
        assert_eq!(
            errors(VideoFormat::Webm)[0].to_string(),
            "format is webm, but this build of ffmpeg has no libvpx-vp9 encoder; format must be one of mp4, mp4-h265, \
             mov, gif, png-zip"
        );
    }
}
