//! Traces: runs that record every tensor under the names of the reference traces of the official code.

mod reference_request;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;

use anyhow::Result;
use candle_core::{Device, Tensor};
use ltx2_pipeline::diffusion::noiser::NoiseSource;
use ltx2_pipeline::{Engine, Probe, RunContext};
use ltx2_types::{AudioClip, Failure, Inputs, Output, Progress, SourceInfo, VideoInfo, Watch};

pub use reference_request::ReferenceRequest;

/// Runs the request of the trace at `reference` with its noise and returns every tensor.
///
/// `inputs` decodes the inputs of the request, of which `source` describes the video or audio.
///
/// # Errors
/// The reference cannot be read, its request is not supported, or the run fails.
pub fn trace(
    engine: &mut Engine,
    reference: &Path,
    inputs: &mut dyn Inputs,
    source: Option<SourceInfo>,
) -> Result<BTreeMap<String, Tensor>> {
    let plan = ReferenceRequest::read(reference)?.plan(engine, source)?;
    let recorded = candle_core::safetensors::load(reference, &Device::Cpu)?;
    let mut recorder = Recorder::default();
    let mut frames = Frames::default();
    let context = RunContext {
        inputs,
        noise: recorded_noise(&recorded),
        output: &mut frames,
        watch: &Unwatched,
        probe: &mut recorder,
    };
    engine.run(&plan, context)?;
    let mut tensors = recorder.tensors;
    tensors.insert("frames".into(), frames.tensor()?);
    Ok(tensors)
}

/// Writes a trace as a safetensors file.
///
/// # Errors
/// The file cannot be written.
pub fn write(tensors: &BTreeMap<String, Tensor>, path: &Path) -> Result<()> {
    let tensors: HashMap<String, Tensor> =
        tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
    Ok(candle_core::safetensors::save(&tensors, path)?)
}

fn recorded_noise(tensors: &HashMap<String, Tensor>) -> NoiseSource {
    let draws = (0..).map_while(|i| tensors.get(&format!("noise.{i}")).cloned()).collect::<VecDeque<_>>();
    NoiseSource::Recorded(draws)
}

/// Probe that records all tensors. Tensors that a run reports several times are numbered.
#[derive(Default)]
struct Recorder {
    tensors: BTreeMap<String, Tensor>,
    counts: HashMap<String, usize>,
}

impl Probe for Recorder {
    fn keep(&mut self, name: &str, tensor: &Tensor) -> candle_core::Result<()> {
        let mut name = name.to_string();
        if ["noise", "image", "image_latent"].contains(&name.as_str()) {
            let count = self.counts.entry(name.clone()).or_default();
            name = format!("{name}.{count}");
            *count += 1;
        }
        self.tensors.insert(name, tensor.to_device(&Device::Cpu)?.contiguous()?);
        Ok(())
    }
}

/// Output that collects the frames.
#[derive(Default)]
struct Frames {
    height: usize,
    width: usize,
    bytes: Vec<u8>,
}

impl Frames {
    /// Returns the frames as `(frames, height, width, 3)`.
    fn tensor(self) -> candle_core::Result<Tensor> {
        let count = self.bytes.len() / (self.height * self.width * 3).max(1);
        Tensor::from_vec(self.bytes, (count, self.height, self.width, 3), &Device::Cpu)
    }
}

impl Output for Frames {
    fn start(&mut self, info: VideoInfo) -> Result<(), Failure> {
        (self.height, self.width) = (info.height as usize, info.width as usize);
        Ok(())
    }

    fn audio(&mut self, _: AudioClip) -> Result<(), Failure> {
        Ok(())
    }

    fn frame(&mut self, rgb: &[u8]) -> Result<(), Failure> {
        self.bytes.extend_from_slice(rgb);
        Ok(())
    }
}

struct Unwatched;

impl Watch for Unwatched {
    fn progress(&self, _: Progress) {}

    fn is_cancelled(&self) -> bool {
        false
    }
}
