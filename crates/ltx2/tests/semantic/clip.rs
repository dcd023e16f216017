//! Generated clips of the trained demo model, decoded.

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::audio::Audio;
use crate::common::run;
use crate::video::{Video, is_inside};

const SIDE: usize = 128;
const SAMPLE_RATE: u32 = 24_000;

/// A decoded MP4.
pub struct Clip {
    pub video: Video,
    pub audio: Audio,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Returns the folder of the trained demo model, written once.
pub fn models() -> &'static str {
    static MODELS: OnceLock<TempDir> = OnceLock::new();
    let folder = MODELS.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        assert!(run(&["demo-model", folder.path().to_str().unwrap()]).status.success());
        folder
    });
    folder.path().to_str().unwrap()
}

/// Generates 25 frames of 128 x 128 pixels in 8 steps, with all other defaults.
pub fn generate(prompt: &str, more: &[&str]) -> Clip {
    generate_with(models(), prompt, more)
}

/// Generates a clip as [`generate`] does, with another model set.
pub fn generate_with(models: &str, prompt: &str, more: &[&str]) -> Clip {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("clip.mp4");
    let mut arguments = vec!["generate", "--models", models, "--prompt", prompt, "--out", out.to_str().unwrap()];
    arguments.extend([
        "--width",
        "128",
        "--height",
        "128",
        "--frames",
        "25",
        "--steps",
        "8",
        "--pipeline",
        "one-stage",
    ]);
    arguments.extend(more);
    let output = run(&arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Clip { video: decode_video(&out), audio: decode_audio(&out), bytes: std::fs::read(&out).unwrap() }
}

fn ffmpeg(file: &Path, arguments: &[&str]) -> Vec<u8> {
    let output =
        Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(file).args(arguments).arg("-").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

fn decode_video(file: &Path) -> Video {
    let bytes = ffmpeg(file, &["-f", "rawvideo", "-pix_fmt", "rgb24"]);
    let pixels: Vec<[f32; 3]> = bytes.as_chunks::<3>().0.iter().map(|pixel| pixel.map(f32::from)).collect();
    let frames = pixels.chunks_exact(SIDE * SIDE).map(<[_]>::to_vec).collect();
    Video { width: SIDE, height: SIDE, frames }
}

fn decode_audio(file: &Path) -> Audio {
    let bytes = ffmpeg(file, &["-f", "f32le", "-ac", "1", "-ar", &SAMPLE_RATE.to_string()]);
    let samples = bytes.as_chunks::<4>().0.iter().map(|sample| f32::from_le_bytes(*sample)).collect();
    Audio { samples, rate: SAMPLE_RATE as f32 }
}

/// A drawn image of one object.
pub struct Drawing {
    pub shape: &'static str,
    pub colour: [f32; 3],
    pub background: [f32; 3],
    /// Centre in pixels: y, x.
    pub centre: (f32, f32),
    /// Area in pixels.
    pub area: f32,
}

impl Drawing {
    /// Returns the pixels, with the shading of the demo model's world.
    pub fn pixels(&self) -> Vec<[f32; 3]> {
        let pixel = |i: usize| {
            let (y, x) = ((i / SIDE) as f32, (i % SIDE) as f32);
            let is_drawn = is_inside(self.shape, self.area, y - self.centre.0, x - self.centre.1);
            let light = 1.0 - 0.1 * y / SIDE as f32;
            if is_drawn { self.colour } else { self.background.map(|value| value * light) }
        };
        (0..SIDE * SIDE).map(pixel).collect()
    }

    /// Writes a PNG.
    pub fn write(&self, file: &Path) {
        let raw = file.with_extension("rgb");
        let bytes: Vec<u8> = self.pixels().into_iter().flatten().map(|value| value.round() as u8).collect();
        std::fs::write(&raw, bytes).unwrap();
        let size = format!("{SIDE}x{SIDE}");
        let status = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", &size, "-i"])
            .args([&raw, file])
            .status()
            .unwrap();
        assert!(status.success());
    }
}
