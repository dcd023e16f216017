//! Downsampling and upsampling between space-time and channels (`SpaceToDepthDownsample`, `DepthToSpaceUpsample`,
//! `patchify`).

use candle_core::{Result, Tensor};
use ltx2_kernels::depth_to_space;

use super::conv::{CausalConv3d, SpatialPadding, TimePadding};
use crate::VarBuilder;

/// `(d p1, c, h p2, w p3)` to `(d, c p1 p2 p3, h, w)`.
fn space_to_depth(x: &Tensor, [p1, p2, p3]: [usize; 3]) -> Result<Tensor> {
    let (t, c, h, w) = x.dims4()?;
    x.reshape(vec![t / p1, p1, c, h / p2, p2, w / p3, p3])?.permute(vec![0, 2, 1, 4, 6, 3, 5])?.reshape((
        t / p1,
        c * p1 * p2 * p3,
        h / p2,
        w / p3,
    ))
}

/// Moves patches of `q x q` pixels to channels: `(t, c, h q, w q)` to `(t, c q q, h, w)`. In a patch, columns vary
/// slower than rows.
pub(super) fn patchify(x: &Tensor, q: usize) -> Result<Tensor> {
    let (t, c, h, w) = x.dims4()?;
    x.reshape((t, c, h / q, q, w / q, q))?.permute((0, 1, 5, 3, 2, 4))?.reshape((t, c * q * q, h / q, w / q))
}

/// Inverse of [`patchify`]: `(t, c q q, h, w)` to `(t, c, h q, w q)`.
pub(super) fn unpatchify(x: &Tensor, q: usize) -> Result<Tensor> {
    let (t, c, h, w) = x.dims4()?;
    let c = c / (q * q);
    x.reshape((t, c, q, q, h, w))?.permute((0, 1, 4, 3, 5, 2))?.reshape((t, c, h * q, w * q))
}

/// Downsampling by 2 along the axes of `stride` (`SpaceToDepthDownsample`). The skip connection averages groups of
/// channels.
#[derive(Debug)]
pub(super) struct Downsample {
    conv: CausalConv3d,
    stride: [usize; 3],
    c_out: usize,
}

impl Downsample {
    pub(super) fn new(
        c_in: usize,
        c_out: usize,
        stride: [usize; 3],
        padding: SpatialPadding,
        vb: VarBuilder,
    ) -> Result<Self> {
        let volume: usize = stride.iter().product();
        Ok(Self { conv: CausalConv3d::new(c_in, c_out / volume, padding, vb.pp("conv"))?, stride, c_out })
    }

    /// `x (t, c_in, h, w)` to `(t / p1, c_out, h / p2, w / p3)` for the stride `(p1, p2, p3)`. If time is halved, the
    /// first frame is repeated once before, so an odd `t` becomes `(t + 1) / 2`.
    pub(super) fn forward(&self, x: &Tensor, time: TimePadding) -> Result<Tensor> {
        let x = if self.stride[0] == 2 { Tensor::cat(&[&x.narrow(0, 0, 1)?, x], 0)? } else { x.clone() };
        let skip = space_to_depth(&x, self.stride)?;
        let (t, c, h, w) = skip.dims4()?;
        let skip = skip.reshape((t, self.c_out, c / self.c_out, h, w))?.mean(2)?;
        space_to_depth(&self.conv.forward(&x, time)?, self.stride)? + skip
    }
}

/// Upsampling by 2 along the axes of `stride` (`DepthToSpaceUpsample`). The skip connection, if any, repeats channels.
/// If time is doubled, the first frame is dropped, because the first latent frame is a single frame.
#[derive(Debug)]
pub(super) struct Upsample {
    conv: CausalConv3d,
    stride: [usize; 3],
    /// Whether there is a skip connection.
    residual: bool,
}

impl Upsample {
    pub(super) fn new(
        c_in: usize,
        (stride, multiplier, residual): ([usize; 3], usize, bool),
        padding: SpatialPadding,
        vb: VarBuilder,
    ) -> Result<Self> {
        let volume: usize = stride.iter().product();
        let conv = CausalConv3d::new(c_in, volume * c_in / multiplier, padding, vb.pp("conv"))?;
        Ok(Self { conv, stride, residual })
    }

    /// `x (t, c_in, h, w)` to `(p1 t, c_in / multiplier, p2 h, p3 w)` for the stride `(p1, p2, p3)`, without the first
    /// frame if time is doubled.
    pub(super) fn forward(&self, x: &Tensor, time: TimePadding) -> Result<Tensor> {
        let dropped_frames = self.stride[0] - 1;
        depth_to_space(&self.conv.forward(x, time)?, self.stride, dropped_frames, self.residual.then_some(x))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn upsampling_inverts_downsampling() -> Result<()> {
        let x = Tensor::arange(0f32, 4. * 3. * 8. * 12., &Device::Cpu)?.reshape((4, 3, 8, 12))?;
        let same = |y: Tensor| -> Result<bool> { Ok((y - &x)?.abs()?.max_all()?.to_scalar::<f32>()? == 0.) };
        assert!(same(unpatchify(&patchify(&x, 4)?, 4)?)?);
        for stride in [[2, 2, 2], [1, 2, 2], [2, 1, 1]] {
            assert!(same(depth_to_space(&space_to_depth(&x, stride)?, stride, 0, None)?)?);
        }
        Ok(())
    }
}
