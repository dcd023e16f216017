//! 1-D convolution on a CPU, a block of samples at a time: the column matrix of a whole signal would be many times the
//! signal and not stay in any cache.

use candle_core::{CpuStorage, CustomOp2, Layout, Result, Shape, Tensor, bail};
use gemm::Parallelism;
use rayon::prelude::*;

/// Samples made at once, at most and at least.
const COLUMNS: (usize, usize) = (512, 64);
/// Rows of the column matrix held at once: with the samples above a megabyte.
const ROWS: usize = 512;

/// `x (n, c_in, l)` with `weight (c_out, c_in, k)`, both float32 on the CPU, stride 1, `padding` zeros on both sides.
pub(crate) fn conv1d_blocked(x: &Tensor, weight: &Tensor, padding: usize, dilation: usize) -> Result<Tensor> {
    x.contiguous()?.apply_op2_no_bwd(&weight.contiguous()?, &Blocked { padding, dilation })
}

struct Blocked {
    padding: usize,
    dilation: usize,
}

/// A signal `(channels, length)` and the convolution over it.
struct Signal<'a> {
    x: &'a [f32],
    length: usize,
    kernel: usize,
    conv: &'a Blocked,
}

impl Signal<'_> {
    /// Row `row` (channel and tap) of the column matrix, for the results from `start`.
    fn fill(&self, row: usize, start: usize, out: &mut [f32]) {
        let (channel, tap) = (row / self.kernel, row % self.kernel);
        let x = &self.x[channel * self.length..][..self.length];
        // Result i reads the sample at i + ahead - behind, and zero where there is none.
        let (ahead, behind) = (start + tap * self.conv.dilation, self.conv.padding);
        let first = behind.saturating_sub(ahead).min(out.len());
        let end = (self.length + behind).saturating_sub(ahead).clamp(first, out.len());
        out[..first].fill(0.0);
        out[end..].fill(0.0);
        if first < end {
            out[first..end].copy_from_slice(&x[first + ahead - behind..end + ahead - behind]);
        }
    }

    /// The results `(c_out, count)` from `start`.
    fn block(&self, weight: &[f32], start: usize, count: usize) -> Vec<f32> {
        let depth = self.x.len() / self.length * self.kernel;
        let c_out = weight.len() / depth;
        let mut out = vec![0f32; c_out * count];
        let mut columns = vec![0f32; ROWS.min(depth) * count];
        for first in (0..depth).step_by(ROWS) {
            let rows = ROWS.min(depth - first);
            for (row, columns) in columns.chunks_mut(count).take(rows).enumerate() {
                self.fill(first + row, start, columns);
            }
            // SAFETY: `out` is (c_out, count), the weights are (c_out, depth) and `columns` has `rows` rows, all with
            // contiguous rows; of the weights' columns those from `first` are read, `rows` of them.
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

impl CustomOp2 for Blocked {
    fn name(&self) -> &'static str {
        "conv1d-blocked"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, w: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        let ((n, c_in, length), (c_out, c_in_w, kernel)) = (xl.shape().dims3()?, wl.shape().dims3()?);
        let results = (length + 2 * self.padding).saturating_sub(self.dilation * kernel.saturating_sub(1));
        if c_in != c_in_w || [n, c_in, length, c_out, kernel, results].contains(&0) {
            bail!("a signal {:?} and a kernel {:?} do not fit together", xl.shape(), wl.shape())
        }
        let shape = Shape::from((n, c_out, results));
        let (x, weight) = (float32(x, xl)?, float32(w, wl)?);
        let signals: Vec<Signal> = x.chunks(c_in * length).map(|x| Signal { x, length, kernel, conv: self }).collect();
        let columns = results.div_ceil(rayon::current_num_threads()).clamp(COLUMNS.1, COLUMNS.0);
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
        _ => bail!("the blocked convolution takes contiguous float32 numbers"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn blocks_equal_the_whole() -> Result<()> {
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
            let apart = (blocked - whole)?.abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(apart < 1e-4, "{shape:?} with {kernel} taps: {apart}");
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_refused() -> Result<()> {
        let make = |shape: &[usize]| Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu);
        assert!(conv1d_blocked(&make(&[1, 2, 4])?, &make(&[1, 3, 3])?, 1, 1).is_err());
        assert!(conv1d_blocked(&make(&[1, 2, 4])?, &make(&[1, 2, 3])?, 0, 2).is_err());
        Ok(())
    }
}
