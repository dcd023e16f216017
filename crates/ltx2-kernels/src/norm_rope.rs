//! Fused q/k preparation of attention: bias, root-mean-square norm over all heads, rotary embedding per head
//! (`norm_rope.cu`).

use candle_core::{Result, Tensor};

use crate::PendingBias;
use crate::rms_modulate::rms_norm;
use crate::rope::{Rope, RopeTable};

/// Parameters of [`norm_rope`].
#[derive(Debug, Clone, Copy)]
pub struct NormRope<'a> {
    /// Weight of the norm, `(heads * d)`.
    pub weight: &'a Tensor,
    /// Added to the mean square.
    pub eps: f64,
    /// Number of heads.
    pub heads: usize,
    /// Rotary embedding, if any.
    pub rope: Option<(Rope, &'a RopeTable)>,
}

/// Root-mean-square norm of `x (b, t, heads * d)` times the weight, then the rotary embedding, as `(b, heads, t, d)`.
/// On CUDA the result is a view of `(b, t, heads, d)`.
pub fn norm_rope(x: &PendingBias, parameters: NormRope) -> Result<Tensor> {
    #[cfg(feature = "cuda")]
    if let Some(kernel) = on_cuda::NormRopeLaunch::new(x, parameters) {
        return kernel.run();
    }
    let NormRope { weight, eps, heads, rope } = parameters;
    let x = rms_norm(&x.sum()?, Some(weight), eps)?;
    let (b, t, width) = x.dims3()?;
    let x = x.reshape((b, t, heads, width / heads))?.transpose(1, 2)?;
    rope.map_or(Ok(x.clone()), |(rope, table)| rope.apply(&x, table))
}

#[cfg(feature = "cuda")]
mod on_cuda {
    use candle_core::{DType, Result, Tensor};
    use half::bf16;

    use super::NormRope;
    use crate::PendingBias;
    use crate::cuda::{self, Element, LaunchConfig, PushKernelArg, Vectorized, WrapErr};
    use crate::rope::{Rope, RopeTable};

    /// Launch of `norm_rope_*`.
    pub(super) struct NormRopeLaunch<'a> {
        vectors: Vectorized<'a>,
        x: &'a PendingBias,
        weight: &'a Tensor,
        table: Option<&'a RopeTable>,
        /// Batch, tokens, heads and width of a head.
        sizes: [usize; 4],
        eps: f32,
    }

    impl<'a> NormRopeLaunch<'a> {
        /// Returns `None` if the kernel does not support the operands.
        pub(super) fn new(x: &'a PendingBias, parameters: NormRope<'a>) -> Option<Self> {
            let NormRope { weight, eps, heads, rope } = parameters;
            let (b, t, width) = x.y.dims3().ok()?;
            let half = width / heads / 2;
            let table = rope.map(|(_, table)| table);
            let [cos, sin] = [table.map(|table| &table.cos), table.map(|table| &table.sin)];
            let operands = [Some(&x.y), x.bias.as_ref(), Some(weight), cos, sin];
            let vectors = Vectorized::new(&operands.into_iter().flatten().collect::<Vec<_>>(), half)?;
            let supports = |(rope, table): (Rope, &RopeTable)| {
                rope == Rope::Split && [&table.cos, &table.sin].iter().all(|side| side.dims() == [heads, t, half])
            };
            let fits = heads * half * 2 == width
                && rope.is_none_or(supports)
                && weight.elem_count() == width
                && x.y.elem_count() > 0
                && width.max(b * t) <= i32::MAX as usize;
            fits.then_some(Self { vectors, x, weight, table, sizes: [b, t, heads, half * 2], eps: eps as f32 })
        }

        pub(super) fn run(&self) -> Result<Tensor> {
            match self.vectors.dtype {
                DType::BF16 => self.launch::<bf16>("norm_rope_bf16"),
                _ => self.launch::<f32>("norm_rope_f32"),
            }
        }

        fn launch<T: Element>(&self, name: &str) -> Result<Tensor> {
            let device = self.vectors.device;
            let [b, t, heads, d] = self.sizes;
            let mut out = cuda::alloc_output::<T>(device, self.x.y.elem_count())?;
            {
                let (x, weight) = (self.x.y.storage_and_layout(), self.weight.storage_and_layout());
                let (x, weight) = (cuda::view::<T>(&x.0, x.1)?, cuda::view::<T>(&weight.0, weight.1)?);
                let [cos, sin] = [self.table.map(|table| &table.cos), self.table.map(|table| &table.sin)];
                let [bias, cos, sin] =
                    [self.x.bias.as_ref(), cos, sin].map(|tensor| tensor.map(Tensor::storage_and_layout));
                let bias = cuda::optional_view::<T>(bias.as_ref())?;
                let cos = cuda::optional_view::<T>(cos.as_ref())?;
                let sin = cuda::optional_view::<T>(sin.as_ref())?;
                let [tokens, heads_count, head_width] = [t, heads, d].map(|n| n as i32);
                let kernel = cuda::NORM_ROPE.kernel(device, name)?;
                let mut launch = kernel.builder();
                launch.arg(&x);
                cuda::optional_arg(&mut launch, bias.as_ref());
                launch.arg(&weight);
                cuda::optional_arg(&mut launch, cos.as_ref());
                cuda::optional_arg(&mut launch, sin.as_ref());
                launch.arg(&mut out).arg(&tokens).arg(&heads_count).arg(&head_width).arg(&self.eps);
                let config = LaunchConfig {
                    grid_dim: ((b * t) as u32, 1, 1),
                    block_dim: (cuda::block_threads(heads * d / 2 / self.vectors.elements), 1, 1),
                    shared_mem_bytes: 0,
                };
                // SAFETY: these are the parameters of `norm_rope_*` in order and type. `x` and `out` have a row of
                // `heads * d` elements per block, bias and weight are as wide, the tables are `(heads, t, d / 2)`, and
                // `Vectorized` has checked dtype, contiguity and alignment for half a head.
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
    fn norm_rope_equals_the_formula() -> Result<()> {
        let (b, t, heads, d, eps) = (2, 3, 2, 32, 1e-6);
        let make = |shape: &[usize], mean: f32| Tensor::randn(mean, 1f32, shape, &Device::Cpu);
        let (x, bias) = (make(&[b, t, heads * d], 0.3)?, make(&[heads * d], 0.)?);
        let (weight, angle) = (make(&[heads * d], 1.)?, make(&[heads, t, d / 2], 0.)?);
        let device = test_device()?;
        for ((dtype, limit), (biased, rotated)) in [(DType::F32, 1e-4), (DType::BF16, 0.3)]
            .into_iter()
            .flat_map(|case| [(true, true), (true, false), (false, true)].map(|what| (case, what)))
        {
            let to = |x: &Tensor| x.to_dtype(dtype)?.to_device(&device);
            let table = RopeTable { cos: to(&angle.cos()?)?, sin: to(&angle.sin()?)? };
            let pending = PendingBias::new(to(&x)?, biased.then(|| to(&bias)).transpose()?)?;
            let rope = rotated.then_some((Rope::Split, &table));
            let got = norm_rope(&pending, NormRope { weight: &to(&weight)?, eps, heads, rope })?;
            assert_eq!(got.dims(), [b, heads, t, d]);
            let flat = |x: &Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
            let x = if biased { x.broadcast_add(&bias)? } else { x.clone() };
            let angle = if rotated { flat(&angle)? } else { vec![0.; heads * t * d / 2] };
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
                assert!((got - exact).abs() < limit, "{i}: expected {exact}, found {got}");
            }
        }
        Ok(())
    }
}
