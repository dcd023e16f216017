//! Passes through the blocks: a single pass, or all passes of a step with shared prefixes computed once.

use candle_core::{Result, Tensor};

use super::block::PassArgs;
use super::model::Transformer;
use super::modulation::StreamModulation;
use super::pass::{Pass, StepInputs};
use super::shared_prefix::{Fork, forks};
use super::sublayer::{Sublayer, SublayerIndex};
use crate::AudioVideo;

/// Hidden states of both streams, `(1, n, dim)` each.
type HiddenStates = AudioVideo<Tensor>;

impl Transformer {
    /// Predicts the velocities of one pass, `(1, n, channels)` per modality.
    pub fn forward(&self, inputs: &StepInputs, pass: &Pass) -> Result<AudioVideo<Tensor>> {
        let (mut x, step) = self.begin(inputs)?;
        let args = step.pass_args(pass)?;
        for index in 0..self.blocks.len() {
            let block = self.blocks.get(index)?;
            for sublayer in Sublayer::ALL {
                x = block.forward(sublayer, x, &args)?;
            }
        }
        self.finish(&x, &step)
    }

    /// Predicts the velocities of several passes, in the order of `passes`.
    ///
    /// A pass is forked from an earlier one after their shared prefix of sublayers. The results are bit-identical to
    /// those of [`forward`](Self::forward).
    pub fn forward_all(&self, inputs: &StepInputs, passes: &[Pass]) -> Result<Vec<AudioVideo<Tensor>>> {
        let (start, step) = self.begin(inputs)?;
        let args = passes.iter().map(|pass| step.pass_args(pass)).collect::<Result<Vec<_>>>()?;
        let layers = self.blocks.len();
        let forks = forks(passes, layers);
        // `None` for passes that are not forked yet.
        let mut states: Vec<Option<HiddenStates>> = vec![None; passes.len()];
        if let Some(first) = states.first_mut() {
            *first = Some(start);
        }
        for index in 0..layers {
            let block = self.blocks.get(index)?;
            for sublayer in Sublayer::ALL {
                fork_at(SublayerIndex { block: index, sublayer }, &forks, &mut states);
                for (state, args) in states.iter_mut().zip(&args) {
                    if let Some(x) = state.take() {
                        *state = Some(block.forward(sublayer, x, args)?);
                    }
                }
            }
        }
        fork_at(SublayerIndex::end(layers), &forks, &mut states);
        let finish = |x: Option<HiddenStates>| self.finish(&x.expect("all passes are forked at the end"), &step);
        states.into_iter().map(finish).collect()
    }

    /// Computes the initial hidden states and the modulation, which all passes of a step share.
    fn begin<'a>(&self, inputs: &'a StepInputs<'a>) -> Result<(HiddenStates, StepArgs<'a>)> {
        let AudioVideo { video, audio } = &inputs.modalities;
        let x = AudioVideo {
            video: self.streams.video.project_in(video.latent)?,
            audio: self.streams.audio.project_in(audio.latent)?,
        };
        let modulation = AudioVideo {
            video: self.streams.video.modulation(video, audio.sigma)?,
            audio: self.streams.audio.modulation(audio, video.sigma)?,
        };
        Ok((x, StepArgs { inputs, modulation }))
    }

    /// Projects the final hidden states to velocities.
    fn finish(&self, x: &HiddenStates, step: &StepArgs) -> Result<AudioVideo<Tensor>> {
        let (modalities, modulation) = (&step.inputs.modalities, &step.modulation);
        Ok(AudioVideo {
            video: self.streams.video.project_out(&x.video, &modalities.video, &modulation.video)?,
            audio: self.streams.audio.project_out(&x.audio, &modalities.audio, &modulation.audio)?,
        })
    }
}

/// Copies the hidden states of the source of each pass that is forked at `point`.
fn fork_at(point: SublayerIndex, forks: &[Option<Fork>], states: &mut [Option<HiddenStates>]) {
    for (pass, fork) in forks.iter().enumerate() {
        if let Some(Fork { source, .. }) = fork.filter(|fork| fork.point == point) {
            states[pass] = states[source].clone();
        }
    }
}

/// Arguments that all passes of a step share.
struct StepArgs<'a> {
    inputs: &'a StepInputs<'a>,
    modulation: AudioVideo<StreamModulation<'a>>,
}

impl StepArgs<'_> {
    fn pass_args<'a>(&'a self, pass: &'a Pass) -> Result<PassArgs<'a>> {
        Ok(PassArgs {
            ropes: self.inputs.modalities.map(|modality| modality.rope),
            context: self.inputs.prompts.get(pass.prompt)?,
            perturbations: &pass.perturbations,
            modulation: self.modulation.as_ref(),
        })
    }
}
