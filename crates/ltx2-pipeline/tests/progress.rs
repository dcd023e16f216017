//! Progress of a run.

mod common;
#[path = "common/recording.rs"]
mod recording;

use std::cell::RefCell;

use ltx2_devtools::{DecodedImages, PublishedModel, demo_model};
use ltx2_pipeline::{Engine, EngineSettings, ModelSet, Precision};
use ltx2_types::{Generator, Job, Limits, Phase, Pipeline, Progress, ValidRequest, Watch};
use recording::Recording;

#[derive(Default)]
struct ProgressLog(RefCell<Vec<Progress>>);

impl Watch for ProgressLog {
    fn progress(&self, progress: Progress) {
        self.0.borrow_mut().push(progress);
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}

#[test]
fn progress_never_decreases_over_two_stages() {
    let folder = tempfile::tempdir().unwrap();
    demo_model::write(folder.path(), PublishedModel::default(), 0).unwrap();
    let models = ModelSet::open(folder.path()).unwrap();
    let mut engine = Engine::new(models, EngineSettings::new(common::test_device(), Precision::F32));
    let request = ValidRequest {
        pipeline: Some(Pipeline::TwoStage),
        width: 64,
        height: 64,
        num_frames: 1,
        num_inference_steps: 2,
        ..Limits::server().defaults
    };
    let log = ProgressLog::default();
    engine
        .generate(Job { request: &request, inputs: &mut DecodedImages::default() }, &mut Recording::default(), &log)
        .unwrap();
    let order = [Phase::EncodingPrompt, Phase::Loading, Phase::Denoising, Phase::Decoding];
    let position = |progress: &Progress| {
        let phase = order.iter().position(|phase| *phase == progress.phase).unwrap();
        (phase, progress.step)
    };
    let seen = log.0.into_inner();
    assert!(seen.is_sorted_by_key(position), "{seen:?}");
    let steps: Vec<u32> = seen.iter().filter(|p| p.phase == Phase::Denoising).map(|p| p.total_steps).collect();
    assert!(!steps.is_empty() && steps.iter().all(|total| *total == 2 + 3), "{steps:?}");
}
