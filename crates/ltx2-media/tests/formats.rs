//! Every output format and quality, inspected with the ffmpeg tools.

mod common;

use std::path::Path;

use common::{decoded_rgb, decoded_samples, moving_frame, probe, tone, video_info, warnings};
use ltx2_media::VideoWriter;
use ltx2_types::{Output, OutputInfo, OutputSpec, Quality, VariantArray, VideoFormat, VideoInfo};
use tempfile::tempdir;

fn spec(format: VideoFormat, quality: Quality) -> OutputSpec {
    let (container, codec) = format.streams();
    OutputSpec { container, codec, quality, ..OutputSpec::default() }
}

fn write(path: &Path, info: VideoInfo, spec: OutputSpec) -> OutputInfo {
    let mut writer = VideoWriter::create(path, spec).unwrap();
    writer.start(info).unwrap();
    writer.audio(tone(24000, 2.0)).unwrap();
    for index in 0..info.num_frames {
        writer.frame(&moving_frame(info, index)).unwrap();
    }
    writer.finish().unwrap().publish().unwrap()
}

/// Returns the peak signal-to-noise ratio of the decoded frames in dB.
fn psnr(path: &Path, info: VideoInfo) -> f64 {
    let expected: Vec<u8> = (0..info.num_frames).flat_map(|index| moving_frame(info, index)).collect();
    let found = decoded_rgb(path);
    assert_eq!(found.len(), expected.len());
    let squares = found.iter().zip(&expected).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2));
    let mean = squares.sum::<f64>() / expected.len() as f64;
    10.0 * (255.0 * 255.0 / mean.max(1e-9)).log10()
}

#[test]
fn every_format_has_its_codecs_size_rate_and_duration() {
    let dir = tempdir().unwrap();
    let info = video_info(96, 64, 37, 24.0);
    for (format, video_codec, tag, audio_codec, mime) in [
        (VideoFormat::Mp4, "h264", "avc1", "aac", "video/mp4"),
        (VideoFormat::Mp4H265, "hevc", "hvc1", "aac", "video/mp4"),
        (VideoFormat::Webm, "vp9", "[0][0][0][0]", "opus", "video/webm"),
        (VideoFormat::Mov, "prores", "apch", "pcm_s16le", "video/quicktime"),
    ] {
        let path = dir.path().join(format.name());
        let written = write(&path, info, spec(format, Quality::High));
        assert_eq!((written.mime.as_str(), written.width, written.height), (mime, Some(96), Some(64)));
        let (video, audio) = (probe(&path, "v"), probe(&path, "a"));
        assert_eq!(video["codec_name"], video_codec);
        assert_eq!(video["codec_tag_string"], tag);
        assert_eq!((&video["width"][..], &video["height"][..], &video["nb_read_frames"][..]), ("96", "64", "37"));
        assert_eq!((&video["r_frame_rate"][..], &video["color_space"][..]), ("24/1", "bt709"), "{video_codec}");
        assert_eq!((&audio["codec_name"][..], &audio["channels"][..]), (audio_codec, "2"));
        let seconds = decoded_samples(&path).len() as f64 / 2.0 / audio["sample_rate"].parse::<f64>().unwrap();
        assert!((seconds - 37.0 / 24.0).abs() < 0.05, "{}: {seconds} s of audio", format.name());
        assert_eq!(warnings(&path), "", "{}", format.name());
    }
}

#[test]
fn a_higher_quality_is_closer_to_the_frames_and_larger() {
    let dir = tempdir().unwrap();
    let info = video_info(128, 96, 12, 24.0);
    for format in VideoFormat::VARIANTS {
        let mut last = (0.0, 0);
        for quality in [Quality::Low, Quality::Balanced, Quality::High] {
            let path = dir.path().join(format!("{}-{}", format.name(), quality.name()));
            let bytes = write(&path, info, spec(*format, quality)).bytes;
            let psnr = psnr(&path, info);
            assert!(psnr > last.0 && bytes > last.1, "{} {}: {psnr} dB, {bytes} bytes", format.name(), quality.name());
            last = (psnr, bytes);
        }
        assert!(last.0 > 29.0, "{}: {} dB", format.name(), last.0);
    }
}

#[test]
fn lossless_frames_differ_by_the_colour_conversion_alone() {
    let dir = tempdir().unwrap();
    let info = video_info(64, 64, 5, 24.0);
    for format in [VideoFormat::Mp4, VideoFormat::Mp4H265, VideoFormat::Webm] {
        let path = dir.path().join(format.name());
        write(&path, info, spec(format, Quality::Lossless));
        assert_eq!(probe(&path, "v")["pix_fmt"], "yuv444p");
        assert!(psnr(&path, info) > 50.0, "{}: {} dB", format.name(), psnr(&path, info));
    }
}
