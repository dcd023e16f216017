//! Videos with a maximum size.

mod common;

use std::path::Path;

use common::{decoded_rgb, names, noisy_frame, probe, tone, video_info, warnings};
use ltx2_media::{MediaError, VideoWriter};
use ltx2_types::{FailureCode, Output, OutputInfo, OutputSpec, VideoFormat, VideoInfo};
use tempfile::tempdir;

fn info() -> VideoInfo {
    video_info(160, 96, 24, 24.0)
}

fn write(path: &Path, format: VideoFormat, max_bytes: Option<u64>) -> Result<OutputInfo, MediaError> {
    let spec = OutputSpec { max_bytes, ..OutputSpec::new(format) };
    let mut writer = VideoWriter::create(path, spec)?;
    writer.start(info()).unwrap();
    writer.audio(tone(24000, 1.0)).unwrap();
    for index in 0..info().num_frames {
        writer.frame(&noisy_frame(info(), index)).unwrap();
    }
    writer.finish()?.publish()
}

#[test]
fn a_video_above_its_maximum_size_is_encoded_again_to_fit_it() {
    let dir = tempdir().unwrap();
    for (format, shares) in [
        (VideoFormat::Mp4, &[0.8, 0.5, 0.3][..]),
        (VideoFormat::Mp4H265, &[0.6]),
        (VideoFormat::Webm, &[0.8, 0.4]),
        (VideoFormat::Mov, &[0.75]),
    ] {
        let path = dir.path().join(format.name());
        let full = write(&path, format, None).unwrap().bytes;
        for share in shares {
            let max_bytes = (full as f64 * share) as u64;
            let written = write(&path, format, Some(max_bytes)).unwrap();
            let what = format!("{} of {full} bytes, at most {max_bytes}: {written:?}", format.name());
            println!("{what}");
            assert_eq!(written.bytes, std::fs::metadata(&path).unwrap().len());
            assert!(written.bytes <= max_bytes && written.bytes > max_bytes / 2, "{what}");
            let note = written.note.unwrap();
            assert!(note.starts_with("the quality is below high: at high quality the video has "), "{note}");
            assert!(note.ends_with(&format!(" bytes, above max_bytes {max_bytes}")), "{note}");
            assert_eq!((&probe(&path, "v")["nb_read_frames"][..], &probe(&path, "a")["channels"][..]), ("24", "2"));
            assert_eq!(warnings(&path), "", "{what}");
        }
    }
    assert_eq!(names(dir.path()), ["mov", "mp4", "mp4-h265", "webm"], "intermediate files are removed");
}

#[test]
fn a_video_within_its_maximum_size_is_the_same_as_without_one() {
    let dir = tempdir().unwrap();
    let (limited, free) = (dir.path().join("limited.mov"), dir.path().join("free.mov"));
    let bytes = write(&free, VideoFormat::Mov, None).unwrap().bytes;
    let written = write(&limited, VideoFormat::Mov, Some(bytes)).unwrap();
    assert_eq!((written.bytes, written.note), (bytes, None));
    assert_eq!(std::fs::read(&limited).unwrap(), std::fs::read(&free).unwrap());
}

#[test]
fn a_size_that_cannot_be_reached_is_an_error_with_the_least_possible_one() {
    let dir = tempdir().unwrap();
    for format in [VideoFormat::Webm, VideoFormat::Mov] {
        let path = dir.path().join(format.name());
        let error = write(&path, format, Some(2000)).unwrap_err();
        let MediaError::TooLarge { max_bytes: 2000, least } = error else { panic!("{error}") };
        assert!(names(dir.path()).is_empty());
        let written = write(&path, format, Some(least)).unwrap();
        assert_eq!(written.bytes, least, "{}", format.name());
        std::fs::remove_file(path).unwrap();
        let failure = ltx2_types::Failure::from(error);
        assert_eq!(failure.code, FailureCode::Output);
        let start = format!("max_bytes is 2000, but the smallest video of acceptable quality has {least} bytes; ");
        assert!(failure.message.starts_with(&start), "{}", failure.message);
    }
}

#[test]
fn a_second_encoding_has_the_frames_in_order() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    let full = write(&path, VideoFormat::Mp4, None).unwrap().bytes;
    write(&path, VideoFormat::Mp4, Some(full * 3 / 4)).unwrap();
    let decoded = decoded_rgb(&path);
    let difference = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>();
    for (index, frame) in (0..).zip(decoded.chunks(160 * 96 * 3)) {
        let nearest = (0..24).min_by_key(|&other| difference(frame, &noisy_frame(info(), other)));
        assert_eq!(nearest, Some(index));
    }
}
