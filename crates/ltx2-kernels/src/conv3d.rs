//! 3-D convolution over frames, without the full column matrix.

use candle_core::{Result, Tensor};

#[cfg(feature = "cuda")]
use crate::columns::Window;
use crate::conv::conv2d;
#[cfg(feature = "cuda")]
use crate::conv3d_columns;
#[cfg(feature = "cuda")]
use crate::conv3d_tiles::{self, TiledWeights};
use crate::pad::{Around, Padding};

/// Most bytes of columns at once, where one line of one frame takes no more.
#[cfg(feature = "cuda")]
const COLUMN_BYTES: usize = 256 << 20;

/// A 3-D convolution with stride 1 over frames-first video.
#[derive(Debug, Clone)]
pub struct Conv3d {
    weights: Weights,
    /// `(1, c_out, 1, 1)`.
    bias: Tensor,
}

#[derive(Debug, Clone)]
enum Weights {
    /// The plain form, one 2-D kernel per tap in time: frame `i` of the result is the sum over taps `k` of the 2-D convolution
    /// of frame `i + k`. With frames outermost every tap reads a contiguous slice, so nothing is copied in time.
    Taps(Vec<Tensor>),
    /// On a card, `(c_out, c_in * window)`: times the columns of some frames, or lines of one, it is those of the result, and
    /// all is summed in float32.
    #[cfg(feature = "cuda")]
    Matrix { matrix: Tensor, size: [usize; 3] },
    /// On a card, for a kernel that needs no columns, where that pays.
    #[cfg(feature = "cuda")]
    Tiled(TiledWeights),
}

impl Conv3d {
    /// `weight (c_out, c_in, kt, kh, kw)`, `bias (c_out)`.
    pub fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        Ok(Self { weights: Weights::new(weight)?, bias: bias.reshape((1, weight.dim(0)?, 1, 1))? })
    }

    /// `x (t, c_in, h, w)`, padded, to `(t', c_out, h', w')`: as many as the kernel has places.
    pub fn forward(&self, x: &Tensor, padding: &Padding) -> Result<Tensor> {
        self.sum(x, padding, None)
    }

    /// The same plus `residual`, of the result's shape.
    pub fn forward_onto(&self, residual: &Tensor, x: &Tensor, padding: &Padding) -> Result<Tensor> {
        self.sum(x, padding, Some(residual))
    }

    fn sum(&self, x: &Tensor, padding: &Padding, residual: Option<&Tensor>) -> Result<Tensor> {
        match &self.weights {
            Weights::Taps(taps) => {
                let sum = by_taps(taps, x, padding)?.broadcast_add(&self.bias)?;
                residual.map_or(Ok(sum.clone()), |residual| residual + sum)
            }
            #[cfg(feature = "cuda")]
            Weights::Matrix { matrix, size } => {
                let window = Window { size: *size, padding: *padding };
                conv3d_columns::Product { window, matrix, bias: &self.bias, residual }.of(x, COLUMN_BYTES)
            }
            #[cfg(feature = "cuda")]
            Weights::Tiled(weights) => {
                conv3d_tiles::on_cuda::Convolution { weights, padding: *padding, bias: &self.bias, residual }.of(x)
            }
        }
    }
}

impl Weights {
    fn new(weight: &Tensor) -> Result<Self> {
        #[cfg(feature = "cuda")]
        if weight.device().is_cuda() {
            if TiledWeights::pays(weight) {
                return TiledWeights::new(weight).map(Self::Tiled);
            }
            let (c_out, c_in, time, height, width) = weight.dims5()?;
            let matrix = weight.contiguous()?.reshape((c_out, c_in * time * height * width))?;
            return Ok(Self::Matrix { matrix, size: [time, height, width] });
        }
        taps(weight).map(Self::Taps)
    }
}

fn taps(weight: &Tensor) -> Result<Vec<Tensor>> {
    let (_, _, time, _, _) = weight.dims5()?;
    (0..time).map(|k| weight.narrow(2, k, 1)?.squeeze(2)?.contiguous()).collect()
}

fn by_taps(taps: &[Tensor], x: &Tensor, padding: &Padding) -> Result<Tensor> {
    let zeros = match padding.around {
        Around::Zeros(count) => count,
        Around::Reflect => 0,
    };
    let x = padding.repeat(x)?;
    let frames = x.dim(0)? + 1 - taps.len();
    let mut sum: Option<Tensor> = None;
    for (k, tap) in taps.iter().enumerate() {
        let part = conv2d(&x.narrow(0, k, frames)?, tap, zeros)?;
        sum = Some(match sum {
            Some(sum) => (sum + part)?,
            None => part,
        });
    }
    Ok(sum.expect("a kernel has at least one tap"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_device;
    use candle_core::Device;

    /// Of frames in time, and around each, all that there is.
    const PADDINGS: [Padding; 4] = [
        Padding::zeros(1),
        Padding { before: 2, after: 0, around: Around::Zeros(0) },
        Padding { before: 1, after: 1, around: Around::Reflect },
        Padding { before: 0, after: 1, around: Around::Zeros(2) },
    ];

    fn largest(x: &Tensor) -> Result<f32> {
        x.abs()?.max_all()?.to_scalar()
    }

    #[test]
    fn equals_the_sum_by_hand() -> Result<()> {
        let device = test_device()?;
        let (t, c, h, w, o) = (4, 2, 3, 5, 3);
        let x = Tensor::randn(0f32, 1., (t, c, h, w), &device)?;
        let weight = Tensor::randn(0f32, 1., (o, c, 3, 3, 3), &device)?;
        let bias = Tensor::randn(0f32, 1., o, &device)?;
        let y = Conv3d::new(&weight, &bias)?.forward(&x, &Padding::zeros(1))?;
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
    fn columns_times_weights_are_the_sum_of_taps() -> Result<()> {
        for (size, width) in [([3, 3, 3], 5), ([1, 2, 3], 16), ([2, 1, 1], 3)] {
            for padding in PADDINGS {
                let make = |shape: &[usize]| Tensor::randn(0f32, 1., shape, &Device::Cpu);
                let (x, weight) = (make(&[6, 2, 7, width])?, make(&[4, 2, size[0], size[1], size[2]])?);
                let window = crate::columns::Window { size, padding };
                let [frames, height, width] = window.places(&x)?;
                let columns = window.columns(&x, &crate::columns::Part { frames: 0..frames, lines: 0..height })?;
                let product =
                    weight.reshape((4, ()))?.broadcast_matmul(&columns)?.reshape((frames, 4, height, width))?;
                assert!(largest(&(product - by_taps(&taps(&weight)?, &x, &padding)?)?)? < 1e-4, "{size:?} {padding:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn a_residual_is_added() -> Result<()> {
        let device = test_device()?;
        let make = |shape: &[usize]| Tensor::randn(0f32, 1., shape, &device);
        let (x, residual) = (make(&[3, 2, 4, 6])?, make(&[3, 5, 4, 6])?);
        let conv = Conv3d::new(&make(&[5, 2, 3, 3, 3])?, &make(&[5])?)?;
        let padding = PADDINGS[2];
        let sum = (conv.forward(&x, &padding)? + &residual)?;
        assert_eq!(largest(&(conv.forward_onto(&residual, &x, &padding)? - sum)?)?, 0.);
        assert!(conv.forward_onto(&x, &x, &padding).is_err());
        assert!(conv.forward(&x.narrow(2, 0, 1)?, &padding).is_err());
        Ok(())
    }

    #[cfg(feature = "cuda")]
    #[test]
    fn a_card_s_products_equal_taps() -> Result<()> {
        use candle_core::DType;

        let device = test_device()?;
        for (size, width) in [([3, 3, 3], 8), ([3, 3, 3], 10), ([1, 2, 3], 16), ([2, 1, 1], 3)] {
            for padding in PADDINGS {
                let make = |shape: &[usize]| Tensor::randn(0f32, 1., shape, &Device::Cpu);
                let (x, weight, bias) =
                    (make(&[6, 2, 7, width])?, make(&[4, 2, size[0], size[1], size[2]])?, make(&[4])?);
                let plain = Conv3d { weights: Weights::Taps(taps(&weight)?), bias: bias.reshape((1, 4, 1, 1))? };
                let exact = plain.forward(&x, &padding)?;
                let residual = make(exact.dims())?;
                for (dtype, limit) in [(DType::F32, 1e-4), (DType::BF16, 0.3)] {
                    let to = |x: &Tensor| x.to_dtype(dtype)?.to_device(&device);
                    let matrix = to(&weight.reshape((4, ()))?)?;
                    let window = Window { size, padding };
                    let (bias, added) = (to(&bias)?, to(&residual)?);
                    // From one line at a time to all at once.
                    for bytes in [1, 4000, 9000, 1 << 20] {
                        for residual in [None, Some(&added)] {
                            let product = conv3d_columns::Product { window, matrix: &matrix, bias: &bias, residual };
                            let got = product.of(&to(&x)?, bytes)?;
                            assert_eq!(got.dims(), exact.dims());
                            let got = match residual {
                                Some(residual) => (got - residual)?,
                                None => got,
                            };
                            let apart = largest(&(got.to_dtype(DType::F32)?.to_device(&Device::Cpu)? - &exact)?)?;
                            assert!(apart < limit, "{size:?} {padding:?} {dtype:?} {bytes}: {apart}");
                        }
                    }
                }
            }
        }
        Ok(())
    }

    #[cfg(feature = "cuda")]
    #[test]
    fn a_card_s_tiles_equal_its_products() -> Result<()> {
        use candle_core::DType;

        let device = test_device()?;
        for ([t, c, h, w], o, time) in [
            ([6, 16, 3, 5], 3, 3),
            ([4, 32, 7, 5], 12, 3),
            ([3, 48, 9, 17], 48, 3),
            ([3, 128, 16, 24], 128, 3),
            ([2, 40, 33, 8], 136, 1),
            ([5, 24, 3, 40], 70, 2),
        ] {
            for padding in PADDINGS {
                let make = |shape: &[usize]| {
                    Tensor::randn(0f32, 1., shape, &Device::Cpu)?.to_dtype(DType::BF16)?.to_device(&device)
                };
                let (x, weight, bias) = (make(&[t, c, h, w])?, make(&[o, c, time, 3, 3])?, make(&[1, o, 1, 1])?);
                let matrix = Weights::Matrix { matrix: weight.reshape((o, ()))?, size: [time, 3, 3] };
                let plain = Conv3d { weights: matrix, bias };
                let tiled = Conv3d { weights: Weights::Tiled(TiledWeights::new(&weight)?), bias: plain.bias.clone() };
                let y = plain.forward(&x, &padding)?;
                // One that does not begin at a multiple of 16 bytes, too.
                let residual = make(y.dims())?;
                let shifted = Tensor::cat(&[&make(&[1])?, &residual.flatten_all()?], 0)?;
                let shifted = shifted.narrow(0, 1, y.elem_count())?.reshape(y.dims())?;
                let sum = plain.forward_onto(&residual, &x, &padding)?;
                for (exact, got) in [
                    (&y, tiled.forward(&x, &padding)?),
                    (&sum, tiled.forward_onto(&residual, &x, &padding)?),
                    (&sum, tiled.forward_onto(&shifted, &x, &padding)?),
                ] {
                    assert_eq!(got.dims(), exact.dims());
                    let [exact, got] = [exact, &got].map(|x| x.to_dtype(DType::F32)?.to_device(&Device::Cpu));
                    let (exact, got) = (exact?, got?);
                    let unequal = got.ne(&exact)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?;
                    // A sum in another order may turn a rounding over.
                    assert!(unequal <= 1. + 0.01 * got.elem_count() as f32, "{unequal} of {got:?} {padding:?}");
                    assert!(largest(&(got - &exact)?)? < 0.03 * largest(&exact)?, "{exact:?} {padding:?}");
                }
            }
        }
        Ok(())
    }
}
