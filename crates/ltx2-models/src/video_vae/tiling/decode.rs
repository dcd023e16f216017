//! Tiled decoding (`VideoDecoder.tiled_decode`). Blend weights are trapezoids.

use std::ops::Range;

use candle_core::{DType, Result, Tensor};
use rayon::prelude::*;

use super::{Interval, TileExtent, Tiling, cut, split, trapezoid};
use crate::video_vae::config::{SPACE_SCALE, TIME_SCALE};
use crate::video_vae::decoder::VideoDecoder;

impl Tiling {
    /// Decodes a normalised latent `(1, 128, f, h, w)` and passes the frames to `sink` in order, in chunks
    /// `(t, 3, 32h, 32w)` in float32 on the CPU.
    pub fn decode<E: From<candle_core::Error>>(
        &self,
        decoder: &VideoDecoder,
        latent: &Tensor,
        mut sink: impl FnMut(&Tensor) -> std::result::Result<(), E>,
    ) -> std::result::Result<(), E> {
        let (_, _, frames, height, width) = latent.dims5()?;
        let longest = height.max(width);
        let rows = self.spatial(height, longest);
        let columns = self.spatial(width, longest);
        // Output range and frames of the previous tile in time, whose tail overlaps the next one.
        let mut previous: Option<(Range<usize>, BlendBuffer)> = None;
        for time in self.temporal(frames) {
            let mut buffer = BlendBuffer::new(time.outputs.len(), height * SPACE_SCALE, width * SPACE_SCALE);
            for row in &rows {
                for column in &columns {
                    let tile = cut(latent, [&time, row, column])?;
                    buffer.add(&decoder.forward(&tile)?, [&time, row, column])?;
                }
            }
            if let Some((range, before)) = previous.take() {
                let finished = time.outputs.start - range.start;
                buffer.add_tail(&before, finished);
                sink(&before.frames(finished)?)?;
            }
            previous = Some((time.outputs.clone(), buffer));
        }
        match previous {
            Some((range, buffer)) => sink(&buffer.frames(range.len())?),
            None => Ok(()),
        }
    }

    /// Tiles of `latents` latent frames.
    fn temporal(&self, latents: usize) -> Vec<TileExtent> {
        let extent = |interval: Interval| {
            let outputs = interval.frames();
            let left = if interval.left == 0 { 0 } else { 1 + (interval.left - 1) * TIME_SCALE };
            let weights = trapezoid(outputs.len(), left, interval.right * TIME_SCALE, true);
            TileExtent { inputs: interval.range, outputs, weights }
        };
        self.latent_frames(latents).into_iter().map(extent).collect()
    }

    /// Tiles of `latents` rows or columns. The tile size is proportional to the share of the `longest` side.
    fn spatial(&self, latents: usize, longest: usize) -> Vec<TileExtent> {
        let size = self.pixels.map(|(size, overlap)| {
            let (size, overlap) = (size / SPACE_SCALE, overlap / SPACE_SCALE);
            let proportional = (size * latents) as f64 / longest as f64;
            ((proportional.round_ties_even() as usize).max(overlap + 1).max(2), overlap)
        });
        let extent = |interval: Interval| {
            let outputs = interval.range.start * SPACE_SCALE..interval.range.end * SPACE_SCALE;
            let (left, right) = (interval.left * SPACE_SCALE, interval.right * SPACE_SCALE);
            let weights = trapezoid(outputs.len(), left, right, false);
            TileExtent { inputs: interval.range, outputs, weights }
        };
        split(latents, size).into_iter().map(extent).collect()
    }
}

/// Weighted sum of overlapping tiles.
struct BlendBuffer {
    /// Frames, height and width.
    size: [usize; 3],
    /// Sums of weighted pixels, `(t, 3, h, w)`.
    sums: Vec<f32>,
    /// Sums of weights, `(t, h, w)`.
    weights: Vec<f32>,
}

impl BlendBuffer {
    fn new(t: usize, h: usize, w: usize) -> Self {
        Self { size: [t, h, w], sums: vec![0.0; t * 3 * h * w], weights: vec![0.0; t * h * w] }
    }

    /// Adds a decoded tile `(1, 3, t, h, w)`.
    fn add(&mut self, tile: &Tensor, [time, row, column]: [&TileExtent; 3]) -> Result<()> {
        let [_, h, w] = self.size;
        let tile = tile.squeeze(0)?.transpose(0, 1)?.to_dtype(DType::F32)?.contiguous()?;
        let (_, _, tile_h, tile_w) = tile.dims4()?;
        let values = tile.flatten_all()?.to_vec1::<f32>()?;
        let (sums, weights) = (self.sums.par_chunks_mut(3 * h * w), self.weights.par_chunks_mut(h * w));
        let frames = sums.zip(weights).zip(values.par_chunks(3 * tile_h * tile_w)).zip(&time.weights);
        frames.for_each(|(((sums, weights), tile), time_weight)| {
            for (y, row_weight) in row.weights.iter().enumerate() {
                let line_weight = time_weight * row_weight;
                for (x, column_weight) in column.weights.iter().enumerate() {
                    let (weight, at) =
                        (line_weight * column_weight, (row.outputs.start + y) * w + column.outputs.start + x);
                    weights[at] += weight;
                    for channel in 0..3 {
                        sums[channel * h * w + at] += weight * tile[(channel * tile_h + y) * tile_w + x];
                    }
                }
            }
        });
        Ok(())
    }

    /// Adds the frames of `before` from index `first` to the first frames of this buffer.
    fn add_tail(&mut self, before: &Self, first: usize) {
        let [_, h, w] = self.size;
        let add = |to: &mut [f32], from: &[f32]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        add(&mut self.sums, &before.sums[first * 3 * h * w..]);
        add(&mut self.weights, &before.weights[first * h * w..]);
    }

    /// Returns the first `count` frames, `(count, 3, h, w)`, divided by the sums of their weights.
    fn frames(&self, count: usize) -> Result<Tensor> {
        let [_, h, w] = self.size;
        let mut values = self.sums[..count * 3 * h * w].to_vec();
        values.par_chunks_mut(3 * h * w).zip(self.weights.par_chunks(h * w)).for_each(|(values, weights)| {
            for channel in values.chunks_mut(h * w) {
                channel.iter_mut().zip(weights).for_each(|(value, weight)| *value /= weight.max(1e-8));
            }
        });
        Tensor::from_vec(values, (count, 3, h, w), &candle_core::Device::Cpu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_tiles_in_time_start_one_latent_frame_earlier() {
        let tiling = Tiling { frames: Some((24 * 8, 8 * 8)), pixels: None };
        let extents = tiling.temporal(56);
        let ranges: Vec<_> = extents.iter().map(|extent| extent.inputs.clone()).collect();
        assert_eq!(ranges, [0..24, 15..40, 31..56]);
        assert_eq!(extents[1].outputs, 120..313);
        assert_eq!((extents[1].weights[0], extents[1].weights[65]), (0.0, 1.0));
    }

    #[test]
    fn every_output_has_a_positive_weight() {
        for (frames, pixels) in [((16, 8), (64, 32)), ((32, 8), (96, 32)), ((64, 24), (512, 64))] {
            let tiling = Tiling { frames: Some(frames), pixels: Some(pixels) };
            for length in 1..40 {
                for extents in [tiling.temporal(length), tiling.spatial(length, 40)] {
                    let end = extents.last().unwrap().outputs.end;
                    let mut sums = vec![0f32; end];
                    for extent in &extents {
                        assert_eq!(extent.outputs.len(), extent.weights.len());
                        extent.outputs.clone().zip(&extent.weights).for_each(|(at, weight)| sums[at] += weight);
                    }
                    assert!(sums.iter().all(|sum| *sum > 0.0), "{length}: {sums:?}");
                }
            }
        }
    }
}
