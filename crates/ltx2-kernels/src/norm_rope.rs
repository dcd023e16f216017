//! Queries and keys on their way to attention: normed over all heads, then turned head by head where they have places.

use candle_core::{Result, Tensor};

use crate::Product;
use crate::norm::rms_norm;
use crate::rope::{Rope, RopeTable};

/// What [`norm_rope`] does.
#[derive(Debug, Clone, Copy)]
pub struct NormRope<'a> {
    /// `(heads * d)`.
    pub weight: &'a Tensor,
    /// Added to the mean square.
    pub eps: f64,
    /// How many heads there are.
    pub heads: usize,
    /// What turns them, if anything does.
    pub rope: Option<(Rope, &'a RopeTable)>,
}

/// Root-mean-square norm of `x (b, t, heads * d)` times a weight, turned, as `(b, heads, t, d)`. On a card that is a view of
/// `(b, t, heads, d)`.
pub fn norm_rope(x: &Product, how: NormRope) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(kernel) = on_cuda::Kernel::new(x, how) {
        return kernel.run();
    }
    let x = rms_norm(&x.sum()?, Some(how.weight), how.eps)?;
    let (b, t, width) = x.dims3()?;
    let x = x.reshape((b, t, how.heads, width / how.heads))?.transpose(1, 2)?;
    how.rope.map_or(Ok(x.clone()), |(rope, table)| rope.apply(&x, table))
}

#[cfg(feature = "cuda")]
mod on_cuda {
    use candle_core::cuda_backend::CudaDType;
    use candle_core::cuda_backend::cudarc::driver::DeviceRepr;
    use candle_core::{DType, Result, Tensor};
    use half::bf16;

    use super::NormRope;
    use crate::Product;
    use crate::cuda::{self, LaunchConfig, Packed, PushKernelArg, WrapErr};
    use crate::rope::{Rope, RopeTable};

    pub(super) struct Kernel<'a> {
        packed: Packed<'a>,
        x: &'a Product,
        weight: &'a Tensor,
        table: Option<&'a RopeTable>,
        /// Batch, tokens, heads and width of a head.
        sizes: [usize; 4],
        eps: f32,
    }

    impl<'a> Kernel<'a> {
        /// If the kernel computes this.
        pub(super) fn new(x: &'a Product, how: NormRope<'a>) -> Option<Self> {
            let NormRope { weight, eps, heads, rope } = how;
            let (b, t, width) = x.y.dims3().ok()?;
            let half = width / heads / 2;
            let table = rope.map(|(_, table)| table);
            let [cos, sin] = [table.map(|table| &table.cos), table.map(|table| &table.sin)];
            let read = [Some(&x.y), x.bias.as_ref(), Some(weight), cos, sin];
            let packed = Packed::new(&read.into_iter().flatten().collect::<Vec<_>>(), half)?;
            let turns = |(rope, table): (Rope, &RopeTable)| {
                rope == Rope::Split && [&table.cos, &table.sin].iter().all(|side| side.dims() == [heads, t, half])
            };
            let fits = heads * half * 2 == width
                && rope.is_none_or(turns)
                && weight.elem_count() == width
                && x.y.elem_count() > 0;
            fits.then_some(Self { packed, x, weight, table, sizes: [b, t, heads, half * 2], eps: eps as f32 })
        }

        pub(super) fn run(&self) -> Result<Tensor> {
            match self.packed.dtype {
                DType::BF16 => self.launch::<bf16>("norm_rope_bf16"),
                _ => self.launch::<f32>("norm_rope_f32"),
            }
        }

        fn launch<T: CudaDType + DeviceRepr>(&self, name: &str) -> Result<Tensor> {
            let device = self.packed.device;
            let [b, t, heads, d] = self.sizes;
            // Every element is written below.
            let mut out = unsafe { device.alloc::<T>(self.x.y.elem_count())? };
            {
                let (x, weight) = (self.x.y.storage_and_layout(), self.weight.storage_and_layout());
                let (x, weight) = (cuda::view::<T>(&x.0, x.1)?, cuda::view::<T>(&weight.0, weight.1)?);
                let [cos, sin] = [self.table.map(|table| &table.cos), self.table.map(|table| &table.sin)];
                let maybe = [self.x.bias.as_ref(), cos, sin].map(|tensor| tensor.map(Tensor::storage_and_layout));
                let maybe = maybe.iter().map(|tensor| cuda::view_if_any::<T>(tensor.as_ref()));
                let maybe = maybe.collect::<Result<Vec<_>>>()?;
                let [tokens, heads_count, head_width] = [t, heads, d].map(|n| n as i32);
                let kernel = cuda::NORM_ROPE.kernel(device, name)?;
                let mut launch = kernel.builder();
                launch.arg(&x);
                cuda::arg_if_any(&mut launch, maybe[0].as_ref());
                launch.arg(&weight);
                cuda::arg_if_any(&mut launch, maybe[1].as_ref());
                cuda::arg_if_any(&mut launch, maybe[2].as_ref());
                launch.arg(&mut out).arg(&tokens).arg(&heads_count).arg(&head_width).arg(&self.eps);
                let config = LaunchConfig {
                    grid_dim: ((b * t) as u32, 1, 1),
                    block_dim: (cuda::threads(heads * d / 2 / self.packed.elements), 1, 1),
                    shared_mem_bytes: 0,
                };
                unsafe { launch.launch(config) }.w()?;
            }
            cuda::tensor(out, device, (b, t, heads, d).into()).transpose(1, 2)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_device;
    use candle_core::{DType, Device};

    #[test]
    fn equals_the_formula() -> Result<()> {
        let (b, t, heads, d, eps) = (2, 3, 2, 32, 1e-6);
        let make = |shape: &[usize], mean: f32| Tensor::randn(mean, 1f32, shape, &Device::Cpu);
        let (x, bias) = (make(&[b, t, heads * d], 0.3)?, make(&[heads * d], 0.)?);
        let (weight, angle) = (make(&[heads * d], 1.)?, make(&[heads, t, d / 2], 0.)?);
        let device = test_device()?;
        for ((dtype, limit), (biased, turned)) in [(DType::F32, 1e-4), (DType::BF16, 0.3)]
            .into_iter()
            .flat_map(|case| [(true, true), (true, false), (false, true)].map(|what| (case, what)))
        {
            let to = |x: &Tensor| x.to_dtype(dtype)?.to_device(&device);
            let table = RopeTable { cos: to(&angle.cos()?)?, sin: to(&angle.sin()?)? };
            let product = Product::new(to(&x)?, biased.then(|| to(&bias)).transpose()?)?;
            let rope = turned.then_some((Rope::Split, &table));
            let got = norm_rope(&product, NormRope { weight: &to(&weight)?, eps, heads, rope })?;
            assert_eq!(got.dims(), [b, heads, t, d]);
            let flat = |x: &Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
            let x = if biased { x.broadcast_add(&bias)? } else { x.clone() };
            let angle = if turned { flat(&angle)? } else { vec![0.; heads * t * d / 2] };
            let (x, weight) = (flat(&x)?, flat(&weight)?);
            for (i, got) in flat(&got)?.iter().enumerate() {
                let (batch, head, token, at) = (i / (heads * t * d), i / (t * d) % heads, i / d % t, i % d);
                let row = &x[(batch * t + token) * heads * d..][..heads * d];
                let rms = (row.iter().map(|x| x * x).sum::<f32>() / row.len() as f32 + eps as f32).sqrt();
                let normed = |at: usize| row[head * d + at] / rms * weight[head * d + at];
                let (sin, cos) = angle[(head * t + token) * d / 2 + at % (d / 2)].sin_cos();
                let exact = match at < d / 2 {
                    true => normed(at) * cos - normed(at + d / 2) * sin,
                    false => normed(at) * cos + normed(at - d / 2) * sin,
                };
                assert!((got - exact).abs() < limit, "{i}: {got}, not {exact}");
            }
        }
        Ok(())
    }
}
