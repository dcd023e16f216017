//! With feature `cuda`, compiles the kernels to PTX, which the driver of any card from sm_80 on turns into its own code; what
//! is named for a card is for that one alone.
//!
//! nvcc is `$NVCC`, or in `$CUDA_HOME/bin`, `$CUDA_PATH/bin` or on the path. With `LTX2_KERNELS_WITHOUT_NVCC=1` the PTX is left
//! empty: enough to check the Rust code, while whatever needs a kernel fails with an error that says so.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `src/NAME.cu` becomes `NAME.ptx`.
const KERNELS: [&str; 13] = [
    "attention",
    "attention_sm90",
    "columns",
    "conv3d",
    "conv3d_tiles",
    "depth_to_space",
    "float8",
    "modulate",
    "norm_rope",
    "pixel_norm",
    "product",
    "residual",
    "synth",
];
const HEADERS: [&str; 5] =
    ["src/attention.cuh", "src/device.cuh", "src/row.cuh", "src/warpgroup.cuh", "src/window.cuh"];
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
        println!("cargo:rerun-if-changed=src/{kernel}.cu");
        let ptx = out.join(format!("{kernel}.ptx"));
        if without_nvcc {
            std::fs::write(&ptx, "").unwrap_or_else(|error| panic!("cannot write {}: {error}", ptx.display()));
        } else {
            compile(&nvcc(), Path::new(&format!("src/{kernel}.cu")), card(kernel), &ptx);
        }
    }
}

/// What `kernel` is compiled for. A card's own instructions take the `a`, and are of no use on others.
fn card(kernel: &str) -> &'static str {
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

fn compile(nvcc: &Path, source: &Path, card: &str, ptx: &Path) {
    let status = Command::new(nvcc)
        .args(["-ptx", "-std=c++17", "-O3", "-arch", card, "-o"])
        .arg(ptx)
        .arg(source)
        .status()
        .unwrap_or_else(|error| {
            panic!(
                "feature cuda needs nvcc (CUDA 12.4 or newer), and {} cannot be run: {error}. Install the CUDA toolkit, or \
                 name it with CUDA_HOME or NVCC.",
                nvcc.display()
            )
        });
    assert!(status.success(), "{} could not compile {}: {status}", nvcc.display(), source.display());
}
