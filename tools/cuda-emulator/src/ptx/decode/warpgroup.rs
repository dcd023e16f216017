//! Decoding of warpgroup instructions: `wgmma` and `fence.proxy.async`.

use super::{Decoded, Decoder};
use crate::ptx::operand::Operand;
use crate::ptx::{Major, Operation, SharedMatrix, Sign, Source, WarpgroupMma, WarpgroupOperand};

impl Decoder<'_, '_, '_> {
    pub(super) fn proxy_fence(&self) -> Decoded {
        match self.modifiers[..] {
            ["proxy", "async"] | ["proxy", "async", "shared::cta"] => Ok(Operation::ProxyFence),
            _ => self.unsupported(),
        }
    }

    pub(super) fn warpgroup(&self) -> Decoded {
        match self.modifiers[..] {
            ["fence", "sync", "aligned"] => Ok(Operation::WgmmaFence),
            ["commit_group", "sync", "aligned"] => Ok(Operation::WgmmaCommit),
            ["wait_group", "sync", "aligned"] => match self.source(0)? {
                Source::Constant(count @ 0..=7) => Ok(Operation::WgmmaWait(count as usize)),
                _ => self.unsupported(),
            },
            ["mma_async", "sync", "aligned", shape, "f32", "bf16", "bf16"] => self.wgmma(shape),
            _ => self.unsupported(),
        }
    }

    /// Operands: `d, a, b, scale-d, scale-a, scale-b`, then transposition flags for each operand in shared memory.
    fn wgmma(&self, shape: &str) -> Decoded {
        let columns = shape.strip_prefix("m64n").and_then(|rest| rest.strip_suffix("k16")).and_then(|n| n.parse().ok());
        let to = self.slots(0)?;
        let is_valid = |columns: &usize| columns.is_multiple_of(8) && (8..=256).contains(columns);
        if columns.filter(is_valid) != Some(2 * to.len()) {
            return Err("wrong number of accumulator registers".into());
        }
        let in_registers = matches!(self.operand(1)?, Operand::Vector(_));
        if self.operands.len() != if in_registers { 7 } else { 8 } {
            return self.unsupported();
        }
        let a = if in_registers {
            let slots = self.slots(1)?.try_into().map_err(|_| "wrong number of registers in operand a")?;
            WarpgroupOperand::Registers { slots, sign: self.sign(4)? }
        } else {
            WarpgroupOperand::Shared(SharedMatrix {
                descriptor: self.source(1)?,
                major: self.major(6)?,
                sign: self.sign(4)?,
            })
        };
        let major = self.major(self.operands.len() - 1)?;
        let b = SharedMatrix { descriptor: self.source(2)?, major, sign: self.sign(5)? };
        Ok(Operation::Wgmma(Box::new(WarpgroupMma { to, a, b, accumulate: self.source(3)? })))
    }

    fn sign(&self, at: usize) -> Result<Sign, String> {
        match self.source(at)? {
            Source::Constant(1) => Ok(Sign::Plus),
            Source::Constant(u64::MAX) => Ok(Sign::Minus),
            _ => self.unsupported(),
        }
    }

    fn major(&self, at: usize) -> Result<Major, String> {
        match self.source(at)? {
            Source::Constant(0) => Ok(Major::K),
            Source::Constant(1) => Ok(Major::Mn),
            _ => self.unsupported(),
        }
    }
}
