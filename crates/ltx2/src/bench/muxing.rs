//! `ltx2 bench --phase muxing`: encodes and muxes frames and audio into an MP4.

use std::time::Instant;

use anyhow::Context;
use ltx2_devtools::bench::{BenchSettings, Measurement};
use ltx2_media::VideoWriter;
use ltx2_types::{AudioClip, FrameRate, Output, OutputSpec, VideoInfo};

/// Name of the phase on the command line and in the report.
pub const NAME: &str = "muxing";

/// Number of distinct frames. They are made before the measurement and repeated.
const DISTINCT_FRAMES: usize = 8;
/// Audio sample rate, samples per second and channel.
const SAMPLE_RATE: u32 = 24_000;

/// Measures writing MP4 files of the size and length of `settings`. The files are temporary.
pub fn measure(settings: &BenchSettings) -> anyhow::Result<Measurement> {
    let video = Video::new(settings)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let run = || -> anyhow::Result<f64> {
        let start = Instant::now();
        let mut writer = VideoWriter::create(&folder.path().join("bench.mp4"), OutputSpec::default())?;
        video.write(&mut writer)?;
        writer.finish()?.publish()?;
        Ok(start.elapsed().as_secs_f64())
    };
    for _ in 0..settings.warm_up {
        run()?;
    }
    let seconds = (0..settings.runs).map(|_| run()).collect::<anyhow::Result<Vec<f64>>>()?;
    Ok(Measurement::of_host(NAME, seconds))
}

struct Video {
    info: VideoInfo,
    audio: AudioClip,
    /// RGB frames, [`DISTINCT_FRAMES`] of them.
    frames: Vec<Vec<u8>>,
}

impl Video {
    fn new(settings: &BenchSettings) -> anyhow::Result<Self> {
        let shape = settings.shape;
        let frame_rate = FrameRate::new(shape.frame_rate)
            .with_context(|| format!("rate is {}, but it must be positive", shape.frame_rate))?;
        let samples = (shape.frames as f64 / shape.frame_rate * f64::from(SAMPLE_RATE)) as usize;
        Ok(Self {
            info: VideoInfo {
                width: shape.width as u32,
                height: shape.height as u32,
                num_frames: shape.frames as u32,
                frame_rate,
            },
            audio: AudioClip { sample_rate: SAMPLE_RATE, samples: (0..2 * samples).map(tone).collect() },
            frames: (0..DISTINCT_FRAMES).map(|index| test_frame(shape.width, shape.height, index)).collect(),
        })
    }

    fn write(&self, writer: &mut VideoWriter) -> anyhow::Result<()> {
        writer.start(self.info)?;
        writer.audio(self.audio.clone())?;
        for frame in 0..self.info.num_frames as usize {
            writer.frame(&self.frames[frame % DISTINCT_FRAMES])?;
        }
        Ok(())
    }
}

/// Returns an interleaved stereo sample: 220 Hz on the left, silence on the right.
fn tone(index: usize) -> f32 {
    if index % 2 == 1 {
        return 0.0;
    }
    let turns = (index / 2) as f64 * 220.0 / f64::from(SAMPLE_RATE);
    (0.3 * (std::f64::consts::TAU * turns).sin()) as f32
}

/// Returns a frame of moving gradients with noise, so that the encoder has motion and texture as in a real video.
fn test_frame(width: usize, height: usize, index: usize) -> Vec<u8> {
    let mut state = index as u32 * 2 + 1;
    let mut grain = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 28) as usize
    };
    let shift = index * 5;
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    pixels.flat_map(|(x, y)| [x + shift, y + shift, x / 2 + y / 3].map(|value| (value + grain()) as u8)).collect()
}
