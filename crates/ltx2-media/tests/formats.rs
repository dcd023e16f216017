//! Every output format and quality, inspected with the ffmpeg tools.

mod common;

use std::path::Path;

use common::{comment, decoded_rgb, decoded_samples, moving_frame, probe, tone, video_info, warnings};
use ltx2_media::VideoWriter;
use ltx2_types::{Output, OutputInfo, OutputSpec, Quality, VariantArray, VideoFormat, VideoInfo};
use tempfile::tempdir;

fn spec(format: VideoFormat, quality: Quality) -> OutputSpec {
    OutputSpec { quality, ..OutputSpec::new(format) }
}

fn write(path: &Path, info: VideoInfo, spec: OutputSpec) -> OutputInfo {
    write_with(path, info, spec, None)
}

fn write_with(path: &Path, info: VideoInfo, spec: OutputSpec, metadata: Option<String>) -> OutputInfo {
    let mut writer = VideoWriter::create(path, spec).unwrap().with_metadata(metadata);
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
    for format in [VideoFormat::Mp4, VideoFormat::Mp4H265, VideoFormat::Webm, VideoFormat::Mov] {
        let mut last = (0.0, 0);
        for quality in [Quality::Low, Quality::Balanced, Quality::High] {
            let path = dir.path().join(format!("{}-{}", format.name(), quality.name()));
            let bytes = write(&path, info, spec(format, quality)).bytes;
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

#[test]
fn a_gif_repeats_and_has_every_frame_at_its_time() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.gif");
    // 24 frames per second do not divide the unit of 10 ms.
    let info = video_info(96, 64, 37, 24.0);
    let written = write(&path, info, spec(VideoFormat::Gif, Quality::High));
    assert_eq!((written.mime.as_str(), written.width, written.duration), ("image/gif", Some(96), Some(37.0 / 24.0)));
    let video = probe(&path, "v");
    assert_eq!((&video["codec_name"][..], &video["width"][..], &video["height"][..]), ("gif", "96", "64"));
    assert_eq!((&video["nb_read_frames"][..], &video["duration"][..]), ("37", "1.540000"));
    assert!(probe(&path, "a").is_empty());
    let bytes = std::fs::read(&path).unwrap();
    let repeats = b"NETSCAPE2.0\x03\x01\0\0\0";
    assert!(bytes.windows(repeats.len()).any(|window| window == repeats), "it does not repeat");
    assert!(psnr(&path, info) > 25.0, "{} dB", psnr(&path, info));
    assert_eq!(warnings(&path), "");
}

#[test]
fn a_zip_of_pngs_has_exactly_the_frames() {
    let dir = tempdir().unwrap();
    let info = video_info(96, 64, 3, 24.0);
    let path = dir.path().join("video.zip");
    let written = write(&path, info, spec(VideoFormat::PngZip, Quality::Lossless));
    assert_eq!((written.mime.as_str(), written.width, written.duration), ("application/zip", Some(96), Some(0.125)));
    let mut zip = zip::ZipArchive::new(std::fs::File::open(&path).unwrap()).unwrap();
    assert_eq!(zip.len(), 3);
    for index in 0..3 {
        let mut file = zip.by_name(&format!("frame_{index:05}.png")).unwrap();
        assert_eq!(file.compression(), zip::CompressionMethod::Stored);
        let mut png = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut png).unwrap();
        let frame = ltx2_media::read_image(&png, ltx2_types::ImageLimits::default()).unwrap();
        assert_eq!((frame.width, frame.height, frame.data), (96, 64, moving_frame(info, index)));
    }
    let again = dir.path().join("again.zip");
    write(&again, info, spec(VideoFormat::PngZip, Quality::Lossless));
    assert_eq!(std::fs::read(path).unwrap(), std::fs::read(again).unwrap(), "equal frames give equal files");
}

#[test]
fn metadata_is_read_back_from_every_format() {
    let dir = tempdir().unwrap();
    let info = video_info(64, 64, 2, 24.0);
    let metadata =
        format!(r#"{{"prompt":"a \"red\" fox; ü=1\n","seed":18446744073709551615,"more":"{}"}}"#, "x".repeat(2000));
    for format in VideoFormat::VARIANTS {
        let path = dir.path().join(format.name());
        write_with(&path, info, OutputSpec::new(*format), Some(metadata.clone()));
        let found = match format {
            VideoFormat::PngZip => {
                let mut zip = zip::ZipArchive::new(std::fs::File::open(&path).unwrap()).unwrap();
                std::io::read_to_string(zip.by_name("metadata.json").unwrap()).unwrap()
            }
            VideoFormat::Gif => {
                let bytes = std::fs::read(&path).unwrap();
                let start = bytes.windows(2).position(|window| window == [0x21, 0xfe]).unwrap() + 2;
                gif_blocks(&bytes[start..])
            }
            _ => comment(&path),
        };
        assert_eq!(found, metadata, "{}", format.name());
        write(&path, info, OutputSpec::new(*format));
        let bytes = std::fs::read(&path).unwrap();
        assert!(!bytes.windows(5).any(|window| window == b"\"seed"), "{} without metadata", format.name());
    }
}

/// Joins the data blocks of a GIF extension.
fn gif_blocks(mut bytes: &[u8]) -> String {
    let mut text = Vec::new();
    while let Some((&length, rest)) = bytes.split_first().filter(|(length, _)| **length > 0) {
        text.extend_from_slice(&rest[..length.into()]);
        bytes = &rest[length.into()..];
    }
    String::from_utf8(text).unwrap()
}
