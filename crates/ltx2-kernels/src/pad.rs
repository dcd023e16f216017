//! Padding that candle lacks.

use candle_core::{Result, Tensor};

/// Mirrors one row and one column at each edge, without repeating the edge itself: `(n, c, h, w)` to
/// `(n, c, h + 2, w + 2)`. Height and width have to be at least 2.
pub fn reflect_pad_hw(x: &Tensor) -> Result<Tensor> {
    let (_, _, h, w) = x.dims4()?;
    if h < 2 || w < 2 {
        candle_core::bail!("reflection needs at least 2 rows and columns, not {h}x{w}");
    }
    let x = Tensor::cat(&[&x.narrow(2, 1, 1)?, x, &x.narrow(2, h - 2, 1)?], 2)?;
    Tensor::cat(&[&x.narrow(3, 1, 1)?, &x, &x.narrow(3, w - 2, 1)?], 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn mirrors_without_the_edge() -> Result<()> {
        let x = Tensor::arange(0f32, 6., &Device::Cpu)?.reshape((1, 1, 2, 3))?;
        let rows = reflect_pad_hw(&x)?.squeeze(0)?.squeeze(0)?.to_vec2::<f32>()?;
        assert_eq!(rows, [[4., 3., 4., 5., 4.], [1., 0., 1., 2., 1.], [4., 3., 4., 5., 4.], [1., 0., 1., 2., 1.]]);
        assert!(reflect_pad_hw(&x.narrow(2, 0, 1)?).is_err());
        Ok(())
    }
}
