//! Prompt enhancement and the cache of prompt contexts.

mod common;
#[path = "common/recording.rs"]
mod recording;

use std::io::{Read, Seek, SeekFrom};

use ltx2_devtools::{DecodedImages, PublishedModel, demo_model};
use ltx2_pipeline::{Engine, EngineSettings, ModelSet, Precision};
use ltx2_types::{FailureCode, Generator, Job, Limits, Progress, Report, ValidRequest, Watch};
use recording::Recording;

/// Watch that cancels the run or not.
struct Cancel(bool);

impl Watch for Cancel {
    fn progress(&self, _: Progress) {}

    fn is_cancelled(&self) -> bool {
        self.0
    }
}

fn run(engine: &mut Engine, request: &ValidRequest) -> (Report, Vec<Vec<u8>>) {
    let mut frames = Recording::default();
    let report =
        engine.generate(Job { request, inputs: &mut DecodedImages::default() }, &mut frames, &Cancel(false)).unwrap();
    (report, frames.frames)
}

fn small(prompt: &str) -> ValidRequest {
    ValidRequest {
        prompt: prompt.into(),
        width: 64,
        height: 64,
        num_frames: 1,
        num_inference_steps: 1,
        ..Limits::server().defaults
    }
}

#[test]
fn the_video_is_that_of_the_enhanced_prompt() {
    let folder = tempfile::tempdir().unwrap();
    demo_model::write(folder.path(), PublishedModel::default(), 0).unwrap();
    let models = ModelSet::open(folder.path()).unwrap();
    let mut engine = Engine::new(models, EngineSettings::new(common::test_device(), Precision::F32));
    let request = small("A fox");
    let (plain, plain_frames) = run(&mut engine, &request);
    assert_eq!(plain.enhanced_prompt, None);
    let with_enhancement = ValidRequest { enhance_prompt: true, ..request.clone() };
    let (report, frames) = run(&mut engine, &with_enhancement);
    let enhanced = report.enhanced_prompt.unwrap();
    assert!(!enhanced.is_empty() && enhanced != "A fox");
    assert!(frames != plain_frames);
    // The cache is empty now.
    engine.unload();
    let (direct, direct_frames) = run(&mut engine, &ValidRequest { prompt: enhanced.clone(), ..request });
    assert_eq!(direct.enhanced_prompt, None);
    assert!(frames == direct_frames);
    assert_eq!(run(&mut engine, &with_enhancement).0.enhanced_prompt.unwrap(), enhanced);
    let other = ValidRequest { seed: 43, ..with_enhancement.clone() };
    assert_ne!(run(&mut engine, &other).0.enhanced_prompt.unwrap(), enhanced);
    let job = Job { request: &with_enhancement, inputs: &mut DecodedImages::default() };
    let cancelled = engine.generate(job, &mut Recording::default(), &Cancel(true)).unwrap_err();
    assert_eq!(cancelled.code, FailureCode::Cancelled);
}

#[test]
fn the_text_encoder_is_loaded_only_for_new_prompts() {
    let folder = tempfile::tempdir().unwrap();
    demo_model::write(folder.path(), PublishedModel::default(), 0).unwrap();
    let models = ModelSet::open(folder.path()).unwrap();
    let mut engine = Engine::new(models, EngineSettings::new(common::test_device(), Precision::F32));
    let fox = run(&mut engine, &small("A fox")).1;
    let crow = run(&mut engine, &small("A crow")).1;
    assert!(fox != crow);
    // From now on the file contains zeros only.
    let encoder = folder.path().join("gemma/model.safetensors");
    let mut file = std::fs::OpenOptions::new().read(true).write(true).open(&encoder).unwrap();
    blank_tensors(&mut file);
    assert!(run(&mut engine, &small("A fox")).1 == fox);
    assert!(run(&mut engine, &small("A crow")).1 == crow);
    // Another seed uses the cache too; unloading empties it.
    let other_seed = ValidRequest { seed: 7, ..small("A fox") };
    let seventh = run(&mut engine, &other_seed).1;
    engine.unload();
    assert!(run(&mut engine, &other_seed).1 != seventh);
}

/// Overwrites all values of a safetensors file, which start after its header, with zeros.
fn blank_tensors(file: &mut std::fs::File) {
    let mut length = [0; 8];
    file.read_exact(&mut length).unwrap();
    let first = file.seek(SeekFrom::Current(i64::try_from(u64::from_le_bytes(length)).unwrap())).unwrap();
    let left = file.metadata().unwrap().len() - first;
    std::io::copy(&mut std::io::repeat(0).take(left), file).unwrap();
}
