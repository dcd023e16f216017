//! The CUDA kernels without a card: their sources, compiled for the host, against the plain forms.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use candle_core::{DType, Device, Result, Tensor};
use half::bf16;
use ltx2_kernels::{Synth, attention};

/// Compiles `host/main.cpp`, which includes every kernel, once.
fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (program, partial) = (folder.join("emulated"), folder.join(format!("emulated.{}", std::process::id())));
        let status = Command::new("c++")
            .args(["-std=c++20", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(&partial)
            .arg("-I")
            .arg(package.join("src"))
            .arg("-I")
            .arg(package.join("tests/host"))
            .arg(package.join("tests/host/main.cpp"))
            .status()
            .expect("a C++20 compiler named c++");
        assert!(status.success(), "c++: {status}");
        std::fs::rename(partial, &program).expect("the program can be put in its place");
        program
    })
}

/// What `kernel` makes of `operands` (their bytes, one after the other).
fn run(kernel: &str, numbers: &[String], operands: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program())
        .arg(kernel)
        .args(numbers)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    child.stdin.take().expect("standard input is piped").write_all(operands).expect("the operands are read");
    let output = child.wait_with_output().expect("the program ends");
    assert!(output.status.success(), "{kernel} {numbers:?}: {}", output.status);
    output.stdout
}

/// `tensor`'s values in bfloat16, as bytes.
fn bytes(tensor: &Tensor) -> Result<Vec<u8>> {
    let values = tensor.to_dtype(DType::BF16)?.flatten_all()?.to_vec1::<bf16>()?;
    Ok(values.into_iter().flat_map(bf16::to_le_bytes).collect())
}

/// Numbers around `mean` that bfloat16 has, in float32.
fn random(mean: f32, shape: &[usize]) -> Result<Tensor> {
    Tensor::randn(mean, 1., shape, &Device::Cpu)?.to_dtype(DType::BF16)?.to_dtype(DType::F32)
}

fn largest(x: &Tensor) -> Result<f32> {
    x.abs()?.max_all()?.to_scalar()
}

fn to_bf16(bytes: &[u8]) -> Vec<bf16> {
    bytes.chunks_exact(2).map(|pair| bf16::from_le_bytes([pair[0], pair[1]])).collect()
}

#[test]
fn synthetic_values_are_the_same_to_the_bit() {
    for (hash, center, amplitude) in [(0, 0.0, 1.0), (u64::MAX, 1.0, 0.1), (0x0123_4567_89AB_CDEF, 0.0, 0.027_063_293)]
    {
        let synth = Synth { hash, center, amplitude };
        let numbers = [5001u64.to_string(), hash.to_string(), center.to_string(), amplitude.to_string()];
        assert_eq!(to_bf16(&run("synth", &numbers, &[])), synth.values(5001), "{synth:?}");
    }
}

#[test]
fn attention_is_that_of_float32_but_for_its_roundings() -> Result<()> {
    for (d, b, h, t, s) in
        [(64, 1, 1, 1, 1), (64, 2, 3, 130, 65), (64, 1, 2, 5, 64), (128, 2, 2, 70, 33), (128, 1, 1, 129, 97)]
    {
        // With means like these no score is near zero, so that a key too many would count.
        let make = |tokens: usize, mean: f32| random(mean, &[b, tokens, h * d + 8]);
        let (q, k, v) = (make(t, 0.7)?, make(s, -0.7)?, make(s, 0.)?);
        let scale = 1. / (d as f64).sqrt();
        let numbers = [d, b, h, t, s].map(|n| n.to_string());
        let numbers = [&numbers[..], &[(scale * std::f64::consts::LOG2_E).to_string()]].concat();
        let out = to_bf16(&run("attention", &numbers, &[bytes(&q)?, bytes(&k)?, bytes(&v)?].concat()));
        let out = Tensor::from_vec(out, (b, t, h, d), &Device::Cpu)?.to_dtype(DType::F32)?;
        let heads = |x: &Tensor| x.narrow(2, 0, h * d)?.reshape((b, (), h, d))?.transpose(1, 2);
        let (q, k, v) = (heads(&q)?, heads(&k)?, heads(&v)?);
        let exact = attention::plain(&q, &k, &v, scale, None)?.transpose(1, 2)?;
        // Half a unit in the last of 8 bits for the weights, and half a one for the result.
        let (apart, limit) = (largest(&(out - exact)?)?, largest(&v)? / 256.);
        assert!(apart < limit, "{d} {b} {h} {t} {s}: {apart} of {limit}");
    }
    Ok(())
}
