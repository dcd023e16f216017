//! Video and audio inputs, read back from files of our own muxer and of the ffmpeg tool.

mod common;

use std::f64::consts::TAU;
use std::fs;
use std::path::Path;
use std::process::Command;

use common::{create, decoded_rgb, decoded_samples, moving_frame, silence, tone, video_info, write};
use ltx2_media::FileInputs;
use ltx2_types::{
    AudioClip, Failure, FailureCode, ImageLimits, InputFile, InputId, InputKind, Inputs, Output, RgbImage, VideoInfo,
    VideoInput,
};
use tempfile::tempdir;

fn inputs(path: &Path, kind: InputKind) -> FileInputs {
    let file = InputFile { id: InputId(0), kind, path: path.to_owned() };
    FileInputs::new(vec![file], ImageLimits::default())
}

fn open(path: &Path) -> Result<VideoInput, Failure> {
    inputs(path, InputKind::Video).video(InputId(0))
}

fn frames(path: &Path) -> Vec<RgbImage> {
    open(path).unwrap().frames.collect::<Result<_, _>>().unwrap()
}

fn audio(path: &Path, kind: InputKind, sample_rate: u32) -> Result<AudioClip, Failure> {
    inputs(path, kind).audio(InputId(0), sample_rate)
}

/// Returns a frame of a smooth pattern that moves by four pixels per frame.
fn smooth_frame(info: VideoInfo, index: u32) -> Vec<u8> {
    let wave = |at: u32, period: f64| (128.0 + 60.0 * (f64::from(at) / period * TAU).sin()) as u8;
    let pixel = |x, y| [wave(x + 4 * index, 80.0), wave(y + 4 * index, 60.0), wave(x + y, 100.0)];
    (0..info.height).flat_map(|y| (0..info.width).flat_map(move |x| pixel(x, y))).collect()
}

fn write_smooth(path: &Path, info: VideoInfo) {
    let mut writer = create(path);
    writer.start(info).unwrap();
    for index in 0..info.num_frames {
        writer.frame(&smooth_frame(info, index)).unwrap();
    }
    writer.finish().unwrap().publish().unwrap();
}

/// Returns the peak signal-to-noise ratio in dB.
fn psnr(a: &[u8], b: &[u8]) -> f64 {
    assert_eq!(a.len(), b.len());
    let sum: f64 = a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(*b)).powi(2)).sum();
    10.0 * (255.0 * 255.0 / (sum / a.len() as f64)).log10()
}

fn power(samples: &[f32]) -> f64 {
    samples.iter().map(|sample| f64::from(*sample).powi(2)).sum()
}

/// Returns the power of the difference relative to the power of `expected`, over the length of the shorter slice.
fn relative_error(samples: &[f32], expected: &[f32]) -> f64 {
    let error: Vec<f32> = samples.iter().zip(expected).map(|(a, b)| a - b).collect();
    power(&error) / power(&expected[..error.len()])
}

/// Returns the frequency of the left channel from its zero crossings in the first `seconds`.
fn frequency(clip: &AudioClip, seconds: f64) -> f64 {
    let count = (seconds * f64::from(clip.sample_rate)) as usize;
    let left: Vec<f32> = clip.samples.iter().step_by(2).take(count).copied().collect();
    let crossings = left.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
    crossings as f64 * f64::from(clip.sample_rate) / left.len() as f64
}

/// Runs the ffmpeg tool with `arguments` between the input and the output file.
fn convert(input: &Path, arguments: &str, output: &Path) {
    let mut command = Command::new("ffmpeg");
    command.args(["-v", "error", "-y", "-i"]).arg(input).args(arguments.split_whitespace()).arg(output);
    let run = command.output().expect("the ffmpeg tool is installed");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[test]
fn size_rate_and_frame_count_are_those_written() {
    let dir = tempdir().unwrap();
    for (width, height, num_frames, fps) in
        [(96, 64, 49, 24.0), (64, 96, 1, 23.976), (34, 32, 30, 29.97), (32, 32, 7, 12.5)]
    {
        let path = dir.path().join("video.mp4");
        let info = video_info(width, height, num_frames, fps);
        write(&path, info, silence(24000));
        let video = open(&path).unwrap();
        assert_eq!((video.info.width, video.info.height, video.info.num_frames), (width, height, num_frames));
        assert_eq!(video.info.frame_rate.rational(), info.frame_rate.rational());
        let frames: Vec<_> = video.frames.collect::<Result<_, _>>().unwrap();
        assert_eq!(frames.len(), num_frames as usize);
        assert!(frames.iter().all(|frame| (frame.width, frame.height) == (width, height)));
    }
}

#[test]
fn a_moving_pattern_is_preserved() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    let info = video_info(160, 96, 30, 24.0);
    write_smooth(&path, info);
    let frames = frames(&path);
    for (index, frame) in (0..).zip(&frames) {
        let quality = psnr(&frame.data, &smooth_frame(info, index));
        assert!(quality > 36.0, "frame {index}: {quality} dB");
        let neighbour = psnr(&frame.data, &smooth_frame(info, index + 1));
        assert!(quality > neighbour + 6.0, "frame {index}: {quality} dB, but its successor {neighbour} dB");
    }
}

#[test]
fn frames_equal_those_of_the_ffmpeg_tool() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    write_smooth(&path, video_info(96, 64, 25, 24.0));
    let other = dir.path().join("other");
    // Containers, codecs, pixel formats, full range, and a matrix other than BT.709.
    for (extension, arguments) in [
        ("mp4", "-c copy"),
        ("mkv", "-c:v libx264 -pix_fmt yuv444p -crf 10"),
        ("mkv", "-c:v libx264 -pix_fmt yuv420p10le -crf 10"),
        ("webm", "-c:v libvpx-vp9 -crf 20 -b:v 0"),
        ("avi", "-c:v mjpeg -q:v 2"),
        ("ts", "-c:v libx264"),
        ("mp4", "-vf scale=out_color_matrix=bt601 -colorspace smpte170m -c:v libx264"),
    ] {
        let path_of_copy = other.with_extension(extension);
        convert(&path, arguments, &path_of_copy);
        let frames = frames(&path_of_copy);
        let expected = decoded_rgb(&path_of_copy);
        let ours: Vec<u8> = frames.iter().flat_map(|frame| &frame.data).copied().collect();
        assert_eq!(frames.len(), 25, "{arguments}");
        let quality = psnr(&ours, &expected);
        println!("{extension} {arguments}: {quality} dB");
        assert!(quality > 38.0, "{extension} {arguments}: {quality} dB");
    }
}

#[test]
fn rotation_metadata_is_applied() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    let info = video_info(96, 64, 3, 24.0);
    write_smooth(&path, info);
    for (degrees, size) in [(90, (64, 96)), (180, (96, 64)), (270, (64, 96))] {
        let rotated = dir.path().join("rotated.mp4");
        convert(&path, &format!("-c copy -metadata:s:v:0 rotate={degrees}"), &rotated);
        let video = open(&rotated).unwrap();
        assert_eq!((video.info.width, video.info.height), size, "{degrees}");
        let frames: Vec<_> = video.frames.collect::<Result<_, _>>().unwrap();
        assert!(frames.iter().all(|frame| (frame.width, frame.height) == size), "{degrees}");
        let ours: Vec<u8> = frames.iter().flat_map(|frame| &frame.data).copied().collect();
        let quality = psnr(&ours, &decoded_rgb(&rotated));
        assert!(quality > 38.0, "{degrees}: {quality} dB");
    }
}

#[test]
fn frames_are_decoded_on_demand() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    write(&path, video_info(64, 48, 120, 24.0), silence(24000));
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end * 3 / 4..].fill(0xff);
    fs::write(&path, bytes).unwrap();
    let mut frames = open(&path).unwrap().frames;
    assert!(frames.next().unwrap().is_ok(), "the first frame needs no later data");
    let errors: Vec<Failure> = frames.filter_map(Result::err).collect();
    let [error] = &errors[..] else { panic!("{} errors instead of one", errors.len()) };
    assert_eq!(error.code, FailureCode::BadInput);
    assert!(error.message.starts_with("cannot use video input 0 (video.mp4): "), "{error}");
}

#[test]
fn audio_is_preserved_at_any_rate() {
    let dir = tempdir().unwrap();
    for (written, read) in [(48000, 48000), (24000, 24000), (48000, 16000), (24000, 48000), (44100, 24000)] {
        let path = dir.path().join("video.mp4");
        write(&path, video_info(32, 32, 48, 24.0), tone(written, 2.0));
        let clip = audio(&path, InputKind::Video, read).unwrap();
        assert_eq!(clip.sample_rate, read);
        let error = relative_error(&clip.samples, &tone(read, 2.0).samples);
        println!("{written} Hz as {read} Hz: relative error power {error}, {} samples", clip.samples.len());
        assert!(error < 0.02, "{written} Hz as {read} Hz: {error}");
        assert!((frequency(&clip, 1.9) - 440.0).abs() < 2.0, "{}", frequency(&clip, 1.9));
        let seconds = clip.samples.len() as f64 / 2.0 / f64::from(read);
        assert!((2.0..2.1).contains(&seconds), "{seconds} s");
    }
}

#[test]
fn audio_files_of_other_formats_and_layouts_are_read() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    write(&path, video_info(32, 32, 24, 24.0), tone(48000, 1.0));
    for (extension, arguments) in [
        ("wav", "-vn -c:a pcm_s16le"),
        ("wav", "-vn -c:a pcm_f32le -ac 1"),
        ("wav", "-vn -c:a pcm_s16le -ac 6"),
        ("mp3", "-vn -c:a libmp3lame"),
        ("flac", "-vn -c:a flac"),
        ("m4a", "-vn -c:a aac"),
        ("ogg", "-vn -c:a libvorbis"),
    ] {
        let other = dir.path().join("audio").with_extension(extension);
        convert(&path, arguments, &other);
        let clip = audio(&other, InputKind::Audio, 24000).unwrap();
        let seconds = clip.samples.len() as f64 / 48000.0;
        let frequency = frequency(&clip, 0.9);
        println!("{extension} {arguments}: {seconds} s, {frequency} Hz");
        assert!((0.95..1.15).contains(&seconds), "{extension} {arguments}: {seconds} s");
        assert!((frequency - 440.0).abs() < 22.0, "{extension} {arguments}: {frequency} Hz");
    }
}

#[test]
fn audio_samples_equal_those_of_the_ffmpeg_tool() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    write(&path, video_info(32, 32, 48, 24.0), tone(48000, 2.0));
    let clip = audio(&path, InputKind::Video, 48000).unwrap();
    let error = relative_error(&clip.samples, &decoded_samples(&path));
    assert!(error < 1e-6, "{error}");
}

#[test]
fn audio_that_starts_late_is_preceded_by_silence() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    write(&path, video_info(32, 32, 48, 24.0), tone(48000, 2.0));
    let late = dir.path().join("late.mkv");
    let path_text = path.to_str().unwrap();
    convert(&path, &format!("-itsoffset 0.5 -i {path_text} -map 0:v -map 1:a -c copy"), &late);
    let clip = audio(&late, InputKind::Video, 24000).unwrap();
    let half_second = 24000;
    assert!(power(&clip.samples[..half_second - 2000]) < 1e-3);
    let expected = power(&tone(24000, 0.5).samples);
    let next = power(&clip.samples[half_second..2 * half_second]);
    assert!((next / expected - 1.0).abs() < 0.05, "{next} instead of {expected}");
    let seconds = clip.samples.len() as f64 / 48000.0;
    assert!((2.49..2.6).contains(&seconds), "{seconds} s");
}

#[test]
fn a_video_without_audio_has_no_audio_input() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("silent.mp4");
    write_smooth(&path, video_info(32, 32, 2, 24.0));
    let error = audio(&path, InputKind::Video, 24000).unwrap_err();
    let expected = "cannot use video input 0 (silent.mp4): the file has no audio stream";
    assert_eq!(error, Failure::new(FailureCode::BadInput, expected));
    assert_eq!(frames(&path).len(), 2);
}

#[test]
fn an_audio_file_is_no_video_input() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    write(&path, video_info(32, 32, 24, 24.0), tone(48000, 1.0));
    let wav = dir.path().join("tone.wav");
    convert(&path, "-vn", &wav);
    let error = open(&wav).err().unwrap();
    assert_eq!(error.message, "cannot use video input 0 (tone.wav): the file has no video stream");
}

#[test]
fn unusable_files_are_bad_inputs_that_name_the_file() {
    let dir = tempdir().unwrap();
    let video = dir.path().join("video.mp4");
    write(&video, video_info(64, 48, 48, 24.0), tone(48000, 2.0));
    let noise: Vec<u8> = (0..5000_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let playlist = format!("#EXTM3U\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n", video.display());
    let list = format!("ffconcat version 1.0\nfile '{}'\n", video.file_name().unwrap().display());
    for (name, bytes) in [
        ("empty.mp4", &[][..]),
        ("noise.mp4", &noise),
        ("text.mp4", b"no video"),
        ("list.m3u8", playlist.as_bytes()),
        ("list.ffconcat", list.as_bytes()),
    ] {
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let errors = [open(&path).err().unwrap(), audio(&path, InputKind::Audio, 24000).unwrap_err()];
        for (error, kind) in errors.iter().zip(["video", "audio"]) {
            assert_eq!(error.code, FailureCode::BadInput, "{name}: {error}");
            let start = format!("cannot use {kind} input 0 ({name}): cannot open the file as video or audio: ");
            assert!(error.message.starts_with(&start), "{error}");
        }
    }
    let missing = open(&dir.path().join("missing.mp4")).err().unwrap();
    assert!(missing.message.ends_with("No such file or directory"), "{missing}");
}

#[test]
fn a_file_that_is_cut_off_is_refused() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    write(&path, video_info(64, 48, 48, 24.0), tone(48000, 2.0));
    let whole = fs::read(&path).unwrap();
    let cut = dir.path().join("cut.mp4");
    for keep in [200, whole.len() / 2, whole.len() - 1] {
        fs::write(&cut, &whole[..keep]).unwrap();
        let error = open(&cut).err().unwrap();
        println!("{keep} of {} bytes: {error}", whole.len());
        assert_eq!(error.code, FailureCode::BadInput);
        assert!(error.message.starts_with("cannot use video input 0 (cut.mp4): the file "), "{error}");
    }
}

#[test]
fn frames_above_the_limits_are_refused() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    write_smooth(&path, video_info(64, 48, 2, 24.0));
    let file = InputFile { id: InputId(3), kind: InputKind::Video, path };
    for limits in
        [ImageLimits { max_pixels: 64 * 48 - 1, max_side: 64 }, ImageLimits { max_pixels: 64 * 48, max_side: 63 }]
    {
        let error = FileInputs::new(vec![file.clone()], limits).video(InputId(3)).err().unwrap();
        let ImageLimits { max_pixels, max_side } = limits;
        let expected = format!(
            "cannot use video input 3 (video.mp4): the video has 64x48 pixels; the limits are {max_pixels} pixels and \
             {max_side} per side"
        );
        assert_eq!(error, Failure::new(FailureCode::BadInput, expected));
    }
}

#[test]
fn inputs_of_another_kind_and_missing_inputs_are_internal_errors() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    let mut inputs = inputs(&path, InputKind::Video);
    let error = inputs.image(InputId(0), 0).unwrap_err();
    assert_eq!(error, Failure::new(FailureCode::Internal, "input 0 is of kind video, but image was expected"));
    let error = inputs.video(InputId(1)).err().unwrap();
    assert_eq!(error, Failure::new(FailureCode::Internal, "input 1 is missing: the job has 1 inputs"));
}

#[test]
fn an_unusable_image_is_a_bad_input_that_names_the_file() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("fox.png");
    let read = || inputs(&path, InputKind::Image).image(InputId(0), 33).unwrap_err();
    let missing = "cannot read fox.png: No such file or directory (os error 2)";
    assert_eq!(read(), Failure::new(FailureCode::BadInput, missing));
    fs::write(&path, "no image").unwrap();
    let unknown = "cannot use image input 0 (fox.png): unknown image format; supported formats are PNG, JPEG and WebP";
    assert_eq!(read(), Failure::new(FailureCode::BadInput, unknown));
}

#[test]
fn frames_keep_their_order() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("video.mp4");
    let info = video_info(64, 48, 30, 24.0);
    write(&path, info, silence(24000));
    for (index, frame) in (0..).zip(frames(&path)) {
        let difference = |other: u32| {
            let other = moving_frame(info, other);
            frame.data.iter().zip(&other).map(|(a, b)| u64::from(a.abs_diff(*b))).sum::<u64>()
        };
        assert_eq!((0..30).min_by_key(|&other| difference(other)), Some(index));
    }
}
