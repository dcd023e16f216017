//! Modulation of a stream by the noise level: AdaLN networks, and a table per block that is added to their output. The
//! sums of all blocks are computed together, which saves dozens of small kernel launches per block.

use candle_core::{Device, Result, Tensor};

use super::config::TransformerConfig;
use super::modality::{Modality, Timesteps};
use super::stream_names::StreamNames;
use crate::VarBuilder;
use crate::layers::AdaLayerNormSingle;

/// AdaLN networks of one stream and the tables of its blocks.
#[derive(Debug)]
pub(super) struct StreamAdaLn {
    dim: usize,
    /// Number of rows of `adaln_single`, 6 or 9.
    rows: usize,
    timestep_scale: f32,
    cross_gate_scale: f32,
    adaln_single: AdaLayerNormSingle,
    /// Modulates the text (LTX-2.3).
    prompt_adaln_single: Option<AdaLayerNormSingle>,
    cross_scale_shift: AdaLayerNormSingle,
    cross_gate: AdaLayerNormSingle,
    tables: BlockTables,
}

/// Scale-shift tables of all blocks of one stream.
#[derive(Debug)]
struct BlockTables {
    /// `(layers, 6 or 9, 1, dim)`.
    own: Tensor,
    /// `(layers, 2, dim)`.
    prompt: Option<Tensor>,
    /// `(layers, 4, 1, dim)`.
    cross: Tensor,
    /// `(layers, 1, dim)`.
    cross_gate: Tensor,
}

/// Modulation of all blocks of one stream in one step.
pub(super) struct StreamModulation<'a> {
    timesteps: &'a Timesteps,
    /// Shift, scale and gate of the self-attention, of the feed-forward and, in LTX-2.3, of the text cross-attention;
    /// `(layers, 6 or 9, levels, dim)`.
    own: Tensor,
    /// Shift and scale of the text, if modulated, `(layers, 2, dim)`.
    prompt: Option<Tensor>,
    /// Scale and shift of the audio-to-video attention, then of the video-to-audio attention;
    /// `(layers, 4, levels, dim)`.
    cross: Tensor,
    /// Gate of the attention of this stream to the other one, `(layers, 1, dim)`.
    cross_gate: Tensor,
    /// Embedded noise levels for the output layer, `(levels, dim)`.
    pub embedded_timestep: Tensor,
}

/// Direction of the audio-video cross-attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CrossDirection {
    AudioToVideo,
    VideoToAudio,
}

impl StreamAdaLn {
    pub(super) fn new(config: &TransformerConfig, names: &StreamNames, dim: usize, vb: &VarBuilder) -> Result<Self> {
        let rows = config.modulation_rows();
        let named = |name: &str| vb.pp(format!("{}{name}", names.prefix));
        Ok(Self {
            dim,
            rows,
            timestep_scale: config.timestep_scale,
            cross_gate_scale: config.cross_gate_scale,
            adaln_single: AdaLayerNormSingle::new(dim, rows, named("adaln_single"))?,
            prompt_adaln_single: match config.cross_attention_adaln {
                true => Some(AdaLayerNormSingle::new(dim, 2, named("prompt_adaln_single"))?),
                false => None,
            },
            cross_scale_shift: AdaLayerNormSingle::new(dim, 4, vb.pp(names.cross_scale_shift))?,
            cross_gate: AdaLayerNormSingle::new(dim, 1, vb.pp(names.cross_gate))?,
            tables: BlockTables::new(config, names, dim, vb)?,
        })
    }

    /// Computes the modulation of all blocks in one step.
    ///
    /// The stream itself is modulated by the noise level of each token, scale and shift of the audio-video
    /// cross-attention included, and the text by the sigma of the modality. The gate of the cross-attention is
    /// modulated by the sigma of the other modality, `cross_sigma`.
    pub(super) fn modulation<'a>(&self, modality: &Modality<'a>, cross_sigma: f32) -> Result<StreamModulation<'a>> {
        let (dtype, device): (_, &Device) = (modality.latent.dtype(), modality.latent.device());
        let timesteps = modality.timesteps.scaled(self.timestep_scale);
        let own = self.adaln_single.forward(&timesteps, dtype, device)?;
        let levels = own.embedded_timestep.dim(0)?;
        let prompt = match &self.prompt_adaln_single {
            Some(adaln) => Some(adaln.forward(&[modality.sigma * self.timestep_scale], dtype, device)?),
            None => None,
        };
        let gate_scale = self.cross_gate_scale / self.timestep_scale;
        let cross = self.cross_scale_shift.forward(&timesteps, dtype, device)?;
        let gate = self.cross_gate.forward(&[cross_sigma * self.timestep_scale * gate_scale], dtype, device)?;
        let own_rows = own.parameters.reshape((levels, self.rows, self.dim))?;
        let prompt_rows = prompt.map(|rows| rows.parameters.reshape((1, 2, self.dim))).transpose()?;
        let cross_rows = cross.parameters.reshape((levels, 4, self.dim))?;
        let gate_rows = gate.parameters.reshape((1, 1, self.dim))?;
        let tables = &self.tables;
        Ok(StreamModulation {
            timesteps: modality.timesteps,
            own: tables.own.broadcast_add(&own_rows.transpose(0, 1)?)?,
            prompt: match (prompt_rows, &tables.prompt) {
                (Some(rows), Some(table)) => Some(table.broadcast_add(&rows)?),
                _ => None,
            },
            cross: tables.cross.broadcast_add(&cross_rows.transpose(0, 1)?)?,
            cross_gate: tables.cross_gate.broadcast_add(&gate_rows)?,
            embedded_timestep: own.embedded_timestep,
        })
    }
}

impl BlockTables {
    fn new(config: &TransformerConfig, names: &StreamNames, dim: usize, vb: &VarBuilder) -> Result<Self> {
        let blocks = vb.pp("transformer_blocks");
        let stacked = |rows: usize, name: &str| {
            let tables = (0..config.num_layers).map(|i| blocks.pp(i).get((rows, dim), name));
            let tables = tables.collect::<Result<Vec<_>>>()?;
            // A transformer without blocks has an unused placeholder.
            if tables.is_empty() {
                Tensor::zeros((1, rows, dim), vb.dtype(), vb.device())
            } else {
                Tensor::stack(&tables, 0)
            }
        };
        let prefix = names.prefix;
        let cross = stacked(5, names.cross_table)?;
        Ok(Self {
            own: stacked(config.modulation_rows(), &format!("{prefix}scale_shift_table"))?.unsqueeze(2)?,
            prompt: match config.cross_attention_adaln {
                true => Some(stacked(2, &format!("{prefix}prompt_scale_shift_table"))?),
                false => None,
            },
            cross: cross.narrow(1, 0, 4)?.unsqueeze(2)?,
            cross_gate: cross.narrow(1, 4, 1)?,
        })
    }
}

impl StreamModulation<'_> {
    /// Shift, scale and gate of the self-attention of `block`, `(1, 1 or n, dim)` each.
    pub(super) fn self_attention(&self, block: usize) -> Result<[Tensor; 3]> {
        self.per_token(&self.own, block, 0)
    }

    /// Shift, scale and gate of the feed-forward layer of `block`, `(1, 1 or n, dim)` each.
    pub(super) fn feed_forward(&self, block: usize) -> Result<[Tensor; 3]> {
        self.per_token(&self.own, block, 3)
    }

    /// Shift, scale and gate of the text cross-attention of `block`, `(1, 1 or n, dim)` each. Only in LTX-2.3.
    pub(super) fn text_cross_attention(&self, block: usize) -> Result<[Tensor; 3]> {
        self.per_token(&self.own, block, 6)
    }

    /// Shift and scale of the text for `block`, `(1, 1, dim)` each, if modulated.
    pub(super) fn prompt(&self, block: usize) -> Result<Option<[Tensor; 2]>> {
        self.prompt.as_ref().map(|rows| Ok([row(rows, block, 0)?, row(rows, block, 1)?])).transpose()
    }

    /// Scale and shift of this stream in the audio-video cross-attention of `block`, `(1, 1 or n, dim)` each.
    pub(super) fn cross_attention(&self, block: usize, direction: CrossDirection) -> Result<[Tensor; 2]> {
        let first = match direction {
            CrossDirection::AudioToVideo => 0,
            CrossDirection::VideoToAudio => 2,
        };
        self.per_token(&self.cross, block, first)
    }

    /// Gate of the attention of this stream to the other one in `block`, `(1, 1, dim)`.
    pub(super) fn cross_gate(&self, block: usize) -> Result<Tensor> {
        row(&self.cross_gate, block, 0)
    }

    /// Rows from `first` on of `block` in `(layers, rows, levels, dim)`, for each token.
    fn per_token<const N: usize>(&self, rows: &Tensor, block: usize, first: usize) -> Result<[Tensor; N]> {
        let rows = rows.get(block)?;
        let tokens = (first..first + N).map(|i| self.timesteps.per_token(&rows.get(i)?)).collect::<Result<Vec<_>>>()?;
        Ok(tokens.try_into().expect("N rows were selected"))
    }
}

/// Row `i` of `block` in `(layers, rows, dim)`, as `(1, 1, dim)`.
fn row(rows: &Tensor, block: usize, i: usize) -> Result<Tensor> {
    rows.narrow(0, block, 1)?.narrow(1, i, 1)
}
