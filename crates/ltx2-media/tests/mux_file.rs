//! Life cycle of the output file, and calls that the writer refuses.

mod common;

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use common::{create, moving_frame, names, silence, tone, video_info, write};
use ltx2_media::{FileOutputs, MediaError, VideoWriter, remove_leftovers};
use ltx2_types::{FailureCode, Output, OutputFile, OutputInfo, OutputRole, OutputSpec};
use tempfile::tempdir;

/// Returns a writer of a video of three frames that has received `frames` of them.
fn started(path: &Path, frames: u32) -> VideoWriter {
    let info = video_info(64, 32, 3, 24.0);
    let mut writer = create(path);
    writer.start(info).unwrap();
    writer.audio(tone(24000, 1.0)).unwrap();
    for index in 0..frames {
        writer.frame(&moving_frame(info, index)).unwrap();
    }
    writer
}

#[test]
fn the_final_name_appears_on_publish() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    let writer = started(&path, 3);
    let during = names(dir.path());
    assert_eq!(during.len(), 1);
    assert!(during[0].starts_with(".video.mp4.") && during[0].ends_with(".part"), "{during:?}");
    let pending = writer.finish().unwrap();
    assert_eq!(names(dir.path()), during);
    pending.publish().unwrap();
    assert_eq!(names(dir.path()), ["video.mp4"]);
}

#[test]
fn a_dropped_writer_leaves_no_file() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    drop(create(&path));
    drop(started(&path, 0));
    drop(started(&path, 2));
    drop(started(&path, 3).finish().unwrap());
    assert!(names(dir.path()).is_empty());
}

#[test]
fn an_existing_file_is_kept_until_publish() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    fs::write(&path, "old").unwrap();
    drop(started(&path, 2));
    assert_eq!(fs::read(&path).unwrap(), b"old");
    let pending = started(&path, 3).finish().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"old");
    pending.publish().unwrap();
    assert_ne!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn a_missing_frame_is_an_error() {
    let dir = tempdir().unwrap();
    let error = started(&dir.path().join("video.mp4"), 2).finish().unwrap_err();
    assert_eq!(error.to_string(), "expected 3 frames, but received 2");
    assert!(names(dir.path()).is_empty());
}

#[test]
fn an_extra_frame_is_an_error() {
    let dir = tempdir().unwrap();
    let mut writer = started(&dir.path().join("video.mp4"), 3);
    let error = writer.frame(&[0; 64 * 32 * 3]).unwrap_err();
    assert_eq!(error.code, FailureCode::Internal);
    assert_eq!(error.message, "expected 3 frames, but received 4");
    assert!(matches!(writer.finish(), Err(MediaError::FrameCount { expected: 3, received: 4 })));
}

#[test]
fn a_frame_of_another_size_is_an_error() {
    let dir = tempdir().unwrap();
    let mut writer = started(&dir.path().join("video.mp4"), 0);
    let error = writer.frame(&[0; 5]).unwrap_err();
    assert_eq!(error.message, "expected a frame of 6144 bytes, but received 5");
}

#[test]
fn odd_and_empty_sizes_are_refused() {
    let dir = tempdir().unwrap();
    for (width, height) in [(33, 32), (32, 33), (0, 32), (32, 0)] {
        let mut writer = create(&dir.path().join("video.mp4"));
        let error = writer.start(video_info(width, height, 1, 24.0)).unwrap_err();
        assert!(error.message.starts_with(&format!("cannot write a video of {width}x{height} pixels: ")), "{error}");
    }
}

#[test]
fn calls_in_the_wrong_order_are_errors() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    let mut writer = create(&path);
    assert!(writer.audio(silence(24000)).is_err());
    assert!(writer.frame(&[]).is_err());
    writer.start(video_info(32, 32, 1, 24.0)).unwrap();
    assert!(writer.start(video_info(32, 32, 1, 24.0)).is_err());
    writer.frame(&[0; 32 * 32 * 3]).unwrap();
    assert!(writer.audio(silence(24000)).is_err());
    let mut writer = started(&path, 0);
    assert!(writer.audio(silence(24000)).is_err());
    assert!(matches!(create(&path).finish(), Err(MediaError::Order(_))));
    let mut writer = create(&path);
    writer.start(video_info(32, 32, 1, 24.0)).unwrap();
    assert!(matches!(writer.finish(), Err(MediaError::FrameCount { expected: 1, received: 0 })));
}

#[test]
fn a_missing_folder_is_an_output_failure() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("none/video.mp4");
    let error = VideoWriter::create(&path, OutputSpec::default()).err().unwrap();
    assert_eq!(error.to_string(), format!("cannot create {}: No such file or directory (os error 2)", path.display()));
    assert_eq!(ltx2_types::Failure::from(error).code, FailureCode::Output);
    assert!(VideoWriter::create(Path::new("/"), OutputSpec::default()).is_err());
}

#[test]
fn a_target_that_is_a_folder_is_an_error_and_leaves_no_file() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    fs::create_dir(&path).unwrap();
    let error = started(&path, 3).finish().unwrap().publish().unwrap_err();
    assert!(matches!(error, MediaError::File { doing: "create", .. }), "{error}");
    assert_eq!(names(dir.path()), ["video.mp4"]);
}

#[test]
fn unusual_file_names_are_accepted() {
    let dir = tempdir().unwrap();
    for name in ["a:b.mp4", "no extension", "%d.mp4", "ünïcode ✓.mp4", "http:x"] {
        write(&dir.path().join(name), video_info(32, 32, 1, 24.0), silence(24000));
        assert!(dir.path().join(name).is_file(), "{name}");
    }
}

#[test]
fn two_writers_of_one_target_do_not_interfere() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    let (first, second) = (started(&path, 3), started(&path, 3));
    assert_eq!(names(dir.path()).len(), 2);
    first.finish().unwrap().publish().unwrap();
    second.finish().unwrap().publish().unwrap();
    assert_eq!(names(dir.path()), ["video.mp4"]);
}

#[test]
fn leftovers_are_removed_but_files_in_use_are_kept() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    for name in [".old.mp4.1-0.part", "kept.part", ".kept", "kept.mp4"] {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    fs::create_dir(dir.path().join(".folder.part")).unwrap();
    let writer = started(&path, 3);
    assert_eq!(remove_leftovers(dir.path()).unwrap(), 1);
    writer.finish().unwrap().publish().unwrap();
    assert_eq!(names(dir.path()), [".folder.part", ".kept", "kept.mp4", "kept.part", "video.mp4"]);
    assert!(remove_leftovers(&dir.path().join("none")).is_err());
}

#[test]
fn writers_are_send() {
    fn is_send<T: Send>() {}
    is_send::<VideoWriter>();
    is_send::<FileOutputs>();
}

#[test]
fn all_outputs_of_a_job_are_published_together() {
    let dir = tempdir().unwrap();
    let file = |role, name| OutputFile { role, spec: OutputSpec::default(), path: dir.path().join(name) };
    let files = [
        file(OutputRole::Video, "video.mp4"),
        file(OutputRole::Thumbnail, "video.jpg"),
        file(OutputRole::LastFrame, "video.png"),
    ];
    let info = video_info(1024, 64, 2, 24.0);
    let mut outputs = FileOutputs::create(&files, None).unwrap();
    outputs.start(info).unwrap();
    outputs.audio(tone(24000, 1.0)).unwrap();
    for index in 0..2 {
        outputs.frame(&moving_frame(info, index)).unwrap();
    }
    let pending = outputs.finish().unwrap();
    assert!(names(dir.path()).iter().all(|name| name.starts_with('.')));
    let [video, thumbnail, last_frame]: [OutputInfo; 3] = pending.info().try_into().unwrap();
    pending.publish().unwrap();
    assert_eq!(names(dir.path()), ["video.jpg", "video.mp4", "video.png"]);
    assert_eq!((video.role, video.width, video.height), (OutputRole::Video, Some(1024), Some(64)));
    let jpeg = fs::read(dir.path().join("video.jpg")).unwrap();
    let expected = OutputInfo {
        role: OutputRole::Thumbnail,
        mime: "image/jpeg".into(),
        bytes: jpeg.len() as u64,
        width: Some(512),
        height: Some(32),
        duration: None,
        note: None,
    };
    assert_eq!(thumbnail, expected);
    let decoded = ltx2_media::read_image(&jpeg, ltx2_types::ImageLimits::default()).unwrap();
    assert_eq!((decoded.width, decoded.height), (512, 32));
    assert_eq!((last_frame.role, last_frame.mime.as_str()), (OutputRole::LastFrame, "image/png"));
    let png = fs::read(dir.path().join("video.png")).unwrap();
    assert_eq!(last_frame.bytes, png.len() as u64);
    let decoded = ltx2_media::read_image(&png, ltx2_types::ImageLimits::default()).unwrap();
    assert_eq!((decoded.width, decoded.height, decoded.data), (1024, 64, moving_frame(info, 1)));
}

#[test]
fn a_thumbnail_without_a_frame_is_an_error_and_leaves_no_file() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.jpg");
    let files = [OutputFile { role: OutputRole::Thumbnail, spec: OutputSpec::default(), path }];
    let mut outputs = FileOutputs::create(&files, None).unwrap();
    outputs.start(video_info(64, 32, 1, 24.0)).unwrap();
    assert!(matches!(outputs.finish(), Err(MediaError::Order(_))));
    assert!(names(dir.path()).is_empty());
}

#[test]
fn a_published_file_has_the_usual_permissions() {
    let dir = tempdir().unwrap();
    let (path, other) = (dir.path().join("video.mp4"), dir.path().join("other"));
    started(&path, 3).finish().unwrap().publish().unwrap();
    fs::write(&other, "x").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&path), mode(&other));
}
