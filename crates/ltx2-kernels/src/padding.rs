//! Padding of video in time and around each frame.

use candle_core::{Result, Tensor, bail};

/// Padding of video `(t, c, h, w)`: repeated frames in time, and [`FramePadding`] around each frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Padding {
    /// Copies of the first frame before it.
    pub before: usize,
    /// Copies of the last frame after it.
    pub after: usize,
    /// Padding on all four sides of each frame.
    pub spatial: FramePadding,
}

/// Padding on all four sides of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FramePadding {
    /// Rows and columns of zeros on each side.
    Zeros(usize),
    /// One row or column on each side that mirrors the neighbour of the edge. Height and width must be at least 2.
    Reflect,
}

impl FramePadding {
    /// Rows and columns added on each side.
    pub(crate) const fn width(self) -> usize {
        match self {
            Self::Zeros(count) => count,
            Self::Reflect => 1,
        }
    }
}

impl Padding {
    /// `count` zeros on each side of each frame, nothing in time.
    pub const fn zeros(count: usize) -> Self {
        Self { before: 0, after: 0, spatial: FramePadding::Zeros(count) }
    }

    /// Dimensions of a video `(t, c, h, w)` after padding.
    pub const fn padded_dims(&self, [t, c, h, w]: [usize; 4]) -> [usize; 4] {
        let both_sides = 2 * self.spatial.width();
        [t + self.before + self.after, c, h + both_sides, w + both_sides]
    }

    /// Fails if `x` has no frame to repeat, or too few rows or columns to mirror.
    pub(crate) fn check(&self, x: &Tensor) -> Result<()> {
        let (t, _, h, w) = x.dims4()?;
        if self.before + self.after > 0 && t == 0 {
            bail!("padding in time needs at least 1 frame, found 0")
        }
        if self.spatial == FramePadding::Reflect && (h < 2 || w < 2) {
            bail!("reflection padding needs at least 2 rows and columns, found {h}x{w}")
        }
        Ok(())
    }

    /// Returns a padded copy of `x`.
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.apply_except_zeros(x)?;
        match self.spatial {
            FramePadding::Zeros(count) => x.pad_with_zeros(2, count, count)?.pad_with_zeros(3, count, count),
            FramePadding::Reflect => Ok(x),
        }
    }

    /// Returns a copy of `x` with everything but the zeros, which a 2-D convolution adds itself.
    pub(crate) fn apply_except_zeros(&self, x: &Tensor) -> Result<Tensor> {
        self.check(x)?;
        let x = match self.spatial {
            FramePadding::Zeros(_) => x.clone(),
            FramePadding::Reflect => reflect(x)?,
        };
        if self.before + self.after == 0 {
            return Ok(x);
        }
        let (first, last) = (x.narrow(0, 0, 1)?, x.narrow(0, x.dim(0)? - 1, 1)?);
        let mut frames = vec![&first; self.before];
        frames.push(&x);
        frames.extend(vec![&last; self.after]);
        Tensor::cat(&frames, 0)
    }
}

/// Mirrors one row and column at each edge without repeating the edge: `(n, c, h, w)` to `(n, c, h + 2, w + 2)`.
fn reflect(x: &Tensor) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    let x = Tensor::cat(&[&x.narrow(2, 1, 1)?, x, &x.narrow(2, h - 2, 1)?], 2)?;
    Tensor::cat(&[&x.narrow(3, 1, 1)?, &x, &x.narrow(3, w - 2, 1)?], 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn reflect_does_not_repeat_the_edge() -> Result<()> {
        let padding = Padding { spatial: FramePadding::Reflect, ..Padding::zeros(0) };
        let x = Tensor::arange(0f32, 6., &Device::Cpu)?.reshape((1, 1, 2, 3))?;
        let rows = padding.apply(&x)?.squeeze(0)?.squeeze(0)?.to_vec2::<f32>()?;
        assert_eq!(rows, [[4., 3., 4., 5., 4.], [1., 0., 1., 2., 1.], [4., 3., 4., 5., 4.], [1., 0., 1., 2., 1.]]);
        assert!(padding.apply(&x.narrow(2, 0, 1)?).is_err());
        Ok(())
    }

    #[test]
    fn apply_repeats_frames_and_adds_zeros() -> Result<()> {
        let x = Tensor::new(&[1f32, 2.], &Device::Cpu)?.reshape((2, 1, 1, 1))?;
        let repeated = Padding { before: 2, after: 1, spatial: FramePadding::Zeros(0) }.apply(&x)?;
        assert_eq!(repeated.flatten_all()?.to_vec1::<f32>()?, [1., 1., 1., 2., 2.]);
        let (frame, padding) = (x.narrow(0, 1, 1)?, Padding::zeros(1));
        let padded = padding.apply(&frame)?;
        assert_eq!(padded.dims(), padding.padded_dims([1, 1, 1, 1]));
        assert_eq!(padded.flatten_all()?.to_vec1::<f32>()?, [0., 0., 0., 0., 2., 0., 0., 0., 0.]);
        Ok(())
    }
}
