//! `ltx2 generate` on videos and audio: the source's own frames and samples are part of the result.

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use common::{error_of, ffprobe, run};
use tempfile::TempDir;

const SIDE: usize = 128;
const RATE: f64 = 30000.0 / 1001.0;
const SAMPLE_RATE: usize = 48000;
/// Frames of the source.
const FRAMES: usize = 30;

/// The trained model and a source: a moving test pattern with a tone, H.264 and AAC at 29.97 frames per second.
struct Setup {
    folder: TempDir,
}

impl Setup {
    fn get() -> &'static Self {
        static SETUP: OnceLock<Setup> = OnceLock::new();
        SETUP.get_or_init(|| {
            let setup = Setup { folder: tempfile::tempdir().unwrap() };
            assert!(run(&["demo-model", setup.file("model").to_str().unwrap()]).status.success());
            let pattern = format!("testsrc2=s={SIDE}x{SIDE}:r=30000/1001,trim=end_frame={FRAMES}");
            let seconds = (FRAMES as f64 / RATE).to_string();
            let tone = format!("sine=f=440:r={SAMPLE_RATE},volume=3");
            let status = Command::new("ffmpeg")
                .args(["-v", "error", "-f", "lavfi", "-i", &pattern, "-f", "lavfi", "-t", &seconds, "-i", &tone])
                .args(["-vf", "scale=out_color_matrix=bt709,format=yuv420p", "-colorspace", "bt709", "-ac", "2"])
                .args(["-crf", "8", "-c:a", "aac", "-b:a", "192k"])
                .arg(setup.file("source.mp4"))
                .status();
            assert!(status.unwrap().success());
            setup
        })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Generates `out` with two steps.
    fn generate(&self, out: &str, arguments: &[&str]) -> Clip {
        let out = self.file(out);
        let model = self.file("model");
        let output = run(&[
            &["generate", "--models", model.to_str().unwrap(), "--prompt", "A red ball, a low hum.", "--steps", "2"],
            &["--out", out.to_str().unwrap()][..],
            arguments,
        ]
        .concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Clip::decode(&out)
    }

    fn source(&self) -> String {
        self.file("source.mp4").display().to_string()
    }
}

/// Decoded frames and the left channel.
struct Clip {
    frames: Vec<Vec<u8>>,
    samples: Vec<f32>,
}

impl Clip {
    fn decode(file: &Path) -> Self {
        let stream = |arguments: &[&str]| {
            let output =
                Command::new("ffmpeg").args(["-v", "error", "-i"]).arg(file).args(arguments).arg("-").output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout
        };
        // The matrix is that of the file; chroma is repeated, so that it is compared as it is coded.
        let bytes = stream(&["-sws_flags", "neighbor", "-f", "rawvideo", "-pix_fmt", "yuv420p"]);
        let audio = stream(&["-f", "f32le", "-ac", "2", "-ar", &SAMPLE_RATE.to_string()]);
        let samples =
            audio.as_chunks::<8>().0.iter().map(|pair| f32::from_le_bytes([pair[0], pair[1], pair[2], pair[3]]));
        Self {
            frames: bytes.chunks_exact(SIDE * SIDE * 3 / 2).map(<[u8]>::to_vec).collect(),
            samples: samples.collect(),
        }
    }

    /// Lowest PSNR of `frames` of this clip against those of `other` from `first` on, dB.
    fn psnr(&self, frames: std::ops::Range<usize>, other: &Self, first: usize) -> f64 {
        let pairs = self.frames[frames].iter().zip(&other.frames[first..]);
        let psnr = |(a, b): (&Vec<u8>, &Vec<u8>)| {
            let squares = a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2));
            10.0 * (255.0f64.powi(2) * a.len() as f64 / squares.sum::<f64>().max(1e-9)).log10()
        };
        pairs.map(psnr).fold(f64::INFINITY, f64::min)
    }
}

/// Largest difference of consecutive samples.
fn largest_step(samples: &[f32]) -> f32 {
    samples.windows(2).map(|pair| (pair[1] - pair[0]).abs()).fold(0.0, f32::max)
}

/// Correlation of two signals of equal length.
fn correlation(a: &[f32], b: &[f32]) -> f32 {
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
    product(a, b) / (product(a, a) * product(b, b)).sqrt()
}

fn sample_at(frame: usize) -> usize {
    (frame as f64 / RATE * SAMPLE_RATE as f64).round() as usize
}

/// Checks that the clip has `frames` frames, and audio of the same length.
fn assert_length(clip: &Clip, frames: usize) {
    assert_eq!(clip.frames.len(), frames);
    let apart = clip.samples.len() as f64 - sample_at(frames) as f64;
    // The last AAC frame is padded.
    assert!((-10.0..25.0).contains(&(apart / 48.0)), "{apart} samples");
}

#[test]
fn an_extension_at_the_end_follows_the_frames_and_samples_of_the_source() {
    let setup = Setup::get();
    let source = Clip::decode(&setup.file("source.mp4"));
    let extended = setup.generate("end.mp4", &["--extend", &setup.source(), "--extend-duration", "0.5"]);
    assert_length(&extended, FRAMES + 15);
    assert!(extended.psnr(0..FRAMES, &source, 0) > 40.0, "{}", extended.psnr(0..FRAMES, &source, 0));
    let joint = sample_at(FRAMES);
    assert!(correlation(&extended.samples[..joint - 480], &source.samples[..joint - 480]) > 0.99);
    let around = &extended.samples[joint - 960..joint + 48];
    assert!(largest_step(around) <= largest_step(&source.samples) * 1.05, "{}", largest_step(around));
    assert_eq!(ffprobe(&setup.file("end.mp4"), "v:0", "r_frame_rate"), "30000/1001");
}

#[test]
fn an_extension_at_the_start_precedes_the_source() {
    let setup = Setup::get();
    let source = Clip::decode(&setup.file("source.mp4"));
    let arguments = ["--extend", &setup.source(), "--extend-duration", "0.4", "--direction", "start"];
    let extended = setup.generate("start.mp4", &arguments);
    assert_length(&extended, 12 + FRAMES);
    assert!(extended.psnr(12..12 + FRAMES, &source, 0) > 40.0);
    let joint = sample_at(12);
    let length = sample_at(FRAMES) - 2000;
    assert!(correlation(&extended.samples[joint + 960..][..length], &source.samples[960..][..length]) > 0.99);
}

#[test]
fn extensions_can_be_chained() {
    let setup = Setup::get();
    let source = Clip::decode(&setup.file("source.mp4"));
    let mut file = setup.source();
    for round in 1..=3 {
        let out = format!("chain{round}.mp4");
        let chained =
            setup.generate(&out, &["--extend", &file, "--frames", "8", "--context", "0.5", "--quality", "lossless"]);
        assert_length(&chained, FRAMES + 8 * round);
        assert!(chained.psnr(0..FRAMES, &source, 0) > 36.0, "{}", chained.psnr(0..FRAMES, &source, 0));
        file = setup.file(&out).display().to_string();
    }
}

#[test]
fn a_retake_keeps_the_frames_outside_its_window_and_the_kept_modality() {
    let setup = Setup::get();
    let source = Clip::decode(&setup.file("source.mp4"));
    let retake = format!("{}@0.4-0.7", setup.source());
    // 0.4 s is frame 12, 0.7 s frame 21.
    let retaken = setup.generate("retake.mp4", &["--retake", &retake, "--part", "video"]);
    assert_length(&retaken, FRAMES);
    assert!(retaken.psnr(0..12, &source, 0) > 40.0 && retaken.psnr(21..FRAMES, &source, 21) > 40.0);
    assert!(retaken.psnr(14..20, &source, 14) < 30.0, "the window is generated again");
    let length = sample_at(FRAMES) - 1000;
    assert!(correlation(&retaken.samples[..length], &source.samples[..length]) > 0.99);
    let audio = setup.generate("retake_audio.mp4", &["--retake", &retake, "--part", "audio"]);
    assert!(audio.psnr(0..FRAMES, &source, 0) > 40.0);
    let window = sample_at(13)..sample_at(20);
    assert!(correlation(&audio.samples[window.clone()], &source.samples[window]).abs() < 0.9);
    assert!(correlation(&audio.samples[..sample_at(11)], &source.samples[..sample_at(11)]) > 0.99);
}

#[test]
fn a_video_for_audio_has_its_samples_and_length() {
    let setup = Setup::get();
    let source = Clip::decode(&setup.file("source.mp4"));
    let clip = setup.generate("a2v.mp4", &["--audio", &setup.source(), "--width", "128", "--height", "128"]);
    // One second at the model's 25 frames per second.
    assert_eq!(clip.frames.len(), 25);
    assert!(correlation(&clip.samples[..SAMPLE_RATE - 2000], &source.samples[..SAMPLE_RATE - 2000]) > 0.99);
}

#[test]
fn video_to_video_is_closer_to_its_source_at_a_lower_strength() {
    let setup = Setup::get();
    let source = Clip::decode(&setup.file("source.mp4"));
    let psnr = |strength: &str| {
        let clip = setup.generate("v2v.mp4", &["--video", &setup.source(), "--strength", strength]);
        assert_length(&clip, FRAMES);
        assert!(correlation(&clip.samples[..40000], &source.samples[..40000]) > 0.99);
        clip.psnr(10..20, &source, 10)
    };
    let (low, high) = (psnr("0.1"), psnr("1"));
    assert!(low > high + 1.0, "{low} {high}");
    // Without noise there is no step: the result is the reconstruction of the autoencoder.
    let none = psnr("0");
    assert!(none > low - 0.5, "{none} {low}");
}

#[test]
fn unusable_sources_are_refused_with_the_reason() {
    let setup = Setup::get();
    let model = setup.file("model").display().to_string();
    let out = setup.file("refused.mp4").display().to_string();
    let refused = |arguments: &[&str]| {
        error_of(&[&["generate", "--models", &model, "--prompt", "x", "--out", &out], arguments].concat())
    };
    let source = setup.source();
    let (outside, backwards) = (format!("{source}@0.5-9"), format!("{source}@0.7-0.2"));
    for (arguments, message) in [
        (&["--retake", &outside][..], "window is 0.5-9, but it must start before its end and be within the video"),
        (&["--retake", &backwards], "window is 0.7-0.2, but"),
        (&["--retake", &source], "but it must be FILE@START-END"),
        (&["--extend", "missing.mp4"], "video missing.mp4"),
        (&["--extend", &format!("{model}/ltx.safetensors")], "cannot open the file as video or audio"),
        (&["--extend", &source, "--rate", "24"], "frame_rate is 24, but the video has 29.970"),
        (&["--extend", &source, "--pipeline", "two-stage"], "this task has one stage"),
        (&["--audio", &source, "--frames", "200"], "the audio lasts 25 frames"),
    ] {
        let error = refused(arguments);
        assert!(error.contains(message), "{arguments:?}: {error}");
    }
}
