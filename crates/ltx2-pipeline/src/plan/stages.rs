//! The stages of each pipeline.

use std::path::PathBuf;

use ltx2_models::upsampler::SpatialScale;
use ltx2_models::video_vae::SPACE_SCALE;
use ltx2_types::{Guidance, LoraInput, LoraSource, Pipeline, Sampler, ValidRequest};

use super::choose::ModelFacts;
use super::defaults::{DISTILLED_SIGMAS, Generation, HQ_DISTILLED_STRENGTHS, STAGE_2_SIGMAS};
use super::{ItemPlan, LoraPlan, ModalityPlan, StagePlan, Start};
use crate::PipelineError;
use crate::diffusion::guider::GuiderParams;
use crate::diffusion::patchifier::PixelShape;
use crate::diffusion::schedule::{DEFAULT_TOKENS, ltx2_sigmas};

/// What the stages of a run have in common.
pub(super) struct Stages<'a> {
    pub request: &'a ValidRequest,
    pub model: &'a ModelFacts,
    pub generation: Generation,
    /// At full size.
    pub shape: PixelShape,
    pub items: Vec<ItemPlan>,
}

impl Stages<'_> {
    pub(super) fn of(&self, pipeline: Pipeline) -> Result<Vec<StagePlan>, PipelineError> {
        match pipeline {
            Pipeline::OneStage => Ok(vec![self.guided(self.shape, DEFAULT_TOKENS)?]),
            Pipeline::TwoStage => {
                let distilled = self.distilled_lora(pipeline)?;
                Ok(vec![self.guided(self.smaller()?, DEFAULT_TOKENS)?, self.refining()?.with_lora(distilled, 1.0)])
            }
            Pipeline::Hq => {
                let distilled = self.distilled_lora(pipeline)?;
                let [first, second] = HQ_DISTILLED_STRENGTHS;
                let smaller = self.smaller()?;
                let stages = [
                    // Only this one lets the picture's own tokens shift the schedule.
                    self.guided(smaller, smaller.latent().tokens())?.with_lora(distilled.clone(), first),
                    self.refining()?.with_lora(distilled, second),
                ];
                let sampler = self.request.sampler.unwrap_or(Sampler::Res2s);
                Ok(stages.map(|stage| StagePlan { sampler, ..stage }).into())
            }
            Pipeline::Distilled if self.model.upscaler.is_some() => {
                Ok(vec![self.distilled(self.smaller()?)?, self.refining()?])
            }
            Pipeline::Distilled => Ok(vec![self.distilled(self.shape)?]),
        }
    }

    /// From noise, with the request's steps and guidance, the steps shifted as for `tokens`.
    fn guided(&self, shape: PixelShape, tokens: usize) -> Result<StagePlan, PipelineError> {
        let stg_blocks = vec![self.generation.stg_block(self.model.num_layers)];
        let guider = |guidance: &Guidance| GuiderParams {
            cfg_scale: guidance.cfg,
            stg_scale: guidance.stg,
            stg_blocks: stg_blocks.clone(),
            modality_scale: guidance.modality,
            rescale_scale: guidance.rescale,
        };
        let sigmas = ltx2_sigmas(self.request.num_inference_steps as usize, tokens);
        let (video, audio) = (guider(&self.request.video_guidance), guider(&self.request.audio_guidance));
        self.stage(shape, sigmas, (video, audio), (Start::Empty, Start::Empty))
    }

    /// From noise, with a distilled model.
    fn distilled(&self, shape: PixelShape) -> Result<StagePlan, PipelineError> {
        let off = (GuiderParams::off(), GuiderParams::off());
        self.stage(shape, DISTILLED_SIGMAS.to_vec(), off, (Start::Empty, Start::Empty))
    }

    /// From the first stage's latents, the picture's upscaled.
    fn refining(&self) -> Result<StagePlan, PipelineError> {
        let off = (GuiderParams::off(), GuiderParams::off());
        self.stage(self.shape, STAGE_2_SIGMAS.to_vec(), off, (Start::Upscaled, Start::Previous))
    }

    fn stage(
        &self,
        shape: PixelShape,
        sigmas: Vec<f32>,
        (video, audio): (GuiderParams, GuiderParams),
        (video_start, audio_start): (Start, Start),
    ) -> Result<StagePlan, PipelineError> {
        let noise_scale = match video_start {
            Start::Empty => 1.0,
            Start::Previous | Start::Upscaled => f64::from(sigmas[0]),
        };
        Ok(StagePlan {
            shape,
            tokens: (shape.latent().tokens(), shape.audio_frames()),
            sigmas,
            sampler: self.request.sampler.unwrap_or(Sampler::Euler),
            loras: self.loras()?,
            video: ModalityPlan { start: video_start, guidance: video, noise_scale, items: self.items.clone() },
            audio: ModalityPlan { start: audio_start, guidance: audio, noise_scale, items: Vec::new() },
        })
    }

    fn loras(&self) -> Result<Vec<LoraPlan>, PipelineError> {
        let of = |lora: &LoraInput| Ok(LoraPlan { file: self.lora_file(&lora.source)?, strength: lora.strength });
        let mut loras = self.request.loras.iter().map(of).collect::<Result<Vec<_>, PipelineError>>()?;
        if let Some(camera) = self.request.camera {
            let known = self.model.camera_loras.iter().find(|(motion, _)| *motion == camera.motion);
            let (_, file) = known.ok_or_else(|| {
                let name = camera.motion.name();
                let file = name.replace('_', "-");
                PipelineError::Request(format!(
                    "camera is {name}, but the model set has no LoRA named like camera-control-{file}.safetensors"
                ))
            })?;
            loras.push(LoraPlan { file: file.clone(), strength: camera.strength });
        }
        Ok(loras)
    }

    fn lora_file(&self, source: &LoraSource) -> Result<PathBuf, PipelineError> {
        let name = match source {
            LoraSource::File(path) => return Ok(path.into()),
            LoraSource::Name(name) => name,
        };
        let name_of = |path: &PathBuf| path.file_stem().map(|stem| stem.to_string_lossy().into_owned());
        let known = self.model.loras.iter().find(|path| name_of(path).as_ref() == Some(name));
        known.cloned().ok_or_else(|| {
            let names = self.model.loras.iter().filter_map(name_of).collect::<Vec<_>>().join(", ");
            let names = if names.is_empty() { "no LoRA at all".into() } else { names };
            PipelineError::Request(format!("lora is {name:?}, but the model set has none of that name; it has {names}"))
        })
    }

    /// What turns the checkpoint into a distilled one, for a pipeline that also upscales.
    fn distilled_lora(&self, pipeline: Pipeline) -> Result<PathBuf, PipelineError> {
        let lacks =
            |what| PipelineError::Request(format!("pipeline is {}, but the model set has no {what}", pipeline.name()));
        if self.model.upscaler.is_none() {
            return Err(lacks("spatial upscaler"));
        }
        self.model.distilled_lora.clone().ok_or_else(|| lacks("distilled LoRA"))
    }

    /// The size that the upscaler makes the full one of.
    fn smaller(&self) -> Result<PixelShape, PipelineError> {
        let SpatialScale { numerator, denominator } = self.model.upscaler.unwrap_or(SpatialScale::TWO);
        let unit = SPACE_SCALE * numerator;
        let side = |field: &str, side: usize| {
            if side.is_multiple_of(unit) {
                return Ok(side / numerator * denominator);
            }
            let rule =
                format!("it must be a multiple of {unit} for two stages (pipeline one-stage takes multiples of 32)");
            Err(PipelineError::Request(format!("{field} is {side}, but {rule}")))
        };
        let PixelShape { width, height, .. } = self.shape;
        Ok(PixelShape { width: side("width", width)?, height: side("height", height)?, ..self.shape })
    }
}

impl StagePlan {
    fn with_lora(mut self, file: PathBuf, strength: f64) -> Self {
        self.loras.push(LoraPlan { file, strength });
        self
    }
}
