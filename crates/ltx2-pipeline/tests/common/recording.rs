//! Recording of the output of a run.

use ltx2_types::{AudioClip, Failure, Output, VideoInfo};

/// Output that keeps the audio and all frames.
#[derive(Default, PartialEq)]
pub struct Recording {
    pub audio: Option<AudioClip>,
    pub frames: Vec<Vec<u8>>,
}

impl Output for Recording {
    fn start(&mut self, _: VideoInfo) -> Result<(), Failure> {
        Ok(())
    }

    fn audio(&mut self, clip: AudioClip) -> Result<(), Failure> {
        self.audio = Some(clip);
        Ok(())
    }

    fn frame(&mut self, rgb: &[u8]) -> Result<(), Failure> {
        self.frames.push(rgb.to_vec());
        Ok(())
    }
}
