//! Tiled encoding (`VideoEncoder.tiled_encode`). Blend weights are 1, or 0 for latents affected by the edge of a tile.

use candle_core::{Device, Result, Tensor};

use super::{Interval, TileExtent, Tiling, cut, split};
use crate::video_vae::config::{SPACE_SCALE, TIME_SCALE};
use crate::video_vae::encoder::VideoEncoder;

/// Smallest overlap in pixels. With less, some latents would be affected by the edge of every tile.
const MIN_OVERLAP_PIXELS: usize = 2 * SPACE_SCALE;
/// Smallest overlap in frames.
const MIN_OVERLAP_FRAMES: usize = 2 * TIME_SCALE;

impl Tiling {
    /// Encodes pixels `(1, 3, 8k + 1, 32h, 32w)` to a normalised latent `(1, 128, k + 1, h, w)`. Overlaps are raised
    /// to at least 16 frames and 64 pixels.
    pub fn encode(&self, encoder: &VideoEncoder, pixels: &Tensor) -> Result<Tensor> {
        let (_, _, frames, height, width) = pixels.dims5()?;
        let axes = [self.encoded_time(frames), self.encoded_space(height), self.encoded_space(width)];
        let output_size = axes.each_ref().map(|axis| axis.iter().map(|extent| extent.outputs.end).max().unwrap_or(0));
        let mut sums: Option<(Tensor, Tensor)> = None;
        for time in &axes[0] {
            for row in &axes[1] {
                for column in &axes[2] {
                    let extents = [time, row, column];
                    let latent = encoder.forward(&cut(pixels, extents)?)?;
                    let weights = weights(extents)?.to_device(latent.device())?.to_dtype(latent.dtype())?;
                    let latent = zero_padded(&latent.broadcast_mul(&weights)?, extents, output_size)?;
                    let weights = zero_padded(&weights, extents, output_size)?;
                    sums = Some(match sums {
                        Some((latents, total)) => ((latents + latent)?, (total + weights)?),
                        None => (latent, weights),
                    });
                }
            }
        }
        let (latents, total) = sums.expect("every axis has at least one tile");
        latents.broadcast_div(&total)
    }

    /// Tiles of `frames` frames.
    fn encoded_time(&self, frames: usize) -> Vec<TileExtent> {
        let size = self.frames.map(|(size, overlap)| (size, overlap.max(MIN_OVERLAP_FRAMES)));
        let mut intervals = split(frames, size);
        // The first latent frame of a tile has a single frame, so each tile but the last has one frame more.
        let last = intervals.len() - 1;
        intervals[..last].iter_mut().for_each(|interval| interval.range.end += 1);
        let extent = |interval: Interval| {
            let outputs = interval.range.start / TIME_SCALE..(interval.range.end - 1) / TIME_SCALE + 1;
            let left = if interval.left == 0 { 0 } else { 1 + (interval.left - 1) / TIME_SCALE };
            let weights = pulse(outputs.len(), left, 0);
            TileExtent { inputs: interval.range, outputs, weights }
        };
        intervals.into_iter().map(extent).collect()
    }

    /// Tiles of `pixels` rows or columns.
    fn encoded_space(&self, pixels: usize) -> Vec<TileExtent> {
        let size = self.pixels.map(|(size, overlap)| (size, overlap.max(MIN_OVERLAP_PIXELS)));
        let extent = |interval: Interval| {
            let outputs = interval.range.start / SPACE_SCALE..interval.range.end / SPACE_SCALE;
            let left = (interval.left / SPACE_SCALE).saturating_sub(1);
            let weights = pulse(outputs.len(), left, usize::from(interval.right > 0));
            TileExtent { inputs: interval.range, outputs, weights }
        };
        split(pixels, size).into_iter().map(extent).collect()
    }
}

/// Blend weights of a tile, `(1, 1, t, h, w)`.
fn weights(extents: [&TileExtent; 3]) -> Result<Tensor> {
    let [t, h, w] = extents.map(|extent| Tensor::new(extent.weights.as_slice(), &Device::Cpu));
    let (t, h, w) = (t?.reshape(((), 1, 1))?, h?.reshape(((), 1))?, w?);
    t.broadcast_mul(&h)?.broadcast_mul(&w)?.unsqueeze(0)?.unsqueeze(0)
}

/// Pads a tile `(1, c, t, h, w)` with zeros to `size` in its last three axes.
fn zero_padded(tile: &Tensor, extents: [&TileExtent; 3], size: [usize; 3]) -> Result<Tensor> {
    let mut tile = tile.clone();
    for (axis, (extent, length)) in extents.into_iter().zip(size).enumerate() {
        tile = tile.pad_with_zeros(axis + 2, extent.outputs.start, length - extent.outputs.end)?;
    }
    Ok(tile)
}

/// `left` zeros, then ones, then `right` zeros.
fn pulse(length: usize, left: usize, right: usize) -> Vec<f32> {
    (0..length).map(|i| if i < left || i + right >= length { 0.0 } else { 1.0 }).collect()
}
