//! Model files as people have them: each is used as it is meant, or refused by name before a run.

#[path = "../common/mod.rs"]
mod common;
mod edit;
mod loras;
mod opening;
mod property;
#[path = "../common/recording.rs"]
mod recording;

use std::path::{Path, PathBuf};

use ltx2_devtools::{DecodedImages, PublishedModel, demo_model};
use ltx2_pipeline::{Engine, EngineSettings, ModelSet, PipelineError, Precision};
use ltx2_types::{Failure, Generator, Job, Limits, LoraInput, LoraSource, Pipeline, Progress, ValidRequest, Watch};
use recording::Recording;

struct Unwatched;

impl Watch for Unwatched {
    fn progress(&self, _: Progress) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}

/// A demo model in a temporary folder.
struct Demo(tempfile::TempDir);

impl Demo {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        demo_model::write(folder.path(), PublishedModel::default(), 0).unwrap();
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn open(&self) -> Result<ModelSet, PipelineError> {
        ModelSet::open(self.0.path())
    }

    /// Returns the error of opening the model set.
    fn open_error(&self) -> String {
        self.open().map(drop).unwrap_err().to_string()
    }

    /// Returns the frames and the audio of a short run.
    fn run(&self) -> Recording {
        run(self.open().unwrap(), Vec::new()).unwrap()
    }
}

/// Runs a short request with LoRAs.
fn run(models: ModelSet, loras: Vec<LoraInput>) -> Result<Recording, Failure> {
    let mut engine = Engine::new(models, EngineSettings::new(common::test_device(), Precision::F32));
    let request = ValidRequest {
        width: 64,
        height: 64,
        num_frames: 1,
        num_inference_steps: 1,
        pipeline: Some(Pipeline::OneStage),
        loras,
        ..Limits::server().defaults
    };
    let mut recording = Recording::default();
    engine.generate(Job { request: &request, inputs: &mut DecodedImages::default() }, &mut recording, &Unwatched)?;
    Ok(recording)
}

fn lora_input(file: &Path) -> LoraInput {
    LoraInput { source: LoraSource::File(file.to_str().unwrap().into()), strength: 1.0 }
}
