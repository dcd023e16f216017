//! A warp's part in its warpgroup's products: 16 rows of 64, which land in its registers when they are waited for.

use std::collections::{HashMap, VecDeque};

use super::{Frame, Run};
use crate::machine::descriptor::Descriptor;
use crate::machine::lanes::{LANES, Lanes};
use crate::machine::matrix;
use crate::ptx::{GroupOperand, GroupProduct, Operation, SharedMatrix, Sign, Slot, Source};

/// What a register holds until the product that it belongs to is waited for: NaN.
const PENDING: u64 = 0xffff_ffff;

/// Rows of a warp's part, and terms of each sum.
const SIDE: usize = 16;

/// A product under way.
struct Begun {
    to: Vec<Slot>,
    /// Registers that are read, as they were.
    a: Vec<(Slot, Lanes)>,
    /// Bytes of the pieces of shared memory that are read.
    pieces: Vec<usize>,
}

/// Products that were begun, and those that were made one group.
#[derive(Default)]
pub(super) struct Products {
    is_fenced: bool,
    open: Vec<Begun>,
    groups: VecDeque<Vec<Begun>>,
    /// What will be in the registers of those under way.
    sums: HashMap<Slot, Lanes>,
}

impl Products {
    fn commit(&mut self) {
        let group = std::mem::take(&mut self.open);
        self.groups.push_back(group);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.sums.is_empty()
    }

    fn under_way(&self) -> impl Iterator<Item = &Begun> {
        self.groups.iter().flatten().chain(&self.open)
    }

    /// Products of one shape follow each other on the same registers; all else has to wait.
    fn may_begin(&self, product: &GroupProduct) -> Result<(), String> {
        if !self.is_fenced {
            return Err("a product without wgmma.fence since the last ones were waited for".into());
        }
        let shares = |begun: &&Begun| begun.to != product.to && begun.to.iter().any(|slot| product.to.contains(slot));
        if self.under_way().any(|begun| shares(&begun)) {
            return Err("a product into registers of another one that is under way".into());
        }
        Ok(())
    }
}

impl Run<'_, '_> {
    /// Instructions of a whole warpgroup.
    pub(super) fn warpgroup(&mut self, operation: &Operation, frame: &mut Frame, active: u32) -> Result<(), String> {
        if active != u32::MAX {
            return Err("an instruction of a warpgroup by less than whole warps".into());
        }
        match operation {
            Operation::PublishShared => self.reach.shared.visibility.publish(self.number),
            Operation::FenceProducts => frame.products.is_fenced = true,
            Operation::GroupProduct(product) => return self.begin_product(product, frame),
            Operation::CommitProducts => frame.products.commit(),
            Operation::AwaitProducts(most) => return self.await_products(*most, frame),
            other => return Err(format!("{other:?} is not emulated here")),
        }
        Ok(())
    }

    /// A descriptor or a predicate, which all lanes have to agree on.
    fn common(&self, source: Source, frame: &Frame) -> Result<u64, String> {
        let values = self.value(source, &frame.registers);
        if values.iter().any(|value| *value != values[0]) {
            return Err("the lanes of a warp say different things of one product".into());
        }
        Ok(values[0])
    }

    /// Some rows of a matrix, 16 elements each; `length` is how many its descriptor covers.
    fn fetch(
        &mut self,
        matrix: &SharedMatrix,
        bits: u64,
        length: usize,
        rows: std::ops::Range<usize>,
        pieces: &mut Vec<usize>,
    ) -> Result<Vec<[f32; SIDE]>, String> {
        let descriptor = Descriptor::new(bits, matrix.major, length)?;
        let sign = sign(matrix.sign);
        let mut values = vec![[0.0; SIDE]; rows.len()];
        for (row, values) in rows.zip(&mut values) {
            for (k, value) in values.iter_mut().enumerate() {
                let at = descriptor.place(row, k);
                *value = sign * self.reach.shared.product_element(at)?;
                pieces.push(at / 16 * 16);
            }
        }
        Ok(values)
    }

    /// Computes at once what lands later.
    fn begin_product(&mut self, product: &GroupProduct, frame: &mut Frame) -> Result<(), String> {
        frame.products.may_begin(product)?;
        let (columns, member) = (2 * product.to.len(), self.number % 4);
        let b_bits = self.common(product.b.descriptor, frame)?;
        let a_bits = match &product.a {
            GroupOperand::Shared(a) => self.common(a.descriptor, frame)?,
            GroupOperand::Registers { .. } => 0,
        };
        let instruction = std::ptr::from_ref(product) as usize;
        self.reach.shared.roll(self.number / 4).call(member, (instruction, [a_bits, b_bits]))?;
        let (mut pieces, mut registers) = (Vec::new(), Vec::new());
        let a = match &product.a {
            GroupOperand::Shared(a) => self.fetch(a, a_bits, 64, SIDE * member..SIDE * (member + 1), &mut pieces)?,
            GroupOperand::Registers { slots, sign: of_a } => {
                registers.extend(slots.map(|slot| (slot, frame.registers[slot as usize])));
                let values = matrix::left(&slots.map(|slot| frame.registers[slot as usize]));
                values.map(|row| row.map(|value| sign(*of_a) * value)).to_vec()
            }
        };
        let b = self.fetch(&product.b, b_bits, columns, 0..columns, &mut pieces)?;
        pieces.sort_unstable();
        pieces.dedup();
        pieces.iter().try_for_each(|at| self.reach.shared.visibility.read(*at))?;
        let adds = self.common(product.adds, frame)? & 1 == 1;
        for (number, slot) in product.to.iter().enumerate() {
            let before = frame.products.sums.get(slot).copied().unwrap_or(frame.registers[*slot as usize]);
            let sum = matrix::group_sum(&a, &b, number, if adds { before } else { [0; LANES] });
            frame.products.sums.insert(*slot, sum);
            frame.registers[*slot as usize] = [PENDING; LANES];
        }
        frame.products.open.push(Begun { to: product.to.clone(), a: registers, pieces });
        Ok(())
    }

    /// Until at most `most` groups are under way.
    fn await_products(&mut self, most: usize, frame: &mut Frame) -> Result<(), String> {
        frame.products.is_fenced = false;
        let mut done = Vec::new();
        while frame.products.groups.len() > most {
            done.extend(frame.products.groups.pop_front().unwrap_or_default());
        }
        for begun in &done {
            if begun.a.iter().any(|(slot, before)| frame.registers[*slot as usize] != *before) {
                return Err("registers were changed that a product was still to read".into());
            }
            begun.pieces.iter().for_each(|at| self.reach.shared.visibility.release(*at));
        }
        for slot in done.iter().flat_map(|begun| &begun.to) {
            if frame.products.under_way().any(|begun| begun.to.contains(slot)) {
                continue;
            }
            // Several products of a group have the same registers.
            if let Some(sum) = frame.products.sums.remove(slot) {
                if frame.registers[*slot as usize] != [PENDING; LANES] {
                    return Err("registers were written that a product was still to write".into());
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
