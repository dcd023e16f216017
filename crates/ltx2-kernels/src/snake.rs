//! Anti-aliased periodic activation of BigVGAN: SnakeBeta between a twofold upsampling and a twofold downsampling
//! (`Activation1d` around `SnakeBeta`).

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::depthwise::{depthwise_conv_transpose1d, depthwise_conv1d};
use crate::sine::add_sine_squared;

/// Number of taps of both filters.
pub const SNAKE_TAPS: usize = 12;
const EPS: f64 = 1e-9;
/// Taps of a filter that apply to the samples of one parity.
const HALF: usize = SNAKE_TAPS / 2;
/// Output samples per block: the buffers fit in the L1 cache.
const BLOCK: usize = 1024;

/// Computes `down(snake(up(x)))` with `snake(u) = u + sin²(α u) / β` and α and β per channel.
#[derive(Debug, Clone)]
pub struct AntiAliasedSnake {
    up: Tensor,
    down: Tensor,
    alpha: Tensor,
    inverse_beta: Tensor,
}

impl AntiAliasedSnake {
    /// Creates the activation from the filters `(1, 1, 12)` and the logarithms of α and β `(c)`.
    pub fn new(up: Tensor, down: Tensor, log_alpha: &Tensor, log_beta: &Tensor) -> Result<Self> {
        for filter in [&up, &down] {
            if filter.dims() != [1, 1, SNAKE_TAPS] {
                bail!("snake: expected filters [1, 1, {SNAKE_TAPS}], found {:?}", filter.dims());
            }
        }
        let channels = log_alpha.dim(0)?;
        let alpha = log_alpha.exp()?.reshape((1, channels, 1))?;
        let inverse_beta = (log_beta.exp()? + EPS)?.recip()?.reshape((1, channels, 1))?;
        Ok(Self { up, down, alpha, inverse_beta })
    }

    /// Applies the activation to `x (n, c, l)`; the shape stays. On a CPU it is computed in float32 and rounded once.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if !x.device().is_cpu() {
            return self.reference(x);
        }
        let op = FusedSnake::new(self)?;
        x.to_dtype(DType::F32)?.contiguous()?.apply_op1_no_bwd(&op)?.to_dtype(x.dtype())
    }

    /// The same as separate candle operations, on any device.
    pub fn reference(&self, x: &Tensor) -> Result<Tensor> {
        let length = x.dim(2)?;
        let x = x.pad_with_same(2, HALF - 1, HALF - 1)?;
        // Drops the samples at both ends that come from the padding.
        let up = depthwise_conv_transpose1d(&x, &self.up, 2)?.narrow(2, 3 * (HALF - 1), 2 * length)?;
        let up = (up * 2.0)?;
        let wave = up.broadcast_mul(&self.alpha)?.sin()?.sqr()?.broadcast_mul(&self.inverse_beta)?;
        depthwise_conv1d(&(up + wave)?.pad_with_same(2, HALF - 1, HALF)?, &self.down, 2)
    }
}

/// CPU operation with both filters and the activation in one pass. The even and odd samples of the upsampled signal are
/// stored separately, so each filter is two short filters over contiguous samples.
struct FusedSnake {
    up: [f32; SNAKE_TAPS],
    down: [f32; SNAKE_TAPS],
    alpha: Vec<f32>,
    inverse_beta: Vec<f32>,
}

impl FusedSnake {
    fn new(snake: &AntiAliasedSnake) -> Result<Self> {
        let values = |x: &Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
        let taps = |x: &Tensor| -> Result<[f32; SNAKE_TAPS]> {
            let values = values(x)?;
            Ok(std::array::from_fn(|k| values[k]))
        };
        Ok(Self {
            up: taps(&snake.up)?.map(|tap| 2.0 * tap),
            down: taps(&snake.down)?,
            alpha: values(&snake.alpha)?,
            inverse_beta: values(&snake.inverse_beta)?,
        })
    }

    /// Computes the output samples of a channel from `start` on, as many as `out` has.
    fn block(&self, channel: usize, x: &[f32], start: usize, out: &mut [f32]) {
        let count = out.len();
        let mut near = [0f32; BLOCK + SNAKE_TAPS];
        let (mut even, mut odd) = ([0f32; BLOCK + HALF], [0f32; BLOCK + HALF]);
        let near = &mut near[..count + SNAKE_TAPS];
        // `near[i]` is x[start + i - 6], and (even, odd)[i] are the upsampled pair at start + i - 3.
        for (i, near) in near.iter_mut().enumerate() {
            *near = x[(start + i).saturating_sub(HALF).min(x.len() - 1)];
        }
        let (even, odd) = (&mut even[..count + HALF], &mut odd[..count + HALF]);
        let up = self.up;
        for (i, (even, odd)) in even.iter_mut().zip(odd.iter_mut()).enumerate() {
            let window: &[f32; HALF + 1] =
                near[i..i + HALF + 1].try_into().expect("the slice has the length of the array");
            *even = (0..HALF).map(|q| window[q] * up[SNAKE_TAPS - 1 - 2 * q]).sum();
            *odd = (0..HALF).map(|q| window[q + 1] * up[SNAKE_TAPS - 2 - 2 * q]).sum();
        }
        extend_ends(even, odd, start, x.len());
        for upsampled in [&mut *even, &mut *odd] {
            add_sine_squared(upsampled, self.alpha[channel], self.inverse_beta[channel]);
        }
        let down = self.down;
        for (i, out) in out.iter_mut().enumerate() {
            let even: &[f32; HALF] =
                even[i + 1..i + 1 + HALF].try_into().expect("the slice has the length of the array");
            let odd: &[f32; HALF] = odd[i..i + HALF].try_into().expect("the slice has the length of the array");
            *out = (0..HALF).map(|q| odd[q] * down[2 * q] + even[q] * down[2 * q + 1]).sum();
        }
    }
}

/// Extends the upsampled signal beyond both ends by its first and last sample.
fn extend_ends(even: &mut [f32], odd: &mut [f32], start: usize, length: usize) {
    let first = 3usize.saturating_sub(start);
    let end = (length + 3 - start).min(even.len());
    let (head, tail) = (even[first], odd[end - 1]);
    for i in (0..first).chain(end..even.len()) {
        let value = if i < first { head } else { tail };
        (even[i], odd[i]) = (value, value);
    }
}

impl CustomOp1 for FusedSnake {
    fn name(&self) -> &'static str {
        "anti-aliased-snake"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, channels, length) = layout.shape().dims3()?;
        let (CpuStorage::F32(data), Some((start, end))) = (storage, layout.contiguous_offsets()) else {
            bail!("snake: expected contiguous float32 samples")
        };
        if channels != self.alpha.len() {
            bail!("snake: expected {} channels, found {channels}", self.alpha.len());
        }
        let data = &data[start..end];
        let mut out = vec![0f32; data.len()];
        out.par_chunks_mut(length.max(1)).zip(data.par_chunks(length.max(1))).enumerate().for_each(
            |(row, (out, x))| {
                out.par_chunks_mut(BLOCK)
                    .enumerate()
                    .for_each(|(i, out)| self.block(row % channels, x, i * BLOCK, out));
            },
        );
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn snake(channels: usize) -> Result<AntiAliasedSnake> {
        let make = |shape: &[usize], spread: f32| Tensor::randn(0f32, spread, shape, &Device::Cpu);
        AntiAliasedSnake::new(
            make(&[1, 1, SNAKE_TAPS], 0.3)?,
            make(&[1, 1, SNAKE_TAPS], 0.3)?,
            &make(&[channels], 0.5)?,
            &make(&[channels], 0.5)?,
        )
    }

    fn max_difference(a: &Tensor, b: &Tensor) -> Result<f32> {
        let wide = |x: &Tensor| x.to_dtype(DType::F32);
        (wide(a)? - wide(b)?)?.abs()?.max_all()?.to_scalar()
    }

    #[test]
    fn fused_activation_equals_the_reference() -> Result<()> {
        let snake = snake(3)?;
        for length in [1, 2, 3, 7, BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + 2, 2 * BLOCK + 5] {
            let x = Tensor::randn(0f32, 2., (2, 3, length), &Device::Cpu)?;
            let (fused, reference) = (snake.forward(&x)?, snake.reference(&x)?);
            assert_eq!(fused.dims(), x.dims());
            let error = max_difference(&fused, &reference)?;
            assert!(error < 5e-6, "{length} samples: {error}");
        }
        Ok(())
    }

    #[test]
    fn bfloat16_is_close_and_wrong_shapes_are_refused() -> Result<()> {
        let snake = snake(2)?;
        let x = Tensor::randn(0f32, 1., (1, 2, 50), &Device::Cpu)?;
        let rounded = snake.forward(&x.to_dtype(DType::BF16)?)?;
        assert_eq!(rounded.dtype(), DType::BF16);
        assert!(max_difference(&rounded, &snake.forward(&x)?)? < 0.1);
        assert!(snake.forward(&x.narrow(1, 0, 1)?).is_err());
        let short = Tensor::zeros((1, 1, 10), DType::F32, &Device::Cpu)?;
        let log = Tensor::zeros(2, DType::F32, &Device::Cpu)?;
        assert!(AntiAliasedSnake::new(short.clone(), short, &log, &log).is_err());
        Ok(())
    }
}
