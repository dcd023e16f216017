//! Tests of `ltx2 bench`.

mod common;

use common::{demo_model, error_of, run};

#[test]
fn muxing_is_measured_besides_the_engine_phases() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("report.json");
    let models = demo_model().to_str().unwrap();
    let size = ["--width", "64", "--height", "64", "--frames", "9", "--runs", "2", "--warm-up", "0"];
    let fixed = ["bench", "--models", models, "--device", "cpu", "--phase", "muxing", "--phase", "decode-audio"];
    let output = run(&[&fixed[..], &size, &["--json", json.to_str().unwrap()]].concat());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let phases = report["phases"].as_array().unwrap();
    let names: Vec<&str> = phases.iter().map(|phase| phase["phase"].as_str().unwrap()).collect();
    assert_eq!(names, ["decode-audio", "muxing"]);
    for phase in phases {
        assert!(phase["seconds"].as_array().unwrap().len() == 2 && phase["median_seconds"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn an_unknown_phase_is_refused_with_the_list_of_phases() {
    let error = error_of(&["bench", "--phase", "dreaming"]);
    assert!(error.contains("phase is dreaming, but it must be one of load, ") && error.contains("muxing"), "{error}");
}
