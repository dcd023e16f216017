//! Activation of a function: registers, local memory and lane positions.

use super::products::PendingProducts;
use crate::machine::lanes::{LANES, Lanes};
use crate::machine::memory::POISON;
use crate::ptx::Function;

/// Lanes at the same instruction.
#[derive(Debug, Clone, Copy)]
pub(super) struct LaneGroup {
    pub(super) pc: usize,
    pub(super) lanes: u32,
}

/// Registers, local memory and lane positions of an activation of a function.
pub(super) struct Frame {
    pub(super) registers: Vec<Lanes>,
    pub(super) local: Vec<u8>,
    pub(super) groups: Vec<LaneGroup>,
    pub(super) waiting: Vec<LaneGroup>,
    pub(super) carry: Lanes,
    pub(super) products: PendingProducts,
}

impl Frame {
    pub(super) fn new(function: &Function, lanes: u32) -> Self {
        Self {
            registers: vec![[0; LANES]; function.slots],
            local: vec![POISON; function.local.next_multiple_of(16) * LANES],
            groups: vec![LaneGroup { pc: 0, lanes }],
            waiting: Vec::new(),
            carry: [0; LANES],
            products: PendingProducts::default(),
        }
    }
}
