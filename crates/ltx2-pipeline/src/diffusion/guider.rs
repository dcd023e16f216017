//! Guidance of a prediction by further passes (`MultiModalGuider`).

use candle_core::{Result, Tensor};
use ltx2_models::AudioVideo;
use ltx2_models::transformer::{BlockSet, Pass, Perturbations, Prompt};
use serde::{Deserialize, Serialize};

/// Guidance scales of one modality.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GuiderParams {
    /// Classifier-free guidance: away from the prediction with the negative prompt. 1 is off.
    pub cfg_scale: f64,
    /// Spatio-temporal guidance: away from the prediction without self-attention in some blocks. 0 is off.
    pub stg_scale: f64,
    /// Blocks whose self-attention STG skips.
    pub stg_blocks: Vec<usize>,
    /// Guidance away from the prediction without attention to the other modality. 1 is off.
    pub modality_scale: f64,
    /// Rescaling of the guided prediction's standard deviation towards the conditional one's. 0 is off.
    pub rescale_scale: f64,
}

impl GuiderParams {
    /// Returns the scales without guidance.
    pub fn off() -> Self {
        Self { cfg_scale: 1.0, stg_scale: 0.0, stg_blocks: Vec::new(), modality_scale: 1.0, rescale_scale: 0.0 }
    }

    /// Whether the pass with the negative prompt is needed.
    pub fn needs_negative(&self) -> bool {
        !is_close(self.cfg_scale, 1.0)
    }

    /// Whether the perturbed pass is needed.
    pub fn needs_perturbed(&self) -> bool {
        !is_close(self.stg_scale, 0.0)
    }

    /// Whether the pass with isolated modalities is needed.
    pub fn needs_isolated(&self) -> bool {
        !is_close(self.modality_scale, 1.0)
    }

    /// Returns the guided prediction. All predictions are `(1, n, channels)` float32, `None` for passes that did not
    /// run.
    pub fn guide(&self, cond: &Tensor, others: GuidingPasses<Option<&Tensor>>) -> Result<Tensor> {
        let mut guided = cond.clone();
        for (scale, other) in [
            (self.cfg_scale - 1.0, others.negative),
            (self.stg_scale, others.perturbed),
            (self.modality_scale - 1.0, others.isolated),
        ] {
            if let Some(other) = other {
                guided = (guided + ((cond - other)? * scale)?)?;
            }
        }
        if self.rescale_scale == 0.0 {
            return Ok(guided);
        }
        let factor = standard_deviation(cond)? / standard_deviation(&guided)?;
        guided * (self.rescale_scale * factor + (1.0 - self.rescale_scale))
    }
}

/// One value per guiding pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct GuidingPasses<T> {
    /// Pass with the negative prompt.
    pub negative: T,
    /// Pass without self-attention in some blocks.
    pub perturbed: T,
    /// Pass without attention between video and audio.
    pub isolated: T,
}

impl<T> GuidingPasses<T> {
    /// Applies `f` to each value in the order of the passes.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> GuidingPasses<U> {
        GuidingPasses { negative: f(self.negative), perturbed: f(self.perturbed), isolated: f(self.isolated) }
    }

    /// Borrows each value.
    pub fn as_ref(&self) -> GuidingPasses<&T> {
        GuidingPasses { negative: &self.negative, perturbed: &self.perturbed, isolated: &self.isolated }
    }
}

impl GuidingPasses<Option<Pass>> {
    /// Returns the passes of a step: the conditional one, then the guiding ones.
    pub fn passes(&self) -> Vec<Pass> {
        let guiding = [&self.negative, &self.perturbed, &self.isolated].into_iter().flatten();
        std::iter::once(Pass::default()).chain(guiding.cloned()).collect()
    }
}

/// Returns the passes that guidance of either modality needs besides the conditional one.
pub fn guiding_passes(guidance: AudioVideo<&GuiderParams>) -> GuidingPasses<Option<Pass>> {
    let needed =
        |needs: fn(&GuiderParams) -> bool, pass: Pass| (needs(guidance.video) || needs(guidance.audio)).then_some(pass);
    let with_perturbations = |perturbations| Pass { perturbations, ..Pass::default() };
    let skip_self_attn = guidance.map(|guider| match guider.needs_perturbed() {
        true => BlockSet::Only(guider.stg_blocks.clone()),
        false => BlockSet::None,
    });
    let perturbed = Perturbations { skip_self_attn, ..Default::default() };
    let skip_cross_attn = AudioVideo { video: BlockSet::All, audio: BlockSet::All };
    let isolated = Perturbations { skip_cross_attn, ..Default::default() };
    GuidingPasses {
        negative: needed(GuiderParams::needs_negative, Pass { prompt: Prompt::Negative, ..Pass::default() }),
        perturbed: needed(GuiderParams::needs_perturbed, with_perturbations(perturbed)),
        isolated: needed(GuiderParams::needs_isolated, with_perturbations(isolated)),
    }
}

/// Returns the standard deviation of all elements, unbiased.
fn standard_deviation(x: &Tensor) -> Result<f64> {
    let x = x.flatten_all()?;
    Ok(f64::from(x.var(0)?.to_scalar::<f32>()?).sqrt())
}

/// Python's `math.isclose` with its default tolerance.
fn is_close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn params() -> GuiderParams {
        GuiderParams { cfg_scale: 3.0, stg_scale: 1.0, stg_blocks: vec![1], modality_scale: 1.0, rescale_scale: 0.0 }
    }

    #[test]
    fn each_scale_guides_away_from_its_prediction() -> Result<()> {
        let tensor = |values: [f32; 3]| Tensor::new(&values, &Device::Cpu);
        let (cond, negative, perturbed) = (tensor([1., 2., 4.])?, tensor([0., 2., 1.])?, tensor([1., 1., 1.])?);
        let others = GuidingPasses { negative: Some(&negative), perturbed: Some(&perturbed), isolated: None };
        assert_eq!(params().guide(&cond, others)?.to_vec1::<f32>()?, [3., 3., 13.]);
        let rescaled = GuiderParams { rescale_scale: 1.0, ..params() }.guide(&cond, others)?;
        assert!((standard_deviation(&rescaled)? - standard_deviation(&cond)?).abs() < 1e-6);
        Ok(())
    }

    #[test]
    fn a_scale_that_is_off_needs_no_pass() {
        let off = GuiderParams { cfg_scale: 1.0, stg_scale: 0.0, ..params() };
        assert!(!off.needs_negative() && !off.needs_perturbed() && !off.needs_isolated());
        assert!(params().needs_negative() && params().needs_perturbed());
        let passes = |video, audio| guiding_passes(AudioVideo { video, audio }).passes().len();
        assert_eq!((passes(&off, &off), passes(&params(), &off), passes(&off, &params())), (1, 3, 3));
    }
}
