//! Blocked 1-D convolution on a CPU: im2col and GEMM for one block of samples at a time. The im2col matrix of a whole
//! signal is many times larger than the signal and fits no cache.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use gemm::Parallelism;
use rayon::prelude::*;

/// Smallest and largest number of output samples per block.
const BLOCK_SAMPLES: (usize, usize) = (64, 512);
/// Rows of the im2col matrix per GEMM: 1 MiB with the largest block.
const BLOCK_ROWS: usize = 512;

/// Convolution of `x (n, c_in, l)` with `weight (c_out, c_in, k)`, both float32 on the CPU, with stride 1 and `padding`
/// zeros on both sides.
pub(crate) fn conv1d_blocked(x: &Tensor, weight: &Tensor, padding: usize, dilation: usize) -> Result<Tensor> {
    x.contiguous()?.apply_op2_no_bwd(&weight.contiguous()?, &Conv1dBlocked { padding, dilation })
}

struct Conv1dBlocked {
    padding: usize,
    dilation: usize,
}

/// Signal `(channels, length)` and the convolution over it.
struct Signal<'a> {
    x: &'a [f32],
    length: usize,
    kernel: usize,
    conv: &'a Conv1dBlocked,
}

impl Signal<'_> {
    /// Fills row `row` (channel and tap) of the im2col matrix for the output samples from `start`.
    fn fill(&self, row: usize, start: usize, out: &mut [f32]) {
        let (channel, tap) = (row / self.kernel, row % self.kernel);
        let x = &self.x[channel * self.length..][..self.length];
        // Output sample i reads input sample i + ahead - behind, or zero outside of the signal.
        let (ahead, behind) = (start + tap * self.conv.dilation, self.conv.padding);
        let first = behind.saturating_sub(ahead).min(out.len());
        let end = (self.length + behind).saturating_sub(ahead).clamp(first, out.len());
        out[..first].fill(0.0);
        out[end..].fill(0.0);
        if first < end {
            out[first..end].copy_from_slice(&x[first + ahead - behind..end + ahead - behind]);
        }
    }

    /// Returns the output samples `(c_out, count)` from `start`.
    fn block(&self, weight: &[f32], start: usize, count: usize) -> Vec<f32> {
        let depth = self.x.len() / self.length * self.kernel;
        let c_out = weight.len() / depth;
        let mut out = vec![0f32; c_out * count];
        let mut columns = vec![0f32; BLOCK_ROWS.min(depth) * count];
        for first in (0..depth).step_by(BLOCK_ROWS) {
            let rows = BLOCK_ROWS.min(depth - first);
            for (row, columns) in columns.chunks_mut(count).take(rows).enumerate() {
                self.fill(first + row, start, columns);
            }
            // SAFETY: all matrices are row-major inside their slices: `out` is (c_out, count), `columns` has at least
            // `rows` rows of `count`, and `weight` is (c_out, depth), of which `rows` columns from `first` on are read.
            // `out` is borrowed mutably and overlaps neither operand.
            unsafe {
                gemm::gemm(
                    c_out,
                    count,
                    rows,
                    out.as_mut_ptr(),
                    1,
                    count as isize,
                    first > 0,
                    weight.as_ptr().add(first),
                    1,
                    depth as isize,
                    columns.as_ptr(),
                    1,
                    count as isize,
                    1.0,
                    1.0,
                    false,
                    false,
                    false,
                    Parallelism::None,
                );
            }
        }
        out
    }
}

impl CustomOp2 for Conv1dBlocked {
    fn name(&self) -> &'static str {
        "conv1d-blocked"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((n, c_in, length), (c_out, c_in_w, kernel)) = (xl.shape().dims3()?, wl.shape().dims3()?);
        let results = (length + 2 * self.padding).saturating_sub(self.dilation * kernel.saturating_sub(1));
        if c_in != c_in_w || [n, c_in, length, c_out, kernel, results].contains(&0) {
            bail!("conv1d: signal {:?} does not match the weights {:?}", xl.shape(), wl.shape())
        }
        let shape = Shape::from((n, c_out, results));
        let (x, weight) = (float32(x, xl)?, float32(w, wl)?);
        let signals: Vec<Signal> = x.chunks(c_in * length).map(|x| Signal { x, length, kernel, conv: self }).collect();
        let columns = results.div_ceil(rayon::current_num_threads()).clamp(BLOCK_SAMPLES.0, BLOCK_SAMPLES.1);
        let per_signal = results.div_ceil(columns);
        let blocks: Vec<Vec<f32>> = (0..n * per_signal)
            .into_par_iter()
            .map(|i| {
                let start = i % per_signal * columns;
                signals[i / per_signal].block(weight, start, columns.min(results - start))
            })
            .collect();
        let mut out = vec![0f32; shape.elem_count()];
        out.par_chunks_mut(results).enumerate().for_each(|(row, out)| {
            let blocks = &blocks[row / c_out * per_signal..][..per_signal];
            for (out, block) in out.chunks_mut(columns).zip(blocks) {
                out.copy_from_slice(&block[row % c_out * out.len()..][..out.len()]);
            }
        });
        Ok((CpuStorage::F32(out), shape))
    }
}

fn float32<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(data), Some((start, end))) => Ok(&data[start..end]),
        _ => bail!("conv1d: expected contiguous float32 tensors"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn blocked_convolution_equals_candle() -> Result<()> {
        let make = |shape: &[usize]| Tensor::randn(0f32, 1., shape, &Device::Cpu);
        for (shape, (c_out, kernel), (padding, dilation)) in [
            ([1, 3, 5], (4, 3), (1, 1)),
            ([2, 7, 1300], (5, 11), (25, 5)),
            ([1, 200, 130], (33, 3), (0, 2)),
            ([3, 1, 2], (2, 7), (3, 1)),
            ([1, 2, 1], (2, 7), (9, 3)),
            ([1, 4, 600], (1, 1), (0, 1)),
        ] {
            let (x, weight) = (make(&shape)?, make(&[c_out, shape[1], kernel])?);
            let whole = x.conv1d(&weight, padding, 1, dilation, 1)?;
            let blocked = conv1d_blocked(&x, &weight, padding, dilation)?;
            assert_eq!(blocked.dims(), whole.dims());
            let error = (blocked - whole)?.abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(error < 1e-4, "{shape:?} with {kernel} taps: {error}");
        }
        Ok(())
    }

    #[test]
    fn mismatched_shapes_are_refused() -> Result<()> {
        let make = |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu);
        assert!(conv1d_blocked(&make(&[1, 2, 4])?, &make(&[1, 3, 3])?, 1, 1).is_err());
        assert!(conv1d_blocked(&make(&[1, 2, 4])?, &make(&[1, 2, 3])?, 0, 2).is_err());
        Ok(())
    }
}
