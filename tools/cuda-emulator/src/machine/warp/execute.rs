//! Register instructions: arithmetic, conversions, exchange between lanes and `mma`.

use super::executor::Executor;
use super::frame::Frame;
use crate::machine::arithmetic::{binary, carry, compare, ternary, unary};
use crate::machine::convert::convert;
use crate::machine::lanes::{LANES, Lanes, blend, mask};
use crate::machine::matrix;
use crate::machine::memory::convert_address;
use crate::ptx::{Function, Logic, Operation, Shuffle, Slot, Source, Type, Vote};

impl Executor<'_, '_> {
    /// Executes an instruction other than those that change the control flow of the frame.
    pub(super) fn execute(
        &mut self,
        operation: &Operation,
        caller: &Function,
        frame: &mut Frame,
        active: u32,
    ) -> Result<(), String> {
        let Some((to, value)) = self.evaluate(operation, frame)? else {
            return self.execute_special(operation, caller, frame, active);
        };
        blend(&mut frame.registers[to as usize], &value, active);
        Ok(())
    }

    /// Evaluates an instruction whose only effect is on one register, and returns that register and its value; `None`
    /// for all other instructions.
    fn evaluate(&self, operation: &Operation, frame: &Frame) -> Result<Option<(Slot, Lanes)>, String> {
        let get = |source: &Source| self.value(*source, &frame.registers);
        let (to, value) = match operation {
            Operation::Unary { function, kind, to, a } => (to, unary(*function, *kind, &get(a))?),
            Operation::Binary { function, kind, to, a, b } => (to, binary(*function, *kind, &get(a), &get(b))?),
            Operation::Ternary { function, kind, to, a, b, c } => {
                (to, ternary(*function, *kind, &get(a), &get(b), &get(c))?)
            }
            Operation::Set { comparison, result, kind, to, a, b } => {
                let one = true_value(*result)?;
                (to, compare(*comparison, *kind, &get(a), &get(b))?.map(|bit| bit * one))
            }
            Operation::Select { to, a, b, predicate } => {
                let (a, b, predicate) = (get(a), get(b), get(predicate));
                (to, std::array::from_fn(|lane| if predicate[lane] & 1 == 1 { a[lane] } else { b[lane] }))
            }
            Operation::Pack { bits, to, parts } => {
                let ones = u64::MAX >> (64 - bits);
                let mut value = [0; LANES];
                for (index, part) in parts.iter().enumerate() {
                    let part = get(part);
                    (0..LANES).for_each(|lane| value[lane] |= (part[lane] & ones) << (index as u32 * bits));
                }
                (to, value)
            }
            Operation::Convert { result, kind, rounding, saturate, to, a, upper } => {
                // The source lists the upper value first.
                let upper = upper.as_ref().map(get);
                (to, convert(*result, *kind, *rounding, *saturate, &get(a), upper.as_ref())?)
            }
            Operation::ConvertAddress { space, to_generic, to, a } => {
                (to, convert_address(*space, *to_generic, &get(a)))
            }
            _ => return Ok(None),
        };
        Ok(Some((*to, value)))
    }

    /// Executes register instructions with several results, or that depend on the set of active lanes.
    fn execute_special(
        &mut self,
        operation: &Operation,
        caller: &Function,
        frame: &mut Frame,
        active: u32,
    ) -> Result<(), String> {
        let get = |source: &Source| self.value(*source, &frame.registers);
        let (to, value) = match operation {
            Operation::Carry { function, kind, carry_in, carry_out, to, a, b, c } => {
                let previous = if *carry_in { frame.carry } else { [0; LANES] };
                let (value, new) = carry(*function, *kind, [&get(a), &get(b), &get(c)], &previous)?;
                if *carry_out {
                    blend(&mut frame.carry, &new, active);
                }
                (to, value)
            }
            Operation::Compare { comparison, kind, with, to, not, a, b } => {
                let outcome = compare(*comparison, *kind, &get(a), &get(b))?;
                let combined = |outcome: Lanes| match with {
                    Some((logic, other)) => logical(*logic, &outcome, &get(other)),
                    None => outcome,
                };
                let negated = not.map(|slot| (slot, combined(outcome.map(|bit| bit ^ 1))));
                let value = combined(outcome);
                if let Some((slot, negated)) = negated {
                    blend(&mut frame.registers[slot as usize], &negated, active);
                }
                (to, value)
            }
            Operation::Unpack { bits, to, a } => {
                let (ones, value) = (u64::MAX >> (64 - bits), get(a));
                for (index, slot) in to.iter().enumerate() {
                    let part = value.map(|value| value >> (index as u32 * bits) & ones);
                    if let Some(slot) = slot {
                        blend(&mut frame.registers[*slot as usize], &part, active);
                    }
                }
                return Ok(());
            }
            Operation::Shuffle { mode, to, in_range, a, lane, clamp, members } => {
                self.check_members(&get(members), active)?;
                let (value, inside) = shuffle(*mode, &get(a), &get(lane), &get(clamp));
                if let Some(slot) = in_range {
                    blend(&mut frame.registers[*slot as usize], &inside, active);
                }
                (to, value)
            }
            Operation::Vote { mode, to, a, members } => {
                self.check_members(&get(members), active)?;
                (to, vote(*mode, &get(a), active))
            }
            Operation::Mma { to, a, b, c } => {
                if active != u32::MAX {
                    return Err("mma is executed by less than a full warp".into());
                }
                let out = matrix::multiply(&a.each_ref().map(get), &b.each_ref().map(get), &c.each_ref().map(get));
                for (slot, value) in to.iter().zip(out) {
                    frame.registers[*slot as usize] = value;
                }
                return Ok(());
            }
            other => return self.execute_memory(other, caller, frame, active),
        };
        blend(&mut frame.registers[*to as usize], &value, active);
        Ok(())
    }

    /// Checks that the executing lanes are in the member mask.
    fn check_members(&self, members: &Lanes, active: u32) -> Result<(), String> {
        let named = members[active.trailing_zeros() as usize] as u32;
        // The mask may name lanes without a thread or lanes that have exited.
        if active & !named != 0 {
            return Err(format!(
                "lanes {active:#x} execute a sync instruction, but are not in the member mask {named:#x}"
            ));
        }
        Ok(())
    }
}

/// Returns the value of `set` where the comparison holds.
fn true_value(result: Type) -> Result<u64, String> {
    match result {
        Type::F32 => Ok(u64::from(1f32.to_bits())),
        Type::F16 => Ok(u64::from(half::f16::ONE.to_bits())),
        Type::Bf16 => Ok(u64::from(half::bf16::ONE.to_bits())),
        Type::U32 | Type::S32 => Ok(u64::from(u32::MAX)),
        _ => Err(format!("unsupported result type {result:?} of set")),
    }
}

/// Returns the result of a vote among the active lanes, in every lane.
fn vote(mode: Vote, predicate: &Lanes, active: u32) -> Lanes {
    let holds = mask(predicate) & active;
    let outcome = match mode {
        Vote::Any => u64::from(holds != 0),
        Vote::All => u64::from(holds == active),
        Vote::Ballot => u64::from(holds),
    };
    [outcome; LANES]
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

/// Returns the value that each lane receives, and whether the source lane is in range.
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
