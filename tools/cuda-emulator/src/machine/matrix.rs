//! Matrix fragments: distribution of matrices over the lanes of a warp for `mma.m16n8k16`, `wgmma.m64nNk16` and
//! `ldmatrix`, as in the figures of the PTX ISA manual.

use half::bf16;

use super::lanes::{LANES, Lanes};
use super::value::Value;

/// Returns one of the two bfloat16 elements of a register.
fn element(register: &Lanes, lane: usize, upper: usize) -> f32 {
    bf16::from_register(register[lane] >> (16 * upper)).to_f32()
}

/// Assembles the 16x16 fragment of the left operand, by rows.
pub(super) fn left_fragment(a: &[Lanes; 4]) -> [[f32; 16]; 16] {
    let mut left = [[0f32; 16]; 16];
    for lane in 0..LANES {
        let (group, member) = (lane / 4, lane % 4);
        for (register, values) in a.iter().enumerate() {
            for upper in 0..2 {
                // Odd registers hold the lower rows, the last two registers the later columns.
                left[group + 8 * (register % 2)][2 * member + upper + 8 * (register / 2)] =
                    element(values, lane, upper);
            }
        }
    }
    left
}

/// `mma.m16n8k16`: multiplies 16x16 by 16x8 and adds 16x8.
pub(super) fn multiply(a: &[Lanes; 4], b: &[Lanes; 2], c: &[Lanes; 4]) -> [Lanes; 4] {
    let mut right = vec![[0f32; 16]; 8];
    for lane in 0..LANES {
        let (group, member) = (lane / 4, lane % 4);
        for (register, values) in b.iter().enumerate() {
            for upper in 0..2 {
                right[group][2 * member + upper + 8 * register] = element(values, lane, upper);
            }
        }
    }
    let left = left_fragment(a);
    std::array::from_fn(|register| accumulate(&left, &right, register, c[register]))
}

/// Computes accumulator register `register` of a product with 16 terms per element: four registers per eight columns.
/// `before` is the accumulator's previous value.
pub(super) fn accumulate(left: &[[f32; 16]], columns: &[[f32; 16]], register: usize, before: Lanes) -> Lanes {
    std::array::from_fn(|lane| {
        let (group, member) = (lane / 4, lane % 4);
        let row = &left[group + 8 * (register % 4 / 2)];
        let column = &columns[register / 4 * 8 + 2 * member + register % 2];
        let dot: f32 = row.iter().zip(column).map(|(a, b)| a * b).sum();
        (f32::from_register(before[lane]) + dot).to_register()
    })
}

/// `ldmatrix`: distributes an 8x8 matrix of 16-bit elements, given by rows.
pub(super) fn distribute(rows: &[[u16; 8]; 8], transposed: bool) -> Lanes {
    std::array::from_fn(|lane| {
        let (group, member) = (lane / 4, lane % 4);
        let at = |column: usize| if transposed { rows[column][group] } else { rows[group][column] };
        u64::from(at(2 * member)) | u64::from(at(2 * member + 1)) << 16
    })
}
