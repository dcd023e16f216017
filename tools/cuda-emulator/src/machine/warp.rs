//! A warp: 32 lanes, some of which may be elsewhere in the code than others.

mod group;

use std::collections::VecDeque;

use super::arithmetic::{binary, carry, compare, ternary, unary};
use super::convert::convert;
use super::lanes::{LANES, Lanes, blend, lanes, mask};
use super::memory::{POISON, Reach, atomic, read, window, write};
use super::{Functions, matrix};
use crate::ptx::{Function, Logic, Operation, Shuffle, Slot, Source, Space, Special, Type, Vote};
use group::Products;

/// Where a block stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) block: [u32; 3],
    pub(super) grid: [u32; 3],
    pub(super) threads: [u32; 3],
}

/// Lanes that are at the same instruction.
#[derive(Debug, Clone, Copy)]
struct Group {
    at: usize,
    lanes: u32,
}

/// A function's registers and memory, and where its lanes are.
struct Frame {
    registers: Vec<Lanes>,
    local: Vec<u8>,
    groups: Vec<Group>,
    waiting: Vec<Group>,
    carry: Lanes,
    products: Products,
}

impl Frame {
    fn new(function: &Function, lanes: u32) -> Self {
        Self {
            registers: vec![[0; LANES]; function.slots],
            local: vec![POISON; function.local.next_multiple_of(16) * LANES],
            groups: vec![Group { at: 0, lanes }],
            waiting: Vec::new(),
            carry: [0; LANES],
            products: Products::default(),
        }
    }
}

/// Bytes on their way into a block's memory.
struct Copy {
    lane: usize,
    to: u64,
    from: u64,
    bytes: usize,
    present: usize,
}

pub(super) struct Warp {
    number: usize,
    /// Lanes that have a thread.
    all: u32,
    frame: Frame,
    flight: Flight,
}

/// Copies that were begun, and those that were made one group.
#[derive(Default)]
struct Flight {
    open: Vec<Copy>,
    groups: VecDeque<Vec<Copy>>,
}

impl Warp {
    pub(super) fn new(kernel: &Function, number: usize, threads: usize) -> Self {
        let count = (threads - number * LANES).min(LANES);
        let all = u32::MAX >> (LANES - count);
        Self { number, all, frame: Frame::new(kernel, all), flight: Flight::default() }
    }

    /// Back to the kernel's first instruction.
    pub(super) fn restart(&mut self) {
        self.frame.groups = vec![Group { at: 0, lanes: self.all }];
        self.frame.waiting.clear();
        self.frame.local.fill(POISON);
        self.frame.products = Products::default();
        self.flight = Flight::default();
    }

    /// Lets the lanes that wait at a barrier go on; `None` if none do.
    pub(super) fn pass_barrier(&mut self) -> Option<()> {
        if self.frame.waiting.is_empty() {
            return None;
        }
        self.frame.groups.append(&mut self.frame.waiting);
        Some(())
    }

    /// Until all lanes have ended or wait at a barrier.
    pub(super) fn run(
        &mut self,
        kernel: &Function,
        functions: &Functions,
        place: &Place,
        reach: &mut Reach,
    ) -> Result<(), String> {
        let mut run = Run { number: self.number, functions, place, reach, flight: &mut self.flight };
        run.frame(kernel, &mut self.frame)
    }
}

/// What instructions need beside registers.
struct Run<'a, 'b> {
    number: usize,
    functions: &'a Functions,
    place: &'a Place,
    reach: &'a mut Reach<'b>,
    flight: &'a mut Flight,
}

impl Run<'_, '_> {
    fn frame(&mut self, function: &Function, frame: &mut Frame) -> Result<(), String> {
        while let Some(group) = earliest(&mut frame.groups) {
            let meets = frame.groups.iter().map(|group| group.at).min().unwrap_or(usize::MAX);
            self.group(function, frame, group, meets)?;
        }
        Ok(())
    }

    /// Steps on until the lanes part, meet those at `meets`, wait or end.
    fn group(&mut self, function: &Function, frame: &mut Frame, mut group: Group, meets: usize) -> Result<(), String> {
        loop {
            if group.at >= meets {
                frame.groups.push(group);
                return Ok(());
            }
            let Some(instruction) = function.instructions.get(group.at) else { return Ok(()) };
            let active = match instruction.guard {
                None => group.lanes,
                Some((slot, must_be)) => {
                    let holds = mask(&frame.registers[slot as usize]);
                    group.lanes & if must_be { holds } else { !holds }
                }
            };
            let rest = group.lanes & !active;
            let next = group.at + 1;
            match &instruction.operation {
                _ if active == 0 => group.at = next,
                Operation::Branch(target) if rest == 0 => group.at = *target,
                Operation::Branch(target) => {
                    frame.groups.push(Group { at: *target, lanes: active });
                    frame.groups.push(Group { at: next, lanes: rest });
                    return Ok(());
                }
                Operation::Return if rest == 0 => return Ok(()),
                Operation::Return => group = Group { at: next, lanes: rest },
                Operation::Barrier => {
                    frame.waiting.push(Group { at: next, lanes: active });
                    if rest == 0 {
                        return Ok(());
                    }
                    group = Group { at: next, lanes: rest };
                }
                operation => {
                    self.step(operation, function, frame, active)
                        .map_err(|reason| format!("line {}: {reason}", instruction.line))?;
                    group.at = next;
                }
            }
        }
    }

    fn value(&self, source: Source, registers: &[Lanes]) -> Lanes {
        match source {
            Source::Register(slot) => registers[slot as usize],
            Source::Constant(bits) => [bits; LANES],
            Source::Special(special) => self.special(special),
        }
    }

    fn special(&self, special: Special) -> Lanes {
        let place = self.place;
        match special {
            Special::Thread(axis) => {
                let [x, y, _] = place.threads.map(u64::from);
                std::array::from_fn(|lane| {
                    let thread = (self.number * LANES + lane) as u64;
                    [thread % x, thread / x % y, thread / x / y][axis]
                })
            }
            Special::Threads(axis) => [u64::from(place.threads[axis]); LANES],
            Special::Block(axis) => [u64::from(place.block[axis]); LANES],
            Special::Blocks(axis) => [u64::from(place.grid[axis]); LANES],
            Special::Lane => std::array::from_fn(|lane| lane as u64),
            Special::Warp => [self.number as u64; LANES],
        }
    }

    fn step(&mut self, operation: &Operation, caller: &Function, frame: &mut Frame, active: u32) -> Result<(), String> {
        let get = |source: &Source| self.value(*source, &frame.registers);
        let (to, value) = match operation {
            Operation::Unary { function, kind, to, a } => (to, unary(*function, *kind, &get(a))?),
            Operation::Binary { function, kind, to, a, b } => (to, binary(*function, *kind, &get(a), &get(b))?),
            Operation::Ternary { function, kind, to, a, b, c } => {
                (to, ternary(*function, *kind, &get(a), &get(b), &get(c))?)
            }
            Operation::Carry { function, kind, takes, leaves, to, a, b, c } => {
                let taken = if *takes { frame.carry } else { [0; LANES] };
                let (value, left) = carry(*function, *kind, [&get(a), &get(b), &get(c)], &taken)?;
                if *leaves {
                    blend(&mut frame.carry, &left, active);
                }
                (to, value)
            }
            Operation::Compare { comparison, kind, with, to, not, a, b } => {
                let outcome = compare(*comparison, *kind, &get(a), &get(b))?;
                let combined = |outcome: Lanes| match with {
                    Some((logic, other)) => logical(*logic, &outcome, &get(other)),
                    None => outcome,
                };
                if let Some(not) = not {
                    let negated = combined(outcome.map(|bit| bit ^ 1));
                    let value = combined(outcome);
                    blend(&mut frame.registers[*not as usize], &negated, active);
                    blend(&mut frame.registers[*to as usize], &value, active);
                    return Ok(());
                }
                (to, combined(outcome))
            }
            Operation::Set { comparison, result, kind, to, a, b } => {
                let one = match result {
                    Type::F32 => u64::from(1f32.to_bits()),
                    Type::F16 => u64::from(half::f16::ONE.to_bits()),
                    Type::Bf16 => u64::from(half::bf16::ONE.to_bits()),
                    Type::U32 | Type::S32 => u64::from(u32::MAX),
                    _ => return Err(format!("set to {result:?} is not emulated")),
                };
                (to, compare(*comparison, *kind, &get(a), &get(b))?.map(|bit| bit * one))
            }
            Operation::Select { to, a, b, predicate } => {
                let (a, b, predicate) = (get(a), get(b), get(predicate));
                (to, std::array::from_fn(|lane| if predicate[lane] & 1 == 1 { a[lane] } else { b[lane] }))
            }
            Operation::Pack { bits, to, parts } => {
                let ones = u64::MAX >> (64 - bits);
                let mut value = [0; LANES];
                for (place, part) in parts.iter().enumerate() {
                    let part = get(part);
                    (0..LANES).for_each(|lane| value[lane] |= (part[lane] & ones) << (place as u32 * bits));
                }
                (to, value)
            }
            Operation::Unpack { bits, to, a } => {
                let (ones, value) = (u64::MAX >> (64 - bits), get(a));
                for (place, slot) in to.iter().enumerate() {
                    let part = value.map(|value| value >> (place as u32 * bits) & ones);
                    if let Some(slot) = slot {
                        blend(&mut frame.registers[*slot as usize], &part, active);
                    }
                }
                return Ok(());
            }
            Operation::Convert { result, kind, rounding, saturate, to, a, upper } => {
                // The pair's upper value is named first.
                let upper = upper.as_ref().map(get);
                (to, convert(*result, *kind, *rounding, *saturate, &get(a), upper.as_ref())?)
            }
            Operation::Address { space, to_generic, to, a } => (to, window(*space, *to_generic, &get(a))),
            Operation::Shuffle { mode, to, in_range, a, lane, clamp, members } => {
                self.all_there(&get(members), active)?;
                let (value, inside) = shuffle(*mode, &get(a), &get(lane), &get(clamp));
                if let Some(slot) = in_range {
                    blend(&mut frame.registers[*slot as usize], &inside, active);
                }
                (to, value)
            }
            Operation::Vote { mode, to, a, members } => {
                let members = get(members);
                self.all_there(&members, active)?;
                let holds = mask(&get(a)) & active;
                let outcome = match mode {
                    Vote::Any => u64::from(holds != 0),
                    Vote::All => u64::from(holds == active),
                    Vote::Ballot => u64::from(holds),
                };
                (to, [outcome; LANES])
            }
            Operation::MatrixProduct { to, a, b, c } => {
                if active != u32::MAX {
                    return Err("a matrix product by less than a whole warp".into());
                }
                let out = matrix::product(&a.each_ref().map(get), &b.each_ref().map(get), &c.each_ref().map(get));
                for (slot, value) in to.iter().zip(out) {
                    frame.registers[*slot as usize] = value;
                }
                return Ok(());
            }
            other => return self.memory(other, caller, frame, active),
        };
        blend(&mut frame.registers[*to as usize], &value, active);
        Ok(())
    }

    /// Whether all lanes that an instruction names do it.
    fn all_there(&self, members: &Lanes, active: u32) -> Result<(), String> {
        let named = members[active.trailing_zeros() as usize] as u32;
        // Lanes without a thread, or whose thread has ended, may be named.
        if active & !named != 0 {
            return Err(format!("lanes {active:#x} exchange values among {named:#x} without being of them"));
        }
        Ok(())
    }

    /// Instructions that go to memory, to other functions or nowhere.
    fn memory(
        &mut self,
        operation: &Operation,
        caller: &Function,
        frame: &mut Frame,
        active: u32,
    ) -> Result<(), String> {
        match operation {
            Operation::Load { space, kind, to, base, offset } => {
                let base = self.value(*base, &frame.registers);
                self.load(*space, *kind, to, &base, *offset, frame, active)
            }
            Operation::Store { space, kind, values, base, offset } => {
                let base = self.value(*base, &frame.registers);
                let values: Vec<_> = values.iter().map(|value| self.value(*value, &frame.registers)).collect();
                let size = kind.bytes();
                for lane in lanes(active) {
                    let address = base[lane].wrapping_add_signed(*offset);
                    let at = self.reach.at(*space, address, size * values.len(), lane, &mut frame.local)?;
                    self.reach.wrote(*space, address, size * values.len(), self.number)?;
                    for (place, value) in values.iter().enumerate() {
                        // SAFETY: so many bytes may be written there.
                        unsafe { write(*kind, at.add(place * size), value[lane]) };
                    }
                }
                Ok(())
            }
            Operation::Atomic { space, function, kind, to, base, offset, a, b } => {
                let [base, a, b] = [base, a, b].map(|source| self.value(*source, &frame.registers));
                for lane in lanes(active) {
                    let address = base[lane].wrapping_add_signed(*offset);
                    let at = self.reach.at(*space, address, kind.bytes(), lane, &mut frame.local)?;
                    self.reach.wrote(*space, address, kind.bytes(), self.number)?;
                    // SAFETY: so many bytes may be read and written there.
                    let old = unsafe { atomic(*function, *kind, at, a[lane], b[lane]) }?;
                    if let Some(slot) = to {
                        frame.registers[*slot as usize][lane] = old;
                    }
                }
                Ok(())
            }
            Operation::LoadMatrix { to, transposed, base, offset } => {
                let base = self.value(*base, &frame.registers);
                self.load_matrices(to, *transposed, &base, *offset, frame, active)
            }
            Operation::CopyAsync { bytes, to, from, present } => {
                let [to_base, from_base] = [to.0, from.0].map(|base| self.value(base, &frame.registers));
                let present = present.map(|present| self.value(present, &frame.registers));
                for lane in lanes(active) {
                    let present =
                        present.as_ref().map_or(*bytes, |present| (present[lane] as u32 as usize).min(*bytes));
                    let (to, from) =
                        (to_base[lane].wrapping_add_signed(to.1), from_base[lane].wrapping_add_signed(from.1));
                    self.reach.began(to, *bytes)?;
                    self.flight.open.push(Copy { lane, to, from, bytes: *bytes, present });
                }
                Ok(())
            }
            Operation::CommitCopies => {
                let group = std::mem::take(&mut self.flight.open);
                self.flight.groups.push_back(group);
                Ok(())
            }
            Operation::AwaitCopies(most) => {
                while self.flight.groups.len() > *most {
                    let group = self.flight.groups.pop_front().unwrap_or_default();
                    group.iter().try_for_each(|copy| self.land(copy, &mut frame.local))?;
                }
                Ok(())
            }
            Operation::Call { function, results, arguments } => {
                self.call(function, results, arguments, caller, frame, active)
            }
            Operation::Trap => Err("a trap".into()),
            Operation::Nothing => Ok(()),
            other => self.warpgroup(other, frame, active),
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one instruction")]
    fn load(
        &mut self,
        space: Space,
        kind: Type,
        to: &[Slot],
        base: &Lanes,
        offset: i64,
        frame: &mut Frame,
        active: u32,
    ) -> Result<(), String> {
        let size = kind.bytes();
        for lane in lanes(active) {
            let address = base[lane].wrapping_add_signed(offset);
            let at = self.reach.at(space, address, size * to.len(), lane, &mut frame.local)?;
            for (place, slot) in to.iter().enumerate() {
                // SAFETY: so many bytes may be read there.
                frame.registers[*slot as usize][lane] = unsafe { read(kind, at.add(place * size)) };
            }
        }
        Ok(())
    }

    /// Eight lanes after eight name the rows of one matrix after the other.
    fn load_matrices(
        &mut self,
        to: &[Slot],
        transposed: bool,
        base: &Lanes,
        offset: i64,
        frame: &mut Frame,
        active: u32,
    ) -> Result<(), String> {
        if active != u32::MAX {
            return Err("matrices loaded by less than a whole warp".into());
        }
        for (number, slot) in to.iter().enumerate() {
            let mut rows = [[0u16; 8]; 8];
            for (row, values) in rows.iter_mut().enumerate() {
                let lane = 8 * number + row;
                let address = base[lane].wrapping_add_signed(offset);
                let at = self.reach.at(Space::Shared, address, 16, lane, &mut frame.local)?;
                // SAFETY: 16 bytes may be read there.
                *values = unsafe { at.cast::<[u16; 8]>().read_unaligned() };
            }
            frame.registers[*slot as usize] = matrix::spread(&rows, transposed);
        }
        Ok(())
    }

    fn land(&mut self, copy: &Copy, local: &mut [u8]) -> Result<(), String> {
        let to = self.reach.at(Space::Shared, copy.to, copy.bytes, copy.lane, local)?;
        let mut bytes = [0u8; 16];
        if copy.present > 0 {
            // Fewer bytes than the whole are read, from an address for the whole.
            if !copy.from.is_multiple_of(copy.bytes as u64) {
                return Err(format!("a copy of {} bytes from {:#x}", copy.bytes, copy.from));
            }
            for (place, byte) in bytes.iter_mut().enumerate().take(copy.present) {
                let from = self.reach.at(Space::Global, copy.from + place as u64, 1, copy.lane, local)?;
                // SAFETY: the byte may be read.
                *byte = unsafe { from.read() };
            }
        }
        self.reach.wrote(Space::Shared, copy.to, copy.bytes, self.number)?;
        // SAFETY: so many bytes may be written there.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, copy.bytes) };
        Ok(())
    }

    fn call(
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
                "__assertfail" => "an assertion does not hold".into(),
                _ => format!("{name} is called, which is not in the module"),
            });
        };
        let mut inner = Frame::new(callee, active);
        for (theirs, ours) in callee.takes.iter().zip(arguments) {
            for (offset, slot) in &callee.parameters[*theirs] {
                if let Some(from) = caller.parameters[*ours].get(offset) {
                    inner.registers[*slot as usize] = frame.registers[*from as usize];
                }
            }
        }
        self.frame(callee, &mut inner)?;
        if !inner.waiting.is_empty() {
            return Err(format!("{name} waits at a barrier, which is not emulated"));
        }
        if !inner.products.is_idle() {
            return Err(format!("{name} returns with products under way, which is not emulated"));
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

/// Takes the group that is furthest behind, with all others at the same place.
fn earliest(groups: &mut Vec<Group>) -> Option<Group> {
    let at = groups.iter().map(|group| group.at).min()?;
    let mut lanes = 0;
    groups.retain(|group| {
        let is_there = group.at == at;
        lanes |= if is_there { group.lanes } else { 0 };
        !is_there
    });
    Some(Group { at, lanes })
}

fn logical(logic: Logic, a: &Lanes, b: &Lanes) -> Lanes {
    std::array::from_fn(|lane| {
        let (a, b) = (a[lane] & 1, b[lane] & 1);
        match logic {
            Logic::And => a & b,
            Logic::Or => a | b,
            Logic::Xor => a ^ b,
        }
    })
}

/// What each lane gets from another, and whether that one was within its part of the warp.
fn shuffle(mode: Shuffle, a: &Lanes, lane: &Lanes, clamp: &Lanes) -> (Lanes, Lanes) {
    let (mut value, mut inside) = (*a, [0; LANES]);
    for own in 0..LANES {
        let (segment, most) = (clamp[own] as usize >> 8 & 31, clamp[own] as usize & 31);
        let (first, last) = (own & segment, (own & segment) | (most & !segment));
        let by = lane[own] as usize & 31;
        let (from, is_inside) = match mode {
            Shuffle::Up => (own.wrapping_sub(by), own >= by && own - by >= last),
            Shuffle::Down => (own + by, own + by <= last),
            Shuffle::Butterfly => (own ^ by, own ^ by <= last),
            Shuffle::Index => {
                let from = first | (by & !segment);
                (from, from <= last)
            }
        };
        value[own] = a[if is_inside { from } else { own }];
        inside[own] = u64::from(is_inside);
    }
    (value, inside)
}
