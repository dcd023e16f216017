//! Matrices spread over the lanes of a warp: who holds which element is as in the PTX manual's figures for `mma.m16n8k16`,
//! `wgmma.m64nNk16` and `ldmatrix`.

use half::bf16;

use super::lanes::{LANES, Lanes};
use super::number::Number;

/// One of the two bfloat16 values in a register.
fn element(register: &Lanes, lane: usize, upper: usize) -> f32 {
    bf16::of(register[lane] >> (16 * upper)).to_f32()
}

/// The 16x16 matrix on the left, by its rows.
pub(super) fn left(a: &[Lanes; 4]) -> [[f32; 16]; 16] {
    let mut left = [[0f32; 16]; 16];
    for lane in 0..LANES {
        let (group, member) = (lane / 4, lane % 4);
        for (register, values) in a.iter().enumerate() {
            for upper in 0..2 {
                // The lower rows are in the odd registers, the later columns in the last two.
                left[group + 8 * (register % 2)][2 * member + upper + 8 * (register / 2)] =
                    element(values, lane, upper);
            }
        }
    }
    left
}

/// 16x16 by 16x8 and added to 16x8.
pub(super) fn product(a: &[Lanes; 4], b: &[Lanes; 2], c: &[Lanes; 4]) -> [Lanes; 4] {
    let mut right = vec![[0f32; 16]; 8];
    for lane in 0..LANES {
        let (group, member) = (lane / 4, lane % 4);
        for (register, values) in b.iter().enumerate() {
            for upper in 0..2 {
                right[group][2 * member + upper + 8 * register] = element(values, lane, upper);
            }
        }
    }
    let left = left(a);
    std::array::from_fn(|register| group_sum(&left, &right, register, c[register]))
}

/// Register `number` of a product by 8 columns after 8, four of them for each eight: `before` and the sums of the rows of `left`
/// with the columns, 16 terms each.
pub(super) fn group_sum(left: &[[f32; 16]], columns: &[[f32; 16]], number: usize, before: Lanes) -> Lanes {
    std::array::from_fn(|lane| {
        let (group, member) = (lane / 4, lane % 4);
        let row = &left[group + 8 * (number % 4 / 2)];
        let column = &columns[number / 4 * 8 + 2 * member + number % 2];
        let dot: f32 = row.iter().zip(column).map(|(a, b)| a * b).sum();
        (f32::of(before[lane]) + dot).bits()
    })
}

/// What each lane gets of an 8x8 matrix of 16-bit values, by its rows.
pub(super) fn spread(rows: &[[u16; 8]; 8], transposed: bool) -> Lanes {
    std::array::from_fn(|lane| {
        let (group, member) = (lane / 4, lane % 4);
        let at = |column: usize| if transposed { rows[column][group] } else { rows[group][column] };
        u64::from(at(2 * member)) | u64::from(at(2 * member + 1)) << 16
    })
}
