//! Control flow of a warp: divergence, reconvergence, barriers and calls.

use super::copies::AsyncCopies;
use super::frame::{Frame, LaneGroup};
use super::position::BlockPosition;
use crate::machine::lanes::{LANES, Lanes, blend, mask};
use crate::machine::launch::Functions;
use crate::machine::memory::WarpMemory;
use crate::ptx::{Function, Operation, Source, Special};

/// Context of instruction execution besides the frame.
pub(super) struct Executor<'a, 'b> {
    pub(super) number: usize,
    pub(super) functions: &'a Functions,
    pub(super) position: &'a BlockPosition,
    pub(super) memory: &'a mut WarpMemory<'b>,
    pub(super) copies: &'a mut AsyncCopies,
}

impl Executor<'_, '_> {
    /// Runs until every lane of the frame has exited or waits at a barrier.
    pub(super) fn run_frame(&mut self, function: &Function, frame: &mut Frame) -> Result<(), String> {
        while let Some(group) = take_earliest(&mut frame.groups) {
            let reconvergence = frame.groups.iter().map(|group| group.pc).min().unwrap_or(usize::MAX);
            self.run_group(function, frame, group, reconvergence)?;
        }
        Ok(())
    }

    /// Executes a lane group until it diverges, reaches the next group at `reconvergence`, waits or exits.
    fn run_group(
        &mut self,
        function: &Function,
        frame: &mut Frame,
        mut group: LaneGroup,
        reconvergence: usize,
    ) -> Result<(), String> {
        loop {
            if group.pc >= reconvergence {
                frame.groups.push(group);
                return Ok(());
            }
            let Some(instruction) = function.instructions.get(group.pc) else { return Ok(()) };
            let active = match instruction.guard {
                None => group.lanes,
                Some((slot, must_be)) => {
                    let holds = mask(&frame.registers[slot as usize]);
                    group.lanes & if must_be { holds } else { !holds }
                }
            };
            let rest = group.lanes & !active;
            let next = group.pc + 1;
            match &instruction.operation {
                _ if active == 0 => group.pc = next,
                Operation::Branch(target) if rest == 0 => group.pc = *target,
                Operation::Branch(target) => {
                    frame.groups.push(LaneGroup { pc: *target, lanes: active });
                    frame.groups.push(LaneGroup { pc: next, lanes: rest });
                    return Ok(());
                }
                Operation::Return if rest == 0 => return Ok(()),
                Operation::Return => group = LaneGroup { pc: next, lanes: rest },
                Operation::Barrier => {
                    frame.waiting.push(LaneGroup { pc: next, lanes: active });
                    if rest == 0 {
                        return Ok(());
                    }
                    group = LaneGroup { pc: next, lanes: rest };
                }
                operation => {
                    self.execute(operation, function, frame, active)
                        .map_err(|reason| format!("line {}: {reason}", instruction.line))?;
                    group.pc = next;
                }
            }
        }
    }

    /// Returns the value of a source in each lane.
    pub(super) fn value(&self, source: Source, registers: &[Lanes]) -> Lanes {
        match source {
            Source::Register(slot) => registers[slot as usize],
            Source::Constant(bits) => [bits; LANES],
            Source::Special(special) => self.special(special),
        }
    }

    fn special(&self, special: Special) -> Lanes {
        let BlockPosition { block_index, grid_size, block_size } = self.position;
        match special {
            Special::ThreadIndex(axis) => {
                let [x, y, _] = block_size.map(u64::from);
                std::array::from_fn(|lane| {
                    let thread = (self.number * LANES + lane) as u64;
                    [thread % x, thread / x % y, thread / x / y][axis]
                })
            }
            Special::BlockSize(axis) => [u64::from(block_size[axis]); LANES],
            Special::BlockIndex(axis) => [u64::from(block_index[axis]); LANES],
            Special::GridSize(axis) => [u64::from(grid_size[axis]); LANES],
            Special::Lane => std::array::from_fn(|lane| lane as u64),
            Special::Warp => [self.number as u64; LANES],
        }
    }

    /// Calls a device function with the active lanes.
    pub(super) fn call(
        &mut self,
        name: &str,
        results: &[usize],
        arguments: &[usize],
        caller: &Function,
        frame: &mut Frame,
        active: u32,
    ) -> Result<(), String> {
        let Some(callee) = self.functions.get(name) else {
            return Err(match name {
                "__assertfail" => "an assertion failed".into(),
                _ => format!("call of undefined function {name}"),
            });
        };
        let mut inner = Frame::new(callee, active);
        for (theirs, ours) in callee.inputs.iter().zip(arguments) {
            for (offset, slot) in &callee.parameters[*theirs] {
                if let Some(from) = caller.parameters[*ours].get(offset) {
                    inner.registers[*slot as usize] = frame.registers[*from as usize];
                }
            }
        }
        self.run_frame(callee, &mut inner)?;
        if !inner.waiting.is_empty() {
            return Err(format!("barrier in device function {name} is not supported"));
        }
        if !inner.products.is_idle() {
            return Err(format!("pending wgmma at the return of device function {name} is not supported"));
        }
        for (theirs, ours) in callee.results.iter().zip(results) {
            for (offset, slot) in &caller.parameters[*ours] {
                if let Some(from) = callee.parameters[*theirs].get(offset) {
                    blend(&mut frame.registers[*slot as usize], &inner.registers[*from as usize], active);
                }
            }
        }
        Ok(())
    }
}

/// Removes and merges the groups at the lowest instruction.
fn take_earliest(groups: &mut Vec<LaneGroup>) -> Option<LaneGroup> {
    let pc = groups.iter().map(|group| group.pc).min()?;
    let mut lanes = 0;
    groups.retain(|group| {
        let is_there = group.pc == pc;
        lanes |= if is_there { group.lanes } else { 0 };
        !is_there
    });
    Some(LaneGroup { pc, lanes })
}
