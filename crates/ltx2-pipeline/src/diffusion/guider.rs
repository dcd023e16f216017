//! Guidance of one modality by what the other passes predict (`MultiModalGuider`).

use candle_core::{Result, Tensor};
use ltx2_models::AudioVideo;
use ltx2_models::transformer::{BlockSet, Pass, Perturbations, Prompt};
use serde::Serialize;

/// Scales of one modality's guidance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GuiderParams {
    /// Classifier-free guidance: away from the negative prompt. 1 is off.
    pub cfg_scale: f64,
    /// Spatio-temporal guidance: away from the prediction without self-attention in some blocks. 0 is off.
    pub stg_scale: f64,
    /// Those blocks.
    pub stg_blocks: Vec<usize>,
    /// Away from the prediction that does not know the other modality. 1 is off.
    pub modality_scale: f64,
    /// How far the guided prediction's spread is pulled back to the conditional one's. 0 is off.
    pub rescale_scale: f64,
}

impl GuiderParams {
    /// No guidance.
    pub fn off() -> Self {
        Self { cfg_scale: 1.0, stg_scale: 0.0, stg_blocks: Vec::new(), modality_scale: 1.0, rescale_scale: 0.0 }
    }

    /// Whether the negative prompt's pass is needed.
    pub fn needs_negative(&self) -> bool {
        !is_close(self.cfg_scale, 1.0)
    }

    /// Whether the perturbed pass is needed.
    pub fn needs_perturbed(&self) -> bool {
        !is_close(self.stg_scale, 0.0)
    }

    /// Whether the pass with both modalities apart is needed.
    pub fn needs_isolated(&self) -> bool {
        !is_close(self.modality_scale, 1.0)
    }

    /// The guided prediction, all `(1, n, channels)` float32. A pass that was not run is `None`.
    pub fn guide(&self, cond: &Tensor, others: Predictions<Option<&Tensor>>) -> Result<Tensor> {
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
        let factor = spread(cond)? / spread(&guided)?;
        guided * (self.rescale_scale * factor + (1.0 - self.rescale_scale))
    }
}

/// What the guiding passes predict.
#[derive(Debug, Clone, Copy, Default)]
pub struct Predictions<T> {
    /// With the negative prompt.
    pub negative: T,
    /// Without self-attention in some blocks.
    pub perturbed: T,
    /// Without attention between picture and sound.
    pub isolated: T,
}

impl<T> Predictions<T> {
    /// `f` of each, in the order of the passes.
    pub fn map<U>(self, mut f: impl FnMut(T) -> U) -> Predictions<U> {
        Predictions { negative: f(self.negative), perturbed: f(self.perturbed), isolated: f(self.isolated) }
    }
}

impl Predictions<Option<Pass>> {
    /// A step's passes in order: the conditional one, then those that guide it.
    pub fn passes(&self) -> Vec<Pass> {
        let guiding = [&self.negative, &self.perturbed, &self.isolated].into_iter().flatten();
        std::iter::once(Pass::default()).chain(guiding.cloned()).collect()
    }
}

/// The passes that guidance of picture and sound by `guiders` takes besides the conditional one.
pub fn guiding_passes(guiders: [&GuiderParams; 2]) -> Predictions<Option<Pass>> {
    let wanted = |needs: fn(&GuiderParams) -> bool, pass: Pass| guiders.into_iter().any(needs).then_some(pass);
    let leaving_out = |perturbations| Pass { perturbations, ..Pass::default() };
    let [video, audio] = guiders.map(|guider| match guider.needs_perturbed() {
        true => BlockSet::Only(guider.stg_blocks.clone()),
        false => BlockSet::None,
    });
    let perturbed = Perturbations { skip_self_attn: AudioVideo { video, audio }, ..Default::default() };
    let skip_cross_attn = AudioVideo { video: BlockSet::All, audio: BlockSet::All };
    let isolated = Perturbations { skip_cross_attn, ..Default::default() };
    Predictions {
        negative: wanted(GuiderParams::needs_negative, Pass { prompt: Prompt::Negative, ..Pass::default() }),
        perturbed: wanted(GuiderParams::needs_perturbed, leaving_out(perturbed)),
        isolated: wanted(GuiderParams::needs_isolated, leaving_out(isolated)),
    }
}

/// Standard deviation over all elements, unbiased.
fn spread(x: &Tensor) -> Result<f64> {
    let x = x.flatten_all()?;
    Ok(f64::from(x.var(0)?.to_scalar::<f32>()?).sqrt())
}

/// Python's `math.isclose` at its default tolerance.
fn is_close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn params() -> GuiderParams {
        GuiderParams { cfg_scale: 3.0, stg_scale: 1.0, stg_blocks: vec![1], modality_scale: 1.0, rescale_scale: 0.0 }
    }

    #[test]
    fn each_scale_pushes_away_from_its_prediction() -> Result<()> {
        let tensor = |values: [f32; 3]| Tensor::new(&values, &Device::Cpu);
        let (cond, negative, perturbed) = (tensor([1., 2., 4.])?, tensor([0., 2., 1.])?, tensor([1., 1., 1.])?);
        let others = Predictions { negative: Some(&negative), perturbed: Some(&perturbed), isolated: None };
        assert_eq!(params().guide(&cond, others)?.to_vec1::<f32>()?, [3., 3., 13.]);
        let rescaled = GuiderParams { rescale_scale: 1.0, ..params() }.guide(&cond, others)?;
        assert!((spread(&rescaled)? - spread(&cond)?).abs() < 1e-6);
        Ok(())
    }

    #[test]
    fn a_scale_that_is_off_needs_no_pass() {
        let off = GuiderParams { cfg_scale: 1.0, stg_scale: 0.0, ..params() };
        assert!(!off.needs_negative() && !off.needs_perturbed() && !off.needs_isolated());
        assert!(params().needs_negative() && params().needs_perturbed());
    }
}
