//! Decoding and encoding in overlapping tiles (`tiling.py`), so that memory grows neither with the length nor with the size
//! of a video.

mod decode;
mod encode;

use std::ops::Range;

use candle_core::{Result, Tensor};

/// Sizes and overlaps of tiles, in frames and pixels; a missing one leaves its axes whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    /// Size and overlap in frames, multiples of 8.
    pub frames: Option<(usize, usize)>,
    /// Size and overlap in pixels along the longer side, multiples of 32.
    pub pixels: Option<(usize, usize)>,
}

/// A part of an axis: where it is cut from the input, where it goes, and how much each place of it counts.
#[derive(Debug, Clone, PartialEq)]
struct Part {
    inputs: Range<usize>,
    outputs: Range<usize>,
    weights: Vec<f32>,
}

/// A cut of an axis with the overlap on each side.
struct Interval {
    range: Range<usize>,
    left: usize,
    right: usize,
}

/// Cuts `length` into pieces of `size` that share `overlap` with their neighbours; the last one takes what is left.
fn split(length: usize, size: Option<(usize, usize)>) -> Vec<Interval> {
    let Some((size, overlap)) = size.filter(|(size, _)| length > *size) else {
        return vec![Interval { range: 0..length, left: 0, right: 0 }];
    };
    let step = size - overlap;
    let count = (length + size - 2 * overlap - 1) / step;
    (0..count)
        .map(|i| {
            let last = i + 1 == count;
            let end = if last { length } else { i * step + size };
            Interval {
                range: i * step..end,
                left: if i == 0 { 0 } else { overlap },
                right: if last { 0 } else { overlap },
            }
        })
        .collect()
}

/// The tile of `x (1, c, t, h, w)` at `parts` of its last three axes.
fn cut(x: &Tensor, parts: [&Part; 3]) -> Result<Tensor> {
    let mut tile = x.clone();
    for (axis, part) in parts.into_iter().enumerate() {
        tile = tile.narrow(axis + 2, part.inputs.start, part.inputs.len())?;
    }
    tile.contiguous()
}
