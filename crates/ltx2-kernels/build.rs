//! Compiles the CUDA kernels to PTX with feature `cuda`. The driver compiles the PTX for any GPU from sm_80 on; files
//! named after an architecture are for that one alone.
//!
//! nvcc is `$NVCC`, `$CUDA_HOME/bin/nvcc`, `$CUDA_PATH/bin/nvcc` or on the `PATH`. `LTX2_KERNELS_WITHOUT_NVCC=1` leaves
//! the PTX empty: enough to type-check the Rust code, while launching a kernel fails with an error.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// CUDA files, without their extension, below `src/`. `FOLDER/NAME.cu` is compiled to `NAME.ptx`.
const KERNELS: [&str; 13] = [
    "attention/attention",
    "attention/attention_sm90",
    "bias_epilogue",
    "conv3d/add_bias",
    "conv3d/im2col",
    "conv3d/implicit_gemm",
    "depth_to_space",
    "float8",
    "norm_rope",
    "pixel_norm",
    "residual",
    "rms_modulate",
    "synth",
];
const HEADERS: [&str; 5] = [
    "src/attention/attention.cuh",
    "src/attention/warpgroup.cuh",
    "src/conv3d/window.cuh",
    "src/device.cuh",
    "src/row.cuh",
];
const WITHOUT_NVCC: &str = "LTX2_KERNELS_WITHOUT_NVCC";

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return;
    }
    for header in HEADERS {
        println!("cargo:rerun-if-changed={header}");
    }
    for name in ["NVCC", "CUDA_HOME", "CUDA_PATH", "PATH", WITHOUT_NVCC] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let without_nvcc = env::var_os(WITHOUT_NVCC).is_some_and(|value| value == "1");
    for kernel in KERNELS {
        let source = PathBuf::from(format!("src/{kernel}.cu"));
        println!("cargo:rerun-if-changed={}", source.display());
        let name = source.file_stem().expect("a kernel's path ends in a file name");
        let ptx = out.join(name).with_extension("ptx");
        if without_nvcc {
            std::fs::write(&ptx, "").unwrap_or_else(|error| panic!("cannot write {}: {error}", ptx.display()));
        } else {
            compile(&nvcc(), &source, architecture(kernel), &ptx);
        }
    }
}

/// Virtual architecture of `kernel`. Instructions of one architecture alone require the suffix `a`.
fn architecture(kernel: &str) -> &'static str {
    if kernel.ends_with("_sm90") { "compute_90a" } else { "compute_80" }
}

fn nvcc() -> PathBuf {
    if let Some(nvcc) = env::var_os("NVCC") {
        return nvcc.into();
    }
    ["CUDA_HOME", "CUDA_PATH"]
        .iter()
        .filter_map(env::var_os)
        .map(|home| Path::new(&home).join("bin/nvcc"))
        .find(|nvcc| nvcc.exists())
        .unwrap_or_else(|| "nvcc".into())
}

fn compile(nvcc: &Path, source: &Path, architecture: &str, ptx: &Path) {
    let status = Command::new(nvcc)
        .args(["-ptx", "-std=c++17", "-O3", "-I", "src", "-arch", architecture, "-o"])
        .arg(ptx)
        .arg(source)
        .status()
        .unwrap_or_else(|error| {
            panic!(
                "feature cuda requires nvcc of CUDA 12.4 or newer, but {} cannot be run: {error}. Install the CUDA \
                 toolkit, or set CUDA_HOME or NVCC.",
                nvcc.display()
            )
        });
    assert!(status.success(), "{} failed to compile {}: {status}", nvcc.display(), source.display());
}
