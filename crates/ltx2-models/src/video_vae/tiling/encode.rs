//! Tiled encoding (`VideoEncoder.tiled_encode`): tiles count fully but for latents that have seen their edges.

use candle_core::{Device, Result, Tensor};

use super::{Interval, Part, Tiling, cut, split};
use crate::video_vae::{SPACE_SCALE, TIME_SCALE, VideoEncoder};

/// Overlaps below these, in pixels and frames, would leave latents that have seen a tile's edge.
const LEAST_OVERLAP: (usize, usize) = (2 * SPACE_SCALE, 2 * TIME_SCALE);

impl Tiling {
    /// Encodes `pixels (1, 3, 8k + 1, 32h, 32w)` to `(1, 128, k + 1, h, w)`, with overlaps of at least 16 frames and 64
    /// pixels.
    pub fn encode(&self, encoder: &VideoEncoder, pixels: &Tensor) -> Result<Tensor> {
        let (_, _, frames, height, width) = pixels.dims5()?;
        let axes = [self.encoded_time(frames), self.encoded_space(height), self.encoded_space(width)];
        let whole = axes.each_ref().map(|parts| parts.iter().map(|part| part.outputs.end).max().unwrap_or(0));
        let mut sums: Option<(Tensor, Tensor)> = None;
        for time in &axes[0] {
            for row in &axes[1] {
                for column in &axes[2] {
                    let parts = [time, row, column];
                    let latent = encoder.forward(&cut(pixels, parts)?)?;
                    let weights = weights(parts)?.to_device(latent.device())?.to_dtype(latent.dtype())?;
                    let latent = placed(&latent.broadcast_mul(&weights)?, parts, whole)?;
                    let weights = placed(&weights, parts, whole)?;
                    sums = Some(match sums {
                        Some((latents, total)) => ((latents + latent)?, (total + weights)?),
                        None => (latent, weights),
                    });
                }
            }
        }
        let (latents, total) = sums.expect("an axis has at least one part");
        latents.broadcast_div(&total)
    }

    fn encoded_time(&self, frames: usize) -> Vec<Part> {
        let size = self.frames.map(|(size, overlap)| (size, overlap.max(LEAST_OVERLAP.1)));
        let mut intervals = split(frames, size);
        // The encoder's first latent frame stands for one frame: each tile but the last reaches one frame further.
        let last = intervals.len() - 1;
        intervals[..last].iter_mut().for_each(|interval| interval.range.end += 1);
        let part = |interval: Interval| {
            let outputs = interval.range.start / TIME_SCALE..(interval.range.end - 1) / TIME_SCALE + 1;
            let left = if interval.left == 0 { 0 } else { 1 + (interval.left - 1) / TIME_SCALE };
            let weights = pulse(outputs.len(), left, 0);
            Part { inputs: interval.range, outputs, weights }
        };
        intervals.into_iter().map(part).collect()
    }

    fn encoded_space(&self, pixels: usize) -> Vec<Part> {
        let size = self.pixels.map(|(size, overlap)| (size, overlap.max(LEAST_OVERLAP.0)));
        let part = |interval: Interval| {
            let outputs = interval.range.start / SPACE_SCALE..interval.range.end / SPACE_SCALE;
            let left = (interval.left / SPACE_SCALE).saturating_sub(1);
            let weights = pulse(outputs.len(), left, usize::from(interval.right > 0));
            Part { inputs: interval.range, outputs, weights }
        };
        split(pixels, size).into_iter().map(part).collect()
    }
}

/// How much each latent of a tile counts, `(1, 1, t, h, w)`.
fn weights(parts: [&Part; 3]) -> Result<Tensor> {
    let [t, h, w] = parts.map(|part| Tensor::new(part.weights.as_slice(), &Device::Cpu));
    let (t, h, w) = (t?.reshape(((), 1, 1))?, h?.reshape(((), 1))?, w?);
    t.broadcast_mul(&h)?.broadcast_mul(&w)?.unsqueeze(0)?.unsqueeze(0)
}

/// A tile at its place among zeros.
fn placed(tile: &Tensor, parts: [&Part; 3], whole: [usize; 3]) -> Result<Tensor> {
    let mut tile = tile.clone();
    for (axis, (part, length)) in parts.into_iter().zip(whole).enumerate() {
        tile = tile.pad_with_zeros(axis + 2, part.outputs.start, length - part.outputs.end)?;
    }
    Ok(tile)
}

/// Ones, but for `left` zeros before and `right` behind.
fn pulse(length: usize, left: usize, right: usize) -> Vec<f32> {
    (0..length).map(|i| if i < left || i + right >= length { 0.0 } else { 1.0 }).collect()
}
