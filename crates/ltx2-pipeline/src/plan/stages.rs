//! Stages of each pipeline.

use std::path::PathBuf;

use ltx2_models::AudioVideo;
use ltx2_models::upsampler::SpatialScale;
use ltx2_models::video_vae::SPACE_SCALE;
use ltx2_types::{Field, FieldError, Guidance, Pipeline, Rule, Sampler, ValidRequest};

use super::capabilities::ModelCapabilities;
use super::defaults::{DISTILLED_SIGMAS, Generation, HQ_DISTILLED_STRENGTHS, STAGE_2_SIGMAS};
use super::loras::requested_loras;
use super::types::{ItemPlan, LoraPlan, ModalityPlan, SourcePlan, StagePlan, Start};
use crate::diffusion::guider::GuiderParams;
use crate::diffusion::patchifier::PixelShape;
use crate::diffusion::schedule::{DEFAULT_TOKENS, ltx2_sigmas};

/// Properties that the stages of a run share.
pub(super) struct StagePlanner<'a> {
    pub request: &'a ValidRequest,
    pub model: &'a ModelCapabilities,
    pub generation: Generation,
    /// Size and length of the last stage.
    pub shape: PixelShape,
    /// Starts and conditioning of both modalities.
    pub inputs: AudioVideo<StageInput>,
}

/// Start and conditioning of one modality.
#[derive(Debug, Clone)]
pub(super) struct StageInput {
    /// Start of the first stage.
    pub start: Start,
    /// Whether the start is kept as it is, in every stage.
    pub frozen: bool,
    /// Whether the pass with the negative prompt keeps the prompt for this modality.
    pub keeps_prompt: bool,
    /// Conditioning items in every stage.
    pub items: Vec<ItemPlan>,
}

impl StageInput {
    /// Returns a modality that starts from noise, with conditioning items.
    pub(super) fn noise(items: Vec<ItemPlan>) -> Self {
        Self { start: Start::Empty, frozen: false, keeps_prompt: false, items }
    }

    /// Returns a modality that starts from an input, with conditioning items.
    pub(super) fn from_source(source: SourcePlan, items: Vec<ItemPlan>) -> Self {
        Self { start: Start::Input(source), ..Self::noise(items) }
    }

    /// Returns a modality that is kept.
    pub(super) fn frozen(source: SourcePlan) -> Self {
        Self { frozen: true, ..Self::from_source(source, Vec::new()) }
    }
}

impl StagePlanner<'_> {
    /// Returns the stages of `pipeline`.
    pub(super) fn stages(&self, pipeline: Pipeline) -> Result<Vec<StagePlan>, FieldError> {
        match pipeline {
            Pipeline::OneStage => Ok(vec![self.guided(self.shape, DEFAULT_TOKENS)?]),
            Pipeline::TwoStage => {
                let distilled = self.distilled_lora(pipeline)?;
                let first = self.guided(self.first_stage_shape()?, DEFAULT_TOKENS)?;
                Ok(vec![first, with_lora(self.refining()?, distilled, 1.0)])
            }
            Pipeline::Hq => self.hq(),
            Pipeline::Distilled if self.model.upscaler.is_some() => {
                Ok(vec![self.distilled(self.first_stage_shape()?)?, self.refining()?])
            }
            Pipeline::Distilled => Ok(vec![self.distilled(self.shape)?]),
        }
    }

    /// Returns the only stage of a task that works on the latents of a video at full size.
    pub(super) fn single_stage(&self, pipeline: Pipeline) -> Result<StagePlan, FieldError> {
        match pipeline {
            Pipeline::OneStage => self.guided(self.shape, DEFAULT_TOKENS),
            Pipeline::Distilled => self.distilled(self.shape),
            Pipeline::TwoStage | Pipeline::Hq => {
                let rule = "this task has one stage; it must be one-stage, or distilled for a distilled model";
                Err(FieldError::new(Field::Pipeline, pipeline.name(), Rule::Supported(rule.into())))
            }
        }
    }

    fn hq(&self) -> Result<Vec<StagePlan>, FieldError> {
        let distilled = self.distilled_lora(Pipeline::Hq)?;
        let [first, second] = HQ_DISTILLED_STRENGTHS;
        let shape = self.first_stage_shape()?;
        let stages = [
            // The only pipeline whose schedule is shifted by the real number of tokens.
            with_lora(self.guided(shape, shape.latent().tokens())?, distilled.clone(), first),
            with_lora(self.refining()?, distilled, second),
        ];
        let sampler = self.request.sampler.unwrap_or(Sampler::Res2s);
        Ok(stages.map(|stage| StagePlan { sampler, ..stage }).into())
    }

    /// Returns a stage that starts from noise, with the steps and guidance of the request. `tokens` shifts the
    /// schedule.
    fn guided(&self, shape: PixelShape, tokens: usize) -> Result<StagePlan, FieldError> {
        let stg_blocks = vec![self.generation.stg_block(self.model.num_layers)];
        let guider = |guidance: &Guidance| GuiderParams {
            cfg_scale: guidance.cfg,
            stg_scale: guidance.stg,
            stg_blocks: stg_blocks.clone(),
            modality_scale: guidance.modality,
            rescale_scale: guidance.rescale,
        };
        let sigmas = ltx2_sigmas(self.request.num_inference_steps as usize, tokens);
        let guidance = AudioVideo { video: &self.request.video_guidance, audio: &self.request.audio_guidance };
        self.stage(shape, sigmas, guidance.map(guider), self.inputs.as_ref().map(|input| input.start))
    }

    /// Returns a stage that starts from noise, for a distilled model.
    fn distilled(&self, shape: PixelShape) -> Result<StagePlan, FieldError> {
        self.stage(shape, DISTILLED_SIGMAS.to_vec(), unguided(), self.inputs.as_ref().map(|input| input.start))
    }

    /// Returns a full-size stage that starts from the latents of the first one.
    fn refining(&self) -> Result<StagePlan, FieldError> {
        let start = AudioVideo { video: Start::Upscaled, audio: Start::Previous };
        self.stage(self.shape, STAGE_2_SIGMAS.to_vec(), unguided(), start)
    }

    fn stage(
        &self,
        shape: PixelShape,
        sigmas: Vec<f32>,
        guidance: AudioVideo<GuiderParams>,
        start: AudioVideo<Start>,
    ) -> Result<StagePlan, FieldError> {
        let modality = |((guidance, start), input): (_, &StageInput)| ModalityPlan {
            start,
            frozen: input.frozen,
            guidance,
            keeps_prompt: input.keeps_prompt,
            noise_scale: if input.frozen { 0.0 } else { noise_scale(start, &sigmas) },
            items: input.items.clone(),
        };
        let modalities = guidance.zip(start).zip(self.inputs.as_ref()).map(modality);
        let appended = modalities.as_ref().map(|modality: &ModalityPlan| {
            modality.items.iter().map(|item| item.appended_tokens(shape)).sum::<usize>()
        });
        Ok(StagePlan {
            shape,
            tokens: shape.tokens().zip(appended).map(|(tokens, appended)| tokens + appended),
            sigmas,
            sampler: self.request.sampler.unwrap_or(Sampler::Euler),
            loras: requested_loras(self.request, self.model)?,
            modalities,
        })
    }

    /// Returns the LoRA that distils the checkpoint, for a pipeline that also needs an upscaler.
    fn distilled_lora(&self, pipeline: Pipeline) -> Result<PathBuf, FieldError> {
        let missing = |file: &str| {
            let rule = Rule::Supported(format!("the model set has no {file}"));
            FieldError::new(Field::Pipeline, pipeline.name(), rule)
        };
        if self.model.upscaler.is_none() {
            return Err(missing("spatial upscaler"));
        }
        self.model.distilled_lora.clone().ok_or_else(|| missing("distilled LoRA"))
    }

    /// Returns the size that the upscaler turns into the full size.
    fn first_stage_shape(&self) -> Result<PixelShape, FieldError> {
        let SpatialScale { numerator, denominator } = self.model.upscaler.unwrap_or(SpatialScale::TWO);
        let unit = SPACE_SCALE * numerator;
        let side = |field: Field, side: usize| {
            if side.is_multiple_of(unit) {
                return Ok(side / numerator * denominator);
            }
            let rule = format!(
                "it must be a multiple of {unit} for two stages, such as {} or {} (pipeline one-stage takes multiples of \
                 {SPACE_SCALE})",
                (side / unit).max(1) * unit,
                (side / unit).max(1) * unit + unit
            );
            Err(FieldError::new(field, side, Rule::Supported(rule)))
        };
        let PixelShape { width, height, .. } = self.shape;
        Ok(PixelShape { width: side(Field::Width, width)?, height: side(Field::Height, height)?, ..self.shape })
    }
}

fn unguided() -> AudioVideo<GuiderParams> {
    AudioVideo { video: GuiderParams::off(), audio: GuiderParams::off() }
}

/// Returns the noise level of a modality's start: its own, because the modalities of a stage may start differently.
fn noise_scale(start: Start, sigmas: &[f32]) -> f64 {
    match start {
        Start::Empty => 1.0,
        Start::Previous | Start::Upscaled | Start::Input(_) => f64::from(sigmas[0]),
    }
}

fn with_lora(mut stage: StagePlan, file: PathBuf, strength: f64) -> StagePlan {
    stage.loras.push(LoraPlan { file, strength });
    stage
}

#[cfg(test)]
mod tests {
    use ltx2_types::InputId;

    use super::*;

    #[test]
    fn noise_scale_depends_on_the_modality_s_own_start() {
        let sigmas = [0.5, 0.0];
        assert_eq!(noise_scale(Start::Empty, &sigmas), 1.0);
        let source = SourcePlan { input: InputId(0), skip: 0, frames: 9, lead: 0 };
        for start in [Start::Previous, Start::Upscaled, Start::Input(source)] {
            assert_eq!(noise_scale(start, &sigmas), 0.5);
        }
    }
}
