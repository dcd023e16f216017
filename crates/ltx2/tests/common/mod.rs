//! The binary under test and a demo model.

#![allow(dead_code)]

use std::path::Path;
use std::process::{Command, Output};
use std::sync::OnceLock;

use tempfile::TempDir;

pub fn ltx2() -> Command {
    Command::new(env!("CARGO_BIN_EXE_ltx2"))
}

pub fn run(arguments: &[&str]) -> Output {
    ltx2().args(arguments).output().unwrap()
}

/// Runs a command that must fail and returns its error output.
pub fn error_of(arguments: &[&str]) -> String {
    let output = run(arguments);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Returns the folder of a demo model, written once per test program.
pub fn demo_model() -> &'static Path {
    static MODEL: OnceLock<TempDir> = OnceLock::new();
    MODEL
        .get_or_init(|| {
            let folder = tempfile::tempdir().unwrap();
            assert!(run(&["demo-model", "--synthetic", folder.path().to_str().unwrap()]).status.success());
            folder
        })
        .path()
}

/// Returns ffprobe's `entries` of a stream as one line.
pub fn ffprobe(file: &Path, stream: &str, entries: &str) -> String {
    let output = Command::new("ffprobe")
        .args([
            "-v",
            "error",
            "-count_frames",
            "-select_streams",
            stream,
            "-show_entries",
            &format!("stream={entries}"),
        ])
        .args(["-of", "csv=p=0"])
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_string()
}
