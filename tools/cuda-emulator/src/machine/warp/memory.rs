//! Memory instructions: loads, stores, atomics, `ldmatrix` and `cp.async`.

use super::copies::AsyncCopy;
use super::executor::Executor;
use super::frame::Frame;
use crate::machine::lanes::{Lanes, lanes};
use crate::machine::matrix;
use crate::machine::memory::{atomic, read, write};
use crate::ptx::{Function, Operation, Slot, Source, Space, Type};

/// Operand of a memory access: state space, base address per lane, and offset.
struct Address {
    space: Space,
    base: Lanes,
    offset: i64,
}

impl Address {
    fn of(&self, lane: usize) -> u64 {
        self.base[lane].wrapping_add_signed(self.offset)
    }
}

impl Executor<'_, '_> {
    /// Executes instructions that access memory or call functions.
    pub(super) fn execute_memory(
        &mut self,
        operation: &Operation,
        caller: &Function,
        frame: &mut Frame,
        active: u32,
    ) -> Result<(), String> {
        match operation {
            Operation::Load { space, kind, to, base, offset } => {
                let address = self.address(*space, *base, *offset, frame);
                self.load(*kind, to, &address, frame, active)
            }
            Operation::Store { space, kind, values, base, offset } => {
                let address = self.address(*space, *base, *offset, frame);
                self.store(*kind, values, &address, frame, active)
            }
            Operation::Atomic { space, base, offset, .. } => {
                let address = self.address(*space, *base, *offset, frame);
                self.atomic(operation, &address, frame, active)
            }
            Operation::LoadMatrix { to, transposed, base, offset } => {
                let address = self.address(Space::Shared, *base, *offset, frame);
                self.load_matrices(to, *transposed, &address, frame, active)
            }
            Operation::CopyAsync { bytes, to, from, present } => {
                let to = self.address(Space::Shared, to.0, to.1, frame);
                let from = self.address(Space::Global, from.0, from.1, frame);
                let present = present.map(|present| self.value(present, &frame.registers));
                self.start_copies(*bytes, &to, &from, present.as_ref(), active)
            }
            Operation::CommitCopies => {
                let group = std::mem::take(&mut self.copies.open);
                self.copies.groups.push_back(group);
                Ok(())
            }
            Operation::WaitCopies(most) => {
                while self.copies.groups.len() > *most {
                    let group = self.copies.groups.pop_front().unwrap_or_default();
                    group.iter().try_for_each(|copy| self.complete_copy(copy, &mut frame.local))?;
                }
                Ok(())
            }
            Operation::Call { function, results, arguments } => {
                self.call(function, results, arguments, caller, frame, active)
            }
            Operation::Trap => Err("trap".into()),
            Operation::Nop => Ok(()),
            other => self.execute_warpgroup(other, frame, active),
        }
    }

    fn address(&self, space: Space, base: Source, offset: i64, frame: &Frame) -> Address {
        Address { space, base: self.value(base, &frame.registers), offset }
    }

    fn load(
        &mut self,
        kind: Type,
        to: &[Slot],
        address: &Address,
        frame: &mut Frame,
        active: u32,
    ) -> Result<(), String> {
        let size = kind.bytes();
        for lane in lanes(active) {
            let at = self.memory.resolve(address.space, address.of(lane), size * to.len(), lane, &mut frame.local)?;
            for (index, slot) in to.iter().enumerate() {
                // SAFETY: `resolve` checked that `size * to.len()` bytes are readable at `at`.
                frame.registers[*slot as usize][lane] = unsafe { read(kind, at.add(index * size)) };
            }
        }
        Ok(())
    }

    fn store(
        &mut self,
        kind: Type,
        values: &[Source],
        address: &Address,
        frame: &mut Frame,
        active: u32,
    ) -> Result<(), String> {
        let values: Vec<_> = values.iter().map(|value| self.value(*value, &frame.registers)).collect();
        let size = kind.bytes();
        for lane in lanes(active) {
            let (start, bytes) = (address.of(lane), size * values.len());
            let at = self.memory.resolve(address.space, start, bytes, lane, &mut frame.local)?;
            self.memory.record_write(address.space, start, bytes, self.number)?;
            for (index, value) in values.iter().enumerate() {
                // SAFETY: `resolve` checked that `size * values.len()` bytes are writable at `at`.
                unsafe { write(kind, at.add(index * size), value[lane]) };
            }
        }
        Ok(())
    }

    fn atomic(
        &mut self,
        operation: &Operation,
        address: &Address,
        frame: &mut Frame,
        active: u32,
    ) -> Result<(), String> {
        let Operation::Atomic { function, kind, to, a, b, .. } = operation else {
            return Err(format!("{operation:?} is not an atomic operation"));
        };
        let [a, b] = [a, b].map(|source| self.value(*source, &frame.registers));
        for lane in lanes(active) {
            let start = address.of(lane);
            let at = self.memory.resolve(address.space, start, kind.bytes(), lane, &mut frame.local)?;
            self.memory.record_write(address.space, start, kind.bytes(), self.number)?;
            // SAFETY: `resolve` checked that `kind.bytes()` bytes are accessible at `at`.
            let previous = unsafe { atomic(*function, *kind, at, a[lane], b[lane]) }?;
            if let Some(slot) = to {
                frame.registers[*slot as usize][lane] = previous;
            }
        }
        Ok(())
    }

    /// `ldmatrix`: each group of eight lanes holds the row addresses of one matrix.
    fn load_matrices(
        &mut self,
        to: &[Slot],
        transposed: bool,
        address: &Address,
        frame: &mut Frame,
        active: u32,
    ) -> Result<(), String> {
        if active != u32::MAX {
            return Err("ldmatrix is executed by less than a full warp".into());
        }
        for (number, slot) in to.iter().enumerate() {
            let mut rows = [[0u16; 8]; 8];
            for (row, values) in rows.iter_mut().enumerate() {
                let lane = 8 * number + row;
                let at = self.memory.resolve(Space::Shared, address.of(lane), 16, lane, &mut frame.local)?;
                // SAFETY: `resolve` checked that 16 bytes are readable at `at`.
                *values = unsafe { at.cast::<[u16; 8]>().read_unaligned() };
            }
            frame.registers[*slot as usize] = matrix::distribute(&rows, transposed);
        }
        Ok(())
    }

    /// `cp.async`: the copies are performed by `complete_copy` when they are waited for.
    fn start_copies(
        &mut self,
        bytes: usize,
        to: &Address,
        from: &Address,
        present: Option<&Lanes>,
        active: u32,
    ) -> Result<(), String> {
        for lane in lanes(active) {
            let present = present.map_or(bytes, |present| (present[lane] as u32 as usize).min(bytes));
            let (to, from) = (to.of(lane), from.of(lane));
            self.memory.record_copy(to, bytes)?;
            self.copies.open.push(AsyncCopy { lane, to, from, bytes, present });
        }
        Ok(())
    }

    fn complete_copy(&mut self, copy: &AsyncCopy, local: &mut [u8]) -> Result<(), String> {
        let to = self.memory.resolve(Space::Shared, copy.to, copy.bytes, copy.lane, local)?;
        let mut bytes = [0u8; 16];
        if copy.present > 0 {
            // The address is aligned for the full copy, even if fewer bytes are read.
            if !copy.from.is_multiple_of(copy.bytes as u64) {
                return Err(format!("misaligned source of a copy of {} bytes: {:#x}", copy.bytes, copy.from));
            }
            for (index, byte) in bytes.iter_mut().enumerate().take(copy.present) {
                let from = self.memory.resolve(Space::Global, copy.from + index as u64, 1, copy.lane, local)?;
                // SAFETY: `resolve` checked that the byte is readable.
                *byte = unsafe { from.read() };
            }
        }
        self.memory.record_write(Space::Shared, copy.to, copy.bytes, self.number)?;
        // SAFETY: `resolve` checked that `copy.bytes` bytes are writable at `to`; `bytes` has at least as many.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, copy.bytes) };
        Ok(())
    }
}
