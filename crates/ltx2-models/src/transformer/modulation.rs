//! What the noise level says to the blocks: the parameters that the networks for it make, to which each block adds tables
//! of its own. The sums of all blocks are made at once, which saves dozens of tiny launches per block.

use candle_core::{Result, Tensor};

use super::Timesteps;
use super::block::Side;
use super::config::TransformerConfig;
use crate::VarBuilder;

/// The tables of all blocks for one stream.
#[derive(Debug)]
pub(super) struct Tables {
    /// `(layers, 6 or 9, 1, dim)`.
    own: Tensor,
    /// `(layers, 2, dim)`.
    prompt: Option<Tensor>,
    /// `(layers, 5, dim)`.
    cross: Tensor,
}

/// What the networks for the noise level make of one step, before the blocks' tables.
pub(super) struct Parameters {
    /// `(levels, 6 or 9, dim)`: shift, scale and gate of self-attention, of the feed-forward, and of the attention to the
    /// text where that is modulated.
    pub own: Tensor,
    /// `(1, 2, dim)`: shift and scale of the text, where it is modulated.
    pub prompt: Option<Tensor>,
    /// `(1, 4, dim)`: scale and shift towards the sound-to-picture attention, then towards the other.
    pub cross: Tensor,
    /// `(1, 1, dim)`.
    pub cross_gate: Tensor,
}

/// Modulation of one stream in one step, block by block.
pub(super) struct StreamModulation<'a> {
    timesteps: &'a Timesteps,
    /// `(layers, 6 or 9, levels, dim)`.
    own: Tensor,
    /// `(layers, 2, dim)`.
    prompt: Option<Tensor>,
    /// `(layers, 4, dim)`.
    cross: Tensor,
    /// `(layers, 1, dim)`.
    cross_gate: Tensor,
}

impl Tables {
    pub(super) fn new(config: &TransformerConfig, side: Side, dim: usize, vb: &VarBuilder) -> Result<Self> {
        let blocks = vb.pp("transformer_blocks");
        let of_all = |rows: usize, name: &str| {
            let tables = (0..config.num_layers).map(|i| blocks.pp(i).get((rows, dim), name));
            let tables = tables.collect::<Result<Vec<_>>>()?;
            // Without blocks, something that none of them reads.
            if tables.is_empty() {
                Tensor::zeros((1, rows, dim), vb.dtype(), vb.device())
            } else {
                Tensor::stack(&tables, 0)
            }
        };
        let prefix = side.prefix();
        Ok(Self {
            own: of_all(config.modulations(), &format!("{prefix}scale_shift_table"))?.unsqueeze(2)?,
            prompt: match config.cross_attention_adaln {
                true => Some(of_all(2, &format!("{prefix}prompt_scale_shift_table"))?),
                false => None,
            },
            cross: of_all(5, side.cross_table())?,
        })
    }

    /// Each block's sums with `parameters`.
    pub(super) fn modulation<'a>(
        &self,
        timesteps: &'a Timesteps,
        parameters: &Parameters,
    ) -> Result<StreamModulation<'a>> {
        let Parameters { own, prompt, cross, cross_gate } = parameters;
        Ok(StreamModulation {
            timesteps,
            own: self.own.broadcast_add(&own.transpose(0, 1)?)?,
            prompt: match (prompt, &self.prompt) {
                (Some(prompt), Some(tables)) => Some(tables.broadcast_add(prompt)?),
                _ => None,
            },
            cross: self.cross.narrow(1, 0, 4)?.broadcast_add(cross)?,
            cross_gate: self.cross.narrow(1, 4, 1)?.broadcast_add(cross_gate)?,
        })
    }
}

impl StreamModulation<'_> {
    /// Rows `first..first + 3` of `block`, for each token: `(1, 1 or n, dim)`.
    pub(super) fn own(&self, block: usize, first: usize) -> Result<[Tensor; 3]> {
        let rows = self.own.get(block)?;
        let row = |i: usize| self.timesteps.per_token(&rows.get(i)?);
        Ok([row(first)?, row(first + 1)?, row(first + 2)?])
    }

    /// Shift and scale of the text for `block`, `(1, 1, dim)` each, where it is modulated.
    pub(super) fn prompt(&self, block: usize) -> Result<Option<[Tensor; 2]>> {
        self.prompt.as_ref().map(|rows| Ok([row(rows, block, 0)?, row(rows, block, 1)?])).transpose()
    }

    /// Scale and shift of `block`, `(1, 1, dim)` each, for the cross-attention in direction `first` (0 to the picture, 2 to
    /// the sound).
    pub(super) fn cross(&self, block: usize, first: usize) -> Result<[Tensor; 2]> {
        Ok([row(&self.cross, block, first)?, row(&self.cross, block, first + 1)?])
    }

    /// Gate of what `block` hears of the other stream, `(1, 1, dim)`.
    pub(super) fn cross_gate(&self, block: usize) -> Result<Tensor> {
        row(&self.cross_gate, block, 0)
    }
}

/// Row `i` of a block, `(1, 1, dim)`.
fn row(rows: &Tensor, block: usize, i: usize) -> Result<Tensor> {
    rows.narrow(0, block, 1)?.narrow(1, i, 1)
}
