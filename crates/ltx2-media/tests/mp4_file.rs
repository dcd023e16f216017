//! When the file is there, when it is not, and what the writer refuses.

mod common;

use std::{fs, path::Path};

use common::{format, moving_picture, names, note, silence, write};
use ltx2_media::{MediaError, Mp4Writer, remove_leftovers};
use ltx2_types::{FailureCode, Output};
use tempfile::tempdir;

fn started(path: &Path, frames: u32) -> Mp4Writer {
    let format = format(64, 32, 3, 24.0);
    let mut writer = Mp4Writer::create(path).unwrap();
    writer.start(format).unwrap();
    writer.audio(note(24000, 1.0)).unwrap();
    for index in 0..frames {
        writer.frame(&moving_picture(format, index)).unwrap();
    }
    writer
}

#[test]
fn nothing_has_the_final_name_before_the_end() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    let writer = started(&path, 3);
    let during = names(dir.path());
    assert_eq!(during.len(), 1);
    assert!(during[0].starts_with(".video.mp4.") && during[0].ends_with(".part"), "{during:?}");
    writer.finish().unwrap();
    assert_eq!(names(dir.path()), ["video.mp4"]);
}

#[test]
fn a_dropped_writer_leaves_nothing() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    drop(Mp4Writer::create(&path).unwrap());
    drop(started(&path, 0));
    drop(started(&path, 2));
    assert!(names(dir.path()).is_empty());
}

#[test]
fn an_older_video_stays_until_the_new_one_is_whole() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    fs::write(&path, "old").unwrap();
    drop(started(&path, 2));
    assert_eq!(fs::read(&path).unwrap(), b"old");
    started(&path, 3).finish().unwrap();
    assert_ne!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn a_missing_frame_is_an_error() {
    let dir = tempdir().unwrap();
    let error = started(&dir.path().join("video.mp4"), 2).finish().unwrap_err();
    assert_eq!(error.to_string(), "the video was announced with 3 frames, but 2 came");
    assert!(names(dir.path()).is_empty());
}

#[test]
fn one_frame_too_many_is_an_error() {
    let dir = tempdir().unwrap();
    let mut writer = started(&dir.path().join("video.mp4"), 3);
    let error = writer.frame(&[0; 64 * 32 * 3]).unwrap_err();
    assert_eq!(error.code, FailureCode::Internal);
    assert_eq!(error.message, "the video was announced with 3 frames, but 4 came");
    assert!(matches!(writer.finish(), Err(MediaError::FrameCount { announced: 3, received: 4 })));
}

#[test]
fn a_frame_of_another_size_is_an_error() {
    let dir = tempdir().unwrap();
    let mut writer = started(&dir.path().join("video.mp4"), 0);
    let error = writer.frame(&[0; 5]).unwrap_err();
    assert_eq!(error.message, "a frame has 5 bytes where its size makes 6144");
}

#[test]
fn odd_and_empty_sizes_are_refused() {
    let dir = tempdir().unwrap();
    for (width, height) in [(33, 32), (32, 33), (0, 32), (32, 0)] {
        let mut writer = Mp4Writer::create(&dir.path().join("video.mp4")).unwrap();
        let error = writer.start(format(width, height, 1, 24.0)).unwrap_err();
        assert!(error.message.starts_with(&format!("a video of {width}x{height} pixels cannot be")), "{error}");
    }
}

#[test]
fn calls_in_the_wrong_order_are_errors() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    let mut writer = Mp4Writer::create(&path).unwrap();
    assert!(writer.audio(silence(24000)).is_err());
    assert!(writer.frame(&[]).is_err());
    writer.start(format(32, 32, 1, 24.0)).unwrap();
    assert!(writer.start(format(32, 32, 1, 24.0)).is_err());
    assert!(writer.frame(&[0; 32 * 32 * 3]).is_err());
    assert!(matches!(writer.finish(), Err(MediaError::Order(_))));
    let mut writer = started(&path, 0);
    assert!(writer.audio(silence(24000)).is_err());
}

#[test]
fn a_folder_that_is_not_there_is_a_clear_error() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("none/video.mp4");
    let error = Mp4Writer::create(&path).err().unwrap();
    assert_eq!(error.to_string(), format!("cannot create {}: No such file or directory (os error 2)", path.display()));
    assert_eq!(ltx2_types::Failure::from(error).code, FailureCode::Output);
    assert!(Mp4Writer::create(Path::new("/")).is_err());
}

#[test]
fn a_target_that_cannot_be_replaced_is_an_error_and_leaves_nothing() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    fs::create_dir(&path).unwrap();
    let error = started(&path, 3).finish().unwrap_err();
    assert!(matches!(error, MediaError::File { doing: "create", .. }), "{error}");
    assert_eq!(names(dir.path()), ["video.mp4"]);
}

#[test]
fn odd_file_names_are_fine() {
    let dir = tempdir().unwrap();
    for name in ["a:b.mp4", "no extension", "%d.mp4", "ünïcode ✓.mp4", "http:x"] {
        write(&dir.path().join(name), format(32, 32, 1, 24.0), silence(24000));
        assert!(dir.path().join(name).is_file(), "{name}");
    }
}

#[test]
fn two_writers_of_one_target_do_not_meet() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    let (first, second) = (started(&path, 3), started(&path, 3));
    assert_eq!(names(dir.path()).len(), 2);
    first.finish().unwrap();
    second.finish().unwrap();
    assert_eq!(names(dir.path()), ["video.mp4"]);
}

#[test]
fn leftovers_are_removed_but_files_in_the_making_stay() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    for name in [".old.mp4.1-0.part", "kept.part", ".kept", "kept.mp4"] {
        fs::write(dir.path().join(name), "x").unwrap();
    }
    fs::create_dir(dir.path().join(".folder.part")).unwrap();
    let writer = started(&path, 3);
    assert_eq!(remove_leftovers(dir.path()).unwrap(), 1);
    writer.finish().unwrap();
    assert_eq!(names(dir.path()), [".folder.part", ".kept", "kept.mp4", "kept.part", "video.mp4"]);
    assert!(remove_leftovers(&dir.path().join("none")).is_err());
}

#[test]
fn a_writer_can_move_between_threads() {
    fn sendable<T: Send>() {}
    sendable::<Mp4Writer>();
}
