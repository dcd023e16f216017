//! The CUDA kernels without a card: their sources, compiled for the host, against the plain forms.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use half::bf16;
use ltx2_kernels::Synth;

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
