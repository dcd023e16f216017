//! Complete videos, inspected with the ffmpeg tools.

mod common;

use common::{
    create, decoded_rgb, decoded_samples, durations, moving_frame, packets, probe, silence, tone, video_info, warnings,
    write,
};
use ltx2_media::VideoWriter;
use ltx2_types::{AudioClip, Output, OutputInfo, OutputRole, OutputSpec};
use tempfile::tempdir;

/// Samples per AAC frame.
const AAC_FRAME: f64 = 1024.0;

#[test]
fn a_video_is_h264_high_and_stereo_aac_lc() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    let info = video_info(96, 64, 49, 24.0);
    let expected = OutputInfo {
        role: OutputRole::Video,
        mime: "video/mp4".into(),
        bytes: 0,
        width: Some(96),
        height: Some(64),
        duration: Some(49.0 / 24.0),
        note: None,
    };
    let written = write(&path, info, tone(48000, 3.0));
    assert_eq!(written, OutputInfo { bytes: std::fs::metadata(&path).unwrap().len(), ..expected });
    let video = probe(&path, "v");
    for (key, value) in [
        ("codec_name", "h264"),
        ("profile", "High"),
        ("pix_fmt", "yuv420p"),
        ("width", "96"),
        ("height", "64"),
        ("nb_read_frames", "49"),
        ("nb_frames", "49"),
        ("sample_aspect_ratio", "1:1"),
        ("color_range", "tv"),
        ("color_space", "bt709"),
        ("color_transfer", "bt709"),
        ("color_primaries", "bt709"),
        ("start_time", "0.000000"),
    ] {
        assert_eq!(video[key], value, "{key}");
    }
    let audio = probe(&path, "a");
    for (key, value) in [
        ("codec_name", "aac"),
        ("profile", "LC"),
        ("channels", "2"),
        ("channel_layout", "stereo"),
        ("sample_rate", "48000"),
        ("start_time", "0.000000"),
    ] {
        assert_eq!(audio[key], value, "{key}");
    }
    assert_eq!(warnings(&path), "");
}

#[test]
fn the_frame_rate_is_exact() {
    let dir = tempdir().unwrap();
    let rates = [
        (24.0, "24/1"),
        (25.0, "25/1"),
        (23.976, "24000/1001"),
        (29.97, "30000/1001"),
        (12.5, "25/2"),
        (1.0, "1/1"),
        (120.0, "120/1"),
        (24.1, "241/10"),
    ];
    for (fps, rate) in rates {
        for frames in [1, 7] {
            let path = dir.path().join(format!("{fps}-{frames}.mp4"));
            write(&path, video_info(32, 32, frames, fps), silence(24000));
            let video = probe(&path, "v");
            assert_eq!((&*video["r_frame_rate"], &*video["avg_frame_rate"]), (rate, rate), "{frames} frames at {fps}");
            assert_eq!(video["nb_read_frames"], frames.to_string(), "{fps}");
        }
    }
}

#[test]
fn audio_has_the_duration_of_the_video() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    // Audio that is too long, too short, empty, and of the right length.
    let cases = [(24.0, 48000, 2.0), (29.97, 24000, 0.5), (1.0, 24000, 0.0), (120.0, 44100, 1.0)];
    for (fps, sample_rate, ratio) in cases {
        for frames in [1, 2, 25, 121] {
            let info = video_info(32, 32, frames, fps);
            let seconds = info.frame_rate.seconds(frames);
            write(&path, info, tone(sample_rate, seconds * ratio));
            let (video, audio) = durations(&path);
            let what = format!("{frames} frames at {fps}, audio ratio {ratio}, {sample_rate} Hz: {video} and {audio}");
            assert!((video - seconds).abs() < 1e-4, "{what}");
            assert!((video - audio).abs() <= AAC_FRAME / f64::from(sample_rate), "{what}");
        }
    }
}

#[test]
fn short_and_long_videos_decode_without_warnings() {
    let dir = tempdir().unwrap();
    for (frames, fps) in [(1, 24.0), (2, 25.0), (121, 24.0), (60, 1.0), (300, 120.0)] {
        let path = dir.path().join("video.mp4");
        write(&path, video_info(64, 32, frames, fps), tone(24000, 1.0));
        assert_eq!(warnings(&path), "", "{frames} frames at {fps}");
        assert_eq!(decoded_rgb(&path).len(), 64 * 32 * 3 * frames as usize, "{frames} frames at {fps}");
    }
}

#[test]
fn the_index_precedes_the_data() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    write(&path, video_info(64, 64, 25, 25.0), tone(48000, 1.0));
    let bytes = std::fs::read(&path).unwrap();
    let mut boxes = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        boxes.push(String::from_utf8_lossy(&bytes[at + 4..at + 8]).into_owned());
        at += u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    }
    assert_eq!(boxes, ["ftyp", "moov", "free", "mdat"]);
}

#[test]
fn audio_and_video_are_interleaved() {
    let dir = tempdir().unwrap();
    for (frames, fps) in [(200, 25.0), (120, 1.0)] {
        let path = dir.path().join("video.mp4");
        let seconds = f64::from(frames) / fps;
        write(&path, video_info(64, 64, frames, fps), tone(24000, seconds));
        let all = packets(&path);
        let mut latest = [0.0; 2];
        for (stream, time) in all {
            latest[stream] = time;
            let apart: f64 = latest[0] - latest[1];
            assert!(apart.abs() < 3.0 / fps + 0.2, "{fps} fps: the streams are {apart} s apart at {time}");
        }
    }
}

#[test]
fn colours_are_preserved() {
    let dir = tempdir().unwrap();
    let colours = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [128, 128, 128], [200, 150, 40]];
    for colour in colours {
        let path = dir.path().join("video.mp4");
        let info = video_info(64, 64, 3, 24.0);
        let mut writer = create(&path);
        writer.start(info).unwrap();
        writer.audio(silence(48000)).unwrap();
        for _ in 0..3 {
            writer.frame(&colour.repeat(64 * 64)).unwrap();
        }
        writer.finish().unwrap().publish().unwrap();
        let worst = decoded_rgb(&path).chunks(3).flat_map(|p| [0, 1, 2].map(|i| p[i].abs_diff(colour[i]))).max();
        println!("{colour:?}: {worst:?}");
        assert!(worst.unwrap() <= 4, "{colour:?} is off by {worst:?}");
    }
}

#[test]
fn frames_are_in_order() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    let info = video_info(64, 48, 30, 24.0);
    write(&path, info, silence(24000));
    let decoded = decoded_rgb(&path);
    let frames: Vec<&[u8]> = decoded.chunks(64 * 48 * 3).collect();
    assert_eq!(frames.len(), 30);
    let difference = |a: &[u8], b: &[u8]| a.iter().zip(b).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>();
    for (index, frame) in (0..).zip(frames) {
        let nearest = (0..30).min_by_key(|&other| difference(frame, &moving_frame(info, other)));
        assert_eq!(nearest, Some(index));
    }
}

#[test]
fn audio_is_preserved_and_starts_at_zero() {
    let dir = tempdir().unwrap();
    for sample_rate in [24000, 48000, 8000] {
        let path = dir.path().join("video.mp4");
        let given = tone(sample_rate, 1.0);
        write(&path, video_info(32, 32, 48, 24.0), given);
        let decoded = decoded_samples(&path);
        let rate = if sample_rate == 8000 { 48000 } else { sample_rate };
        let expected = tone(rate, 1.0).samples;
        let power = |samples: &[f32]| samples.iter().map(|s| s * s).sum::<f32>();
        let error: Vec<f32> = decoded.iter().zip(&expected).map(|(a, b)| a - b).collect();
        let ratio = power(&error) / power(&expected);
        println!("{sample_rate}: error power {ratio}, {} samples", decoded.len());
        assert!(ratio < 0.01, "{sample_rate}: the relative error power is {ratio}");
        // The tone ends after one of the two seconds.
        assert!(power(&decoded[expected.len() + 4096..]) < 1e-3 * power(&expected));
    }
}

#[test]
fn loud_audio_is_clipped() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    let mut audio = tone(48000, 1.0);
    audio.samples.iter_mut().for_each(|sample| *sample *= 8.0);
    write(&path, video_info(32, 32, 24, 24.0), audio);
    let peak = decoded_samples(&path).into_iter().fold(0.0, |peak: f32, sample| peak.max(sample.abs()));
    println!("{peak}");
    assert!((0.9..2.0).contains(&peak), "{peak}");
    assert_eq!(warnings(&path), "");
}

#[test]
fn invalid_audio_is_refused() {
    let dir = tempdir().unwrap();
    for (sample_rate, sample) in [(48000, f32::NAN), (48000, f32::INFINITY), (0, 0.5)] {
        let mut writer = create(&dir.path().join("video.mp4"));
        writer.start(video_info(32, 32, 1, 24.0)).unwrap();
        let error = writer.audio(AudioClip { sample_rate, samples: vec![sample; 4] }).unwrap_err();
        assert!(error.message.starts_with("cannot encode the audio: "), "{error}");
    }
}

#[test]
fn a_video_without_audio_has_no_audio_stream() {
    let dir = tempdir().unwrap();
    let info = video_info(64, 32, 25, 24.0);
    let no_audio = OutputSpec { audio: false, ..OutputSpec::default() };
    for (name, spec, clip) in
        [("never given", OutputSpec::default(), None), ("excluded by the format", no_audio, Some(tone(48000, 1.0)))]
    {
        let path = dir.path().join("video.mp4");
        let mut writer = VideoWriter::create(&path, spec).unwrap();
        writer.start(info).unwrap();
        if let Some(clip) = clip {
            writer.audio(clip).unwrap();
        }
        for index in 0..info.num_frames {
            writer.frame(&moving_frame(info, index)).unwrap();
        }
        writer.finish().unwrap().publish().unwrap();
        assert!(probe(&path, "a").is_empty(), "audio {name}");
        assert_eq!(probe(&path, "v")["nb_read_frames"], "25", "audio {name}");
        assert_eq!(warnings(&path), "", "audio {name}");
    }
}
