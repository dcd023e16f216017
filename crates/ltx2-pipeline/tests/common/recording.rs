//! What a run makes, kept as it came.

use ltx2_types::{AudioClip, Failure, Output, VideoInfo};

/// All that came.
#[derive(Default, PartialEq)]
pub struct Recording {
    pub sound: Option<AudioClip>,
    pub frames: Vec<Vec<u8>>,
}

impl Output for Recording {
    fn start(&mut self, _: VideoInfo) -> Result<(), Failure> {
        Ok(())
    }

    fn audio(&mut self, sound: AudioClip) -> Result<(), Failure> {
        self.sound = Some(sound);
        Ok(())
    }

    fn frame(&mut self, rgb: &[u8]) -> Result<(), Failure> {
        self.frames.push(rgb.to_vec());
        Ok(())
    }
}
