//! The strategies against a direct sum and against each other.

use candle_core::Device;

use super::*;
use crate::padding::FramePadding;
use crate::test_device;

/// Every kind of padding in time and around frames.
const PADDINGS: [Padding; 4] = [
    Padding::zeros(1),
    Padding { before: 2, after: 0, spatial: FramePadding::Zeros(0) },
    Padding { before: 1, after: 1, spatial: FramePadding::Reflect },
    Padding { before: 0, after: 1, spatial: FramePadding::Zeros(2) },
];

fn max_abs(x: &Tensor) -> Result<f32> {
    x.abs()?.max_all()?.to_scalar()
}

#[test]
fn forward_equals_the_direct_sum() -> Result<()> {
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
        let mut expected = bias[out];
        for c_in in 0..c {
            for k in 0..27 {
                let (kt, kh, kw) = (k / 9, k / 3 % 3, k % 3);
                expected += weight[(out * c + c_in) * 27 + k]
                    * at(time + kt, c_in, row as isize + kh as isize - 1, col as isize + kw as isize - 1);
            }
        }
        assert!((expected - got).abs() < 1e-4, "{i}: expected {expected}, found {got}");
    }
    Ok(())
}

#[test]
fn weights_times_im2col_equal_the_sum_of_taps() -> Result<()> {
    for (size, width) in [([3, 3, 3], 5), ([1, 2, 3], 16), ([2, 1, 1], 3)] {
        for padding in PADDINGS {
            let make = |shape: &[usize]| Tensor::randn(0f32, 1., shape, &Device::Cpu);
            let (x, weight) = (make(&[6, 2, 7, width])?, make(&[4, 2, size[0], size[1], size[2]])?);
            let window = window::Window { size, padding };
            let [frames, height, width] = window.output_size(&x)?;
            let whole = im2col::OutputSlice { frames: 0..frames, rows: 0..height };
            let columns = im2col::im2col(&window, &x, &whole)?;
            let product = weight.reshape((4, ()))?.broadcast_matmul(&columns)?.reshape((frames, 4, height, width))?;
            let taps = reference::convolve(&reference::split_taps(&weight)?, &x, &padding)?;
            assert!(max_abs(&(product - taps)?)? < 1e-4, "{size:?} {padding:?}");
        }
    }
    Ok(())
}

#[test]
fn forward_onto_adds_the_residual() -> Result<()> {
    let device = test_device()?;
    let make = |shape: &[usize]| Tensor::randn(0f32, 1., shape, &device);
    let (x, residual) = (make(&[3, 2, 4, 6])?, make(&[3, 5, 4, 6])?);
    let conv = Conv3d::new(&make(&[5, 2, 3, 3, 3])?, &make(&[5])?)?;
    let padding = PADDINGS[2];
    let expected = (conv.forward(&x, &padding)? + &residual)?;
    assert_eq!(max_abs(&(conv.forward_onto(&residual, &x, &padding)? - expected)?)?, 0.);
    assert!(conv.forward_onto(&x, &x, &padding).is_err());
    assert!(conv.forward(&x.narrow(2, 0, 1)?, &padding).is_err());
    Ok(())
}

#[cfg(feature = "cuda")]
#[test]
fn im2col_on_cuda_equals_the_reference() -> Result<()> {
    use candle_core::DType;

    let device = test_device()?;
    for (size, width) in [([3, 3, 3], 8), ([3, 3, 3], 10), ([1, 2, 3], 16), ([2, 1, 1], 3)] {
        for padding in PADDINGS {
            let make = |shape: &[usize]| Tensor::randn(0f32, 1., shape, &Device::Cpu);
            let (x, weight, bias) = (make(&[6, 2, 7, width])?, make(&[4, 2, size[0], size[1], size[2]])?, make(&[4])?);
            let exact = Conv3d::new(&weight, &bias)?.forward(&x, &padding)?;
            let residual = make(exact.dims())?;
            for (dtype, limit) in [(DType::F32, 1e-4), (DType::BF16, 0.3)] {
                let to = |x: &Tensor| x.to_dtype(dtype)?.to_device(&device);
                let matrix = to(&weight.reshape((4, ()))?)?;
                let window = Window { size, padding };
                let (bias, added) = (to(&bias)?, to(&residual)?);
                // From one row at a time to everything at once.
                for bytes in [1, 4000, 9000, 1 << 20] {
                    for residual in [None, Some(&added)] {
                        let conv = im2col::on_cuda::Im2col { window, matrix: &matrix, bias: &bias, residual };
                        let got = conv.forward(&to(&x)?, bytes)?;
                        assert_eq!(got.dims(), exact.dims());
                        let got = match residual {
                            Some(residual) => (got - residual)?,
                            None => got,
                        };
                        let error = max_abs(&(got.to_dtype(DType::F32)?.to_device(&Device::Cpu)? - &exact)?)?;
                        assert!(error < limit, "{size:?} {padding:?} {dtype:?} {bytes}: {error}");
                    }
                }
            }
        }
    }
    Ok(())
}

#[cfg(feature = "cuda")]
#[test]
fn implicit_gemm_equals_im2col() -> Result<()> {
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
            let im2col = Conv3d { weights: matrix, bias };
            let tiled = Conv3d { weights: Weights::Tiled(TiledWeights::new(&weight)?), bias: im2col.bias.clone() };
            let y = im2col.forward(&x, &padding)?;
            // Also with a residual that does not start at a multiple of 16 bytes.
            let residual = make(y.dims())?;
            let shifted = Tensor::cat(&[&make(&[1])?, &residual.flatten_all()?], 0)?;
            let shifted = shifted.narrow(0, 1, y.elem_count())?.reshape(y.dims())?;
            let sum = im2col.forward_onto(&residual, &x, &padding)?;
            for (exact, got) in [
                (&y, tiled.forward(&x, &padding)?),
                (&sum, tiled.forward_onto(&residual, &x, &padding)?),
                (&sum, tiled.forward_onto(&shifted, &x, &padding)?),
            ] {
                assert_eq!(got.dims(), exact.dims());
                let [exact, got] = [exact, &got].map(|x| x.to_dtype(DType::F32)?.to_device(&Device::Cpu));
                let (exact, got) = (exact?, got?);
                let unequal = got.ne(&exact)?.to_dtype(DType::F32)?.sum_all()?.to_scalar::<f32>()?;
                // A different summation order can change a rounding.
                assert!(unequal <= 1. + 0.01 * got.elem_count() as f32, "{unequal} of {got:?} {padding:?}");
                assert!(max_abs(&(got - &exact)?)? < 0.03 * max_abs(&exact)?, "{exact:?} {padding:?}");
            }
        }
    }
    Ok(())
}
