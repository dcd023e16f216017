//! What stands around a video where a convolution's window reaches beyond it.

use candle_core::{Result, Tensor, bail};

/// Padding of video `(t, c, h, w)` in time and around each frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Padding {
    /// How often the first frame is repeated before itself.
    pub before: usize,
    /// How often the last frame is repeated after itself.
    pub after: usize,
    /// On all sides of each frame.
    pub around: Around,
}

/// What stands around a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Around {
    /// So many zeros on each side.
    Zeros(usize),
    /// A row or column on each side that mirrors the one next to the edge. Height and width have to be at least 2.
    Reflect,
}

impl Padding {
    /// Zeros around each frame alone.
    pub const fn zeros(count: usize) -> Self {
        Self { before: 0, after: 0, around: Around::Zeros(count) }
    }

    /// `(t, c, h, w)` with it.
    pub const fn grown(&self, [t, c, h, w]: [usize; 4]) -> [usize; 4] {
        let around = 2 * self.on_each_side();
        [t + self.before + self.after, c, h + around, w + around]
    }

    /// Rows and columns on each side of a frame.
    pub(crate) const fn on_each_side(&self) -> usize {
        match self.around {
            Around::Zeros(count) => count,
            Around::Reflect => 1,
        }
    }

    /// An error if `x` has nothing to repeat or to mirror.
    pub(crate) fn check(&self, x: &Tensor) -> Result<()> {
        let (t, _, h, w) = x.dims4()?;
        if self.before + self.after > 0 && t == 0 {
            bail!("there is no frame to repeat")
        }
        if self.around == Around::Reflect && (h < 2 || w < 2) {
            bail!("reflection needs at least 2 rows and columns, not {h}x{w}")
        }
        Ok(())
    }

    /// A copy of `x` with it.
    pub(crate) fn apply(&self, x: &Tensor) -> Result<Tensor> {
        let x = self.repeat(x)?;
        match self.around {
            Around::Zeros(count) => x.pad_with_zeros(2, count, count)?.pad_with_zeros(3, count, count),
            Around::Reflect => Ok(x),
        }
    }

    /// A copy of `x` with all but the zeros.
    pub(crate) fn repeat(&self, x: &Tensor) -> Result<Tensor> {
        self.check(x)?;
        let x = match self.around {
            Around::Zeros(_) => x.clone(),
            Around::Reflect => reflect(x)?,
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

/// Mirrors one row and one column at each edge, without repeating the edge itself: `(n, c, h, w)` to
/// `(n, c, h + 2, w + 2)`.
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
    fn mirrors_without_the_edge() -> Result<()> {
        let padding = Padding { around: Around::Reflect, ..Padding::zeros(0) };
        let x = Tensor::arange(0f32, 6., &Device::Cpu)?.reshape((1, 1, 2, 3))?;
        let rows = padding.apply(&x)?.squeeze(0)?.squeeze(0)?.to_vec2::<f32>()?;
        assert_eq!(rows, [[4., 3., 4., 5., 4.], [1., 0., 1., 2., 1.], [4., 3., 4., 5., 4.], [1., 0., 1., 2., 1.]]);
        assert!(padding.apply(&x.narrow(2, 0, 1)?).is_err());
        Ok(())
    }

    #[test]
    fn repeats_frames_and_adds_zeros() -> Result<()> {
        let x = Tensor::new(&[1f32, 2.], &Device::Cpu)?.reshape((2, 1, 1, 1))?;
        let repeated = Padding { before: 2, after: 1, around: Around::Zeros(0) }.apply(&x)?;
        assert_eq!(repeated.flatten_all()?.to_vec1::<f32>()?, [1., 1., 1., 2., 2.]);
        let (frame, padding) = (x.narrow(0, 1, 1)?, Padding::zeros(1));
        let padded = padding.apply(&frame)?;
        assert_eq!(padded.dims(), padding.grown([1, 1, 1, 1]));
        assert_eq!(padded.flatten_all()?.to_vec1::<f32>()?, [0., 0., 0., 0., 2., 0., 0., 0., 0.]);
        Ok(())
    }
}
