//! Helpers that write videos and inspect them with the ffmpeg tools.
#![allow(dead_code)] // Not every test binary uses every helper.

use std::{collections::HashMap, path::Path, process::Command};

use ltx2_media::VideoWriter;
use ltx2_types::{AudioClip, FrameRate, Output, OutputInfo, OutputSpec, VideoInfo};

pub fn video_info(width: u32, height: u32, num_frames: u32, fps: f64) -> VideoInfo {
    VideoInfo { width, height, num_frames, frame_rate: FrameRate::new(fps).unwrap() }
}

/// Returns a 440 Hz tone, louder on the left than on the right.
pub fn tone(sample_rate: u32, seconds: f64) -> AudioClip {
    let count = (f64::from(sample_rate) * seconds).round() as u32;
    let wave = |i: u32| (f64::from(i) * 440.0 * std::f64::consts::TAU / f64::from(sample_rate)).sin() as f32;
    AudioClip { sample_rate, samples: (0..count).flat_map(|i| [0.5 * wave(i), 0.25 * wave(i)]).collect() }
}

/// Returns a clip without samples.
pub fn silence(sample_rate: u32) -> AudioClip {
    AudioClip { sample_rate, samples: Vec::new() }
}

/// Returns frame `index` of a moving gradient.
pub fn moving_frame(info: VideoInfo, index: u32) -> Vec<u8> {
    let pixel = |x, y| [(x * 3 + index * 5) as u8, (y * 5) as u8, (x + y + index) as u8];
    (0..info.height).flat_map(|y| (0..info.width).flat_map(move |x| pixel(x, y))).collect()
}

/// Returns frame `index` of a moving gradient with noise, which does not compress well.
pub fn noisy_frame(info: VideoInfo, index: u32) -> Vec<u8> {
    let mut state = index + 1;
    let mut noise = || {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        (state >> 27) as u8
    };
    moving_frame(info, index).into_iter().map(|value| (value / 2).saturating_add(noise())).collect()
}

/// Returns a writer of an MP4 at `path`.
pub fn create(path: &Path) -> VideoWriter {
    VideoWriter::create(path, OutputSpec::default()).unwrap()
}

/// Writes a video of [`moving_frame`]s.
pub fn write(path: &Path, info: VideoInfo, audio: AudioClip) -> OutputInfo {
    let mut writer = create(path);
    writer.start(info).unwrap();
    writer.audio(audio).unwrap();
    for index in 0..info.num_frames {
        writer.frame(&moving_frame(info, index)).unwrap();
    }
    writer.finish().unwrap().publish().unwrap()
}

/// Returns the properties of one stream (`v` or `a`) from ffprobe, with the number of decoded frames.
pub fn probe(path: &Path, stream: &str) -> HashMap<String, String> {
    let text = tool("ffprobe", &["-v", "error", "-count_frames", "-select_streams", stream, "-show_streams"], path);
    text.lines().filter_map(|line| line.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
}

/// Returns the comment in the metadata of the file.
pub fn comment(path: &Path) -> String {
    let arguments = ["-v", "error", "-show_entries", "format_tags=comment", "-of", "default=nw=1:nk=1"];
    let text = tool("ffprobe", &arguments, path);
    text.trim_end_matches('\n').to_owned()
}

/// Returns the warnings and errors of ffmpeg when it decodes the file.
pub fn warnings(path: &Path) -> String {
    let run = Command::new("ffmpeg").args(["-v", "warning", "-i"]).arg(path).args(["-f", "null", "-"]).output();
    let run = run.expect("the ffmpeg tool is installed");
    String::from_utf8_lossy(&run.stderr).into_owned() + if run.status.success() { "" } else { "failed" }
}

/// Returns all frames as RGB, decoded by the ffmpeg tool.
pub fn decoded_rgb(path: &Path) -> Vec<u8> {
    // The flags of our own conversion; by default the tool interpolates chroma less exactly.
    let flags = "bicubic+accurate_rnd+full_chroma_int";
    decoded(path, &["-sws_flags", flags, "-f", "rawvideo", "-pix_fmt", "rgb24", "-"])
}

/// Returns the interleaved samples, decoded by the ffmpeg tool.
pub fn decoded_samples(path: &Path) -> Vec<f32> {
    let bytes = decoded(path, &["-f", "f32le", "-"]);
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

fn decoded(path: &Path, arguments: &[&str]) -> Vec<u8> {
    let run = Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(path).args(arguments).output();
    run.expect("the ffmpeg tool is installed").stdout
}

fn tool(name: &str, arguments: &[&str], path: &Path) -> String {
    let run = Command::new(name).args(arguments).arg(path).output().expect("the ffmpeg tools are installed");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

/// Returns the sorted file names in a folder.
pub fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Returns stream and time (seconds) of every packet, in file order.
pub fn packets(path: &Path) -> Vec<(usize, f64)> {
    let arguments = ["-v", "error", "-show_entries", "packet=stream_index,dts_time", "-of", "csv=p=0"];
    let text = tool("ffprobe", &arguments, path);
    let parse = |line: &str| {
        let mut fields = line.split(',');
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    text.lines().filter_map(parse).collect()
}

/// Returns the durations of the video and the audio stream in seconds.
pub fn durations(path: &Path) -> (f64, f64) {
    let text = tool("ffprobe", &["-v", "error", "-show_entries", "stream=duration", "-of", "csv=p=0"], path);
    let seconds: Vec<f64> = text.lines().map(|line| line.parse().unwrap()).collect();
    (seconds[0], seconds[1])
}
