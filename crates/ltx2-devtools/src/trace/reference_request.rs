//! Requests of reference traces.

use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use ltx2_models::AudioVideo;
use ltx2_models::checkpoint::read_metadata;
use ltx2_pipeline::Engine;
use ltx2_pipeline::plan::{Origin, Plan, Span, TilingPlan, plan_request};
use ltx2_types::{
    ExtendTask, FrameRate, Guidance, ImageInput, InputRef, LoraInput, LoraSource, OutputSpec, Pipeline, RetakePart,
    Sampler, SourceInfo, Task, TimeWindow, ValidRequest, VideoInfo,
};
use serde::Deserialize;

/// LoRA strength of the reference runs.
const REFERENCE_STRENGTH: f64 = 0.8;

/// Request of a reference run, from the field `request` of the trace's metadata.
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
    /// Strengths of `loras/lora_f32.safetensors`, which is merged once for each.
    #[serde(default)]
    more_loras: Vec<f64>,
    /// Sampler, unless it is the pipeline's own.
    sampler: Option<Sampler>,
    tile_pixels: Option<String>,
    tile_frames: Option<String>,
    /// Source of a retake.
    video: Option<String>,
    /// Window of a retake, `START:END` in seconds.
    #[serde(default)]
    window: String,
    #[serde(default)]
    keep_video: bool,
    #[serde(default)]
    keep_audio: bool,
    /// Audio of a video for audio.
    audio: Option<String>,
}

impl ReferenceRequest {
    /// Reads the request of the trace at `path`.
    ///
    /// # Errors
    /// The file is not a trace, or its pipeline is not supported.
    pub fn read(path: &Path) -> Result<Self> {
        let metadata = read_metadata(path)?;
        let text = metadata
            .get("request")
            .ok_or_else(|| anyhow!("{}: no `request` in its metadata, so it is not a trace", path.display()))?;
        let request: Self = serde_json::from_str(text)
            .with_context(|| format!("{}: invalid `request` in its metadata", path.display()))?;
        request.pipeline().with_context(|| path.display().to_string())?;
        Ok(request)
    }

    fn pipeline(&self) -> Result<Pipeline> {
        Ok(match self.pipeline.as_str() {
            "one-stage" => Pipeline::OneStage,
            "two-stage" => Pipeline::TwoStage,
            "distilled" => Pipeline::Distilled,
            "keyframes" => Pipeline::TwoStage,
            "hq" => Pipeline::Hq,
            // An extension is compared with a retake of the padded video.
            "retake" | "extend" => Pipeline::OneStage,
            "a2v" => Pipeline::TwoStage,
            other => bail!(
                "pipeline is {other}, but only one-stage, two-stage, distilled, keyframes, hq, retake, extend and a2v are \
                 supported"
            ),
        })
    }

    /// Returns the decoder's tiles; the trace has them as SIZE:OVERLAP.
    fn tiling(&self) -> Result<Option<TilingPlan>> {
        let parse = |text: &String| {
            let parsed =
                text.split_once(':').and_then(|(size, overlap)| Some((size.parse().ok()?, overlap.parse().ok()?)));
            parsed.ok_or_else(|| anyhow!("tiles are {text}, but they must be SIZE:OVERLAP"))
        };
        let frames = self.tile_frames.as_ref().map(parse).transpose()?;
        let pixels = self.tile_pixels.as_ref().map(parse).transpose()?;
        Ok((frames.is_some() || pixels.is_some()).then_some(TilingPlan { frames, pixels }))
    }

    /// Returns the conditioning images in order; their sources are file names.
    pub fn images(&self) -> Result<Vec<ImageInput>> {
        let parse = |text: &String| {
            let mut parts = text.rsplitn(3, ':');
            let (strength, frame) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
            Some(ImageInput { source: InputRef::Upload(parts.next()?.into()), frame, strength, crf: 0 })
        };
        let parse = |text| parse(text).ok_or_else(|| anyhow!("image is {text}, but it must be PATH:FRAME:STRENGTH"));
        self.image.iter().map(parse).collect()
    }

    /// Returns the LoRAs of all stages. `file` is the model set's LoRA outside the folder for LoRAs.
    fn loras(&self, file: Option<&Path>) -> Result<Vec<LoraInput>> {
        let mut loras = Vec::new();
        if self.lora {
            let file = file.context("the trace uses a LoRA, but the model set has none")?;
            let source = LoraSource::File(file.display().to_string());
            loras.push(LoraInput { source, strength: REFERENCE_STRENGTH });
        }
        let source = LoraSource::Name("lora_f32".into());
        loras.extend(self.more_loras.iter().map(|strength| LoraInput { source: source.clone(), strength: *strength }));
        Ok(loras)
    }

    /// Returns the task; its inputs are file names.
    ///
    /// # Errors
    /// A value of the request is invalid or missing.
    pub fn task(&self) -> Result<Task> {
        let images = self.images()?;
        let file = |file: &Option<String>, name| {
            let file =
                file.as_ref().with_context(|| format!("pipeline is {}, but there is no {name}", self.pipeline))?;
            anyhow::Ok(InputRef::Upload(file.clone()))
        };
        Ok(match (self.pipeline.as_str(), images.is_empty()) {
            ("retake", _) => {
                let part = match (self.keep_video, self.keep_audio) {
                    (false, false) => RetakePart::Both,
                    (false, true) => RetakePart::Video,
                    (true, _) => RetakePart::Audio,
                };
                Task::Retake { video: file(&self.video, "video")?, window: self.window()?, part }
            }
            ("extend", _) => Task::Extend(ExtendTask::new(file(&self.video, "video")?)),
            ("a2v", _) => Task::AudioToVideo { audio: file(&self.audio, "audio")?, images },
            ("keyframes", false) => Task::Keyframes { images },
            (_, false) => Task::ImageToVideo { images },
            (_, true) => Task::TextToVideo,
        })
    }

    fn window(&self) -> Result<TimeWindow> {
        let parsed = self
            .window
            .split_once(':')
            .and_then(|(start, end)| Some(TimeWindow { start: start.parse().ok()?, end: end.parse().ok()? }));
        parsed.ok_or_else(|| anyhow!("window is {}, but it must be START:END", self.window))
    }

    fn request(&self, distilled_lora: Option<&Path>, source: Option<SourceInfo>) -> Result<ValidRequest> {
        let guidance = |cfg| Guidance { cfg, stg: self.stg, modality: self.modality, rescale: self.rescale };
        let frame_rate = FrameRate::new(self.frame_rate)
            .ok_or_else(|| anyhow!("frame_rate is {}, but it must be positive", self.frame_rate))?;
        let task = self.task()?;
        // A retake has the size and length of its video.
        let video = match task {
            Task::Retake { .. } => source.and_then(|source| source.video),
            Task::Extend(_) => {
                source.and_then(|source| source.video).map(|video| VideoInfo { num_frames: self.num_frames, ..video })
            }
            _ => None,
        };
        let requested = VideoInfo { width: self.width, height: self.height, num_frames: self.num_frames, frame_rate };
        let VideoInfo { width, height, num_frames, frame_rate } = video.unwrap_or(requested);
        Ok(ValidRequest {
            task,
            source,
            pipeline: Some(self.pipeline()?),
            sampler: self.sampler,
            camera: None,
            loras: self.loras(distilled_lora)?,
            prompt: self.prompt.clone(),
            enhance_prompt: false,
            negative_prompt: self.negative_prompt.clone(),
            width,
            height,
            num_frames,
            frame_rate,
            num_inference_steps: self.steps,
            seed: self.seed,
            video_guidance: guidance(self.cfg_video),
            audio_guidance: guidance(self.cfg_audio),
            output: OutputSpec::default(),
            notes: Vec::new(),
        })
    }

    /// Returns the plan with the settings of the reference run.
    pub(super) fn plan(&self, engine: &Engine, source: Option<SourceInfo>) -> Result<Plan> {
        let model = engine.models().capabilities();
        let mut plan = plan_request(&self.request(model.distilled_lora.as_deref(), source)?, &model)?;
        plan.output.tiling = self.tiling()?;
        // The reference always encodes the negative prompt, except with distilled models.
        if plan.pipeline != Pipeline::Distilled {
            plan.negative_prompt = Some(self.negative_prompt.clone());
        }
        for stage in &mut plan.stages {
            stage.modalities.as_mut().map(|modality| modality.guidance.stg_blocks = vec![self.stg_block]);
            // The distilled LoRA of a second stage.
            if plan.pipeline == Pipeline::TwoStage {
                stage.loras.iter_mut().for_each(|lora| lora.strength = REFERENCE_STRENGTH);
            }
        }
        // The official code decodes all of a retake.
        if let (Some(output), "retake" | "extend") = (&mut plan.output.source, self.pipeline.as_str()) {
            plan.output.num_frames = plan.stages[0].shape.frames;
            let whole = Span { from: Origin::Generated, start: 0, frames: plan.output.num_frames };
            output.spans = AudioVideo { video: vec![whole], audio: vec![whole] };
            plan.output.audio_stage = Some(0);
            // It also adds noise to a kept modality, which the transformer sees at noise level 0.
            for stage in &mut plan.stages {
                (stage.modalities.video.noise_scale, stage.modalities.audio.noise_scale) = (1.0, 1.0);
            }
        }
        Ok(plan)
    }
}
