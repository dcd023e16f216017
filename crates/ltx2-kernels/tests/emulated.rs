//! The CUDA kernels on the host: their sources, compiled with the emulation in `host/`, against the references.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use candle_core::{DType, Device, Result, Tensor};
use half::bf16;
use ltx2_kernels::conv3d::im2col::{OutputSlice, im2col};
use ltx2_kernels::conv3d::implicit_gemm::TiledWeights;
use ltx2_kernels::conv3d::window::Window;
use ltx2_kernels::{
    Conv3d, FramePadding, NormRope, Padding, PendingBias, Rope, RopeTable, Synth, attention, decode_e4m3,
    depth_to_space, gated_residual, norm_rope, pixel_norm_silu, residual, rms_norm, rms_norm_modulate,
};

/// Compiles `host/main.cpp` once. It includes every kernel except those for one architecture.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (program, partial) = (folder.join("emulated"), folder.join(format!("emulated.{}", std::process::id())));
        let status = Command::new("c++")
            .args(["-std=c++20", "-O2", "-ffp-contract=off", "-o"])
            .arg(&partial)
            .arg("-I")
            .arg(package.join("src"))
            .arg("-I")
            .arg(package.join("tests/host"))
            .arg(package.join("tests/host/main.cpp"))
            .status()
            .expect("a C++20 compiler named c++");
        assert!(status.success(), "c++: {status}");
        std::fs::rename(partial, &program).expect("the program can be renamed");
        program
    })
}

/// Runs `kernel` on the concatenated bytes of `operands` and returns the bytes of the result.
fn run(kernel: &str, arguments: &[String], operands: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program())
        .arg(kernel)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("standard input is piped").write_all(operands).expect("the operands are read");
    let output = child.wait_with_output().expect("the program ends");
    assert!(output.status.success(), "{kernel} {arguments:?}: {}", output.status);
    output.stdout
}

/// Concatenated bytes of `tensors` in `dtype`.
fn bytes(tensors: &[&Tensor], dtype: DType) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    for tensor in tensors {
        let values = tensor.to_dtype(dtype)?.flatten_all()?;
        match dtype {
            DType::BF16 => bytes.extend(values.to_vec1::<bf16>()?.into_iter().flat_map(bf16::to_le_bytes)),
            _ => bytes.extend(values.to_vec1::<f32>()?.into_iter().flat_map(f32::to_le_bytes)),
        }
    }
    Ok(bytes)
}

/// Tensor of `bytes` in `dtype`, converted to float32.
fn tensor(bytes: &[u8], dtype: DType, shape: &[usize]) -> Result<Tensor> {
    Tensor::from_raw_buffer(bytes, dtype, shape, &Device::Cpu)?.to_dtype(DType::F32)
}

/// Rounds to `dtype` and back to float32.
fn rounded(x: &Tensor, dtype: DType) -> Result<Tensor> {
    x.to_dtype(dtype)?.to_dtype(DType::F32)
}

/// Random values around `mean` that bfloat16 represents exactly, in float32.
fn random(mean: f32, shape: &[usize]) -> Result<Tensor> {
    rounded(&Tensor::randn(mean, 1., shape, &Device::Cpu)?, DType::BF16)
}

/// Number of different elements.
fn unequal(a: &Tensor, b: &Tensor) -> Result<f32> {
    a.ne(b)?.to_dtype(DType::F32)?.sum_all()?.to_scalar()
}

/// Asserts that `out` is close to the reference, and in bfloat16 equal to `exact`, which is rounded at the same points.
/// A different summation order may change one rounding in a hundred.
fn assert_rounded(out: &Tensor, reference: &Tensor, exact: &Tensor, dtype: DType) -> Result<()> {
    let (error, largest) = (max_abs(&(out - reference)?)?, max_abs(reference)?);
    if dtype == DType::BF16 {
        assert!(error < 0.03 * largest, "{error} of {largest}");
        let unequal = unequal(out, exact)?;
        assert!(unequal <= 1. + 0.01 * out.elem_count() as f32, "{unequal} of {out:?}");
    } else {
        assert!(error < 2e-6 * largest, "{error} of {largest}");
    }
    Ok(())
}

fn max_abs(x: &Tensor) -> Result<f32> {
    x.abs()?.max_all()?.to_scalar()
}

fn to_bf16(bytes: &[u8]) -> Vec<bf16> {
    bytes.chunks_exact(2).map(|pair| bf16::from_le_bytes([pair[0], pair[1]])).collect()
}

#[test]
fn synth_is_bit_identical_to_the_reference() {
    for (hash, center, amplitude) in [(0, 0.0, 1.0), (u64::MAX, 1.0, 0.1), (0x0123_4567_89AB_CDEF, 0.0, 0.027_063_293)]
    {
        let synth = Synth { hash, center, amplitude };
        let arguments = [5001u64.to_string(), hash.to_string(), center.to_string(), amplitude.to_string()];
        assert_eq!(to_bf16(&run("synth_bf16", &arguments, &[])), synth.values(5001), "{synth:?}");
    }
}

#[test]
fn attention_equals_float32_up_to_rounding() -> Result<()> {
    for (d, b, h, t, s) in
        [(64, 1, 1, 1, 1), (64, 2, 3, 130, 65), (64, 1, 2, 5, 64), (128, 2, 2, 70, 33), (128, 1, 1, 129, 97)]
    {
        // With these means no score is near zero, so an extra zero key would change the result.
        let make = |tokens: usize, mean: f32| random(mean, &[b, tokens, h * d + 8]);
        let (q, k, v) = (make(t, 0.7)?, make(s, -0.7)?, make(s, 0.)?);
        let scale = 1. / (d as f64).sqrt();
        let arguments = [d, b, h, t, s].map(|n| n.to_string());
        let arguments = [&arguments[..], &[(scale * std::f64::consts::LOG2_E).to_string()]].concat();
        let out = run("attention_bf16", &arguments, &bytes(&[&q, &k, &v], DType::BF16)?);
        let out = tensor(&out, DType::BF16, &[b, t, h, d])?;
        let heads = |x: &Tensor| x.narrow(2, 0, h * d)?.reshape((b, (), h, d))?.transpose(1, 2);
        let (q, k, v) = (heads(&q)?, heads(&k)?, heads(&v)?);
        let exact = attention::reference(&q, &k, &v, scale, None)?.transpose(1, 2)?;
        // Half an ulp of 8 bits for the probabilities and half an ulp for the result.
        let (error, limit) = (max_abs(&(out - exact)?)?, max_abs(&v)? / 256.);
        assert!(error < limit, "{d} {b} {h} {t} {s}: {error} of {limit}");
    }
    Ok(())
}

/// Names of a kernel for both dtypes.
fn both(kernel: &str) -> [(String, DType); 2] {
    [(format!("{kernel}_bf16"), DType::BF16), (format!("{kernel}_f32"), DType::F32)]
}

/// Arguments of the program.
fn to_arguments(numbers: &[usize], eps: f64) -> Vec<String> {
    numbers.iter().map(usize::to_string).chain([eps.to_string()]).collect()
}

#[test]
fn rms_norm_modulate_rounds_where_the_reference_does() -> Result<()> {
    for (rows, width, scales, shifts) in [(1, 8, 1, 1), (3, 72, 1, 3), (5, 1040, 5, 1), (3, 40, 0, 0)] {
        let (x, scale, shift) =
            (random(0.5, &[rows, width])?, random(0., &[scales, width])?, random(0., &[shifts, width])?);
        let eps = 1e-6;
        let square = (x.sqr()?.mean_keepdim(1)? + eps)?;
        for (kernel, dtype) in both("rms_norm_modulate") {
            let out =
                run(&kernel, &to_arguments(&[rows, width, scales, shifts], eps), &bytes(&[&x, &scale, &shift], dtype)?);
            let out = tensor(&out, dtype, &[rows, width])?;
            let normed = rounded(&x.broadcast_div(&square.sqrt()?)?, dtype)?;
            let (exact, reference) = if scales > 0 {
                let product = rounded(&normed.broadcast_mul(&rounded(&(&scale + 1.)?, dtype)?)?, dtype)?;
                (rounded(&product.broadcast_add(&shift)?, dtype)?, rms_norm_modulate(&x, &scale, &shift, eps)?)
            } else {
                (normed, rms_norm(&x, None, eps)?)
            };
            assert_rounded(&out, &reference, &exact, dtype)?;
        }
    }
    Ok(())
}

/// `y` and the optional `bias` in `dtype`.
fn pending(y: &Tensor, bias: Option<&Tensor>, dtype: DType) -> Result<PendingBias> {
    PendingBias::new(y.to_dtype(dtype)?, bias.map(|bias| bias.to_dtype(dtype)).transpose()?)
}

#[test]
fn residual_is_bit_identical_to_the_reference() -> Result<()> {
    for (rows, width, gates, biased) in
        [(1, 8, 1, true), (5, 88, 1, true), (7, 264, 7, true), (3, 16, 0, true), (3, 16, 3, false), (2, 8, 0, false)]
    {
        let (x, y) = (random(0., &[rows, width])?, random(0., &[rows, width])?);
        let gate = (gates > 0).then(|| random(0., &[gates, width])).transpose()?;
        let bias = biased.then(|| random(0., &[width])).transpose()?;
        let operands = [Some(&x), Some(&y), bias.as_ref(), gate.as_ref()];
        let operands: Vec<&Tensor> = operands.into_iter().flatten().collect();
        for (kernel, dtype) in both("residual") {
            let arguments = [rows, width, usize::from(biased), gates].map(|n| n.to_string());
            let out = run(&kernel, &arguments, &bytes(&operands, dtype)?);
            let (x, y) = (x.to_dtype(dtype)?, pending(&y, bias.as_ref(), dtype)?);
            let reference = match &gate {
                Some(gate) => gated_residual(&x, &y, &gate.to_dtype(dtype)?)?,
                None => residual(&x, &y)?,
            };
            let out = tensor(&out, dtype, &[rows, width])?;
            assert_eq!(
                unequal(&out, &reference.to_dtype(DType::F32)?)?,
                0.,
                "{kernel} {rows} {width} {gates} {biased}"
            );
        }
    }
    Ok(())
}

/// GELU with the tanh approximation, written with exp: tanh cancels below -5 even in float64.
fn gelu_of(x: f32) -> f32 {
    let x = f64::from(x);
    let u = (2. / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3));
    (x / (1. + (-2. * u).exp())) as f32
}

#[test]
fn bias_epilogues_equal_the_reference() -> Result<()> {
    for (rows, width, biased) in [(1, 8, true), (5, 88, true), (7, 264, true), (9, 40, false)] {
        let y = (random(0., &[rows, width])? * 3.)?;
        let bias = biased.then(|| random(0., &[width])).transpose()?;
        let operands: Vec<&Tensor> = [Some(&y), bias.as_ref()].into_iter().flatten().collect();
        let arguments = [rows, width, usize::from(biased)].map(|n| n.to_string());
        for dtype in [DType::BF16, DType::F32] {
            let (operands, reference) = (bytes(&operands, dtype)?, pending(&y, bias.as_ref(), dtype)?);
            let suffix = if dtype == DType::BF16 { "bf16" } else { "f32" };
            let sum = tensor(&run(&format!("bias_sum_{suffix}"), &arguments, &operands), dtype, &[rows, width])?;
            assert_eq!(unequal(&sum, &reference.sum()?.to_dtype(DType::F32)?)?, 0., "{suffix} {rows} {width}");
            let gelu = tensor(&run(&format!("bias_gelu_{suffix}"), &arguments, &operands), dtype, &[rows, width])?;
            let exact = sum.flatten_all()?.to_vec1::<f32>()?.into_iter().map(gelu_of).collect();
            let exact = rounded(&Tensor::from_vec(exact, (rows, width), &Device::Cpu)?, dtype)?;
            assert_rounded(&gelu, &reference.gelu()?.to_dtype(DType::F32)?, &exact, dtype)?;
        }
    }
    Ok(())
}

/// Split rotation of `x (b, heads, t, d)` that rounds every product and sum to `dtype`, as the kernel does.
fn rotated_in_steps(x: &Tensor, cos: &Tensor, sin: &Tensor, dtype: DType) -> Result<Tensor> {
    let (half, x) = (x.dim(3)? / 2, x.to_dtype(DType::F32)?);
    let (first, second) = (x.narrow(3, 0, half)?, x.narrow(3, half, half)?);
    let times = |x: &Tensor, angle: &Tensor| rounded(&x.broadcast_mul(&angle.unsqueeze(0)?)?, dtype);
    let left = rounded(&(times(&first, cos)? - times(&second, sin)?)?, dtype)?;
    let right = rounded(&(times(&first, sin)? + times(&second, cos)?)?, dtype)?;
    Tensor::cat(&[left, right], 3)
}

#[test]
fn norm_rope_rounds_where_the_reference_does() -> Result<()> {
    for (b, t, heads, d, biased, rotated) in
        [(1, 1, 1, 16, true, true), (2, 3, 5, 64, true, true), (1, 7, 2, 128, false, true), (2, 4, 3, 32, true, false)]
    {
        let (y, weight) = (random(0.5, &[b, t, heads * d])?, random(1., &[heads * d])?);
        let bias = biased.then(|| random(0., &[heads * d])).transpose()?;
        let angle = random(0., &[heads, t, d / 2])?;
        let (cos, sin) = (rounded(&angle.cos()?, DType::BF16)?, rounded(&angle.sin()?, DType::BF16)?);
        let eps = 1e-6;
        let sides = [&cos, &sin].map(|side| rotated.then_some(side));
        let operands = [Some(&y), Some(&weight), bias.as_ref(), sides[0], sides[1]];
        let operands: Vec<&Tensor> = operands.into_iter().flatten().collect();
        for (kernel, dtype) in both("norm_rope") {
            let arguments = to_arguments(&[b, t, heads, d, usize::from(biased), usize::from(rotated)], eps);
            let out = run(&kernel, &arguments, &bytes(&operands, dtype)?);
            let out = tensor(&out, dtype, &[b, t, heads, d])?.transpose(1, 2)?;
            let table = RopeTable { cos: cos.clone(), sin: sin.clone() };
            let x = pending(&y, bias.as_ref(), dtype)?.sum()?.to_dtype(DType::F32)?;
            let rope = rotated.then_some((Rope::Split, &table));
            let reference = norm_rope(&x.clone().into(), NormRope { weight: &weight, eps, heads, rope })?;
            let square = (x.sqr()?.mean_keepdim(2)? + eps)?;
            let normed = rounded(&x.broadcast_div(&square.sqrt()?)?.broadcast_mul(&weight)?, dtype)?;
            let normed = normed.reshape((b, t, heads, d))?.transpose(1, 2)?.contiguous()?.to_dtype(dtype)?;
            let exact = if rotated { rotated_in_steps(&normed, &cos, &sin, dtype)? } else { normed };
            assert_rounded(&out, &reference, &exact.to_dtype(DType::F32)?, dtype)?;
        }
    }
    Ok(())
}

#[test]
fn decode_e4m3_is_bit_identical_to_the_reference() -> Result<()> {
    // All codes, and not a multiple of a vector.
    let codes: Vec<u8> = (0..1005).map(|i| (i % 256) as u8).collect();
    let tensor = Tensor::new(codes.as_slice(), &Device::Cpu)?;
    for scale in [1f32, 0.013] {
        for (kernel, dtype) in both("decode_e4m3") {
            let out = run(&kernel, &[codes.len().to_string(), scale.to_string()], &codes);
            let reference = bytes(&[&decode_e4m3(&tensor, scale, dtype)?], dtype)?;
            let arguments = |bytes: &[u8]| self::tensor(bytes, dtype, &[codes.len()])?.to_vec1::<f32>();
            let same = |(a, b): (&f32, &f32)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan());
            assert!(arguments(&out)?.iter().zip(&arguments(&reference)?).all(same), "{kernel} {scale}");
        }
    }
    Ok(())
}

#[test]
fn pixel_norm_silu_rounds_where_the_reference_does() -> Result<()> {
    for (frames, channels, pixels) in [(1, 1, 1), (2, 6, 40), (1, 70, 136), (3, 33, 9)] {
        let x = random(0.5, &[frames, channels, 1, pixels])?;
        let eps = 1e-8;
        let reference = pixel_norm_silu(&x, eps)?;
        let rms = (x.sqr()?.mean_keepdim(1)? + eps)?.sqrt()?;
        for (kernel, dtype, vector) in [
            ("pixel_norm_silu_bf16x8", DType::BF16, 8),
            ("pixel_norm_silu_bf16x1", DType::BF16, 1),
            ("pixel_norm_silu_f32x4", DType::F32, 4),
            ("pixel_norm_silu_f32x1", DType::F32, 1),
        ] {
            if pixels % vector == 0 {
                let out = run(kernel, &to_arguments(&[frames, channels, pixels], eps), &bytes(&[&x], dtype)?);
                let exact = rounded(&rounded(&x.broadcast_div(&rms)?, dtype)?.silu()?, dtype)?;
                assert_rounded(&tensor(&out, dtype, x.dims())?, &reference, &exact, dtype)?;
            }
        }
    }
    Ok(())
}

#[test]
fn im2col_is_bit_identical_to_the_reference() -> Result<()> {
    let zeros = Padding::zeros;
    let reflected = Padding { before: 1, after: 1, spatial: FramePadding::Reflect };
    for (w, size, padding, frames, rows) in [
        (8, [3, 3, 3], zeros(1), 0..3, 0..5),
        (10, [3, 3, 3], zeros(0), 1..2, 2..3),
        (5, [1, 2, 3], zeros(0), 2..5, 1..4),
        (4, [2, 1, 1], zeros(0), 0..4, 0..5),
        (8, [3, 3, 3], reflected, 0..5, 0..5),
        (2, [2, 3, 1], reflected, 3..6, 1..5),
        (16, [3, 3, 3], Padding { before: 2, ..zeros(1) }, 0..2, 3..5),
        (2, [3, 3, 3], Padding { after: 2, ..zeros(3) }, 2..5, 0..9),
    ] {
        let (t, c, h) = (5, 2, 5);
        let x = random(0., &[t, c, h, w])?;
        let window = Window { size, padding };
        let slice = OutputSlice { frames, rows };
        let reference = im2col(&window, &x, &slice)?;
        let width = window.output_size(&x)?[2];
        let (spatial, reflect) = match padding.spatial {
            FramePadding::Zeros(count) => (count, 0),
            FramePadding::Reflect => (1, 1),
        };
        let window_numbers = [size[0], size[1], size[2], padding.before, spatial, reflect];
        let slice_numbers = [slice.frames.start, slice.rows.start, slice.rows.len(), width, slice.frames.len()];
        let arguments = [t, c, h, w].into_iter().chain(window_numbers).chain(slice_numbers);
        let arguments = arguments.map(|n| n.to_string()).collect::<Vec<_>>();
        for (kernel, dtype, vector) in [
            ("im2col_16x8", DType::BF16, 8),
            ("im2col_16x1", DType::BF16, 1),
            ("im2col_32x4", DType::F32, 4),
            ("im2col_32x1", DType::F32, 1),
        ] {
            if width % vector == 0 {
                let out = tensor(&run(kernel, &arguments, &bytes(&[&x], dtype)?), dtype, reference.dims())?;
                assert_eq!(unequal(&out, &reference)?, 0., "{kernel} {window:?}");
            }
        }
    }
    Ok(())
}

#[test]
fn implicit_gemm_rounds_where_the_reference_does() -> Result<()> {
    let reflected = Padding { before: 1, after: 1, spatial: FramePadding::Reflect };
    let causal = Padding { before: 2, ..Padding::zeros(1) };
    // Input dimensions; output channels, window frames, padding, log2 of the tile width.
    for ([t, c, h, w], c_out, frames, padding, log2_tile_width) in [
        ([1, 16, 1, 1], 3, 3, causal, 3),
        ([2, 32, 7, 5], 12, 3, reflected, 4),
        ([3, 48, 9, 17], 48, 3, Padding::zeros(1), 4),
        ([1, 128, 16, 24], 128, 3, causal, 5),
        ([2, 32, 34, 8], 136, 1, Padding::zeros(1), 3),
        ([6, 24, 4, 6], 5, 2, Padding { after: 1, ..Padding::zeros(2) }, 5),
        ([2, 64, 11, 40], 70, 2, Padding { before: 1, ..Padding::zeros(0) }, 5),
        ([1, 40, 2, 2], 128, 3, reflected, 4),
    ] {
        let (x, weight) = (random(0., &[t, c, h, w])?, random(0., &[c_out, c, frames, 3, 3])?);
        let bias = random(0., &[c_out])?;
        let sum = Conv3d::new(&weight, &bias.zeros_like()?)?.forward(&x, &padding)?;
        let residual = random(0., sum.dims())?;
        let tiled = TiledWeights::new(&weight.to_dtype(DType::BF16)?)?;
        let (spatial, reflect) = match padding.spatial {
            FramePadding::Zeros(count) => (count, 0),
            FramePadding::Reflect => (1, 1),
        };
        let vector = if sum.dim(3)? % 8 == 0 { 8 } else { 1 };
        for adds in [0, 1] {
            let window = [frames, padding.before, spatial, reflect];
            let arguments =
                [&[t, c, h, w][..], &window, sum.dims(), &[tiled.rows, log2_tile_width, vector, adds]].concat();
            let arguments = arguments.iter().map(usize::to_string).collect::<Vec<_>>();
            let operands = [&x, &tiled.weights, &bias, &residual];
            let operands = bytes(&operands[..3 + adds], DType::BF16)?;
            let out = tensor(&run("conv3d_implicit_gemm", &arguments, &operands), DType::BF16, sum.dims())?;
            let bias = bias.reshape((1, c_out, 1, 1))?;
            let mut exact = rounded(&rounded(&sum, DType::BF16)?.broadcast_add(&bias)?, DType::BF16)?;
            if adds == 1 {
                exact = rounded(&(exact + &residual)?, DType::BF16)?;
            }
            assert_rounded(&out, &exact, &exact, DType::BF16)?;
        }
    }
    Ok(())
}

#[test]
fn conv3d_add_bias_is_bit_identical_to_the_reference() -> Result<()> {
    for (frames, channels, pixels, first, count) in [(1, 1, 8, 0, 8), (2, 3, 48, 8, 24), (3, 2, 11, 4, 7)] {
        let shape = [frames, channels, pixels];
        let (x, bias, residual) = (random(0., &shape)?, random(0., &[1, channels, 1])?, random(0., &shape)?);
        for (kernel, dtype, vector) in [
            ("conv3d_add_bias_bf16x8", DType::BF16, 8),
            ("conv3d_add_bias_bf16x1", DType::BF16, 1),
            ("conv3d_add_bias_f32x4", DType::F32, 4),
            ("conv3d_add_bias_f32x1", DType::F32, 1),
        ] {
            if pixels % vector > 0 {
                continue;
            }
            for adds in [0, 1] {
                let arguments = [frames, channels, pixels, first, count, adds].map(|n| n.to_string());
                let out = tensor(&run(kernel, &arguments, &bytes(&[&x, &bias, &residual], dtype)?), dtype, &shape)?;
                let [slice, bias, added] = [&x.narrow(2, first, count)?, &bias, &residual.narrow(2, first, count)?]
                    .map(|tensor| tensor.to_dtype(dtype));
                let mut sum = slice?.broadcast_add(&bias?)?;
                if adds == 1 {
                    sum = (added? + sum)?;
                }
                let reference =
                    x.slice_assign(&[0..frames, 0..channels, first..first + count], &sum.to_dtype(DType::F32)?)?;
                assert_eq!(unequal(&out, &reference)?, 0., "{kernel} {shape:?} {adds}");
            }
        }
    }
    Ok(())
}

#[test]
fn depth_to_space_is_bit_identical_to_the_reference() -> Result<()> {
    for (stride, skipped, c, repeats) in [([2, 2, 2], 1, 4, 2), ([1, 2, 2], 0, 3, 1), ([2, 1, 1], 1, 2, 2)] {
        let (t, h, w, volume) = (3, 3, 7, stride.iter().product::<usize>());
        let (x, added) = (random(0., &[t, c * volume, h, w])?, random(0., &[t, c / repeats * volume, h, w])?);
        for (kernel, dtype) in both("depth_to_space") {
            for adds in [false, true] {
                let (x, added) = (x.to_dtype(dtype)?, added.to_dtype(dtype)?);
                let reference = depth_to_space(&x, stride, skipped, adds.then_some(&added))?;
                let channels = if adds { c / repeats } else { 0 };
                let arguments = [reference.dims(), &stride, &[skipped, channels]].concat();
                let arguments = arguments.iter().map(usize::to_string).collect::<Vec<_>>();
                let operands = bytes(&[&x, &added], dtype)?;
                let out = tensor(&run(&kernel, &arguments, &operands), dtype, reference.dims())?;
                assert_eq!(unequal(&out, &reference.to_dtype(DType::F32)?)?, 0., "{kernel} {stride:?} {adds}");
            }
        }
    }
    Ok(())
}
