//! A run that keeps every tensor worth comparing, under the reference's names.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::path::Path;

use candle_core::{Device, Tensor};
use ltx2_types::{
    AudioClip, Failure, FrameRate, Guidance, ImageInput, InputRef, Inputs, LoraInput, LoraSource, Output, OutputSpec,
    Pipeline, Progress, Sampler, Task, ValidRequest, VideoInfo, Watch,
};
use serde::Deserialize;

use crate::diffusion::noiser::NoiseSource;
use crate::engine::{Session, Steps};
use crate::plan::{self, Plan, TilingPlan};
use crate::{Engine, PipelineError, Probe};

/// How much of its LoRA the reference adds.
const REFERENCE_STRENGTH: f64 = 0.8;

/// The settings of a reference run, as its metadata has them under `request`.
#[derive(Debug, Clone, Deserialize)]
pub struct ReferenceRequest {
    pipeline: String,
    prompt: String,
    negative_prompt: String,
    seed: u64,
    height: u32,
    width: u32,
    num_frames: u32,
    frame_rate: f64,
    steps: u32,
    #[serde(default)]
    image: Vec<String>,
    stg_block: usize,
    cfg_video: f64,
    cfg_audio: f64,
    stg: f64,
    modality: f64,
    rescale: f64,
    #[serde(default)]
    lora: bool,
    /// How steps are taken, where that is not the pipeline's own way.
    sampler: Option<Sampler>,
    tile_pixels: Option<String>,
    tile_frames: Option<String>,
}

impl ReferenceRequest {
    /// Reads the metadata of a trace.
    pub fn read(path: &Path) -> Result<Self, PipelineError> {
        let metadata = ltx2_models::checkpoint::read_metadata(path)?;
        let bad = |reason: String| PipelineError::Request(format!("{}: {reason}", path.display()));
        let text =
            metadata.get("request").ok_or_else(|| bad("no `request` in its metadata, so it is not a trace".into()))?;
        let request: Self =
            serde_json::from_str(text).map_err(|error| bad(format!("request in its metadata: {error}")))?;
        request.kind().map(|_| ()).map_err(bad)?;
        Ok(request)
    }

    /// The pipeline, and whether every picture is a keyframe.
    fn kind(&self) -> Result<(Pipeline, bool), String> {
        match self.pipeline.as_str() {
            "one-stage" => Ok((Pipeline::OneStage, false)),
            "two-stage" => Ok((Pipeline::TwoStage, false)),
            "distilled" => Ok((Pipeline::Distilled, false)),
            "keyframes" => Ok((Pipeline::TwoStage, true)),
            "hq" => Ok((Pipeline::Hq, false)),
            other => Err(format!(
                "pipeline is {other}, but only one-stage, two-stage, distilled, keyframes and hq are supported"
            )),
        }
    }

    /// Its decoder's tiles, SIZE:OVERLAP each.
    fn tiling(&self) -> Result<Option<TilingPlan>, PipelineError> {
        let pair = |text: &String| {
            let parsed =
                text.split_once(':').and_then(|(size, overlap)| Some((size.parse().ok()?, overlap.parse().ok()?)));
            parsed.ok_or_else(|| PipelineError::Request(format!("tiles are {text}, but they must be SIZE:OVERLAP")))
        };
        let frames = self.tile_frames.as_ref().map(pair).transpose()?;
        let pixels = self.tile_pixels.as_ref().map(pair).transpose()?;
        Ok((frames.is_some() || pixels.is_some()).then_some(TilingPlan { frames, pixels }))
    }

    /// The files of its pictures, in order.
    pub fn images(&self) -> Result<Vec<ImageInput>, PipelineError> {
        let parse = |text: &String| {
            let mut parts = text.rsplitn(3, ':');
            let (strength, frame) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            Some(ImageInput { source: InputRef::Upload(parts.next()?.into()), frame, strength, crf: 0 })
        };
        let bad =
            |text: &String| PipelineError::Request(format!("image is {text}, but it must be PATH:FRAME:STRENGTH"));
        self.image.iter().map(|text| parse(text).ok_or_else(|| bad(text))).collect()
    }

    /// The adapters of all stages: the model set's only one, or none.
    fn loras(&self, file: Option<&Path>) -> Result<Vec<LoraInput>, PipelineError> {
        match (self.lora, file) {
            (false, _) => Ok(Vec::new()),
            (true, Some(file)) => Ok(vec![LoraInput {
                source: LoraSource::File(file.display().to_string()),
                strength: REFERENCE_STRENGTH,
            }]),
            (true, None) => Err(PipelineError::Request("the trace uses a LoRA, but the model set has none".into())),
        }
    }

    /// What our engine is asked for.
    fn plan(&self, engine: &Engine) -> Result<Plan, PipelineError> {
        let guidance = |cfg| Guidance { cfg, stg: self.stg, modality: self.modality, rescale: self.rescale };
        let frame_rate = FrameRate::new(self.frame_rate).ok_or_else(|| {
            PipelineError::Request(format!("frame_rate is {}, but it must be positive", self.frame_rate))
        })?;
        let images = self.images()?;
        let (pipeline, keyframes) = self.kind().map_err(PipelineError::Request)?;
        let facts = engine.models().facts();
        let request = ValidRequest {
            task: match (images.is_empty(), keyframes) {
                (true, _) => Task::TextToVideo,
                (false, true) => Task::Keyframes { images },
                (false, false) => Task::ImageToVideo { images },
            },
            pipeline: Some(pipeline),
            sampler: self.sampler,
            camera: None,
            loras: self.loras(facts.distilled_lora.as_deref())?,
            prompt: self.prompt.clone(),
            enhance_prompt: false,
            negative_prompt: self.negative_prompt.clone(),
            width: self.width,
            height: self.height,
            num_frames: self.num_frames,
            frame_rate,
            num_inference_steps: self.steps,
            seed: self.seed,
            video_guidance: guidance(self.cfg_video),
            audio_guidance: guidance(self.cfg_audio),
            output: OutputSpec::default(),
        };
        let mut plan = plan::choose(&request, &facts)?;
        plan.output.tiling = self.tiling()?;
        // The reference encodes it whether guidance needs it or not, but for distilled models.
        if pipeline != Pipeline::Distilled {
            plan.negative_prompt = Some(self.negative_prompt.clone());
        }
        for stage in &mut plan.stages {
            stage.video.guidance.stg_blocks = vec![self.stg_block];
            stage.audio.guidance.stg_blocks = vec![self.stg_block];
            if pipeline != Pipeline::Hq {
                stage.loras.iter_mut().for_each(|lora| lora.strength = REFERENCE_STRENGTH);
            }
        }
        Ok(plan)
    }
}

/// Runs the request of the trace at `reference` with its noise, and returns every tensor.
///
/// `inputs` decodes the images of [`ReferenceRequest::images`].
pub fn trace(
    engine: &mut Engine,
    reference: &Path,
    inputs: &mut dyn Inputs,
) -> Result<BTreeMap<String, Tensor>, PipelineError> {
    let request = ReferenceRequest::read(reference)?;
    let plan = request.plan(engine)?;
    let kept = candle_core::safetensors::load(reference, &Device::Cpu)?;
    let mut recorder = Recorder::default();
    let mut frames = Frames::default();
    let mut session = Session {
        inputs,
        noise: recorded_noise(&kept),
        output: &mut frames,
        watch: &Unwatched,
        probe: &mut recorder,
        steps: Steps::default(),
        enhanced_prompt: None,
    };
    engine.run(&plan, &mut session).map_err(|error| engine.settled(error, None))?;
    let mut tensors = recorder.tensors;
    tensors.insert("frames".into(), frames.tensor()?);
    Ok(tensors)
}

/// Writes a trace as a safetensors file.
pub fn write(tensors: &BTreeMap<String, Tensor>, path: &Path) -> Result<(), PipelineError> {
    let tensors: HashMap<String, Tensor> =
        tensors.iter().map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
    Ok(candle_core::safetensors::save(&tensors, path)?)
}

fn recorded_noise(kept: &HashMap<String, Tensor>) -> NoiseSource {
    let draws = (0..).map_while(|i| kept.get(&format!("noise.{i}")).cloned()).collect::<VecDeque<_>>();
    NoiseSource::Recorded(draws)
}

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

/// Collects the frames that a run hands over.
#[derive(Default)]
struct Frames {
    size: (usize, usize),
    bytes: Vec<u8>,
}

impl Frames {
    fn tensor(self) -> candle_core::Result<Tensor> {
        let (height, width) = self.size;
        let count = self.bytes.len() / (height * width * 3).max(1);
        Tensor::from_vec(self.bytes, (count, height, width, 3), &Device::Cpu)
    }
}

impl Output for Frames {
    fn start(&mut self, format: VideoInfo) -> Result<(), Failure> {
        self.size = (format.height as usize, format.width as usize);
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
