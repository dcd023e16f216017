//! 3-D convolution over frames, without the full column matrix.

use candle_core::{Result, Tensor};

use crate::columns::Window;
use crate::conv::conv2d;

/// Most bytes of columns at once, where one line of one frame takes no more.
const COLUMN_BYTES: usize = 256 << 20;

/// A 3-D convolution with stride 1 over frames-first video.
#[derive(Debug, Clone)]
pub struct Conv3d {
    weights: Weights,
    bias: Tensor,
}

#[derive(Debug, Clone)]
enum Weights {
    /// On a CPU, one 2-D kernel per tap in time: frame `i` of the result is the sum over taps `k` of the 2-D convolution of
    /// frame `i + k`. With frames outermost every tap reads a contiguous slice, so nothing is copied in time.
    Taps(Vec<Tensor>),
    /// On a card, `(c_out, c_in * window)`: times the columns of some frames, or lines of one, it is those of the result, and
    /// all is summed in float32.
    Matrix { matrix: Tensor, size: [usize; 3] },
}

impl Conv3d {
    /// `weight (c_out, c_in, kt, kh, kw)`, `bias (c_out)`.
    pub fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        let weights = if weight.device().is_cuda() { Weights::matrix(weight)? } else { Weights::taps(weight)? };
        Ok(Self { weights, bias: bias.reshape((1, weight.dim(0)?, 1, 1))? })
    }

    /// Number of taps in time.
    pub fn time_kernel(&self) -> usize {
        match &self.weights {
            Weights::Taps(taps) => taps.len(),
            Weights::Matrix { size, .. } => size[0],
        }
    }

    /// `x (t, c_in, h, w)` to `(t - kt + 1, c_out, h', w')`, with `padding` zeros around each frame. Padding in time is
    /// the caller's.
    pub fn forward(&self, x: &Tensor, padding: usize) -> Result<Tensor> {
        let sum = match &self.weights {
            Weights::Taps(taps) => by_taps(taps, x, padding)?,
            Weights::Matrix { matrix, size } => by_columns(matrix, &Window { size: *size, padding }, x, COLUMN_BYTES)?,
        };
        sum.broadcast_add(&self.bias)
    }
}

impl Weights {
    fn taps(weight: &Tensor) -> Result<Self> {
        let (_, _, time, _, _) = weight.dims5()?;
        (0..time).map(|k| weight.narrow(2, k, 1)?.squeeze(2)?.contiguous()).collect::<Result<_>>().map(Self::Taps)
    }

    fn matrix(weight: &Tensor) -> Result<Self> {
        let (c_out, c_in, time, height, width) = weight.dims5()?;
        let matrix = weight.contiguous()?.reshape((c_out, c_in * time * height * width))?;
        Ok(Self::Matrix { matrix, size: [time, height, width] })
    }
}

fn by_taps(taps: &[Tensor], x: &Tensor, padding: usize) -> Result<Tensor> {
    let frames = x.dim(0)? + 1 - taps.len();
    let mut sum: Option<Tensor> = None;
    for (k, tap) in taps.iter().enumerate() {
        let part = conv2d(&x.narrow(0, k, frames)?, tap, padding)?;
        sum = Some(match sum {
            Some(sum) => (sum + part)?,
            None => part,
        });
    }
    Ok(sum.expect("a kernel has at least one tap"))
}

/// With at most `bytes` of columns at once: as many frames as that allows, or lines of one frame.
fn by_columns(matrix: &Tensor, window: &Window, x: &Tensor, bytes: usize) -> Result<Tensor> {
    let [frames, height, width] = window.places(x)?;
    let (c_out, depth) = matrix.dims2()?;
    let out = Tensor::zeros((frames, c_out, height, width), x.dtype(), x.device())?;
    let line_bytes = (depth * width * x.dtype().size_in_bytes()).max(1);
    let lines = (bytes / line_bytes).clamp(1, height.max(1));
    let at_once = (bytes / (line_bytes * lines)).clamp(1, if lines < height { 1 } else { frames.max(1) });
    for first in (0..frames).step_by(at_once) {
        let count = at_once.min(frames - first);
        let matrix = matrix.unsqueeze(0)?.expand((count, c_out, depth))?;
        let parts = (0..height)
            .step_by(lines)
            .map(|top| {
                let lines = lines.min(height - top);
                let columns = window.columns(x, first..first + count, top..top + lines)?;
                matrix.matmul(&columns)?.reshape((count, c_out, lines, width))
            })
            .collect::<Result<Vec<_>>>()?;
        out.slice_set(&Tensor::cat(&parts, 2)?, 0, first)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_device;
    use candle_core::{DType, Device};

    #[test]
    fn equals_the_sum_by_hand() -> Result<()> {
        let device = test_device()?;
        let (t, c, h, w, o) = (4, 2, 3, 5, 3);
        let x = Tensor::randn(0f32, 1., (t, c, h, w), &device)?;
        let weight = Tensor::randn(0f32, 1., (o, c, 3, 3, 3), &device)?;
        let bias = Tensor::randn(0f32, 1., o, &device)?;
        let y = Conv3d::new(&weight, &bias)?.forward(&x, 1)?;
        assert_eq!(y.dims(), [t - 2, o, h, w]);
        let (x, weight, bias) =
            (x.flatten_all()?.to_vec1::<f32>()?, weight.flatten_all()?.to_vec1::<f32>()?, bias.to_vec1::<f32>()?);
        let at = |t: usize, c_in: usize, y: isize, z: isize| {
            let inside = (0..h as isize).contains(&y) && (0..w as isize).contains(&z);
            if inside { x[((t * c + c_in) * h + y as usize) * w + z as usize] } else { 0. }
        };
        let got = y.flatten_all()?.to_vec1::<f32>()?;
        for (i, got) in got.iter().enumerate() {
            let (time, out, row, col) = (i / (o * h * w), i / (h * w) % o, i / w % h, i % w);
            let mut sum = bias[out];
            for c_in in 0..c {
                for k in 0..27 {
                    let (kt, kh, kw) = (k / 9, k / 3 % 3, k % 3);
                    sum += weight[(out * c + c_in) * 27 + k]
                        * at(time + kt, c_in, row as isize + kh as isize - 1, col as isize + kw as isize - 1);
                }
            }
            assert!((sum - got).abs() < 1e-4, "{i}: {got}, not {sum}");
        }
        Ok(())
    }
    #[test]
    fn columns_equal_taps() -> Result<()> {
        let device = test_device()?;
        for (size, padding, width) in [([3, 3, 3], 1, 5), ([3, 3, 3], 0, 10), ([1, 2, 3], 0, 16), ([2, 1, 1], 0, 3)] {
            let make = |shape: &[usize]| Tensor::randn(0f32, 1., shape, &Device::Cpu);
            let (x, weight) = (make(&[6, 2, 7, width])?, make(&[4, 2, size[0], size[1], size[2]])?);
            let Weights::Taps(taps) = Weights::taps(&weight)? else { unreachable!() };
            let exact = by_taps(&taps, &x, padding)?;
            for (dtype, limit) in [(DType::F32, 1e-4), (DType::BF16, 0.3)] {
                let to = |x: &Tensor| x.to_dtype(dtype)?.to_device(&device);
                let Weights::Matrix { matrix, size } = Weights::matrix(&to(&weight)?)? else { unreachable!() };
                // From one line at a time to all at once.
                for bytes in [1, 4000, 9000, 1 << 20] {
                    // bfloat16 products are for cards alone.
                    if dtype == DType::BF16 && device.is_cpu() {
                        continue;
                    }
                    let got = by_columns(&matrix, &Window { size, padding }, &to(&x)?, bytes)?;
                    assert_eq!(got.dims(), exact.dims());
                    let got = got.to_dtype(DType::F32)?.to_device(&Device::Cpu)?;
                    let apart = (got - &exact)?.abs()?.max_all()?.to_scalar::<f32>()?;
                    assert!(apart < limit, "{size:?} {padding} {dtype:?} {bytes}: {apart}");
                }
            }
        }
        Ok(())
    }
}
