//! Passes through the blocks: one in full, or all of a step with what they have in common computed once.

use candle_core::{Result, Tensor};

use super::block::{Run, Streams};
use super::modulation::StreamModulation;
use super::place::{Fork, Part, Place, forks};
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
        for index in 0..self.blocks.len() {
            let block = self.blocks.get(index)?;
            for part in Part::ALL {
                x = block.forward(part, x, &run)?;
            }
        }
        self.end(&x, &step)
    }

    /// The same of several passes, side by side: where a pass computes what an earlier one does, it parts from that one only
    /// behind it.
    pub fn forward_all(&self, inputs: &Inputs, passes: &[Pass]) -> Result<Vec<Velocities>> {
        let (start, step) = self.begin(inputs)?;
        let runs = passes.iter().map(|pass| step.run(pass)).collect::<Result<Vec<_>>>()?;
        let layers = self.blocks.len();
        let forks = forks(passes, layers);
        // Of the passes that are under way.
        let mut streams: Vec<Option<Streams>> = vec![None; passes.len()];
        if let Some(first) = streams.first_mut() {
            *first = Some(start);
        }
        for index in 0..layers {
            let block = self.blocks.get(index)?;
            for part in Part::ALL {
                part_at(Place { block: index, part }, &forks, &mut streams);
                for (streams, run) in streams.iter_mut().zip(&runs) {
                    if let Some(x) = streams.take() {
                        *streams = Some(block.forward(part, x, run)?);
                    }
                }
            }
        }
        part_at(Place::end(layers), &forks, &mut streams);
        let end = |x: Option<Streams>| self.end(&x.expect("every pass has parted by now"), &step);
        streams.into_iter().map(end).collect()
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

/// Starts the passes that part there from another one with what that one has.
fn part_at(place: Place, forks: &[Option<Fork>], streams: &mut [Option<Streams>]) {
    for (pass, fork) in forks.iter().enumerate() {
        if let Some(Fork { from, .. }) = fork.filter(|fork| fork.at == place) {
            streams[pass] = streams[from].clone();
        }
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
