//! Inputs that are decoded images.

use ltx2_types::{AudioClip, Failure, FailureCode, InputId, Inputs, RgbImage, VideoInput};

/// Images in memory as the inputs of a task, in the order of their ids. The H.264 pass is skipped.
#[derive(Debug, Clone, Default)]
pub struct DecodedImages(pub Vec<RgbImage>);

impl Inputs for DecodedImages {
    fn image(&mut self, id: InputId, _: u32) -> Result<RgbImage, Failure> {
        self.0.get(id.0 as usize).cloned().ok_or_else(|| missing("image", id))
    }

    fn video(&mut self, id: InputId) -> Result<VideoInput, Failure> {
        Err(missing("video", id))
    }

    fn audio(&mut self, id: InputId, _: u32) -> Result<AudioClip, Failure> {
        Err(missing("audio", id))
    }
}

fn missing(kind: &str, id: InputId) -> Failure {
    Failure::new(FailureCode::Internal, format!("{kind} input {id} is missing"))
}
