//! A warp's part of `wgmma`: 16 of the 64 rows. Results are written to registers when they are waited for.

use super::executor::Executor;
use super::frame::Frame;
use super::products::PendingProduct;
use crate::machine::descriptor::Descriptor;
use crate::machine::lanes::LANES;
use crate::machine::matrix;
use crate::ptx::{Operation, SharedMatrix, Sign, Source, WarpgroupMma, WarpgroupOperand};

/// Value of an accumulator register while its product is pending: NaN.
const PENDING: u64 = 0xffff_ffff;

/// Rows of a warp's part, and the reduced dimension of a product.
const SIDE: usize = 16;

impl Executor<'_, '_> {
    /// Executes a warpgroup instruction.
    pub(super) fn execute_warpgroup(
        &mut self,
        operation: &Operation,
        frame: &mut Frame,
        active: u32,
    ) -> Result<(), String> {
        if active != u32::MAX {
            return Err("warpgroup instruction executed by less than full warps".into());
        }
        match operation {
            Operation::ProxyFence => self.memory.shared.visibility.publish(self.number),
            Operation::WgmmaFence => frame.products.is_fenced = true,
            Operation::Wgmma(product) => return self.start_product(product, frame),
            Operation::WgmmaCommit => frame.products.commit(),
            Operation::WgmmaWait(most) => return self.wait_products(*most, frame),
            other => return Err(format!("unsupported operation {other:?}")),
        }
        Ok(())
    }

    /// Returns the value of a source that must be equal in all lanes.
    fn uniform(&self, source: Source, frame: &Frame) -> Result<u64, String> {
        let values = self.value(source, &frame.registers);
        if values.iter().any(|value| *value != values[0]) {
            return Err("the lanes of a warp have different operands for one wgmma".into());
        }
        Ok(values[0])
    }

    /// Reads `rows` of a matrix from shared memory, 16 elements each; `length` is the number of rows that its
    /// descriptor covers.
    fn read_rows(
        &mut self,
        matrix: &SharedMatrix,
        bits: u64,
        length: usize,
        rows: std::ops::Range<usize>,
        chunks: &mut Vec<usize>,
    ) -> Result<Vec<[f32; SIDE]>, String> {
        let descriptor = Descriptor::new(bits, matrix.major, length)?;
        let sign = sign(matrix.sign);
        let mut values = vec![[0.0; SIDE]; rows.len()];
        for (row, values) in rows.zip(&mut values) {
            for (k, value) in values.iter_mut().enumerate() {
                let at = descriptor.offset(row, k);
                *value = sign * self.memory.shared.matrix_element(at)?;
                chunks.push(at / 16 * 16);
            }
        }
        Ok(values)
    }

    /// Computes a product, whose results become visible with `wait_products`.
    fn start_product(&mut self, product: &WarpgroupMma, frame: &mut Frame) -> Result<(), String> {
        frame.products.check_start(product)?;
        let (columns, member) = (2 * product.to.len(), self.number % 4);
        let b_bits = self.uniform(product.b.descriptor, frame)?;
        let a_bits = match &product.a {
            WarpgroupOperand::Shared(a) => self.uniform(a.descriptor, frame)?,
            WarpgroupOperand::Registers { .. } => 0,
        };
        let instruction = std::ptr::from_ref(product) as usize;
        self.memory.shared.issue_order(self.number / 4).record(member, (instruction, [a_bits, b_bits]))?;
        let (mut chunks, mut registers) = (Vec::new(), Vec::new());
        let a = match &product.a {
            WarpgroupOperand::Shared(a) => {
                self.read_rows(a, a_bits, 64, SIDE * member..SIDE * (member + 1), &mut chunks)?
            }
            WarpgroupOperand::Registers { slots, sign: of_a } => {
                registers.extend(slots.map(|slot| (slot, frame.registers[slot as usize])));
                let values = matrix::left_fragment(&slots.map(|slot| frame.registers[slot as usize]));
                values.map(|row| row.map(|value| sign(*of_a) * value)).to_vec()
            }
        };
        let b = self.read_rows(&product.b, b_bits, columns, 0..columns, &mut chunks)?;
        chunks.sort_unstable();
        chunks.dedup();
        chunks.iter().try_for_each(|at| self.memory.shared.visibility.read(*at))?;
        let accumulates = self.uniform(product.accumulate, frame)? & 1 == 1;
        for (register, slot) in product.to.iter().enumerate() {
            let before = frame.products.results.get(slot).copied().unwrap_or(frame.registers[*slot as usize]);
            let sum = matrix::accumulate(&a, &b, register, if accumulates { before } else { [0; LANES] });
            frame.products.results.insert(*slot, sum);
            frame.registers[*slot as usize] = [PENDING; LANES];
        }
        frame.products.open.push(PendingProduct { to: product.to.clone(), a: registers, chunks });
        Ok(())
    }

    /// Completes groups until at most `most` are pending.
    fn wait_products(&mut self, most: usize, frame: &mut Frame) -> Result<(), String> {
        frame.products.is_fenced = false;
        let mut done = Vec::new();
        while frame.products.groups.len() > most {
            done.extend(frame.products.groups.pop_front().unwrap_or_default());
        }
        for pending in &done {
            if pending.a.iter().any(|(slot, before)| frame.registers[*slot as usize] != *before) {
                return Err("operand registers of a pending wgmma are changed before it is waited for".into());
            }
            pending.chunks.iter().for_each(|at| self.memory.shared.visibility.release(*at));
        }
        for slot in done.iter().flat_map(|pending| &pending.to) {
            if frame.products.pending().any(|pending| pending.to.contains(slot)) {
                continue;
            }
            // Products of a group may share accumulators.
            if let Some(sum) = frame.products.results.remove(slot) {
                if frame.registers[*slot as usize] != [PENDING; LANES] {
                    return Err("accumulators of a pending wgmma are written before it is waited for".into());
                }
                frame.registers[*slot as usize] = sum;
            }
        }
        Ok(())
    }
}

fn sign(sign: Sign) -> f32 {
    match sign {
        Sign::Plus => 1.0,
        Sign::Minus => -1.0,
    }
}
