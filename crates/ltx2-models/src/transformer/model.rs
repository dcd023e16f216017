//! The transformer and its weights.

use candle_core::{DType, Device, Result};

use super::block_stack::BlockStack;
use super::config::{StreamConfig, TransformerConfig};
use super::modality::StreamRope;
use super::stream::StreamLayers;
use super::stream_names::STREAM_NAMES;
use crate::layers::Positions;
use crate::{AudioVideo, VarBuilder};

/// The transformer: noisy latent tokens of both modalities to velocities.
#[derive(Debug)]
pub struct Transformer {
    pub(super) config: TransformerConfig,
    pub(super) streams: AudioVideo<StreamLayers>,
    pub(super) blocks: BlockStack,
    pub(super) dtype: DType,
    device: Device,
}

impl Transformer {
    /// Reads `model.diffusion_model.*`.
    pub fn new(config: &TransformerConfig, vb: VarBuilder) -> Result<Self> {
        Self::with_resident_blocks(config, vb, config.num_layers)
    }

    /// Reads `model.diffusion_model.*` with only the first `resident` blocks.
    ///
    /// The other blocks are loaded by each step, once for all of its passes, and freed after use.
    pub fn with_resident_blocks(config: &TransformerConfig, vb: VarBuilder, resident: usize) -> Result<Self> {
        let vb = vb.pp("model.diffusion_model");
        let blocks = BlockStack::new(config, vb.pp("transformer_blocks"), resident)?;
        let streams = config.streams.as_ref().zip(STREAM_NAMES);
        Ok(Self {
            streams: streams.try_map(|(stream, names)| StreamLayers::new(config, stream, &names, &vb))?,
            blocks,
            dtype: vb.dtype(),
            device: vb.device().clone(),
            config: config.clone(),
        })
    }

    /// Number of blocks in memory.
    pub fn resident_blocks(&self) -> usize {
        self.blocks.resident()
    }

    /// Rotary embeddings of the token positions of both modalities. Needed once per shape.
    pub fn ropes(&self, positions: AudioVideo<&Positions>) -> Result<AudioVideo<StreamRope>> {
        positions.zip(self.config.streams.as_ref()).try_map(|(positions, stream)| self.stream_rope(positions, stream))
    }

    fn stream_rope(&self, positions: &Positions, stream: &StreamConfig) -> Result<StreamRope> {
        let (rope, to) = (&self.config.rope, (self.dtype, &self.device));
        let cross_max = [self.config.cross_max_pos()];
        Ok(StreamRope {
            self_attn: rope.table(positions, stream.dim(), stream.heads, &stream.max_pos, to)?,
            cross_attn: rope.table(&positions.time(), self.config.cross_rope_dim, stream.heads, &cross_max, to)?,
        })
    }
}
