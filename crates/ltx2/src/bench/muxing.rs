//! `ltx2 bench --phase muxing`: pictures and sound into an MP4, as the end of a run does beside the decoder.

use std::time::Instant;

use anyhow::Context;
use ltx2_devtools::bench::{BenchSettings, Measurement};
use ltx2_media::Mp4Writer;
use ltx2_types::{AudioClip, FrameRate, Output, VideoInfo};

/// Its name on the command line and in the report.
pub const NAME: &str = "muxing";

/// Pictures that are made beforehand and shown in turn: the encoder is measured, not they.
const PICTURES: usize = 8;
/// Samples per second of the sound.
const SAMPLE_RATE: u32 = 24_000;

/// Writes files of the size and length of `settings`, and removes them.
pub fn measure(settings: &BenchSettings) -> anyhow::Result<Measurement> {
    let video = Video::new(settings)?;
    let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
    let run = || -> anyhow::Result<f64> {
        let start = Instant::now();
        let mut writer = Mp4Writer::create(&folder.path().join("bench.mp4"))?;
        video.write(&mut writer)?;
        writer.finish()?;
        Ok(start.elapsed().as_secs_f64())
    };
    for _ in 0..settings.warm_up {
        run()?;
    }
    let seconds = (0..settings.runs).map(|_| run()).collect::<anyhow::Result<Vec<f64>>>()?;
    Ok(Measurement::of_host(NAME, seconds))
}

struct Video {
    format: VideoInfo,
    sound: AudioClip,
    /// RGB, [`PICTURES`] of them.
    pictures: Vec<Vec<u8>>,
}

impl Video {
    fn new(settings: &BenchSettings) -> anyhow::Result<Self> {
        let shape = settings.shape;
        let frame_rate = FrameRate::new(shape.frame_rate)
            .with_context(|| format!("rate is {}, but it must be positive", shape.frame_rate))?;
        let samples = (shape.frames as f64 / shape.frame_rate * f64::from(SAMPLE_RATE)) as usize;
        Ok(Self {
            format: VideoInfo {
                width: shape.width as u32,
                height: shape.height as u32,
                num_frames: shape.frames as u32,
                frame_rate,
            },
            sound: AudioClip { sample_rate: SAMPLE_RATE, samples: (0..2 * samples).map(tone).collect() },
            pictures: (0..PICTURES).map(|index| picture(shape.width, shape.height, index)).collect(),
        })
    }

    fn write(&self, writer: &mut Mp4Writer) -> anyhow::Result<()> {
        writer.start(self.format)?;
        writer.audio(self.sound.clone())?;
        for frame in 0..self.format.num_frames as usize {
            writer.frame(&self.pictures[frame % PICTURES])?;
        }
        Ok(())
    }
}

/// 220 Hz on the left, silence on the right.
fn tone(index: usize) -> f32 {
    if index % 2 == 1 {
        return 0.0;
    }
    let turns = (index / 2) as f64 * 220.0 / f64::from(SAMPLE_RATE);
    (0.3 * (std::f64::consts::TAU * turns).sin()) as f32
}

/// Slopes that move, with grain: the encoder has motion and texture to spend time on, as with a true video.
fn picture(width: usize, height: usize, index: usize) -> Vec<u8> {
    let mut state = index as u32 * 2 + 1;
    let mut grain = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 28) as usize
    };
    let shift = index * 5;
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
    pixels.flat_map(|(x, y)| [x + shift, y + shift, x / 2 + y / 3].map(|value| (value + grain()) as u8)).collect()
}
