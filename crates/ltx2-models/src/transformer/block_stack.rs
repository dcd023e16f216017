//! The blocks of the transformer. The first ones are resident; the others are streamed: loaded for each step.

use std::fmt;
use std::sync::Arc;

use candle_core::Result;

use super::block::Block;
use super::config::TransformerConfig;
use crate::VarBuilder;

/// All blocks in order.
pub(super) struct BlockStack {
    config: TransformerConfig,
    /// The first blocks, in memory.
    resident: Vec<Arc<Block>>,
    /// Source of the remaining blocks, if any.
    streamed: Option<VarBuilder>,
}

impl BlockStack {
    /// Loads the first `resident` blocks.
    pub(super) fn new(config: &TransformerConfig, vb: VarBuilder, resident: usize) -> Result<Self> {
        let load = |index| Block::new(config, index, vb.pp(index)).map(Arc::new);
        let resident = (0..config.num_layers.min(resident)).map(load).collect::<Result<Vec<_>>>()?;
        let streamed = (resident.len() < config.num_layers).then_some(vb);
        Ok(Self { config: config.clone(), resident, streamed })
    }

    pub(super) fn len(&self) -> usize {
        self.config.num_layers
    }

    /// Number of resident blocks.
    pub(super) fn resident(&self) -> usize {
        self.resident.len()
    }

    /// Returns block `index`. A streamed block is loaded and is freed when the last reference is dropped.
    pub(super) fn get(&self, index: usize) -> Result<Arc<Block>> {
        match (self.resident.get(index), &self.streamed) {
            (Some(block), _) => Ok(block.clone()),
            (None, Some(vb)) => Block::new(&self.config, index, vb.pp(index)).map(Arc::new),
            (None, None) => {
                candle_core::bail!("block {index} was requested of a transformer with {} blocks", self.len())
            }
        }
    }
}

impl fmt::Debug for BlockStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} blocks resident", self.resident(), self.len())
    }
}
