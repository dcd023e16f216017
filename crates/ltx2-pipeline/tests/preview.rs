//! Previews show the video during a run and do not affect it.

mod common;
#[path = "common/recording.rs"]
mod recording;

use std::cell::RefCell;

use ltx2_devtools::{DecodedImages, PublishedModel, demo_model};
use ltx2_pipeline::{Engine, EngineSettings, ModelSet, Precision};
use ltx2_types::{Generator, Job, Limits, Pipeline, Progress, RgbImage, Sampler, ValidRequest, Watch};
use recording::Recording;

/// Watch that collects previews; without a list it wants none.
struct Viewer(Option<RefCell<Vec<RgbImage>>>);

impl Watch for Viewer {
    fn progress(&self, _: Progress) {}

    fn is_cancelled(&self) -> bool {
        false
    }

    fn wants_preview(&self) -> bool {
        self.0.is_some()
    }

    fn preview(&self, image: RgbImage) {
        self.0.as_ref().expect("previews are not wanted").borrow_mut().push(image);
    }
}

/// Runs `request` with and without previews, compares the results, and returns the previews.
fn previews_of(engine: &mut Engine, request: &ValidRequest) -> Vec<RgbImage> {
    let mut run = |viewer: &Viewer| {
        let mut recording = Recording::default();
        engine.generate(Job { request, inputs: &mut DecodedImages::default() }, &mut recording, viewer).unwrap();
        recording
    };
    let plain = run(&Viewer(None));
    let viewer = Viewer(Some(RefCell::default()));
    let seen = run(&viewer);
    assert_eq!(plain.frames.len(), request.num_frames as usize);
    assert!(plain == seen, "previews change the video");
    viewer.0.unwrap().into_inner()
}

#[test]
fn previews_do_not_change_the_video() {
    let folder = tempfile::tempdir().unwrap();
    demo_model::write(folder.path(), PublishedModel::default(), 0).unwrap();
    let mut engine =
        Engine::new(ModelSet::open(folder.path()).unwrap(), EngineSettings::new(common::test_device(), Precision::F32));
    let request = ValidRequest {
        pipeline: Some(Pipeline::TwoStage),
        width: 640,
        height: 128,
        num_frames: 9,
        num_inference_steps: 3,
        ..Limits::server().defaults
    };
    // Three steps in each stage; previews are due at the first and the fifth step.
    let previews = previews_of(&mut engine, &request);
    let sizes: Vec<(u32, u32)> = previews.iter().map(|image| (image.width, image.height)).collect();
    assert_eq!(sizes, [(160, 32), (213, 42)]);
    for RgbImage { width, height, data } in &previews {
        assert_eq!(data.len(), (width * height * 3) as usize);
        assert!(data.iter().any(|value| value != &data[0]), "the preview has a single colour");
    }
    let second_order = ValidRequest { sampler: Some(Sampler::Res2s), width: 128, num_frames: 1, ..request };
    assert_eq!(previews_of(&mut engine, &second_order).len(), 2);
}
