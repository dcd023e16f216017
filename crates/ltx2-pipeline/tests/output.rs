//! Output of a run with and without audio.

mod common;
#[path = "common/recording.rs"]
mod recording;

use ltx2_devtools::{DecodedImages, PublishedModel, demo_model};
use ltx2_pipeline::{Engine, EngineSettings, ModelSet, Precision};
use ltx2_types::{Generator, Job, Limits, OutputSpec, Progress, ValidRequest, Watch};
use recording::Recording;

struct Unwatched;

impl Watch for Unwatched {
    fn progress(&self, _: Progress) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}

#[test]
fn a_silent_video_has_the_same_frames_and_no_audio() {
    let folder = tempfile::tempdir().unwrap();
    demo_model::write(folder.path(), PublishedModel::default(), 0).unwrap();
    let models = ModelSet::open(folder.path()).unwrap();
    let mut engine = Engine::new(models, EngineSettings::new(common::test_device(), Precision::F32));
    let mut run = |audio| {
        let request = ValidRequest {
            width: 64,
            height: 64,
            num_frames: 1,
            num_inference_steps: 1,
            output: OutputSpec { audio, ..OutputSpec::default() },
            ..Limits::server().defaults
        };
        let mut recording = Recording::default();
        let job = Job { request: &request, inputs: &mut DecodedImages::default() };
        engine.generate(job, &mut recording, &Unwatched).unwrap();
        recording
    };
    let (silent, with_audio) = (run(false), run(true));
    assert!(silent.audio.is_none() && with_audio.audio.is_some());
    assert_eq!(silent.frames.len(), 1);
    assert!(silent.frames == with_audio.frames);
}
