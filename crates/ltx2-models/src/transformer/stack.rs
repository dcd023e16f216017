//! The blocks: in memory, or some of them read whenever a step comes to them.

use std::fmt;
use std::sync::Arc;

use candle_core::Result;

use super::TransformerConfig;
use super::block::Block;
use crate::VarBuilder;

/// All blocks in their order.
pub(super) struct BlockStack {
    config: TransformerConfig,
    /// The first of them.
    resident: Vec<Arc<Block>>,
    /// Where the others are read, if there are any.
    others: Option<VarBuilder>,
}

impl BlockStack {
    /// Reads the first `resident` of them.
    pub(super) fn new(config: &TransformerConfig, vb: VarBuilder, resident: usize) -> Result<Self> {
        let read = |index| Block::new(config, index, vb.pp(index)).map(Arc::new);
        let resident = (0..config.num_layers.min(resident)).map(read).collect::<Result<Vec<_>>>()?;
        let others = (resident.len() < config.num_layers).then_some(vb);
        Ok(Self { config: config.clone(), resident, others })
    }

    pub(super) fn len(&self) -> usize {
        self.config.num_layers
    }

    /// How many are in memory.
    pub(super) fn resident(&self) -> usize {
        self.resident.len()
    }

    /// Block number `index`; what is not in memory goes with the last that has it.
    pub(super) fn get(&self, index: usize) -> Result<Arc<Block>> {
        match (self.resident.get(index), &self.others) {
            (Some(block), _) => Ok(block.clone()),
            (None, Some(others)) => Block::new(&self.config, index, others.pp(index)).map(Arc::new),
            (None, None) => candle_core::bail!("block {index} of {}", self.len()),
        }
    }
}

impl fmt::Debug for BlockStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} blocks in memory", self.resident(), self.len())
    }
}
