//! Tiled encoding (`VideoEncoder.tiled_encode`). Tiles are those of the latent, blended with trapezoids.

use candle_core::{Device, Result, Tensor};

use super::{Interval, TileExtent, Tiling, cut, split, trapezoid};
use crate::video_vae::config::{SPACE_SCALE, TIME_SCALE};
use crate::video_vae::encoder::VideoEncoder;

impl Tiling {
    /// Encodes pixels `(1, 3, 8k + 1, 32h, 32w)` to a normalised latent `(1, 128, k + 1, h, w)`. Unlike in decoding, the
    /// tile size is the same for both sides. The official code demands overlaps of at least 16 frames and 64 pixels.
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
        let extent = |interval: Interval| TileExtent {
            inputs: interval.frames(),
            weights: trapezoid(interval.range.len(), interval.left, interval.right, true),
            outputs: interval.range,
        };
        self.latent_frames((frames - 1) / TIME_SCALE + 1).into_iter().map(extent).collect()
    }

    /// Tiles of `pixels` rows or columns.
    fn encoded_space(&self, pixels: usize) -> Vec<TileExtent> {
        let size = self.pixels.map(|(size, overlap)| (size / SPACE_SCALE, overlap / SPACE_SCALE));
        let extent = |interval: Interval| TileExtent {
            inputs: interval.range.start * SPACE_SCALE..interval.range.end * SPACE_SCALE,
            weights: trapezoid(interval.range.len(), interval.left, interval.right, false),
            outputs: interval.range,
        };
        split(pixels / SPACE_SCALE, size).into_iter().map(extent).collect()
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
