//! 3-D convolution over frames, without the full column matrix.

use candle_core::{Result, Tensor};

use crate::conv::conv2d;

/// A 3-D convolution with stride 1 over frames-first video.
///
/// Held as one 2-D kernel per tap in time: frame `i` of the result is the sum over taps `k` of the 2-D convolution of
/// frame `i + k`. With frames outermost every tap reads a contiguous slice, so nothing is copied in time.
#[derive(Debug, Clone)]
pub struct Conv3d {
    taps: Vec<Tensor>,
    bias: Tensor,
}

impl Conv3d {
    /// `weight (c_out, c_in, kt, kh, kw)`, `bias (c_out)`.
    pub fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        let (c_out, _, time, _, _) = weight.dims5()?;
        let taps = (0..time).map(|k| weight.narrow(2, k, 1)?.squeeze(2)?.contiguous()).collect::<Result<_>>()?;
        Ok(Self { taps, bias: bias.reshape((1, c_out, 1, 1))? })
    }

    /// Number of taps in time.
    pub fn time_kernel(&self) -> usize {
        self.taps.len()
    }

    /// `x (t, c_in, h, w)` to `(t - kt + 1, c_out, h', w')`, with `padding` zeros around each frame. Padding in time is
    /// the caller's.
    pub fn forward(&self, x: &Tensor, padding: usize) -> Result<Tensor> {
        let frames = x.dim(0)? + 1 - self.taps.len();
        let mut sum: Option<Tensor> = None;
        for (k, tap) in self.taps.iter().enumerate() {
            let part = conv2d(&x.narrow(0, k, frames)?, tap, padding)?;
            sum = Some(match sum {
                Some(sum) => (sum + part)?,
                None => part,
            });
        }
        sum.expect("a kernel has at least one tap").broadcast_add(&self.bias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn equals_the_sum_by_hand() -> Result<()> {
        let device = Device::Cpu;
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
}
