//! Decoding and encoding in overlapping tiles (`tiling.py`), which bounds the memory whatever the length and size of
//! the video.

mod decode;
mod encode;

use std::ops::Range;

use candle_core::{Result, Tensor};

use super::config::TIME_SCALE;

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

impl Interval {
    /// Frames of an interval of latent frames, the first of which has a single frame.
    fn frames(&self) -> Range<usize> {
        self.range.start * TIME_SCALE..1 + (self.range.end - 1) * TIME_SCALE
    }
}

impl Tiling {
    /// Intervals of `latents` latent frames. The first latent frame of a tile has a single frame, so later tiles start one
    /// latent frame earlier, with a weight that rises from 0.
    fn latent_frames(&self, latents: usize) -> Vec<Interval> {
        let size = self.frames.map(|(size, overlap)| (size / TIME_SCALE, overlap / TIME_SCALE));
        let mut intervals = split(latents, size);
        for interval in intervals.iter_mut().skip(1) {
            interval.range.start -= 1;
            interval.left += 1;
        }
        intervals
    }
}

/// Trapezoid of `length` weights: rises over the first `left` ones, is 1, and falls over the last `right` ones. It
/// rises from 0 if `from_zero`, else from the first step above 0, and falls to the last step above 0.
fn trapezoid(length: usize, left: usize, right: usize, from_zero: bool) -> Vec<f32> {
    let mut weights = vec![1f32; length];
    let (left, right) = (left.min(length), right.min(length));
    let rise = |i: usize| match from_zero {
        true => i as f32 / left as f32,
        false => (i + 1) as f32 / (left + 1) as f32,
    };
    weights[..left].iter_mut().enumerate().for_each(|(i, weight)| *weight *= rise(i));
    let fall = |i: usize| (right - i) as f32 / (right + 1) as f32;
    weights[length - right..].iter_mut().enumerate().for_each(|(i, weight)| *weight *= fall(i));
    weights
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
