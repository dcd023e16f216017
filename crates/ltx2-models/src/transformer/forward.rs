//! Passes through the blocks: one in full, or all of a step with what they have in common computed once.

use candle_core::{Result, Tensor};

use super::block::{Run, Streams};
use super::modulation::StreamModulation;
use super::place::{Fork, Place, forks};
use super::{Inputs, Pass, Transformer};

/// What is predicted of a step's tokens.
#[derive(Debug, Clone)]
pub struct Velocities {
    /// Of the picture, `(1, n, channels)`.
    pub video: Tensor,
    /// Of the sound, `(1, n, channels)`.
    pub audio: Tensor,
}

impl Transformer {
    /// Velocities as predicted by one pass, all of it computed.
    pub fn forward(&self, inputs: &Inputs, pass: &Pass) -> Result<Velocities> {
        let (mut x, step) = self.begin(inputs)?;
        let run = step.run(pass)?;
        for Place { block, part } in Place::FIRST.onwards(self.num_layers()) {
            x = self.blocks[block].forward(part, x, &run)?;
        }
        self.end(&x, &step)
    }

    /// The same of several passes, one after the other: where a pass computes what an earlier one did, it begins with
    /// what that one had.
    pub fn forward_all(&self, inputs: &Inputs, passes: &[Pass]) -> Result<Vec<Velocities>> {
        let (start, step) = self.begin(inputs)?;
        let runs = passes.iter().map(|pass| step.run(pass)).collect::<Result<Vec<_>>>()?;
        let layers = self.num_layers();
        let forks = forks(passes, layers);
        // What passes yet to come begin with.
        let mut kept: Vec<Option<Streams>> = vec![None; passes.len()];
        if let Some(first) = kept.first_mut() {
            *first = Some(start);
        }
        let mut velocities = Vec::with_capacity(passes.len());
        for (i, run) in runs.iter().enumerate() {
            let mut x = kept[i].take().expect("the pass that this one forks from came by there");
            let mut keep = |at: Place, x: &Streams| {
                for (kept, _) in kept.iter_mut().zip(&forks).filter(|(_, fork)| **fork == Some(Fork { from: i, at })) {
                    *kept = Some(x.clone());
                }
            };
            for place in forks[i].map_or(Place::FIRST, |fork| fork.at).onwards(layers) {
                keep(place, &x);
                x = self.blocks[place.block].forward(place.part, x, run)?;
            }
            keep(Place::end(layers), &x);
            velocities.push(self.end(&x, &step)?);
        }
        Ok(velocities)
    }

    /// Everything before the blocks: the same for all passes of a step.
    fn begin<'a>(&self, inputs: &'a Inputs<'a>) -> Result<(Streams, Step<'a>)> {
        let Inputs { video, audio, .. } = inputs;
        let x = Streams {
            video: self.video.patchify_proj.forward(video.latent)?,
            audio: self.audio.patchify_proj.forward(audio.latent)?,
        };
        let step = Step {
            inputs,
            video: self.video.modulation(video, audio.sigma, &self.config)?,
            audio: self.audio.modulation(audio, video.sigma, &self.config)?,
        };
        Ok((x, step))
    }

    /// Everything behind them.
    fn end(&self, x: &Streams, step: &Step) -> Result<Velocities> {
        let eps = self.config.norm_eps;
        Ok(Velocities {
            video: self.video.output(&x.video, &step.inputs.video, &step.video.embedded, eps)?,
            audio: self.audio.output(&x.audio, &step.inputs.audio, &step.audio.embedded, eps)?,
        })
    }
}

/// What all passes of a step share besides the tokens.
struct Step<'a> {
    inputs: &'a Inputs<'a>,
    video: Modulated<'a>,
    audio: Modulated<'a>,
}

impl Step<'_> {
    fn run<'a>(&'a self, pass: &'a Pass) -> Result<Run<'a>> {
        Ok(Run {
            inputs: self.inputs,
            context: self.inputs.prompts.get(pass.prompt)?,
            perturbations: &pass.perturbations,
            video: &self.video.blocks,
            audio: &self.audio.blocks,
        })
    }
}

/// What the noise levels of a step make of one stream.
pub(super) struct Modulated<'a> {
    /// Of its blocks.
    pub blocks: StreamModulation<'a>,
    /// Of its output, `(levels, dim)`.
    pub embedded: Tensor,
}
