//! Decoding and encoding in overlapping tiles (`tiling.py`), which bounds the memory whatever the length and size of
//! the video.

mod decode;
mod encode;

use std::ops::Range;

use candle_core::{Result, Tensor};

/// Tile sizes and overlaps. Axes without a size are not tiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tiling {
    /// Tile size and overlap in frames, multiples of 8.
    pub frames: Option<(usize, usize)>,
    /// Tile size and overlap in pixels along the longer side, multiples of 32.
    pub pixels: Option<(usize, usize)>,
}

/// Extent of a tile along one axis.
#[derive(Debug, Clone, PartialEq)]
struct TileExtent {
    /// Range of the input.
    inputs: Range<usize>,
    /// Range of the output.
    outputs: Range<usize>,
    /// Blend weight of each output index.
    weights: Vec<f32>,
}

/// Interval of an axis with its overlaps.
struct Interval {
    range: Range<usize>,
    /// Overlap with the previous interval.
    left: usize,
    /// Overlap with the next interval.
    right: usize,
}

/// Splits `0..length` into intervals of `size` that overlap their neighbours by `overlap`. The last one takes the rest.
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

/// Contiguous tile of `x (1, c, t, h, w)` with the given extents of its last three axes.
fn cut(x: &Tensor, extents: [&TileExtent; 3]) -> Result<Tensor> {
    let mut tile = x.clone();
    for (axis, extent) in extents.into_iter().enumerate() {
        tile = tile.narrow(axis + 2, extent.inputs.start, extent.inputs.len())?;
    }
    tile.contiguous()
}
