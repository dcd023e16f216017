//! Pending `wgmma` products of a warp.

use std::collections::{HashMap, VecDeque};

use crate::machine::lanes::Lanes;
use crate::ptx::{Slot, WarpgroupMma};

/// A pending product.
pub(super) struct PendingProduct {
    pub(super) to: Vec<Slot>,
    /// Registers of operand a, with their values at the start.
    pub(super) a: Vec<(Slot, Lanes)>,
    /// Byte offsets of the chunks of shared memory that are read.
    pub(super) chunks: Vec<usize>,
}

/// Pending products: those not yet committed, and committed groups.
#[derive(Default)]
pub(super) struct PendingProducts {
    pub(super) is_fenced: bool,
    pub(super) open: Vec<PendingProduct>,
    pub(super) groups: VecDeque<Vec<PendingProduct>>,
    /// Results of pending products, by register.
    pub(super) results: HashMap<Slot, Lanes>,
}

impl PendingProducts {
    pub(super) fn commit(&mut self) {
        let group = std::mem::take(&mut self.open);
        self.groups.push_back(group);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.results.is_empty()
    }

    pub(super) fn pending(&self) -> impl Iterator<Item = &PendingProduct> {
        self.groups.iter().flatten().chain(&self.open)
    }

    /// Checks for a fence. Pending products may share accumulators only if they have the same accumulators and shape.
    pub(super) fn check_start(&self, product: &WarpgroupMma) -> Result<(), String> {
        if !self.is_fenced {
            return Err("wgmma without wgmma.fence since the last wait".into());
        }
        let shares = |pending: &&PendingProduct| {
            pending.to != product.to && pending.to.iter().any(|slot| product.to.contains(slot))
        };
        if self.pending().any(|pending| shares(&pending)) {
            return Err("wgmma with accumulators that partly belong to another pending wgmma".into());
        }
        Ok(())
    }
}
