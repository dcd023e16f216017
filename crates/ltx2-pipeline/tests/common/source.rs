//! The source of editing traces (see `write_source` in `scripts/make_fixtures.py`).

use ltx2_types::{
    AudioClip, AudioInfo, Failure, FrameRate, InputId, Inputs, RgbImage, SourceInfo, VideoInfo, VideoInput,
};

const SIDE: u32 = 64;
const FRAMES: u32 = 17;
const SAMPLE_RATE: u32 = 48000;
const SAMPLES: u32 = 36000;

/// The source as the first input, and images as the inputs after it.
pub struct SourceInputs(pub Vec<RgbImage>);

/// Returns the streams of the source.
pub fn source_info() -> SourceInfo {
    let frame_rate = FrameRate::new(24.0).unwrap();
    let seconds = f64::from(SAMPLES) / f64::from(SAMPLE_RATE);
    SourceInfo {
        video: Some(VideoInfo { width: SIDE, height: SIDE, num_frames: FRAMES, frame_rate }),
        audio: Some(AudioInfo { sample_rate: SAMPLE_RATE, seconds }),
    }
}

/// Returns the streams of a source of the first `num_frames` frames, without audio.
pub fn first_frames(num_frames: u32) -> SourceInfo {
    let video = source_info().video.map(|video| VideoInfo { num_frames, ..video });
    SourceInfo { video, audio: None }
}

fn frame(t: u32) -> RgbImage {
    let value = |i: u32| {
        let (c, x, y) = (i % 3, i / 3 % SIDE, i / 3 / SIDE);
        ((7 * t + 3 * x + 2 * y + 50 * c) % 256) as u8
    };
    RgbImage { width: SIDE, height: SIDE, data: (0..SIDE * SIDE * 3).map(value).collect() }
}

impl Inputs for SourceInputs {
    fn image(&mut self, id: InputId, _: u32) -> Result<RgbImage, Failure> {
        Ok(self.0[id.0 as usize - 1].clone())
    }

    fn video(&mut self, _: InputId) -> Result<VideoInput, Failure> {
        let info = source_info().video.unwrap();
        Ok(VideoInput { info, frames: Box::new((0..FRAMES).map(|t| Ok(frame(t)))) })
    }

    fn audio(&mut self, _: InputId, sample_rate: u32) -> Result<AudioClip, Failure> {
        assert_eq!(sample_rate, SAMPLE_RATE);
        let sample = |i: u32, factor: u32| ((i * factor % 20000) as f32 - 10000.0) / 32768.0;
        let samples = (0..SAMPLES).flat_map(|i| [sample(i, 37), sample(i, 53)]).collect();
        Ok(AudioClip { sample_rate, samples })
    }
}
