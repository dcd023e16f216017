//! Matrices spread over the lanes of a warp: who holds which element is as in the PTX manual's figures for `mma.m16n8k16` and
//! `ldmatrix`.

use half::bf16;

use super::lanes::{LANES, Lanes};
use super::number::Number;

/// One of the two bfloat16 values in a register.
fn element(register: &Lanes, lane: usize, upper: usize) -> f32 {
    bf16::of(register[lane] >> (16 * upper)).to_f32()
}

/// 16x16 by 16x8 and added to 16x8.
pub(super) fn product(a: &[Lanes; 4], b: &[Lanes; 2], c: &[Lanes; 4]) -> [Lanes; 4] {
    let mut left = [[0f32; 16]; 16];
    let mut right = [[0f32; 8]; 16];
    for lane in 0..LANES {
        let (group, member) = (lane / 4, lane % 4);
        for upper in 0..2 {
            let at = 2 * member + upper;
            for (register, values) in a.iter().enumerate() {
                // The lower rows are in the odd registers, the later columns in the last two.
                left[group + 8 * (register % 2)][at + 8 * (register / 2)] = element(values, lane, upper);
            }
            for (register, values) in b.iter().enumerate() {
                right[at + 8 * register][group] = element(values, lane, upper);
            }
        }
    }
    let mut out = *c;
    for lane in 0..LANES {
        let (group, member) = (lane / 4, lane % 4);
        for (register, values) in out.iter_mut().enumerate() {
            let (row, column) = (group + 8 * (register / 2), 2 * member + register % 2);
            let dot: f32 = (0..16).map(|k| left[row][k] * right[k][column]).sum();
            values[lane] = (f32::of(values[lane]) + dot).bits();
        }
    }
    out
}

/// What each lane gets of an 8x8 matrix of 16-bit values, by its rows.
pub(super) fn spread(rows: &[[u16; 8]; 8], transposed: bool) -> Lanes {
    std::array::from_fn(|lane| {
        let (group, member) = (lane / 4, lane % 4);
        let at = |column: usize| if transposed { rows[column][group] } else { rows[group][column] };
        u64::from(at(2 * member)) | u64::from(at(2 * member + 1)) << 16
    })
}
