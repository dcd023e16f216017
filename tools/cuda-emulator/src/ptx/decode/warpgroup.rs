//! Instructions of warpgroups: `wgmma` and the fence that goes with it.

use super::{Decoded, Decoder};
use crate::ptx::operand::Operand;
use crate::ptx::{GroupOperand, GroupProduct, Major, Operation, SharedMatrix, Sign, Source};

impl Decoder<'_, '_, '_> {
    pub(super) fn proxy_fence(&self) -> Decoded {
        match self.parts[..] {
            ["proxy", "async"] | ["proxy", "async", "shared::cta"] => Ok(Operation::PublishShared),
            _ => self.unknown(),
        }
    }

    pub(super) fn warpgroup(&self) -> Decoded {
        match self.parts[..] {
            ["fence", "sync", "aligned"] => Ok(Operation::FenceProducts),
            ["commit_group", "sync", "aligned"] => Ok(Operation::CommitProducts),
            ["wait_group", "sync", "aligned"] => match self.source(0)? {
                Source::Constant(count @ 0..=7) => Ok(Operation::AwaitProducts(count as usize)),
                _ => self.unknown(),
            },
            ["mma_async", "sync", "aligned", shape, "f32", "bf16", "bf16"] => self.group_product(shape),
            _ => self.unknown(),
        }
    }

    /// `d, a, b, scale-d, sign-a, sign-b` and whether a and b are transposed; a in registers never is.
    fn group_product(&self, shape: &str) -> Decoded {
        let columns = shape.strip_prefix("m64n").and_then(|rest| rest.strip_suffix("k16")).and_then(|n| n.parse().ok());
        let to = self.slots(0)?;
        let is_valid = |columns: &usize| columns.is_multiple_of(8) && (8..=256).contains(columns);
        if columns.filter(is_valid) != Some(2 * to.len()) {
            return Err("the sum has a wrong number of registers".into());
        }
        let in_registers = matches!(self.operand(1)?, Operand::Vector(_));
        if self.operands.len() != if in_registers { 7 } else { 8 } {
            return self.unknown();
        }
        let a = if in_registers {
            let slots = self.slots(1)?.try_into().map_err(|_| "a has a wrong number of registers")?;
            GroupOperand::Registers { slots, sign: self.sign(4)? }
        } else {
            GroupOperand::Shared(SharedMatrix {
                descriptor: self.source(1)?,
                major: self.major(6)?,
                sign: self.sign(4)?,
            })
        };
        let major = self.major(self.operands.len() - 1)?;
        let b = SharedMatrix { descriptor: self.source(2)?, major, sign: self.sign(5)? };
        Ok(Operation::GroupProduct(Box::new(GroupProduct { to, a, b, adds: self.source(3)? })))
    }

    fn sign(&self, at: usize) -> Result<Sign, String> {
        match self.source(at)? {
            Source::Constant(1) => Ok(Sign::Plus),
            Source::Constant(u64::MAX) => Ok(Sign::Minus),
            _ => self.unknown(),
        }
    }

    fn major(&self, at: usize) -> Result<Major, String> {
        match self.source(at)? {
            Source::Constant(0) => Ok(Major::K),
            Source::Constant(1) => Ok(Major::Mn),
            _ => self.unknown(),
        }
    }
}
